"""nat_replay as a process: batches of packets in, what became of each out. README.md has the layout."""

import struct
import subprocess
from dataclasses import dataclass, field

CREATED, ENDED, MAPPED, UNMAPPED, BLOCK, FREED = 0, 1, 2, 3, 10, 11
LAN, PRIMARY, SECONDARY, LINUX = 0, 1, 2, 3

_walk = struct.Struct("<cQB")
_frame = struct.Struct("<BH")
_sent = struct.Struct("<BBH")
_events = struct.Struct("<I")
_event = struct.Struct("<BIIHHBIIHHB")
_session = struct.Struct("<IIHHBIIHHBI")
_usage = struct.Struct("<9Q")
USAGE = ("sessions", "opened", "expired", "evicted", "ports_exhausted", "sessions_exhausted", "blocks_exhausted",
         "host_limited", "host_rate_limited")


@dataclass
class Seen:
    """What a walk did. Keys are (own address, remote, own port, remote port, protocol)."""
    sent: list[tuple[int, int, bytes]] = field(default_factory=list)  # port, index of the packet in the walk, bytes
    drops: dict[str, int] = field(default_factory=dict)
    held: int = 0
    created: dict[tuple, tuple] = field(default_factory=dict)  # inside key -> outside key
    ended: set = field(default_factory=set)  # (inside key, outside key)
    mapped: dict[tuple, tuple] = field(default_factory=dict)  # (host, port, protocol) -> (address, port)
    unmapped: set = field(default_factory=set)
    blocks: dict[int, tuple] = field(default_factory=dict)  # host -> (address, first port)
    freed: set = field(default_factory=set)


@dataclass
class State:
    sessions: dict[tuple, tuple[tuple, int]]  # inside key -> (outside key, second of the last packet)
    usage: dict[str, int]
    ports_in_use: list[tuple[int, int, int]]  # of each address: TCP, UDP, ICMP


class Replay:
    def __init__(self, program: str, arguments: list[str], addresses: int):
        self.command = [program, *arguments]
        self.addresses = addresses
        self._process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._ask(b"D")
        self.drops = [self._read(self._read(1)[0]).decode() for _ in range(self._read(1)[0])]

    def close(self) -> None:
        self._process.stdin.close()
        if self._process.wait(timeout=60) != 0:
            raise RuntimeError(f"{self.command} ended with status {self._process.returncode}")

    def _ask(self, request: bytes) -> None:
        self._process.stdin.write(request + b"E")
        self._process.stdin.flush()

    def _read(self, count: int) -> bytes:
        data = self._process.stdout.read(count)
        if len(data) != count:
            raise RuntimeError(f"{self.command} ended in the middle of an answer")
        return data

    def send(self, walks: list[tuple[int, list[tuple[int, bytes]]]]) -> None:
        """Walks are (milliseconds, [(port, packet)]); answers are to be taken in their order."""
        request = bytearray()
        for ms, packets in walks:
            request += _walk.pack(b"W", ms, len(packets))
            for port, packet in packets:
                request += _frame.pack(port, len(packet)) + packet
        self._ask(bytes(request))

    def take(self) -> Seen:
        seen = Seen()
        for _ in range(self._read(1)[0]):
            port, index, size = _sent.unpack(self._read(4))
            seen.sent.append((port, index, self._read(size)))
        for _ in range(self._read(1)[0]):
            reason, count = self._read(2)
            seen.drops[self.drops[reason]] = count
        seen.held = self._read(1)[0]
        (count,) = _events.unpack(self._read(4))
        if count:
            for kind, *keys in _event.iter_unpack(self._read(count * _event.size)):
                self._note(seen, kind, tuple(keys[:5]), tuple(keys[5:]))
        return seen

    @staticmethod
    def _note(seen: Seen, kind: int, inside: tuple, outside: tuple) -> None:
        if kind == CREATED:
            seen.created[inside] = outside
        elif kind == ENDED:
            seen.ended.add((inside, outside))
        elif kind in (MAPPED, UNMAPPED):
            key, at = (inside[0], inside[2], inside[4]), (outside[0], outside[2])
            if kind == MAPPED:
                seen.mapped[key] = at
            else:
                seen.unmapped.add((key, at))
        elif kind == BLOCK:
            seen.blocks[inside[0]] = (outside[0], outside[2])
        elif kind == FREED:
            seen.freed.add((inside[0], outside[0], outside[2]))
        else:
            raise RuntimeError(f"unknown event {kind}")

    def state(self) -> State:
        self._ask(b"S")
        (count,) = _events.unpack(self._read(4))
        sessions = {}
        for *keys, last in _session.iter_unpack(self._read(count * _session.size)):
            sessions[tuple(keys[:5])] = (tuple(keys[5:]), last)
        if len(sessions) != count:
            raise RuntimeError("two sessions with one inside key")
        usage = dict(zip(USAGE, _usage.unpack(self._read(_usage.size))))
        ports = list(struct.iter_unpack("<III", self._read(12 * self.addresses)))
        return State(sessions, usage, ports)
