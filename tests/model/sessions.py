"""What a NAT remembers, by RFC 4787, 5382, 5508 and 7857: sessions, when they end, and who uses which outside port."""

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from ipv4 import ACK, FIN, ICMP, RST, SYN, TCP, UDP, dotted

OUT, IN = 0, 1  # from the inside, to the inside
MOST_USERS = 255  # of one port, in one protocol


@dataclass(frozen=True)
class Timeouts:
    """Seconds."""
    udp: int = 300
    tcp_established: int = 7440
    tcp_transitory: int = 240
    tcp_closing: int = 240
    icmp: int = 60
    other: int = 300


@dataclass(frozen=True)
class Static:
    """A whole host, or with a protocol one port of it."""
    outside: int
    inside: int
    protocol: int = 0
    port: int = 0
    inside_port: int = 0


@dataclass
class Pool:
    """As the configuration has it; docs/configuration.md says what it means."""
    addresses: list[int]
    ports: range
    reserved: list[range] = field(default_factory=list)
    independent: bool = False
    open_filter: bool = False
    inbound_refresh: bool = True
    host_limit: int = 0
    host_rate: int = 0
    block_size: int = 0
    blocks_per_host: int = 1
    timeouts: Timeouts = Timeouts()
    any_protocol: bool = False
    statics: list[Static] = field(default_factory=list)
    from_microsoft: list[int] = field(default_factory=list)

    def __post_init__(self):
        self.addresses = [a for a in self.addresses if not any(s.outside == a and not s.protocol for s in self.statics)]
        self.reserved = self.reserved + [range(s.port, s.port + 1) for s in self.statics if s.port in self.ports]
        self.given = frozenset(p for p in self.ports if not any(p in r for r in self.reserved))

    def static_inside(self, host: int, protocol: int, port: int) -> tuple[int, int] | None:
        """The outside end of what the host sends from there."""
        for s in self.statics:
            if s.inside == host and s.protocol == protocol and s.inside_port == port and s.protocol:
                return s.outside, s.port
        return next(((s.outside, port) for s in self.statics if s.inside == host and not s.protocol), None)

    def static_outside(self, address: int, protocol: int, port: int) -> tuple[int, int] | None:
        for s in self.statics:
            if s.outside == address and s.protocol == protocol and s.port == port and s.protocol:
                return s.inside, s.inside_port
        return next(((s.inside, port) for s in self.statics if s.outside == address and not s.protocol), None)


class Session:
    """`near` is what the remote end is called inside."""
    __slots__ = ("host", "port", "remote", "remote_port", "near", "near_port", "metered", "protocol", "outside", "outside_port", "last", "acked",
                 "finished", "reset", "lease", "live")

    def __init__(self, host, port, remote, remote_port, protocol, now):
        self.host, self.port, self.remote, self.remote_port, self.protocol = host, port, remote, remote_port, protocol
        self.near, self.near_port = remote, remote_port
        self.metered = False
        self.outside = self.outside_port = 0
        self.last = now
        self.live = False
        self.lease = None  # the mapping or block that the port belongs to
        self.begin_anew()

    def begin_anew(self):
        self.acked, self.finished, self.reset = [False, False], [False, False], [False, False]

    @property
    def inside_key(self):
        return self.host, self.near, self.port, self.near_port, self.protocol

    @property
    def outside_key(self):
        return self.outside, self.remote, self.outside_port, self.remote_port, self.protocol

    def is_closing(self) -> bool:
        return any(self.reset) or all(self.finished)

    def is_transitory(self) -> bool:
        """Opening, closing or unanswered: it makes room for others. What is not TCP has acknowledged when it has
        spoken; a query and its answer are all there is of a conversation in ICMP."""
        if self.protocol == ICMP or not all(self.acked):
            return True
        return self.protocol == TCP and self.is_closing()

    def timeout(self, t: Timeouts) -> int:
        if self.protocol == UDP:
            return t.udp
        if self.protocol == ICMP:
            return t.icmp
        if self.protocol != TCP:
            return t.other
        return t.tcp_closing if self.is_closing() else t.tcp_established if all(self.acked) else t.tcp_transitory

    def passed(self, side: int, flags: int) -> bool:
        """Follows a packet; whether it keeps the session alive."""
        if self.protocol != TCP:
            self.acked[side] = True
            return True
        if flags & RST:
            first = not self.reset[side]
            self.reset[side] = True
            return first
        if flags & (SYN | ACK) == SYN and self.is_closing():
            self.begin_anew()
            return True
        self.reset[side] = False
        self.acked[side] |= bool(flags & ACK)
        self.finished[side] |= bool(flags & FIN)
        return True

    def __str__(self):
        return (f"{dotted(self.host)}:{self.port} as {dotted(self.outside)}:{self.outside_port} to "
                f"{dotted(self.remote)}:{self.remote_port} protocol {self.protocol} last {self.last} "
                f"acked {self.acked} finished {self.finished} reset {self.reset}")


class Sessions:
    """All of them, by either end, and when the next one is due."""

    def __init__(self, timeouts: Timeouts):
        self.timeouts = timeouts
        self.inside: dict[tuple, Session] = {}
        self.outside: dict[tuple, Session] = {}
        self.towards: dict[tuple, dict] = defaultdict(dict)  # (protocol, remote, its port) -> {(address, port): session}
        self.users: dict[tuple, Counter] = defaultdict(Counter)  # (address, protocol) -> port -> sessions or mappings
        self.full: dict[tuple, set] = defaultdict(set)  # (address, protocol) -> ports that as many have as may
        self.of_host: Counter = Counter()
        self.retired = self.most_records = 0  # what has ended in this second is free in the next
        self._due: list = []
        self._serial = 0

    def add(self, s: Session) -> None:
        assert s.outside_key not in self.outside and s.inside_key not in self.inside
        s.live = True
        self.inside[s.inside_key] = self.outside[s.outside_key] = s
        self.towards[s.protocol, s.remote, s.remote_port][s.outside, s.outside_port] = s
        self.of_host[s.host] += 1
        if s.metered:
            users = self.users[s.outside, s.protocol]
            users[s.outside_port] += 1
            if users[s.outside_port] == MOST_USERS:
                self.full[s.outside, s.protocol].add(s.outside_port)
        self.schedule(s)

    def remove(self, s: Session) -> None:
        s.live = False
        del self.inside[s.inside_key], self.outside[s.outside_key]
        del self.towards[s.protocol, s.remote, s.remote_port][s.outside, s.outside_port]
        self.of_host[s.host] -= 1
        if s.metered:
            self.give_back(s.outside, s.protocol, s.outside_port)

    def count(self, others: int) -> None:
        """`others`: mappings, blocks and hosts, which are records as sessions are."""
        self.most_records = max(self.most_records, len(self.inside) + others + self.retired)

    def give_back(self, address: int, protocol: int, port: int) -> None:
        users = self.users[address, protocol]
        users[port] -= 1
        self.full[address, protocol].discard(port)
        if users[port] == 0:
            del users[port]

    def schedule(self, s: Session) -> None:
        """Also when its timeout has become shorter."""
        self._serial += 1
        heapq.heappush(self._due, (s.last + s.timeout(self.timeouts) + 1, self._serial, s))

    def expired(self, now: int) -> list[Session]:
        """Idle for longer than their time. They are still in."""
        out = []
        seen = set()
        while self._due and self._due[0][0] <= now:
            s = heapq.heappop(self._due)[2]
            if not s.live or id(s) in seen:
                continue
            if s.last + s.timeout(self.timeouts) < now:
                seen.add(id(s))
                out.append(s)
            else:
                self.schedule(s)
        return out
