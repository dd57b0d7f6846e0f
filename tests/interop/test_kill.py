"""Twenty kills of the daemon under traffic, judged by all that ever came out of it: no IV twice, and nothing for the peer's replay window."""

import itertools
import os
import random
import threading
import time
from contextlib import contextmanager

import pytest
from harness import LAN_HOST, Site, eventually
from packets import *
from wire import Wire

KILLS = 20
WINDOW = 32  # the narrowest that strongSwan and Linux use
INTERVAL = 0.002


@pytest.fixture
def victim(namespace, tmp_path):
    made = Site(namespace, tmp_path, f"twi-{os.getpid()}-kill")
    yield made
    made.end()


class Judge:
    """The far end of tunnel azure-0: takes what comes out in the order of the wire (RFC 4303 section 3.4.3)."""

    def __init__(self, site):
        self._wire = Wire(site.namespace.name, "primary1")
        self._peer = Peer("azure-0")
        self._ivs, self._highest, self._seen = set(), 0, set()
        self.packets = self.longest_gap = 0

    def close(self) -> None:
        self._wire.close()

    def take(self) -> int:
        """How many packets came out since the last call."""
        frames = [frame for frame in self._wire.waiting() if self._peer.carries(frame)]
        for frame in frames:
            self._take(frame[ESP])
        if frames:
            self._peer.open(frames[-1])
        self.packets += len(frames)
        return len(frames)

    def _take(self, esp) -> None:
        iv = bytes(esp.data[:8])
        assert iv not in self._ivs, f"IV {iv.hex()} came out twice"
        self._ivs.add(iv)
        assert esp.seq > self._highest - WINDOW and esp.seq not in self._seen, f"{esp.seq} after {self._highest} is dropped by the peer"
        self._seen.add(esp.seq)
        self.longest_gap = max(self.longest_gap, esp.seq - self._highest)
        self._highest = max(self._highest, esp.seq)


@contextmanager
def traffic(site):
    """Packets into the tunnel all the time, whether the daemon lives or not."""
    frames = [bytes(lan_frame(site, IP(src=LAN_HOST, dst="10.20.1.7") / UDP(sport=n + 1) / payload())) for n in range(100)]
    wire, stop = Wire(site.namespace.name, "lan1"), threading.Event()

    def send():
        for n in itertools.count():
            if stop.wait(INTERVAL):
                return
            try:
                wire._socket.send(frames[n % len(frames)])
            except OSError:
                pass  # the port is down between two lives

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        wire.close()


def test_twenty_kills_under_traffic(victim):
    victim.start()
    judge = Judge(victim)
    try:
        with traffic(victim):
            for kill in range(KILLS):
                eventually(judge.take, message=f"nothing is sealed after {kill} kills")
                time.sleep(random.uniform(0, 0.5))
                victim.daemon.kill()
                judge.take()
                victim.start()
            eventually(judge.take)
        print(f"{judge.packets} packets, longest gap {judge.longest_gap}")
        assert judge.packets > 20 * KILLS
    finally:
        judge.close()
