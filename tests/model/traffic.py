"""Random packets with a bias to what collides: few hosts, remotes and ports; answers and errors about what is alive or
has just died; fragments in any order; time that stands nearly still, or jumps to where a timer ends."""

import random
from dataclasses import dataclass, field

from ipv4 import (ACK, DONT, FIN, ICMP, MORE, PSH, RST, SYN, TCP, UDP, address, icmp, ip_header, ip_packet, tcp, udp,
                  with_checksum, CHECKSUM_AT)
from fragments import cut
from replay import LAN, PRIMARY, SECONDARY
from sessions import Pool, Session

HOSTS = address("10.10.1.0")
REMOTES = (address("13.107.6.9"), address("13.107.7.9"), address("13.107.7.10"))
ROUTER = address("13.107.7.254")
UNKNOWN_PROTOCOLS = (2, 47, 132)
FLAGS = (SYN, SYN, ACK, ACK, SYN | ACK, PSH | ACK, FIN | ACK, FIN | ACK, RST, RST | ACK, SYN | FIN, FIN, 0)
OPTIONS = (b"\x01\x01\x01\x00", b"\x94\x04\x00\x00", b"\x07\x07\x04\x00\x00\x00\x00\x00")  # NOP, alert, record route


@dataclass
class Mix:
    """How often each kind comes, and among how many."""
    hosts: int = 4
    ports: range = range(2000, 2024)
    remotes: tuple[int, ...] = REMOTES
    remote_ports: tuple[int, ...] = (53, 443)
    protocols: tuple[int, ...] = (TCP, UDP, ICMP)
    kinds: dict[str, int] = field(default_factory=lambda: {
        "open": 20, "again": 20, "reply": 25, "stranger": 5, "hairpin": 8, "error_in": 8, "error_out": 5, "odd": 3})
    begins: int = 0  # as the kinds: packets from outside that a static mapping takes
    fragments: float = 0.06
    wrong_checksum: float = 0.02
    wrong_header: float = 0.005
    last_hop: float = 0.02
    longest_wait: int = 3000  # milliseconds, but for what waits for a timer
    jumps: float = 1.0  # how often time jumps to where a timer ends, or far beyond


class Traffic:
    """Knows the model's sessions by the last ones that had a packet."""

    def __init__(self, seed: int, pool: Pool, mix: Mix):
        self.random = random.Random(seed)
        self.pool, self.mix = pool, mix
        self.recent: list[Session] = []
        self.ms = 0
        self.waiting: list[tuple[int, bytes]] = []  # fragments to be sent, in any order
        self.ident = 0
        self._kinds = [*self.mix.kinds, "begin"]
        self._weights = [*self.mix.kinds.values(), self.mix.begins]

    def note(self, session: Session | None) -> None:
        if session is None:
            return
        if len(self.recent) < 200:
            self.recent.append(session)
        else:
            self.recent[self.random.randrange(200)] = session

    def next(self) -> tuple[int, int, bytes]:
        """Milliseconds since the beginning, port, packet."""
        r = self.random
        self.ms += self._wait()
        if self.waiting and r.random() < 0.5:
            side, packet = self.waiting.pop(r.randrange(len(self.waiting)))
            return self.ms, side, packet
        kind = r.choices(self._kinds, self._weights)[0]
        side, packet = getattr(self, "_" + kind)()
        if r.random() < self.mix.fragments and len(packet) > 44 and packet[6] & 0x7f == 0 and packet[7] == 0:
            return self.ms, *self._in_pieces(side, packet)
        if r.random() < self.mix.wrong_header:
            at = r.randrange(len(packet[:20]))
            bit = r.randrange(8 if at else 5)  # not the version: it would be a packet of another protocol
            packet = packet[:at] + bytes([packet[at] ^ 1 << bit]) + packet[at + 1:]
        elif r.random() < 0.02:
            packet += bytes(r.randrange(8))  # padding of the link layer
        return self.ms, side, packet

    def _wait(self) -> int:
        r, t = self.random, self.pool.timeouts
        x = r.random()
        if x < 0.93:
            return r.randint(1, 20)
        if x < 0.997 or r.random() > self.mix.jumps:
            return r.randint(300, self.mix.longest_wait)
        if x < 0.9995 and self.recent:  # to the last second of somebody's timer, or beyond
            s = self._any()
            end = (s.last + s.timeout(t) + r.randint(0, 2)) * 1000
            return end - self.ms if end > self.ms else 1
        return r.choice((t.udp, t.icmp, t.tcp_transitory, t.tcp_closing, t.tcp_established)) * r.randint(100, 1200)

    # Packets.

    def _packet(self, source, destination, protocol, l4: bytes) -> bytes:
        r = self.random
        x = r.random()
        at = CHECKSUM_AT.get(protocol)
        if at is None:
            pass
        elif x < self.mix.wrong_checksum:
            l4 = l4[:at] + r.randbytes(2) + l4[at + 2:]
        elif protocol != UDP or x > 0.2:  # else without
            l4 = with_checksum(source, destination, protocol, l4)
        self.ident = (self.ident + 1) & 0xffff
        ttl = 1 if r.random() < self.mix.last_hop else r.choice((2, 64, 64, 255))
        options = r.choice(OPTIONS) if r.random() < 0.03 else b""
        return ip_packet(source, destination, protocol, l4, ttl=ttl, ident=self.ident,
                         fragment=DONT if r.random() < 0.3 else 0, tos=r.choice((0, 0, 1, 2, 3, 0xb8)), options=options)

    def _payload(self) -> bytes:
        r = self.random
        x = r.random()
        size = r.randrange(40) if x < 0.97 else r.randrange(1400, 1600)
        return bytes(size) if x < 0.1 else r.randbytes(size)

    def _segment(self, protocol, port, remote_port, query: bool) -> bytes:
        """Of ICMP: a query or its answer with `port` or `remote_port`, whichever is not 0, as identifier."""
        r = self.random
        payload = self._payload()
        if protocol == UDP:
            return udp(port, remote_port, payload)
        if protocol == TCP:
            return tcp(port, remote_port, r.choice(FLAGS), payload, r.getrandbits(32))
        if protocol != ICMP:
            x = r.random()
            return r.randbytes(6) + (b"\0\0" if x < 0.3 else r.randbytes(2)) + payload
        kind = r.choice((8, 8, 8, 13) if query else (0, 0, 0, 14))
        if r.random() < 0.1:
            kind = r.choice((0, 8, 13, 14))
        if r.random() < 0.05:
            payload = bytes(len(payload))
        return icmp(kind, 0, (port or remote_port) << 16 | r.choice((0, 1, r.getrandbits(16))), payload)

    def _inside_end(self):
        r = self.random
        return HOSTS + 10 + r.randrange(self.mix.hosts), r.choice(self.mix.ports)

    def _remote_end(self, protocol):
        r = self.random
        return r.choice(self.mix.remotes), 0 if protocol == ICMP else r.choice(self.mix.remote_ports)

    def _link(self) -> int:
        return self.random.choice((PRIMARY, SECONDARY))

    def _any(self) -> Session | None:
        """Alive, as a rule."""
        if not self.recent:
            return None
        s = self.random.choice(self.recent)
        for _ in range(3 if self.random.random() < 0.9 else 0):
            if s.live:
                break
            s = self.random.choice(self.recent)
        return s

    def _open(self):
        r = self.random
        protocol = r.choice(self.mix.protocols)
        host, port = self._inside_end()
        if protocol == ICMP and r.random() < 0.03:
            port = 0
        remote, remote_port = self._remote_end(protocol)
        return LAN, self._packet(host, remote, protocol, self._segment(protocol, port, remote_port, True))

    def _again(self):
        r = self.random
        s = self._any()
        if s is None:
            return self._open()
        query = s.near == s.remote or r.random() < 0.5
        return LAN, self._packet(s.host, s.near, s.protocol, self._segment(s.protocol, s.port, s.near_port, query))

    def _reply(self):
        s = self._any()
        if s is None:
            return self._open()
        l4 = self._segment(s.protocol, s.remote_port, s.outside_port, False)
        if s.near != s.remote and self.random.random() < 0.3:
            l4 = self._segment(s.protocol, s.remote_port, s.outside_port, True)
        if s.remote >> 8 == self.pool.addresses[0] >> 8:  # a hairpin's
            return self._hairpin()
        return self._link(), self._packet(s.remote, s.outside, s.protocol, l4)

    def _stranger(self):
        """Nearly a reply."""
        r = self.random
        s = self._any()
        protocol = r.choice(self.mix.protocols)
        remote, remote_port = self._remote_end(protocol)
        outside = r.choice(self.pool.addresses)
        port = s.outside_port if s is not None and r.random() < 0.7 else r.choice(self.mix.ports)
        if s is not None and r.random() < 0.5:
            outside, protocol = s.outside, s.protocol
            remote_port = 0 if protocol == ICMP else remote_port or 53
        if protocol == ICMP:
            l4 = icmp(r.choice((0, 8, 13, 14, 8)), 0, port << 16 | r.randrange(3), self._payload())
        else:
            l4 = self._segment(protocol, remote_port or 53, port, False)
        return self._link(), self._packet(remote, outside, protocol, l4)

    def _begin(self):
        r = self.random
        s = r.choice(self.pool.statics)
        protocol = s.protocol or r.choice(self.mix.protocols)
        port = s.port or r.choice(self.mix.ports)
        remote, remote_port = self._remote_end(protocol)
        if r.random() < 0.1:
            port += 1
        if r.random() < 0.3:
            remote_port = r.choice(self.mix.ports)
        if protocol == ICMP:
            l4 = icmp(r.choice((8, 13, 8, 0)), 0, port << 16 | r.randrange(3), self._payload())
        else:
            l4 = self._segment(protocol, remote_port, port, True)
        return self._link(), self._packet(remote, s.outside, protocol, l4)

    def _hairpin(self):
        r = self.random
        s = self._any()
        if s is None:
            return self._open()
        host, port = self._inside_end()
        other = self._any()
        if r.random() < 0.6:
            host, port = other.host, other.port
        target, target_port = s.outside, s.outside_port
        if r.random() < 0.5:  # as the other end knows it
            target, target_port = other.outside, r.choice(self.mix.ports)
            if self.pool.statics and r.random() < 0.5:
                static = r.choice(self.pool.statics)
                target, target_port = static.outside, static.port or target_port
        protocol = s.protocol
        l4 = self._segment(protocol, port, 0 if protocol == ICMP else target_port, True)
        return LAN, self._packet(host, target, protocol, l4)

    # Errors.

    def _quote(self, source, destination, protocol, port, remote_port) -> bytes:
        """What the sender of an error has got, cut."""
        r = self.random
        l4 = self._segment(protocol, port, remote_port, r.random() < 0.5)
        if protocol in CHECKSUM_AT and r.random() < 0.9 and not (protocol == UDP and r.random() < 0.3):
            l4 = with_checksum(source, destination, protocol, l4)
        options = r.choice(OPTIONS) if r.random() < 0.1 else b""
        x = r.random()
        fragment = 0 if x < 0.94 else MORE if x < 0.97 else r.randrange(1, 100)
        whole = ip_packet(source, destination, protocol, l4, ttl=r.choice((1, 60)), ident=r.getrandbits(16),
                          fragment=fragment, options=options)
        x = r.random()
        if x < 0.5:
            return whole[:28 + len(options)]
        if x < 0.9:
            return whole + r.randbytes(r.choice((0, 0, 8)))  # extensions (RFC 4884) lie behind it
        return whole[:r.randrange(len(whole))]

    def _error(self, source, destination, quote: bytes) -> bytes:
        r = self.random
        if r.random() < 0.03 and len(quote) > 20:
            at = r.randrange(20)
            quote = quote[:at] + bytes([quote[at] ^ 1 << r.randrange(8)]) + quote[at + 1:]
        kind, code = r.choice(((3, 1), (3, 3), (3, 4), (11, 0), (12, 0), (3, 13), (4, 0), (5, 1)))
        rest = r.choice((0, 1400, r.getrandbits(32)))
        return self._packet(source, destination, ICMP, icmp(kind, code, rest, quote))

    def _error_in(self):
        r = self.random
        s = self._any()
        if s is None:
            return self._open()
        port = s.outside_port
        if r.random() < 0.1:
            port = r.choice(self.mix.ports)
        remote_port = 0 if s.protocol == ICMP else s.remote_port
        quote = self._quote(s.outside, s.remote, s.protocol, port, remote_port)
        if s.remote in self.pool.addresses:  # hairpinned, by the host that has got it
            return LAN, self._error(HOSTS + 10 + r.randrange(self.mix.hosts), s.outside, quote)
        to = s.outside if r.random() < 0.95 else r.choice(self.pool.addresses)
        return self._link(), self._error(r.choice((s.remote, ROUTER)), to, quote)

    def _error_out(self):
        r = self.random
        s = self._any()
        if s is None:
            return self._open()
        port = s.port if r.random() < 0.9 else r.choice(self.mix.ports)
        if s.protocol == ICMP:
            quote = self._quote(s.near, s.host, ICMP, port, 0)
        else:
            quote = self._quote(s.near, s.host, s.protocol, s.near_port, port)
        to = s.near if r.random() < 0.95 else r.choice(self.mix.remotes)
        return LAN, self._error(r.choice((s.host, HOSTS + 254)), to, quote)

    # What is rare.

    def _odd(self):
        r = self.random
        host, port = self._inside_end()
        remote, remote_port = self._remote_end(UDP)
        outside = r.choice(self.pool.addresses)
        x = r.randrange(7)
        if x == 0:
            return LAN, ip_packet(host, remote, r.choice(UNKNOWN_PROTOCOLS), r.randbytes(20))
        if x == 1:
            return self._link(), ip_packet(remote, outside, r.choice(UNKNOWN_PROTOCOLS), r.randbytes(20))
        if x == 2:  # an ICMP type that is neither query nor error
            side, source, to = r.choice(((LAN, host, remote), (PRIMARY, remote, outside), (LAN, host, outside)))
            return side, self._packet(source, to, ICMP, icmp(r.choice((4, 5, 9, 10, 17, 18, 40)), 0, 7, r.randbytes(28)))
        if x == 3:  # past the NAT
            return self._link(), self._packet(remote, r.choice((host, r.choice(self.mix.remotes))), UDP,
                                              udp(remote_port, port, b""))
        if x == 4:
            return self._link(), self._packet(remote, address("198.51.100.17"), UDP, udp(remote_port, port, b""))
        if x == 5:
            return LAN, self._packet(address(r.choice(("127.0.0.1", "0.1.2.3", "240.0.0.1"))), r.choice((remote, outside)),
                                     UDP, udp(port, remote_port, b""))
        protocol = r.choice((TCP, UDP, ICMP))  # shorter than its own header
        side, source, to = r.choice(((LAN, host, remote), (PRIMARY, remote, outside)))
        return side, ip_packet(source, to, protocol, r.randbytes(r.randrange(20 if protocol == TCP else 8)))

    def _in_pieces(self, side: int, packet: bytes):
        """Keeps all pieces but one, which goes now."""
        r = self.random
        mtu = r.choice((44, 52, 60)) if len(packet) < 200 else r.choice((576, 1000))
        pieces = cut(packet, max(mtu, (packet[0] & 15) * 4 + 24))
        x = r.random()
        if x < 0.1:
            pieces.pop(r.randrange(len(pieces)))
        elif x < 0.2:
            pieces.append(r.choice(pieces))
        elif x < 0.3 and len(pieces) > 1:  # one is moved, so that it overlaps or leaves a hole
            p = bytearray(pieces.pop())
            moved = int.from_bytes(p[6:8], "big") + r.choice((-1, 1, 2))
            pieces.append(rewritten(bytes(p), moved & 0x3fff))
        elif x < 0.35:  # another mark of congestion
            i = r.randrange(len(pieces))
            pieces[i] = rewritten(pieces[i], int.from_bytes(pieces[i][6:8], "big"), r.randrange(4))
        r.shuffle(pieces)
        sides = [side] * len(pieces) if side == LAN else [self._link() for _ in pieces]
        self.waiting += list(zip(sides, pieces))[1:]
        if len(self.waiting) > 40:
            del self.waiting[:20]
        return (sides[0], pieces[0]) if pieces else self._open()


def rewritten(piece: bytes, fragment: int, tos: int | None = None) -> bytes:
    head = (piece[0] & 15) * 4
    return ip_header(int.from_bytes(piece[12:16], "big"), int.from_bytes(piece[16:20], "big"), piece[9],
                     len(piece) - head, ttl=piece[8], ident=int.from_bytes(piece[4:6], "big"), fragment=fragment,
                     tos=piece[1] if tos is None else tos, options=piece[20:head]) + piece[head:]
