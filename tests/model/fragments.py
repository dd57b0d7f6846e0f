"""Datagrams in pieces: put together as RFC 791, 815, 5722 and 3168 want it, and cut as RFC 791 does."""

from dataclasses import dataclass, field

from ipv4 import DONT, MORE, Packet, ip_header

MOST_PIECES, LONGEST_WAIT = 32, 2000  # milliseconds


@dataclass
class Datagram:
    started: int  # milliseconds
    pieces: dict[int, bytes] = field(default_factory=dict)  # by offset
    header: bytes = b""  # of the first piece
    end: int | None = None
    marks: set[int] = field(default_factory=set)  # ECN
    refused: str = ""


class Gathering:
    """Datagrams that wait for pieces. `drop(reason, pieces)` is told of what ends."""

    def __init__(self, most: int, most_payload: int, drop):
        self.most, self.most_payload, self.drop = most, most_payload, drop
        self.waiting: dict[tuple, Datagram] = {}

    def held(self) -> int:
        return sum(len(d.pieces) for d in self.waiting.values())

    def expire(self, now: int) -> None:
        for key in [k for k, d in self.waiting.items() if now - d.started >= LONGEST_WAIT]:
            self._end(key, "fragment_timeout")

    def _end(self, key: tuple, reason: str) -> None:
        d = self.waiting.pop(key)
        if d.pieces:
            self.drop(reason, len(d.pieces))

    def add(self, p: Packet, now: int) -> bytes | None:
        """The whole packet when this piece completes it."""
        payload, more = p.l4, bool(p.fragment & MORE)
        if not payload or (more and len(payload) % 8):
            self.drop("malformed_frame", 1)
            return None
        key = (p.source, p.destination, p.ident, p.protocol)
        if key not in self.waiting:
            if len(self.waiting) == self.most:
                self._end(min(self.waiting, key=lambda k: self.waiting[k].started), "fragment_table_full")
            self.waiting[key] = Datagram(now)
        d = self.waiting[key]
        if not d.refused:
            reason = self._wrong_with(d, p.offset, payload, more)
            if reason == "fragment_duplicate":
                self.drop(reason, 1)
                return None
            if reason:
                self.drop(reason, len(d.pieces) + 1)
                d.pieces, d.refused = {}, reason
                return None
        else:
            self.drop(d.refused, 1)
            return None
        d.pieces[p.offset] = payload
        d.marks.add(p.tos & 3)
        if p.offset == 0:
            d.header = p.data[:p.head]
        if not more:
            d.end = p.offset + len(payload)
        if sum(map(len, d.pieces.values())) != d.end:
            return None
        del self.waiting[key]
        if 3 in d.marks and 0 in d.marks:  # RFC 3168 section 5.3: one has met congestion, another could not have said so
            self.drop("fragment_overlap", len(d.pieces))
            return None
        return self._whole(d)

    def _wrong_with(self, d: Datagram, offset: int, payload: bytes, more: bool) -> str:
        end = offset + len(payload)
        if end > self.most_payload:
            return "too_long"
        if d.end is not None and (end > d.end or (not more and end != d.end)):
            return "fragment_overlap"
        if len(d.pieces.get(offset, b"")) == len(payload):
            return "fragment_duplicate"
        for at, other in d.pieces.items():
            if (at < end and offset < at + len(other)) or (not more and at + len(other) > end):
                return "fragment_overlap"
        return "fragment_too_many" if len(d.pieces) == MOST_PIECES else ""

    @staticmethod
    def _whole(d: Datagram) -> bytes:
        payload = b"".join(d.pieces[at] for at in sorted(d.pieces))
        head = Packet(d.header)
        tos = head.tos | (3 if 3 in d.marks else 0)
        return ip_header(head.source, head.destination, head.protocol, len(payload), ttl=head.ttl, ident=head.ident,
                         fragment=0, tos=tos, options=d.header[20:]) + payload


def copied_options(options: bytes) -> bytes:
    """Those that every piece has (RFC 791 section 3.1), padded."""
    out, at = b"", 0
    while at < len(options) and options[at] != 0:
        if options[at] == 1:
            at += 1
            continue
        size = options[at + 1]
        if options[at] & 0x80:
            out += options[at:at + size]
        at += size
    return out + bytes(-len(out) % 4)


def cut(packet: bytes, mtu: int) -> list[bytes]:
    """Pieces as long as may be; of a packet that may itself be a piece."""
    p = Packet(packet)
    assert not p.fragment & DONT
    payload, pieces, at = p.l4, [], 0
    options = p.data[20:p.head]
    while at < len(payload):
        room = mtu - 20 - len(options)
        size = len(payload) - at if len(payload) - at <= room else room & ~7
        more = MORE if at + size < len(payload) or p.fragment & MORE else 0
        field_ = (p.fragment & 0x1fff) + at // 8 | more
        pieces.append(ip_header(p.source, p.destination, p.protocol, size, ttl=p.ttl, ident=p.ident, fragment=field_,
                                tos=p.tos, options=options) + payload[at:at + size])
        at += size
        if at == size:
            options = copied_options(options)
    return pieces
