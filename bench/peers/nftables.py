#!/usr/bin/python3
"""Measures Linux's forwarding and its source NAT (nftables) on one core, and adds them to peers.json: nftables.py OUT.json [--quick].

A namespace that generates and one that translates, joined by three veth pairs: inside, outside, and one whose far end
drops, which is the empty loop. A packet that is sent is carried to its end within the system call that sends it, on
the sender's core, so bursts can be timed as bench/measure.cpp times them.
"""

import argparse
import contextlib
import ctypes
import ipaddress
import json
import os
import pathlib
import random
import socket
import statistics
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import frames  # noqa: E402

BURST = 64
SIZE = 64
SESSIONS = (1_000, 100_000)
ROUNDS = 3
OUTSIDE = "198.51.100.1"  # what flows are translated to
# Interfaces of the generator, with the far end's address that makes Linux take the packet.
PAIRS = {"in": "10.10.255.254", "out": "203.0.113.1", "null": "192.0.2.1"}
# What forwards, sends from one side to the other.
WAYS = {"forward": ("in", "out"), "nat_out": ("in", "out"), "nat_in": ("out", "in")}
MAC = "02:00:00:00:{}:{}"
RULES = f"""table ip twinspan {{
    chain translate {{ type nat hook postrouting priority srcnat; oifname "out" ip saddr 10.10.0.0/16 snat to {OUTSIDE}; }}
}}"""
SINK = """table netdev sink {{
    chain ends {{ type filter hook ingress device "{}" priority 0; policy drop; }}
}}"""
SOL_PACKET, PACKET_QDISC_BYPASS, ETH_P_ALL = 263, 20, 3


def flow(i: int) -> tuple[str, str, int, int]:
    """Inside address, remote address, port, remote port. The port and the remote are a pair of their own, so that the
    port can stay what it is (RFC 4787 section 4.2.1) and replies are known beforehand."""
    return (
        str(ipaddress.IPv4Address("10.10.0.2") + i // 16 % 60_000),
        str(ipaddress.IPv4Address("13.0.0.1") + i % 250_000),
        32_768 + i * 7919 % 28_232,
        443,
    )


def mac(name: str, end: int) -> str:
    return MAC.format("01" if end else "00", f"{list(PAIRS).index(name) + 1:02x}")


def frame(source: str, to: str, source_port: int, port: int, name: str) -> bytes:
    """UDP in IPv4 to the far end of the pair, SIZE bytes without FCS, checksums right."""
    payload = bytes(SIZE - frames.ETHERNET - 28)
    ends = socket.inet_aton(source) + socket.inet_aton(to)
    udp = struct.pack("!4H", source_port, port, 8 + len(payload), 0)
    udp = udp[:6] + struct.pack("!H", checksum(ends + struct.pack("!2H", 17, len(udp) + len(payload)) + udp) or 0xFFFF) + payload
    ip = struct.pack("!2B3H2BH", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0) + ends
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    ethernet = bytes.fromhex((mac(name, 1) + mac(name, 0)).replace(":", "")) + b"\x08\x00"
    return ethernet + ip + udp


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(way: str, i: int) -> bytes:
    inside, remote, port, remote_port = flow(i)
    if way == "nat_in":
        return frame(remote, OUTSIDE, remote_port, port, "out")
    return frame(inside, remote, port, remote_port, "in")


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Header(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32), ("iov", ctypes.c_void_p), ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t), ("flags", ctypes.c_int),
    ]  # fmt: skip


class Message(ctypes.Structure):  # struct mmsghdr
    _fields_ = [("header", Header), ("sent", ctypes.c_uint)]


LIBC = ctypes.CDLL(None, use_errno=True)


class Sender:
    """Packets ready to be sent by a pair's near end, a burst at a time, round and round."""

    def __init__(self, name: str, packets: list[bytes]):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.bind((name, 0))
        self.socket.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        self.bursts = len(packets) // BURST
        self.next = 0
        count = self.bursts * BURST
        self.data = ctypes.create_string_buffer(b"".join(packets[:count]), count * SIZE)
        self.vectors = (Iovec * count)()
        self.messages = (Message * count)()
        data, vectors = ctypes.addressof(self.data), ctypes.addressof(self.vectors)
        for i in range(count):
            self.vectors[i] = Iovec(data + i * SIZE, SIZE)
            self.messages[i].header.iov = vectors + i * ctypes.sizeof(Iovec)
            self.messages[i].header.iov_length = 1
        self.at = [ctypes.c_void_p(ctypes.addressof(self.messages) + i * BURST * ctypes.sizeof(Message)) for i in range(self.bursts)]

    def send(self) -> float:
        """Nanoseconds for each packet of the next burst."""
        at = self.at[self.next]
        self.next = (self.next + 1) % self.bursts
        descriptor = self.socket.fileno()
        begin = time.perf_counter_ns()
        sent = LIBC.sendmmsg(descriptor, at, BURST, 0)
        end = time.perf_counter_ns()
        if sent != BURST:
            raise RuntimeError(f"sendmmsg: {sent} of {BURST}, {os.strerror(ctypes.get_errno())}")
        return (end - begin) / BURST


def run(*command: str, text: str | None = None) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


@contextlib.contextmanager
def namespaces():
    """Yields the names of the generator's and the translator's."""
    generator, translator = (f"twinspan-peer-{what}-{os.getpid()}" for what in ("gen", "nat"))
    try:
        for name in (generator, translator):
            run("ip", "netns", "add", name)
        for name, address in PAIRS.items():
            run("ip", "-n", generator, "link", "add", name, "address", mac(name, 0), "type", "veth",
                "peer", "name", name, "address", mac(name, 1), "netns", translator)  # fmt: skip
            run("ip", "-n", translator, "address", "add", f"{address}/{16 if name == 'in' else 30}", "dev", name)
            for end in (generator, translator):
                run("ip", "netns", "exec", end, "sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
                run("ip", "-n", end, "link", "set", name, "up")
            if name != "null":  # what comes out of the translator ends there, before any protocol
                run("ip", "netns", "exec", generator, "nft", "-f", "-", text=SINK.format(name).replace("sink", f"sink_{name}"))
        run("ip", "netns", "exec", translator, "nft", "-f", "-", text=SINK.format("null"))
        run("ip", "netns", "exec", translator, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0",
            "net.ipv4.conf.in.rp_filter=0", "net.ipv4.conf.out.rp_filter=0")  # fmt: skip
        gateway = str(ipaddress.IPv4Address(PAIRS["out"]) + 1)
        run("ip", "-n", translator, "route", "add", "default", "via", gateway)
        run("ip", "-n", translator, "neighbour", "add", gateway, "lladdr", mac("out", 0), "dev", "out")
        # One next hop for all hosts inside: neighbours are no part of this.
        run("ip", "-n", translator, "address", "add", "192.0.2.5/30", "dev", "in")
        run("ip", "-n", translator, "route", "replace", "10.10.0.0/16", "via", "192.0.2.6", "dev", "in")
        run("ip", "-n", translator, "neighbour", "add", "192.0.2.6", "lladdr", mac("in", 0), "dev", "in")
        yield generator, translator
    finally:
        for name in (generator, translator):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def received(name: str) -> int:
    return int(pathlib.Path(f"/sys/class/net/{name}/statistics/rx_packets").read_text())


def check_translation(way: str) -> None:
    """Sends one packet and looks at what comes out: the other ends are as they were, and checksums right."""
    came, leaves = WAYS[way]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as sink:
        sink.bind((leaves, ETH_P_ALL))
        sink.settimeout(2)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
            sender.bind((came, 0))
            sender.send(packet(way, 0))
        check(way, sink.recv(2048))


def check(way: str, sent: bytes) -> None:
    """Raises ValueError unless this is what becomes of a way's first packet."""
    inside, remote, port, remote_port = flow(0)
    expected = {
        "forward": (inside, remote, port, remote_port),
        "nat_out": (OUTSIDE, remote, port, remote_port),
        "nat_in": (remote, inside, remote_port, port),
    }[way]
    ip, udp = sent[frames.ETHERNET : frames.ETHERNET + 20], sent[frames.ETHERNET + 20 : SIZE]
    ends = (socket.inet_ntoa(ip[12:16]), socket.inet_ntoa(ip[16:20]), *struct.unpack("!2H", udp[:4]))
    if ends != expected or checksum(ip) != 0 or checksum(ip[12:20] + struct.pack("!2H", 17, len(udp)) + udp) != 0 or ip[8] != 63:
        raise ValueError(f"{way}: {sent.hex()} came out, not {expected}")


def quartile(samples: list[float]) -> float:
    return statistics.quantiles(samples, n=4)[0]


def measure(way: str, sessions: int, bursts: int) -> dict:
    """Of several rounds the least. Both ways have their sessions, and warm ones, when the timing begins."""
    came, leaves = WAYS[way]
    order = random.Random(1).sample(range(sessions), sessions)
    sender = Sender(came, [packet(way, i) for i in order])
    empty = Sender("null", [frame("192.0.2.2", "192.0.2.1", 1_000 + i, 9, "null") for i in range(BURST * 16)])
    first = [sender.send() for _ in range(sender.bursts)]
    best = None
    for _ in range(ROUNDS):
        samples, beside = [], []
        before = received(leaves)
        for _ in range(bursts):
            samples.append(sender.send())
            after = received(leaves)
            if after - before != BURST:  # a part was left to ksoftirqd, or lost
                samples.pop()
            before = received(leaves)
            beside.append(empty.send())
        if len(samples) < bursts * 0.9:
            raise RuntimeError(f"{way}: {bursts - len(samples)} of {bursts} bursts did not come out at once")
        row = {"loop_ns_per_packet": quartile(samples), "empty_loop_ns_per_packet": quartile(beside)}
        row["ns_per_packet"] = row["loop_ns_per_packet"] - row["empty_loop_ns_per_packet"]
        best = row if best is None or row["ns_per_packet"] < best["ns_per_packet"] else best
    opening = quartile(first) - best["empty_loop_ns_per_packet"]
    return {"peer": "Linux", "name": way, "sessions": sessions, "size": str(SIZE)} | best | (
        {"opening_ns_per_packet": opening} if way == "nat_out" else {}
    )  # fmt: skip


def inside_generator(translator: str, counts: list[int], quick: bool) -> list[dict]:
    os.sched_setaffinity(0, {(os.cpu_count() or 1) - 1})
    bursts = 500 if quick else 4_000
    rows = []
    check_translation("forward")
    rows += [measure("forward", sessions, bursts) for sessions in counts]
    run("nsenter", f"--net=/run/netns/{translator}", "nft", "-f", "-", text=RULES)
    for sessions in counts:
        for way in ("nat_out", "nat_in"):
            check_translation(way)
            rows.append(measure(way, sessions, bursts))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--sessions", type=int, nargs="+", default=SESSIONS)
    parser.add_argument("--translator", help=argparse.SUPPRESS)  # its name: this is the generator's process
    arguments = parser.parse_args()
    if arguments.translator:
        arguments.out.write_text(json.dumps(inside_generator(arguments.translator, arguments.sessions, arguments.quick)))
        return 0
    rows_file = arguments.out.with_suffix(".nftables")
    with namespaces() as (generator, translator):
        options = ["--sessions", *map(str, arguments.sessions)] + ["--quick"] * arguments.quick
        run("ip", "netns", "exec", generator, sys.executable, __file__, str(rows_file), "--translator", translator, *options)
    rows = json.loads(rows_file.read_text())
    rows_file.unlink()
    peers = json.loads(arguments.out.read_text()) if arguments.out.exists() else {"results": []}
    arguments.out.write_text(json.dumps(peers | {"nat": rows}, indent=2) + "\n")
    for row in rows:
        print(f"{row['peer']} {row['name']:8} {row['sessions']:>7} sessions  {row['ns_per_packet']:7.0f} ns a packet, "
              f"loop {row['loop_ns_per_packet']:.0f}, empty {row['empty_loop_ns_per_packet']:.0f}, "
              f"opening {row.get('opening_ns_per_packet', 0):.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
