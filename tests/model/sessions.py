"""What a NAT remembers, by RFC 4787, 5382, 5508 and 7857: sessions, when they end, and who uses which outside port."""

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from ipv4 import ACK, FIN, ICMP, RST, SYN, TCP, UDP

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

    def __post_init__(self):
        self.given = frozenset(p for p in self.ports if not any(p in r for r in self.reserved))


class Session:
    __slots__ = ("host", "port", "remote", "remote_port", "protocol", "outside", "outside_port", "last", "acked",
                 "finished", "reset", "lease", "live")

    def __init__(self, host, port, remote, remote_port, protocol, now):
        self.host, self.port, self.remote, self.remote_port, self.protocol = host, port, remote, remote_port, protocol
        self.outside = self.outside_port = 0
        self.last = now
        self.live = False
        self.lease = None  # the mapping or block that the port belongs to
        self.begin_anew()

    def begin_anew(self):
        self.acked, self.finished, self.reset = [False, False], [False, False], [False, False]

    @property
    def inside_key(self):
        return self.host, self.remote, self.port, self.remote_port, self.protocol

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
        from ipv4 import dotted
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
        self._due: list = []
        self._serial = 0

    def add(self, s: Session, owns_port: bool) -> None:
        assert s.outside_key not in self.outside and s.inside_key not in self.inside
        s.live = True
        self.inside[s.inside_key] = self.outside[s.outside_key] = s
        self.towards[s.protocol, s.remote, s.remote_port][s.outside, s.outside_port] = s
        self.of_host[s.host] += 1
        if owns_port:
            users = self.users[s.outside, s.protocol]
            users[s.outside_port] += 1
            if users[s.outside_port] == MOST_USERS:
                self.full[s.outside, s.protocol].add(s.outside_port)
        self.schedule(s)

    def remove(self, s: Session, owns_port: bool) -> None:
        s.live = False
        del self.inside[s.inside_key], self.outside[s.outside_key]
        del self.towards[s.protocol, s.remote, s.remote_port][s.outside, s.outside_port]
        self.of_host[s.host] -= 1
        if owns_port:
            self.give_back(s.outside, s.protocol, s.outside_port)

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
