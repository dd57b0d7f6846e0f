"""Every suite, with 32-bit and extended sequence numbers, bare and in UDP, IPv4 and IPv6 outside and inside, both ways."""

from dataclasses import dataclass

import pytest
from esp import NAMES, Suite
from far_end import FarEnd, config_of, routes_of, sa_files_of
from packets import *

OVERHEAD = {4: 20, 6: 40}


@dataclass(frozen=True)
class Row:
    number: int
    suite: str
    icv: int | None
    esn: bool
    outer: int
    udp: bool

    def __str__(self) -> str:
        more = {f"icv{self.icv}": self.icv, "esn": self.esn, f"v{self.outer}": True, "udp": self.udp}
        return "-".join([self.suite, *(word for word, there in more.items() if there)])


def rows():
    """All suites with both kinds of numbers on the plain outer header; one of each kind with every outer header."""
    variants = [(name, icv) for name in NAMES for icv in ((None, 12, 8) if name.endswith("-gcm") else (None,))]
    plain = [(name, icv, esn, 4, False) for name, icv in variants for esn in (False, True)]
    wrapped = [(name, None, esn, outer, udp)
               for name in ("aes-256-gcm", "chacha20-poly1305", "aes-256-gmac", "aes-256-cbc-hmac-sha256")
               for esn in (False, True) for outer, udp in ((4, True), (6, False), (6, True))]
    return [Row(number, *row) for number, row in enumerate(plain + wrapped, 1)]


ROWS = rows()
FAR = {row: FarEnd(row.number, Suite(row.suite, row.icv), row.outer, row.esn, row.udp) for row in ROWS}
CONFIG, SA_FILES, ROUTES = (of(list(FAR.values())) for of in (config_of, sa_files_of, routes_of))

# Each row against ESP of our own; and against scapy's, where scapy has the suite.
both = pytest.mark.parametrize(("row", "by_scapy"), [
    pytest.param(row, by_scapy, id=f"{row}-{'scapy' if by_scapy else 'own'}")
    for row in ROWS for by_scapy in (False, True) if not by_scapy or FAR[row].scapy_has_it()])


@pytest.fixture
def far(row, by_scapy):
    FAR[row].by_scapy = by_scapy
    return FAR[row]


def sizes(end: FarEnd):
    """A whole block of lengths of padding, and a long packet."""
    return [*range(end.suite.alignment), 1250]


@both
def test_out(site, row, far):
    """RFC 4303 sections 2 and 3.3; the far end checks ICV, padding, alignment, numbers and IVs."""
    sent = [far.outward(version) / UDP(sport=1000, dport=2000) / payload(size) for version in (4, 6) for size in sizes(far)]
    site.lan.send(*(lan_frame(site, packet) for packet in sent))
    for packet in sent:
        frame, opened = far.expect(site.primary)
        assert bytes(opened).hex() == bytes(hop(packet)).hex()
        outer = ip_of(frame)
        assert (frame[Dot1Q].vlan, outer.version, outer.src, outer.dst) == (VLAN["private"], row.outer, far.ours, far.theirs)
        assert len(outer) == OVERHEAD[row.outer] + 8 * row.udp + 8 + far.suite.iv_len + far.suite.icv_len + \
            (len(packet) + 2 + -(len(packet) + 2) % far.suite.alignment)


@both
def test_in(site, row, far):
    sent = [far.inward(version) / UDP(sport=7, dport=8) / payload(size) for version in (4, 6) for size in sizes(far)]
    site.primary.send(*(link_frame(site, "primary", "private", far.seal(packet)) for packet in sent))
    for packet in sent:
        assert_same(site.lan.expect(has(packet[UDP])), to_lan(site, hop(packet)))


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_every_bit_that_protects(site, row):
    """RFC 4303 section 3.4.4: no byte of a packet can change, from the SPI to the last of the ICV; nor its number come again."""
    end = FAR[row]
    packet = end.inward(4) / UDP() / payload(40)
    sealed = end.seal(packet)
    start = OVERHEAD[row.outer] + 8 * row.udp
    forged = [bytearray(bytes(sealed)) for _ in range(4)]
    for data, at in zip(forged, (start + 8, start + 8 + end.suite.iv_len + 5, len(sealed) - end.suite.icv_len - 1, len(sealed) - 1)):
        data[at] ^= 0x40
    with site.dropped(esp_auth_failed=len(forged)):
        site.primary.send(*(link_frame(site, "primary", "private", type(sealed)(bytes(data))) for data in forged))
    whole = link_frame(site, "primary", "private", sealed)
    site.primary.send(whole)
    site.lan.expect(has(packet[UDP]))
    with site.dropped(esp_replayed=1):
        site.primary.send(whole)
