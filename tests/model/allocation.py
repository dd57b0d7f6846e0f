"""Which outside address and port a session may get, by docs/nat.md and docs/configuration.md. Where the choice is free
the model takes what was chosen, once it has found that it may be."""

from ipv4 import HEADER, ICMP, UDP, dotted
from sessions import Pool, Session, Sessions

LEAST_IDLE = 2  # seconds: what just begins is let be
SAMPLE = 256 - 64  # records that are looked at, less what the graph may have set up and not used yet


class Disagreement(Exception):
    """The graph has done what the model does not allow."""


class Lease:
    """An outside port that belongs to an inside one, or a block of ports that belongs to a host."""
    __slots__ = ("key", "address", "port", "users", "block")

    def __init__(self, key, address, port, block=None):
        self.key, self.address, self.port, self.block = key, address, port, block
        self.users: set[Session] = set()


class Allocation:
    """`end(session)` ends what makes room. Events are what the graph's log says of one walk."""

    def __init__(self, pool: Pool, sessions: Sessions, end):
        self.pool, self.sessions, self.end = pool, sessions, end
        self.homes: dict[int, set[int]] = {}  # of a host: the ordinals of addresses that are possible
        self.mappings: dict[tuple, Lease] = {}
        self.mapped: dict[tuple, Lease] = {}  # by outside address, port and protocol
        self.blocks: dict[int, dict[int, Lease]] = {}  # of a host
        self.at: dict[tuple, Lease] = {}  # blocks by address and first port

    def open(self, s: Session, now: int, events) -> str:
        """Gives the session its port, or says why it has none."""
        if s.protocol not in HEADER:
            return self._open_anywhere(s, now, events, frozenset((0,)))
        s.metered = not self.pool.independent
        if self.pool.independent:
            return self._open_mapped(s, now, events)
        if self.pool.block_size:
            return self._open_in_block(s, now, events)
        return self._open_anywhere(s, now, events, self.pool.given)

    def open_static(self, s: Session, end: tuple[int, int]) -> str:
        """In either direction; one of the ends may have another session with this remote endpoint."""
        s.outside, s.outside_port = end
        taken = s.outside_key in self.sessions.outside or s.inside_key in self.sessions.inside
        return "nat_endpoint_taken" if taken else ""

    def stand_in(self, s: Session, events) -> str:
        """What the remote end is called inside, from the addresses for those."""
        insides = [inside for inside, outside in events.created.items() if outside == s.outside_key]
        if not insides:
            if s.remote_port == 0 and all((s.host, a, s.port, 0, s.protocol) in self.sessions.inside
                                          for a in self.pool.from_microsoft):
                return "nat_ports_exhausted"
            raise Disagreement(f"no session was made: {s}")
        host, near, port, near_port, protocol = insides[0]
        own = s.remote_port if s.remote_port >= 1024 and s.protocol != ICMP else 0
        if (host, port, protocol) != (s.host, s.port, s.protocol) or near not in self.pool.from_microsoft:
            raise Disagreement(f"no stand-in: {dotted(near)}:{near_port}: {s}")
        if (near_port == 0) != (s.remote_port == 0) or (near_port and near_port < 1024):
            raise Disagreement(f"no port of a stand-in: {near_port}: {s}")
        if own and near_port != own and all(
                (host, a, port, own, protocol) not in self.sessions.inside for a in self.pool.from_microsoft):
            raise Disagreement(f"the stand-in's port is not preserved, but {near_port}: {s}")
        s.near, s.near_port = near, near_port
        if s.inside_key in self.sessions.inside:
            raise Disagreement(f"two remote ends have one stand-in: {s}")
        return ""

    def records(self) -> int:
        return len(self.mappings) + len(self.at) + len(self.homes)

    def release(self, s: Session, events) -> None:
        """The session has ended: so does what it had its port from, when nobody else uses it."""
        lease = s.lease
        while lease is not None:
            lease.users.discard(s)
            if lease.users:
                return
            if lease.key in self.mappings:
                del self.mappings[lease.key], self.mapped[lease.address, lease.port, s.protocol]
                self.sessions.give_back(lease.address, s.protocol, lease.port)
                expect(events.unmapped, (lease.key, (lease.address, lease.port)), "the end of a mapping")
            else:
                host, nth = lease.key
                del self.blocks[host][nth], self.at[lease.address, lease.port]
                expect(events.freed, (host, lease.address, lease.port), "the end of a block")
            s, lease = lease, lease.block

    # Endpoint-dependent: a port is free towards one remote endpoint.

    def _open_anywhere(self, s: Session, now: int, events, given) -> str:
        taken = self.sessions.towards.get((s.protocol, s.remote, s.remote_port), {})
        free = [self._has_free(a, s, taken, given) for a in self.pool.addresses]
        if not any(free):
            victim = self._oldest([t for t in taken.values() if t.outside_port in given and t.outside in self.pool.addresses], now)
            if victim is None:
                return "nat_ports_exhausted"
            return self._take_from(victim, s, events)
        address, port = self._chosen(s, events)
        n = len(free)
        homes = self.homes.setdefault(s.host, set(range(n)))
        first = {h: next((h + i) % n for i in range(n) if free[(h + i) % n]) for h in homes}
        still = {h for h in homes if self.pool.addresses[first[h]] == address}
        if not still:
            raise Disagreement(f"{dotted(address)} is no address for {dotted(s.host)}: its own has free ports, or "
                               f"nearer ones have; possible are {[dotted(self.pool.addresses[h]) for h in homes]}")
        self.homes[s.host] = still
        self._check_port(s, address, port, lambda p: self._is_free(address, p, s, taken), given, False)
        s.outside, s.outside_port = address, port
        return ""

    def _is_free(self, address, port, s, taken) -> bool:
        return (address, port) not in taken and port not in self.sessions.full[address, s.protocol]

    def _has_free(self, address, s, taken, given) -> bool:
        if s.port in given and self._is_free(address, s.port, s, taken):
            return True
        if len(taken) + len(self.sessions.full[address, s.protocol]) < len(given):
            return True
        return any(self._is_free(address, p, s, taken) for p in given)

    @staticmethod
    def _check_port(s: Session, address, port, is_free, ports, parity) -> None:
        if port not in ports or not is_free(port):
            raise Disagreement(f"port {port} of {dotted(address)} is not to be had: {s}")
        if port == s.port:
            return
        if s.port in ports and is_free(s.port):
            raise Disagreement(f"port {s.port} was free on {dotted(address)} and is not preserved, but {port}: {s}")
        if parity and (port ^ s.port) & 1 and any((p ^ s.port) & 1 == 0 and is_free(p) for p in ports):
            raise Disagreement(f"port {port} is of the other parity: {s}")

    @staticmethod
    def _chosen(s: Session, events) -> tuple[int, int]:
        outside = events.created.get(s.inside_key)
        if outside is None:
            raise Disagreement(f"no session was made: {s}")
        address, remote, port, remote_port, protocol = outside
        if (remote, remote_port, protocol) != (s.remote, s.remote_port, s.protocol):
            raise Disagreement(f"another remote end outside than inside: {s}")
        return address, port

    @staticmethod
    def _oldest(sessions, now) -> Session | None:
        """The idle time of those that are idle longest decides; which of them goes, the graph does."""
        fit = [s for s in sessions if s.is_transitory() and now - s.last >= LEAST_IDLE]
        return min(fit, key=lambda s: s.last) if fit else None

    def _take_from(self, victim: Session, s: Session, events) -> str:
        address, port = self._chosen(s, events)
        there = self.sessions.outside.get((address, s.remote, port, s.remote_port, s.protocol))
        if there is None or there.last != victim.last or not there.is_transitory():
            raise Disagreement(f"the session idle longest should have made room: {victim}; not {there}")
        self.end(there, "evicted")
        s.outside, s.outside_port = address, port
        return ""

    # Endpoint-independent: a port belongs to one inside endpoint, and a host to one address.

    def _open_mapped(self, s: Session, now: int, events) -> str:
        key = (s.host, s.port, s.protocol)
        mapping = self.mappings.get(key)
        if mapping is None:
            reason = self._map(key, s, now, events)
            if reason:
                return reason
            mapping = self.mappings[key]
        address, port = self._chosen(s, events)
        if (address, port) != (mapping.address, mapping.port):
            raise Disagreement(f"{dotted(address)}:{port} is not the mapping's {dotted(mapping.address)}:{mapping.port}")
        self.join(s, mapping)
        return ""

    def join(self, s: Session, mapping: Lease) -> None:
        s.outside, s.outside_port, s.lease = mapping.address, mapping.port, mapping
        mapping.users.add(s)

    def _map(self, key, s: Session, now: int, events) -> str:
        homes = self.homes.setdefault(s.host, set(range(len(self.pool.addresses))))

        def is_free(address, port):
            return (address, port, s.protocol) not in self.mapped

        if self.pool.block_size:
            block, reason = self._block_with(s, lambda block, port: is_free(block.address, port), events)
            if block is None:
                return reason
            ports = self._ports_of(block)
            address, port = self._chosen_for(key, events)
        else:
            block, ports = None, self.pool.given
            if key not in events.mapped:
                return self._none_to_be_had(s, homes, now)
            address, port = self._chosen_for(key, events)
            victim = self.mapped.get((address, port, s.protocol))
            if victim is not None:
                self._evict_alone(victim, now)
        still = {h for h in homes if self.pool.addresses[h] == address}
        if not still:
            raise Disagreement(f"{dotted(s.host)} is paired with another address than {dotted(address)}")
        self.homes[s.host] = still
        self._check_port(s, address, port, lambda p: is_free(address, p), ports, s.protocol == UDP)
        lease = Lease(key, address, port, block)
        self.mappings[key] = self.mapped[address, port, s.protocol] = lease
        self.sessions.users[address, s.protocol][port] += 1
        if block is not None:
            block.users.add(lease)
        return ""

    @staticmethod
    def _chosen_for(key, events) -> tuple[int, int]:
        if key not in events.mapped:
            raise Disagreement(f"no mapping was made: {key}")
        return events.mapped.pop(key)

    def _none_to_be_had(self, s, homes, now) -> str:
        for address in (self.pool.addresses[h] for h in homes):
            taken = [self.mapped.get((address, p, s.protocol)) for p in self.pool.given]
            if None not in taken and not (self.looked_at_all() and self._oldest(alone_on(taken), now)):
                return "nat_ports_exhausted"
        raise Disagreement(f"no mapping, though there are free ports, or sessions that should make room: {s}")

    def looked_at_all(self) -> bool:
        """Of more records, the graph looks at some."""
        return self.sessions.most_records <= SAMPLE

    def _evict_alone(self, mapping: Lease, now: int) -> None:
        taken = [self.mapped.get((mapping.address, p, mapping.key[2])) for p in self.pool.given]
        if None in taken:
            raise Disagreement("a mapping made room though there were free ports")
        if len(mapping.users) != 1:
            raise Disagreement("a mapping with several sessions made room")
        (s,) = mapping.users
        if not s.is_transitory() or now - s.last < LEAST_IDLE:
            raise Disagreement(f"a session made room that should not: {s}")
        if self.looked_at_all() and s.last != (oldest := self._oldest(alone_on(taken), now)).last:
            raise Disagreement(f"the session idle longest should have made room: {oldest}; not {s}")
        self.end(s, "evicted")

    # Blocks of ports.

    def _ports_of(self, block: Lease) -> list[int]:
        return [p for p in range(block.port, block.port + self.pool.block_size) if p in self.pool.given]

    def _block_with(self, s: Session, is_free, events):
        """The host's first block with a free port, or one more."""
        mine = self.blocks.setdefault(s.host, {})
        for nth in sorted(mine):
            if any(is_free(mine[nth], p) for p in self._ports_of(mine[nth])):
                return mine[nth], ""
        if len(mine) == self.pool.blocks_per_host:
            return None, "nat_host_limit"
        new = events.blocks.pop(s.host, None)
        if new is None:
            self._check_no_block(s)
            return None, "nat_blocks_exhausted"
        address, first = new
        size = self.pool.block_size
        homes = self.homes.setdefault(s.host, set(range(len(self.pool.addresses))))
        still = {h for h in homes if self.pool.addresses[h] == address}
        if not still or (first - self.pool.ports[0]) % size or first + size - 1 > self.pool.ports[-1]:
            raise Disagreement(f"no block of {dotted(s.host)}: {dotted(address)}:{first}")
        if (address, first) in self.at or not any(p in self.pool.given for p in range(first, first + size)):
            raise Disagreement(f"block {dotted(address)}:{first} is not to be had")
        self.homes[s.host] = still
        nth = next(i for i in range(self.pool.blocks_per_host) if i not in mine)
        block = Lease((s.host, nth), address, first)
        mine[nth] = self.at[address, first] = block
        return block, ""

    def _check_no_block(self, s: Session) -> None:
        size, ports = self.pool.block_size, self.pool.ports
        for h in self.homes[s.host]:
            address = self.pool.addresses[h]
            firsts = range(ports[0], ports[-1] + 2 - size, size)
            if all((address, f) in self.at or not any(p in self.pool.given for p in range(f, f + size))
                   for f in firsts):
                return
        raise Disagreement(f"no block for {dotted(s.host)}, though there are free ones")

    def _open_in_block(self, s: Session, now: int, events) -> str:
        taken = self.sessions.towards.get((s.protocol, s.remote, s.remote_port), {})

        def is_free(block, port):
            return self._is_free(block.address, port, s, taken)

        self.homes.setdefault(s.host, set(range(len(self.pool.addresses))))
        block, reason = self._block_with(s, is_free, events)
        if block is None:
            own = [t for t in taken.values() if t.host == s.host]
            victim = self._oldest(own, now) if reason == "nat_host_limit" else None
            if victim is None:
                return reason
            address, port = self._chosen(s, events)
            there = self.sessions.outside[address, s.remote, port, s.remote_port, s.protocol]
            s.lease = there.lease
            s.lease.users.add(s)
            return self._take_from(victim, s, events)
        address, port = self._chosen(s, events)
        if address != block.address:
            raise Disagreement(f"{dotted(address)} is not the address of the host's block")
        self._check_port(s, address, port, lambda p: is_free(block, p), self._ports_of(block), False)
        s.outside, s.outside_port, s.lease = address, port, block
        block.users.add(s)
        return ""


def alone_on(mappings) -> list[Session]:
    return [s for m in mappings if len(m.users) == 1 for s in m.users]


def expect(events: set, what, name: str) -> None:
    if what not in events:
        raise Disagreement(f"the log does not tell of {name}: {what}")
    events.discard(what)
