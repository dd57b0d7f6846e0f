"""IPv4, TCP, UDP and ICMP as bytes: what the model reads and the generator writes. RFC 791, 792, 768, 9293, 1071.

Addresses are ints. A sum of 16-bit words with end-around carry is the number modulo 65535, as 2**16 is 1 there.
"""

import struct

ICMP, TCP, UDP = 1, 6, 17
DCCP, UDP_LITE = 33, 136
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
MORE, DONT = 0x2000, 0x4000
CHECKSUM_AT = {ICMP: 2, TCP: 16, UDP: 6}
OF_ADDRESSES_AT = {DCCP: 6, UDP_LITE: 6}  # a checksum over no more than addresses that the NAT changes (RFC 4340, 3828)
HEADER = {ICMP: 8, TCP: 20, UDP: 8}
QUERIES, REQUESTS, ERRORS = (0, 8, 13, 14), (8, 13), (3, 11, 12)
UNANSWERED = (3, 4, 5, 11, 12)  # RFC 1812 section 4.3.2.7: no error about an error

_ip = struct.Struct("!BBHHHBBHII")
_ports = struct.Struct("!HH")


def address(text: str) -> int:
    a, b, c, d = text.split(".")
    return int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)


def dotted(value: int) -> str:
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


def total(data: bytes) -> int:
    """The sum of the words, as a number that is 0 only when all bytes are."""
    return int.from_bytes(data + b"\0" if len(data) & 1 else data, "big")


def is_right(data: bytes, more: int = 0) -> bool:
    """Whether the checksum that stands in the data makes the sum minus zero (RFC 1071)."""
    n = total(data) + more
    return n != 0 and n % 65535 == 0


def checksum(data: bytes, more: int = 0) -> int:
    """Of data with zero in the checksum's place."""
    n = total(data) + more
    return 65535 - (n % 65535 or (65535 if n else 0))


def pseudo(source: int, destination: int, protocol: int, length: int) -> int:
    return source + destination + protocol + length


def ip_header(source, destination, protocol, length, ttl=64, ident=0, fragment=0, tos=0, options=b"") -> bytes:
    """`length`: of what follows."""
    head = 20 + len(options)
    bare = _ip.pack(0x40 | head >> 2, tos, head + length, ident, fragment, ttl, protocol, 0, source,
                    destination) + options
    return bare[:10] + checksum(bare).to_bytes(2, "big") + bare[12:]


def ip_packet(source, destination, protocol, payload, **fields) -> bytes:
    return ip_header(source, destination, protocol, len(payload), **fields) + payload


def with_checksum(source, destination, protocol, l4: bytes) -> bytes:
    """Right, of a header with zero there. UDP never has zero (RFC 768)."""
    at = CHECKSUM_AT[protocol]
    c = checksum(l4, 0 if protocol == ICMP else pseudo(source, destination, protocol, len(l4)))
    if c == 0 and protocol == UDP:
        c = 0xffff
    return l4[:at] + c.to_bytes(2, "big") + l4[at + 2:]


def udp(source_port, destination_port, payload) -> bytes:
    return struct.pack("!HHHH", source_port, destination_port, 8 + len(payload), 0) + payload


def tcp(source_port, destination_port, flags, payload, sequence=1) -> bytes:
    return struct.pack("!HHIIBBHHH", source_port, destination_port, sequence, 7, 0x50, flags, 512, 0, 0) + payload


def icmp(kind, code, rest, payload) -> bytes:
    return struct.pack("!BBHI", kind, code, 0, rest) + payload


class Packet:
    """The fields of a packet that is at least 20 bytes long; whether they are right, is_whole() says."""
    __slots__ = ("data", "head", "length", "ident", "fragment", "ttl", "protocol", "source", "destination", "tos")

    def __init__(self, data: bytes):
        first, self.tos, self.length, self.ident, self.fragment, self.ttl, self.protocol, _, self.source, \
            self.destination = _ip.unpack_from(data)
        self.head = (first & 15) * 4
        self.data = data[:self.length]

    def header_is_right(self, received: int) -> bool:
        return 20 <= self.head <= self.length <= received and is_right(self.data[:self.head])

    @property
    def offset(self) -> int:
        return (self.fragment & 0x1fff) * 8

    @property
    def is_fragment(self) -> bool:
        return self.fragment & 0x3fff != 0

    @property
    def l4(self) -> bytes:
        return self.data[self.head:]

    def has_header(self) -> bool:
        return self.length - self.head >= HEADER.get(self.protocol, 0)

    def ports(self) -> tuple[int, int]:
        return _ports.unpack_from(self.data, self.head)

    def ends(self) -> tuple[int, int]:
        """Ports, or the identifier of an ICMP query on either side, or nothing."""
        if self.protocol == ICMP:
            return self.identifier(), self.identifier()
        return self.ports() if self.protocol in HEADER else (0, 0)

    def identifier(self) -> int:
        return int.from_bytes(self.data[self.head + 4:self.head + 6], "big")

    def kind(self) -> int:
        """Of ICMP."""
        return self.data[self.head]

    def tcp_flags(self) -> int:
        return self.data[self.head + 13]
