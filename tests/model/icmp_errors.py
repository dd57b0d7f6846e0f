"""ICMP errors: about translated packets (RFC 5508 section 4), and our own (RFC 1812 section 4.3)."""

from ipv4 import (HEADER, ICMP, OF_ADDRESSES_AT, QUERIES, UNANSWERED, Packet, address, checksum, icmp, ip_packet, is_right)
from replay import LAN, PRIMARY, SECONDARY
from rewrite import Wanted, set_ip, set_transport

HOSTS = address("10.10.1.0")
BOTH, FIRST = address("13.107.6.0"), address("13.107.7.0")  # by both links, by the primary
OUR_LAN = address("10.10.0.1")
QUOTED = 576 - 28  # RFC 1812 section 4.3.2.3


class IcmpErrors:
    """The part of the model."""

    # Errors about translated packets (RFC 5508 section 4).

    def quoted(self, p: Packet) -> Packet | None:
        """The packet in the error, as much of it as there is; or the error has ended."""
        body = p.l4[8:]
        if len(body) < 20:
            return self.drop("nat_bad_error")
        q = Packet(body)
        q.data = body
        if body[0] >> 4 != 4 or q.head < 20 or len(body) < q.head + (8 if q.protocol in HEADER else 0):
            return self.drop("nat_bad_error")
        if not is_right(p.l4) or not is_right(body[:q.head]):
            return self.drop("nat_bad_error")
        if q.offset or (q.protocol == ICMP and q.kind() not in QUERIES):
            return self.drop("nat_unsupported")
        return q

    def error_in(self, p: Packet) -> None:
        q = self.quoted(p)
        if q is None:
            return
        s = None
        if q.source == p.destination:
            port, remote_port = q.ends()
            remote_port = 0 if q.protocol == ICMP else remote_port
            s = self.sessions.outside.get((q.source, q.destination, port, remote_port, q.protocol))
        if s is None:
            return self.drop("nat_no_session")
        self.touched = s
        if not self.may_deliver(p, p):
            return None
        wanted = with_quote(p, p.ttl - 1, q, destination=s.host, source=None if s.near == s.remote else s.near,
                            quote=dict(source=s.host, destination=s.near), ports=(s.port, s.near_port))
        return self.send((LAN,), wanted, p)

    def error_out(self, p: Packet, ttl: int) -> Wanted | None:
        q = self.quoted(p)
        if q is None:
            return None
        s = None
        if q.source == p.destination:
            remote_port, port = q.ends()
            remote_port = 0 if q.protocol == ICMP else remote_port
            s = self.sessions.inside.get((q.destination, q.source, port, remote_port, q.protocol))
        if s is None:
            return self.drop("nat_no_session")
        self.touched = s
        return with_quote(p, ttl, q, source=s.outside, destination=s.remote,
                          quote=dict(source=s.remote, destination=s.outside), ports=(s.remote_port, s.outside_port))

    # Errors of our own (RFC 1812 section 4.3).

    def answer(self, p: Packet, reason: str, kind: int, code: int, rest: int = 0, translated_back: int = 0) -> None:
        """Ends the packet. The sender is told from our address; outside, from the one that it has sent to."""
        self.drop(reason)
        if p.offset or (p.protocol == ICMP and p.kind() in UNANSWERED):
            return
        message = icmp(kind, code, rest, p.data[:QUOTED])
        message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
        source, ttl, ports = OUR_LAN, 64, (LAN,)
        if translated_back:
            source = translated_back
            hairpinned = p.source >> 8 == HOSTS >> 8
            ttl, ports = (63, (LAN,)) if hairpinned else (64, links_to(p.source))
        at = OF_ADDRESSES_AT.get(p.protocol)  # translated there and back, one zero may be the other
        loose = (28 + p.head + at,) if at else ()
        self.sent.append((ports, Wanted(ip_packet(source, p.source, ICMP, message, ttl=ttl, tos=0xc0), loose)))


def links_to(remote: int) -> tuple:
    return (PRIMARY, SECONDARY) if remote >> 8 == BOTH >> 8 else (PRIMARY,)


def with_quote(p: Packet, ttl: int, q: Packet, source, destination, quote: dict, ports: tuple[int, int]) -> Wanted:
    """The error with its quote rewritten, and its checksum made anew."""
    data = bytearray(p.data)
    set_ip(data, 0, p.head, ttl, source, destination)
    at = p.head + 8
    change = set_ip(data, at, q.head, **quote)
    if q.protocol == ICMP:
        ports = (max(ports), None)  # the identifier, which one side has
    loose = set_transport(data, at + q.head, q.protocol, change, *ports)
    data[p.head + 2:p.head + 4] = b"\0\0"
    data[p.head + 2:p.head + 4] = checksum(bytes(data[p.head:])).to_bytes(2, "big")
    return Wanted(bytes(data), loose)
