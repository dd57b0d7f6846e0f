"""Numbered UDP packets from one namespace to another at a steady rate, and which of them arrived.

As a program:  stream.py send SECONDS PACKETS_PER_S PORT ADDRESS...     ends by itself or with SIGTERM, prints what it sent
               stream.py receive PORT ADDRESS...                        ends with SIGTERM, prints what it received
"""

import json
import select
import signal
import socket
import struct
import subprocess
import sys
import time

SIZE = 200
PORT = 4000
SO_RCVBUFFORCE = 33


class Stop(Exception):
    pass


def _stop(*_) -> None:
    raise Stop


def _send(seconds: float, rate: float, port: int, addresses: list[str]) -> None:
    """Ends between two rounds, never within one: what is counted is what was sent."""
    ends = []
    signal.signal(signal.SIGTERM, lambda *_: ends.append(True))
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in addresses]
    for each, address in zip(sockets, addresses):
        each.connect((address, port))
    sent = 0
    started = time.monotonic()
    while not ends and time.monotonic() - started < seconds:
        due = started + sent / rate
        time.sleep(max(0.0, due - time.monotonic()))
        for each in sockets:
            try:
                each.send(struct.pack("!I", sent).ljust(SIZE, b"."))
            except OSError:
                pass  # an ICMP error about an earlier one
        sent += 1
    print(json.dumps({"sent": sent, "seconds": time.monotonic() - started}))


def _receive(port: int, addresses: list[str]) -> None:
    sockets = {}
    for address in addresses:
        each = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        each.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        each.bind((address, port))
        sockets[each] = address
    got = {address: [] for address in addresses}
    print("ready", flush=True)
    try:
        while True:
            for each in select.select(list(sockets), [], [])[0]:
                got[sockets[each]].append((struct.unpack_from("!I", each.recv(2048))[0], time.time()))
    except Stop:
        pass
    print(json.dumps(got))


class Stream:
    """Runs between begin and end; one for each direction, over every tunnel."""

    def __init__(self, source: str, target: str, addresses: tuple[str, ...], rate: float = 50, seconds: float = 300):
        self.addresses = addresses
        self._receiver = self._spawn(target, "receive", PORT, *addresses)
        if self._receiver.stdout.readline() != "ready\n":
            raise RuntimeError(f"no receiver in {target}")
        self._sender = self._spawn(source, "send", seconds, rate, PORT, *addresses)

    @staticmethod
    def _spawn(namespace: str, *arguments) -> subprocess.Popen:
        return subprocess.Popen(["ip", "netns", "exec", namespace, sys.executable, __file__, *map(str, arguments)],
                                stdout=subprocess.PIPE, text=True)

    def end(self) -> dict:
        """Sent in all, lost, arrived twice, the longest silence in s, and when packets were lost."""
        self._sender.terminate()
        sent = json.loads(self._sender.communicate()[0])["sent"]
        time.sleep(3)  # what is under way arrives, also on a busy machine
        self._receiver.terminate()
        got = json.loads(self._receiver.communicate()[0])
        figures = {"sent": sent * len(got), "lost": 0, "duplicated": 0, "silence_s": 0.0, "gaps": []}
        for address, packets in got.items():
            numbers = {number for number, _ in packets}
            times = [when for _, when in packets]
            figures["lost"] += sent - len(numbers)
            figures["duplicated"] += len(packets) - len(numbers)
            ends = [*packets, (sent, 0.0)]
            figures["gaps"] += [f"{after - before - 1} to {address} after {time.strftime('%H:%M:%S', time.gmtime(when))}.{int(when % 1 * 1000):03}"
                                for (before, when), (after, _) in zip(ends, ends[1:]) if after > before + 1]
            figures["silence_s"] = max([figures["silence_s"], *(b - a for a, b in zip(times, times[1:]))])
        return figures


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    if sys.argv[1] == "send":
        _send(float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
    else:
        _receive(int(sys.argv[2]), sys.argv[3:])
