"""Packets of a peer that has the keys and seals nonsense, or seals what RFC 4303 allows and few peers send."""

import pytest
from esp import Suite
from far_end import FarEnd, config_of, routes_of, sa_files_of
from packets import *

KINDS = ["aes-256-gcm", "chacha20-poly1305", "aes-256-gmac", "aes-256-cbc-hmac-sha256"]
FAR = {name: FarEnd(number, Suite(name), udp=number % 2 == 0) for number, name in enumerate(KINDS, 1)}
CONFIG, SA_FILES, ROUTES = (of(list(FAR.values())) for of in (config_of, sa_files_of, routes_of))
TCP_HEADER = bytes(TCP(sport=1, dport=2))


@pytest.fixture(params=KINDS)
def far(request):
    return FAR[request.param]


def arrive(site, *packets):
    site.primary.send(*(link_frame(site, "primary", "private", packet) for packet in packets))


def inner_of(far, size=64):
    return far.inward(4) / UDP() / payload(size)


def whole_blocks(far, trailer: int) -> bytes:
    """An inner packet that needs no padding when `trailer` bytes follow it."""
    size = -(28 + trailer) % far.suite.alignment + 2 * far.suite.alignment
    return bytes(inner_of(far, size))


@pytest.mark.parametrize("blocks", [1, 3, 15])
def test_more_padding_than_needed(site, far, blocks):
    """RFC 4303 section 2.4: up to 255 bytes."""
    packet = inner_of(far)
    least = -(len(packet) + 2) % far.suite.alignment
    count = least + min(blocks * far.suite.alignment, 255 - least - (255 - least) % far.suite.alignment)
    arrive(site, far.seal_bytes(bytes(packet), 4, bytes(range(1, 1 + count))))
    assert_same(site.lan.expect(has(packet[UDP])), to_lan(site, hop(packet)))


def test_wrong_padding(site, far):
    """RFC 4303 section 2.4: 1, 2, 3, ...; a length beyond the packet's beginning is no padding either."""
    data = whole_blocks(far, 2 + far.suite.alignment)
    count = far.suite.alignment
    wrong = [bytes(count), bytes(range(count)), bytes(range(1, count)) + b"\xff"]
    with site.dropped(esp_bad_padding=len(wrong) + 1):
        arrive(site, *(far.seal_bytes(data, 4, padding) for padding in wrong))
        # Its own trailer first, which then is payload, and a pad length that takes all of it and more.
        arrive(site, far.carry(far.sealed_raw(bytes(2 * far.suite.alignment - 2) + b"\xff\x04")))


def test_what_is_inside_must_be_what_the_trailer_says(site, far):
    """RFC 4303 section 3.4.4.1 step 4."""
    four, six = bytes(far.inward(4) / UDP() / payload()), bytes(far.inward(6) / UDP() / payload())
    with site.dropped(esp_inner_not_ip=6):
        arrive(site, *(far.seal_bytes(data, next_header) for data, next_header in
                       ((four, 41), (six, 4), (TCP_HEADER, 6), (four, 50), (b"", 4), (b"\x00" * 20, 4))))


def test_dummy_packets(site, far):
    """RFC 4303 section 2.6: next header 59 is dropped without a word, whatever is inside."""
    with site.dropped(esp_dummy=3):
        arrive(site, *(far.seal_bytes(data, 59) for data in (b"", b"\x00" * 40, bytes(inner_of(far)))))


@pytest.mark.parametrize("version", [4, 6])
def test_traffic_flow_padding(site, far, version):
    """RFC 4303 section 2.7: what follows the inner packet's own length is not part of it."""
    packet = far.inward(version) / UDP() / payload()
    arrive(site, far.seal_bytes(bytes(packet) + b"\xa5" * 100, 4 if version == 4 else 41))
    assert_same(site.lan.expect(has(packet[UDP])), to_lan(site, hop(packet)))


def test_inner_header_that_lies(site, far):
    """A length beyond what was sealed, a wrong checksum, a header that is cut short."""
    long, sums, short = (bytearray(bytes(inner_of(far))) for _ in range(3))
    long[2:4] = (len(long) + 4).to_bytes(2, "big")
    sums[10] ^= 1
    with site.dropped(bad_ip_header=2, malformed_frame=1):
        arrive(site, *(far.seal_bytes(bytes(data), 4) for data in (long, sums, short[:12])))


def test_truncated(site, far):
    """As if a link had cut it: shorter than the least the suite has, or not in whole words or blocks."""
    sealed = far.seal(inner_of(far))
    esp = far.esp_of(sealed)
    least = 8 + far.suite.iv_len + far.suite.icv_len
    with site.dropped(esp_bad_length=3):
        arrive(site, *(far.carry(esp[:size]) for size in (least, len(esp) - 1, len(esp) - 2)))
    with site.dropped(esp_auth_failed=1):
        arrive(site, far.carry(esp[:-far.suite.alignment]))


def test_nothing_of_it_moves_the_window_but_numbers_that_were_authentic(site, far):
    """RFC 4303 section 3.4.3: a forged number high above does nothing; an authentic one with nonsense inside counts."""
    ahead = far.sequence + 100_000
    forged = bytearray(far.esp_of(far.seal(inner_of(far))))
    forged[4:8] = ahead.to_bytes(4, "big")
    with site.dropped(esp_auth_failed=1):
        arrive(site, far.carry(bytes(forged)))
    packet = inner_of(far)
    arrive(site, far.seal(packet))
    site.lan.expect(has(packet[UDP]))
    dummy = far.seal_bytes(b"", 59, sequence=ahead)
    with site.dropped(esp_dummy=1, esp_replayed=1):
        arrive(site, dummy, dummy)
    with site.dropped(esp_replayed=1):
        arrive(site, far.seal(inner_of(far), sequence=ahead - 2000))


def test_reserved_numbers(site, far):
    """RFC 4303 section 3.3.3: no packet has number 0. RFC 3948 section 2.2: SPI 0 is IKE's marker; bare, no SA has it."""
    with site.dropped(esp_replayed=1):
        arrive(site, far.seal(inner_of(far), sequence=0))
    if not far.udp:
        with site.dropped(esp_no_sa=1):
            arrive(site, far.carry(bytes(4) + far.esp_of(far.seal(inner_of(far)))[4:]))
