"""What a translation does to a packet's bytes. IP checksums are made anew; those of the transport keep what was wrong
with them: the new one differs from the old by what has changed (RFC 1624), and is zero in UDP only if it was."""

from ipv4 import CHECKSUM_AT, ICMP, OF_ADDRESSES_AT, TCP, UDP, Packet, checksum, is_right, pseudo


class Wanted:
    """Bytes that must come out; at `loose` offsets 0 and 0xffff are the same."""
    __slots__ = ("data", "loose")

    def __init__(self, data: bytes, loose: tuple[int, ...] = ()):
        self.data = data
        self.loose = loose

    def matches(self, got: bytes) -> bool:
        if got == self.data:
            return True
        for at in self.loose:
            if got[at:at + 2] in (b"\0\0", b"\xff\xff") and self.data[at:at + 2] in (b"\0\0", b"\xff\xff"):
                got = got[:at] + self.data[at:at + 2] + got[at + 2:]
        return got == self.data


def updated(old: int, change: int, protocol: int) -> tuple[int, bool]:
    """A checksum after its words have changed by `change` in sum, and whether both zeros would do."""
    if old == 0 and protocol == UDP:
        return 0, False
    value = (65535 - old + change) % 65535
    return 65535 - value, value == 0 and protocol != UDP


def set_ip(data: bytearray, at: int, head: int, ttl=None, source=None, destination=None) -> int:
    """Writes fields and checksum of the header at `at`. Returns by how much the addresses' sum grows."""
    before = int.from_bytes(data[at + 12:at + 20], "big")
    if ttl is not None:
        data[at + 8] = ttl
    if source is not None:
        data[at + 12:at + 16] = source.to_bytes(4, "big")
    if destination is not None:
        data[at + 16:at + 20] = destination.to_bytes(4, "big")
    data[at + 10:at + 12] = b"\0\0"
    data[at + 10:at + 12] = checksum(bytes(data[at:at + head])).to_bytes(2, "big")
    return int.from_bytes(data[at + 12:at + 20], "big") - before


def set_transport(data: bytearray, at: int, protocol: int, addresses: int, source_port=None,
                  destination_port=None) -> tuple[int, ...]:
    """Ports, or an ICMP query's identifier (as either port), and the checksum if it is there. Returns loose offsets."""
    change = 0 if protocol == ICMP else addresses
    if protocol not in CHECKSUM_AT:
        where = at + OF_ADDRESSES_AT.get(protocol, len(data))
        if len(data) >= where + 2:
            data[where:where + 2] = updated(int.from_bytes(data[where:where + 2], "big"), change, protocol)[0].to_bytes(2, "big")
        return ()
    if protocol == ICMP:
        places = [(at + 4, source_port if source_port is not None else destination_port)]
    else:
        places = [(at, source_port), (at + 2, destination_port)]
    for place, port in places:
        if port is not None:
            change += port - int.from_bytes(data[place:place + 2], "big")
            data[place:place + 2] = port.to_bytes(2, "big")
    where = at + CHECKSUM_AT[protocol]
    if len(data) < where + 2:
        return ()
    new, both = updated(int.from_bytes(data[where:where + 2], "big"), change, protocol)
    data[where:where + 2] = new.to_bytes(2, "big")
    return (where,) if both and any(data[at:where] + data[where + 2:]) else ()


def translated(p: Packet, ttl: int, source=None, source_port=None, destination=None, destination_port=None) -> Wanted:
    data = bytearray(p.data)
    addresses = set_ip(data, 0, p.head, ttl, source, destination)
    loose = set_transport(data, p.head, p.protocol, addresses, source_port, destination_port)
    return Wanted(bytes(data), loose)


def checksum_is_right(data: bytes, head: int, protocol: int) -> bool:
    """The transport's, from scratch."""
    l4 = data[head:]
    if protocol == UDP and l4[6:8] == b"\0\0":
        return True
    more = 0
    if protocol in (TCP, UDP):
        more = pseudo(int.from_bytes(data[12:16], "big"), int.from_bytes(data[16:20], "big"), protocol, len(l4))
    return is_right(l4, more)
