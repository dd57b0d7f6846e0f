"""What must become of a packet that NAT sees: RFC 4787, 5382, 5508, 7857, 1812, and docs/nat.md where those leave a
choice. Nothing here is taken from the data plane's source, and nothing is fast."""

from ipv4 import CHECKSUM_AT, DONT, ERRORS, HEADER, ICMP, QUERIES, REQUESTS, RST, SYN, ACK, TCP, UDP, Packet, address, dotted
from allocation import Allocation, Disagreement
from fragments import Gathering, cut
from icmp_errors import IcmpErrors, links_to
from replay import LAN, Seen
from rewrite import Wanted, checksum_is_right, set_ip, translated
from sessions import IN, OUT, Pool, Session, Sessions

MTU = 1500
OTHER_POOL = range(address("198.51.100.16"), address("198.51.100.20"))  # of public peering
COUNTED = {"nat_ports_exhausted": "ports_exhausted", "nat_blocks_exhausted": "blocks_exhausted",
           "nat_host_limit": "host_limited", "nat_host_rate": "host_rate_limited"}


class Model(IcmpErrors):
    def __init__(self, pool: Pool):
        self.pool = pool
        self.sessions = Sessions(pool.timeouts)
        self.ports = Allocation(pool, self.sessions, self.end)
        self.fragments = Gathering(6, 10_000 - 256, self.drop)
        self.addresses = frozenset(pool.addresses + [s.outside for s in pool.statics])
        self.stand_ins = frozenset(pool.from_microsoft)
        self.now = self.ms = 0
        self.begun: dict[int, tuple[int, int]] = {}  # host -> second, sessions begun in it
        self.usage = dict.fromkeys(("opened", "expired", "evicted", *COUNTED.values()), 0)

    # One packet.

    def walk(self, ms: int, side: int, data: bytes, seen: Seen) -> None:
        """Raises Disagreement when what was seen is not what must become of it."""
        self.seen, self.sent, self.drops = seen, [], {}
        self.touched = None
        self.ms = ms
        self.fragments.expire(ms)
        if ms // 1000 != self.now:
            self.now = ms // 1000
            self.sessions.retired = 0
            for s in self.sessions.expired(self.now):
                self.end(s, "expired")
        self.receive(side, data)
        self._compare(seen)

    def _compare(self, seen: Seen) -> None:
        if self.drops != seen.drops:
            raise Disagreement(f"drops: {seen.drops or 'none'}, must be {self.drops or 'none'}")
        if self.fragments.held() & 255 != seen.held:
            raise Disagreement(f"{seen.held} fragments are held, must be {self.fragments.held()}")
        rest = list(seen.sent)
        for ports, wanted in self.sent:
            self._take(rest, ports, wanted)
        if rest:
            raise Disagreement(f"{len(rest)} packets too many came out, the first is {rest[0][2].hex()}")
        for name in ("created", "ended", "mapped", "unmapped", "blocks", "freed"):
            if getattr(seen, name):
                raise Disagreement(f"the log tells of what must not be: {name} {getattr(seen, name)}")

    def _take(self, rest: list, ports: tuple, wanted: Wanted) -> None:
        pieces = [wanted.data] if len(wanted.data) <= MTU else cut(wanted.data, MTU)
        if len(rest) < len(pieces):
            raise Disagreement(f"{len(rest)} packets came out, must be {len(pieces)}: {wanted.data.hex()}")
        links = set()
        for i, piece in enumerate(pieces):
            link, _, got = rest.pop(0)
            links.add(link)
            loose = wanted.loose if i == 0 else ()
            if not Wanted(piece, loose).matches(got):
                raise Disagreement(f"came out: {got.hex()}\nmust be:  {piece.hex()}")
        if len(links) != 1 or not links <= set(ports):
            raise Disagreement(f"came out at port {links}, must be one of {ports}")

    def drop(self, reason: str, count: int = 1) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + count

    def send(self, ports: tuple, wanted: Wanted, p: Packet) -> None:
        """`p` as it came: with a right checksum a right one leaves."""
        if p.has_header() and p.protocol in CHECKSUM_AT and checksum_is_right(p.data, p.head, p.protocol):
            if not checksum_is_right(wanted.data, p.head, p.protocol):
                raise Disagreement(f"the model itself is wrong: {wanted.data.hex()}")
        self.sent.append((ports, wanted))

    # The way to the NAT.

    def receive(self, side: int, data: bytes) -> None:
        if len(data) < 20:
            return self.drop("malformed_frame")
        p = Packet(data)
        if data[0] >> 4 != 4 or not p.header_is_right(len(data)):
            return self.drop("bad_ip_header")
        if p.protocol == TCP and p.offset == 8:
            return self.drop("fragment_tiny")  # RFC 1858 section 3.2
        if p.offset == 0 and not p.has_header():
            return self.drop("fragment_tiny" if p.is_fragment else "malformed_frame")
        if p.destination in self.addresses:
            return self.from_outside(p) if side != LAN else self.hairpin(p)
        if p.destination in self.stand_ins:
            return self.reply_to_stand_in(p)
        if p.destination in OTHER_POOL:
            return self.drop("nat_wrong_peering") if side != LAN else self.drop("nat_no_session")
        if side != LAN:
            return self.drop("unsolicited")
        return self.from_inside(p)

    def from_inside(self, p: Packet) -> None:
        if martian(p.source):
            return self.drop("martian_source")
        if p.length > MTU and p.fragment & DONT:
            return self.answer(p, "too_big", 3, 4, MTU)
        if p.ttl <= 1:
            return self.answer(p, "hop_limit_expired", 11, 0)
        hopped = bytearray(p.data)
        set_ip(hopped, 0, p.head, ttl=p.ttl - 1)
        p = Packet(bytes(hopped))
        p = self.gather(p)
        if p is None:
            return None
        out = self.translate_out(p, p.ttl)
        if out is not None:
            self.send(links_to(p.destination), out, p)
        return None

    def gather(self, p: Packet) -> Packet | None:
        """The whole packet, when `p` is one or completes one."""
        if not p.is_fragment:
            return p
        whole = self.fragments.add(p, self.ms)
        if whole is None:
            return None
        p = Packet(whole)
        if not p.has_header():
            self.drop("malformed_frame")
            return None
        return p

    def wrong_kind(self, p: Packet) -> str:
        if p.protocol not in HEADER:
            return "" if self.pool.any_protocol else "nat_unsupported"
        if p.protocol == ICMP and p.kind() not in QUERIES + ERRORS:
            return "nat_unsupported"
        return ""

    # From the inside.

    def translate_out(self, p: Packet, ttl: int) -> Wanted | None:
        """The packet behind the NAT; or it has ended."""
        if reason := self.wrong_kind(p):
            return self.drop(reason)
        if p.protocol == ICMP and p.kind() in ERRORS:
            return self.error_out(p, ttl)
        s = self.session_out(p)
        if s is None:
            return None
        self.touch(s, OUT, p)
        return outwards(p, ttl, s)

    def session_out(self, p: Packet) -> Session | None:
        port, remote_port = p.ends()
        remote_port = 0 if p.protocol == ICMP else remote_port
        s = self.sessions.inside.get((p.source, p.destination, port, remote_port, p.protocol))
        if s is not None:
            return s
        if (p.protocol == TCP and p.tcp_flags() & RST) or (p.protocol == ICMP and p.kind() not in REQUESTS):
            return self.drop("nat_no_session")
        s = Session(p.source, port, p.destination, remote_port, p.protocol, self.now)
        end = self.pool.static_inside(p.source, p.protocol, port)
        reason = self.limit(s) or (self.ports.open_static(s, end) if end else self.ports.open(s, self.now, self.seen))
        if reason:
            self.count(reason)
            return self.answer(p, reason, 3, 13)
        self.begin(s)
        return s

    def count(self, reason: str) -> None:
        if reason in COUNTED:
            self.usage[COUNTED[reason]] += 1

    def limit(self, s: Session) -> str:
        pool = self.pool
        if pool.host_limit and self.sessions.of_host[s.host] >= pool.host_limit:
            return "nat_host_limit"
        if pool.host_rate:
            second, count = self.begun.get(s.host, (-1, 0))
            if second != self.now or self.sessions.of_host[s.host] == 0:
                count = 0
            if count >= pool.host_rate:
                return "nat_host_rate"
            self.begun[s.host] = self.now, count + 1
        return ""

    def begin(self, s: Session) -> None:
        outside = self.seen.created.pop(s.inside_key, None)
        if outside != s.outside_key:
            raise Disagreement(f"the log tells of {outside}, begun is {s}")
        self.sessions.add(s)
        self.usage["opened"] += 1
        self.sessions.count(self.ports.records())

    def end(self, s: Session, why: str) -> None:
        event = s.inside_key, s.outside_key
        if event not in self.seen.ended:
            raise Disagreement(f"should have ended ({why}): {s}")
        self.seen.ended.discard(event)
        self.sessions.remove(s)
        before = self.ports.records()
        self.ports.release(s, self.seen)
        self.sessions.retired += 1 + before - self.ports.records()
        self.usage["expired"] += 1
        self.usage["evicted"] += why == "evicted"

    def touch(self, s: Session, side: int, p: Packet) -> None:
        self.touched = s
        before = s.timeout(self.pool.timeouts)
        keeps = s.passed(side, p.tcp_flags() if p.protocol == TCP else 0)
        if keeps and (side == OUT or self.pool.inbound_refresh):
            s.last = self.now
        if s.timeout(self.pool.timeouts) < before:
            self.sessions.schedule(s)

    # From outside.

    def from_outside(self, p: Packet) -> None:
        p = self.gather(p)
        if p is None:
            return
        self.translate_in(p, p)

    def translate_in(self, p: Packet, came: Packet, hairpin: bool = False) -> None:
        if reason := self.wrong_kind(p):
            return self.drop(reason)
        if p.protocol == ICMP and p.kind() in ERRORS:
            return self.error_in(p)
        remote_port, port = p.ends()
        remote_port = 0 if p.protocol == ICMP else remote_port
        s = self.sessions.outside.get((p.destination, p.source, port, remote_port, p.protocol))
        if s is None:
            s = self.session_in(p, port, remote_port, hairpin)
            if s is None:
                return None
        self.touch(s, IN, p)
        if self.may_deliver(p, came):
            self.send((LAN,), inwards(p, p.ttl - 1, s), p)
        return None

    def session_in(self, p: Packet, port: int, remote_port: int, hairpin: bool) -> Session | None:
        """Somebody outside begins: by a static mapping, or by one of the inside's where the pool's filter is open."""
        if inside := self.pool.static_outside(p.destination, p.protocol, port):
            return self.session_by_static(p, inside, port, remote_port, hairpin)
        begins = p.tcp_flags() & (SYN | ACK | RST) == SYN if p.protocol == TCP else \
            p.protocol != ICMP or p.kind() in REQUESTS
        mapping = self.ports.mapped.get((p.destination, port, p.protocol))
        if not (self.pool.open_filter and begins and mapping):
            return self.drop("nat_no_session")
        host, inside_port, _ = mapping.key
        s = Session(host, inside_port, p.source, remote_port, p.protocol, self.now)
        if reason := self.limit(s):
            self.count(reason)
            return self.drop(reason)
        self.ports.join(s, mapping)
        self.begin(s)
        return s

    def session_by_static(self, p: Packet, inside, port: int, remote_port: int, hairpin: bool) -> Session | None:
        if (p.protocol == TCP and p.tcp_flags() & RST) or (p.protocol == ICMP and p.kind() not in REQUESTS):
            return self.drop("nat_no_session")
        s = Session(inside[0], inside[1], p.source, remote_port, p.protocol, self.now)
        reason = self.limit(s)
        if not reason and self.stand_ins and not hairpin:
            s.outside, s.outside_port = p.destination, port
            reason = self.ports.stand_in(s, self.seen)
        elif not reason:
            reason = self.ports.open_static(s, (p.destination, port))
        if reason:
            self.count(reason)
            return self.drop(reason)
        self.begin(s)
        return s

    def reply_to_stand_in(self, p: Packet) -> None:
        """What the inside sends to who began outside: there is a session, or nothing becomes of it."""
        if martian(p.source):
            return self.drop("martian_source")
        p = self.gather(p)
        if p is None:
            return None
        if reason := self.wrong_kind(p):
            return self.drop(reason)
        if p.protocol == ICMP and p.kind() in ERRORS:
            out = self.error_out(p, p.ttl - 1)
            if out is not None and self.may_leave(p):
                self.send(links_to(self.touched.remote), out, p)
            return None
        port, near_port = p.ends()
        near_port = 0 if p.protocol == ICMP else near_port
        s = self.sessions.inside.get((p.source, p.destination, port, near_port, p.protocol))
        if s is None:
            return self.drop("nat_no_session")
        self.touch(s, OUT, p)
        if self.may_leave(p):
            self.send(links_to(s.remote), outwards(p, p.ttl - 1, s), p)
        return None

    def may_leave(self, p: Packet) -> bool:
        return self.may_deliver(p, p)

    def may_deliver(self, p: Packet, came: Packet) -> bool:
        if p.length > MTU and p.fragment & DONT:
            self.answer(came, "too_big", 3, 4, MTU, translated_back=p.destination)
        elif p.ttl <= 1:
            self.answer(came, "hop_limit_expired", 11, 0, translated_back=p.destination)
        else:
            return True
        return False

    # Between two of the inside (RFC 4787 REQ-9).

    def hairpin(self, p: Packet) -> None:
        if martian(p.source):
            return self.drop("martian_source")
        p = self.gather(p)
        if p is None:
            return None
        out = self.translate_out(p, p.ttl)
        if out is None:
            return None
        return self.translate_in(Packet(out.data), p, hairpin=True)

    # All of it.

    def check(self, state) -> None:
        """Everything that is remembered is the same, and adds up."""
        mine = {s.inside_key: (s.outside_key, s.last) for s in self.sessions.inside.values()}
        for key in mine.keys() | state.sessions.keys():
            if mine.get(key) != state.sessions.get(key):
                raise Disagreement(f"session {key}: {state.sessions.get(key)}, must be {mine.get(key)}")
        if len({outside for outside, _ in state.sessions.values()}) != len(mine):
            raise Disagreement("two sessions have one outside tuple")
        usage = {**self.usage, "sessions": len(mine)}
        if any(state.usage[k] != n for k, n in usage.items()):
            raise Disagreement(f"counters {state.usage}, must be {usage}")
        for a, counts in zip(self.pool.addresses, state.ports_in_use):
            for protocol, used in zip((TCP, UDP, ICMP), counts):
                users = self.sessions.users[a, protocol]
                live = {s.outside_port for s in self.sessions.outside.values()
                        if s.outside == a and s.protocol == protocol and (s.metered or s.lease)}
                free = len(self.pool.given) - len(users)
                if used + free != len(self.pool.given) or not live <= users.keys() <= self.pool.given:
                    raise Disagreement(f"{used} ports in use and {free} free of {len(self.pool.given)} on "
                                       f"{dotted(a)} in protocol {protocol}")


def martian(source: int) -> bool:
    return source >> 24 in (0, 127) or source >> 24 >= 224


def outwards(p: Packet, ttl: int, s: Session) -> Wanted:
    remote_port = None if p.protocol == ICMP else s.remote_port
    return translated(p, ttl, s.outside, s.outside_port, s.remote, remote_port)


def inwards(p: Packet, ttl: int, s: Session) -> Wanted:
    near_port = None if p.protocol == ICMP else s.near_port
    return translated(p, ttl, s.near, near_port, s.host, s.port)
