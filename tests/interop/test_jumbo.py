"""Frames of 9,000 bytes through ports, tunnels and NAT, and what does not fit even then."""

import pytest
from esp import Suite
from far_end import FarEnd, config_of, routes_of, sa_files_of
from packets import *
from scapy.layers.inet6 import ICMPv6PacketTooBig

MTU, PCAP = 9000, True
# Outer 9000 less IP 20, ESP 8, IV, ICV and the trailer, in whole words or blocks.
FAR = {"gcm": FarEnd(1, Suite("aes-256-gcm"), options="mtu: 9000")}
CONFIG, SA_FILES, ROUTES = (of(list(FAR.values())) for of in (config_of, sa_files_of, routes_of))


def inner_mtu(far) -> int:
    room = MTU - (20 if far.version == 4 else 40) - 8 * far.udp - 8 - far.suite.iv_len - far.suite.icv_len
    return room - room % far.suite.alignment - 2


@pytest.fixture(params=FAR)
def far(request):
    return FAR[request.param]


def of_size(packet, size: int):
    """UDP that makes an IP packet of this size."""
    return packet / UDP(sport=1, dport=2) / payload(size - (28 if isinstance(packet, IP) else 48))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", [1600, 2049, 4096, 8000, None])
def test_out(site, far, version, size):
    packet = of_size(far.outward(version), size or inner_mtu(far))
    site.lan.send(lan_frame(site, packet))
    frame, inner = far.expect(site.primary)
    assert bytes(inner).hex() == bytes(hop(packet)).hex()
    assert size is not None or MTU - far.suite.alignment < len(ip_of(frame)) <= MTU


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", [1600, 2049, 4096, 8000, None])
def test_in(site, far, version, size):
    packet = of_size(far.inward(version), size or inner_mtu(far))
    site.primary.send(link_frame(site, "primary", "private", far.seal(packet)))
    assert_same(site.lan.expect(has(packet[UDP])), to_lan(site, hop(packet)))


@pytest.mark.parametrize("version", [4, 6])
def test_one_byte_too_many(site, far, version):
    """RFC 4301 section 8.2.1, RFC 1191, RFC 8201: the sender learns what fits inside the tunnel."""
    packet = of_size(far.outward(version, **({"flags": "DF"} if version == 4 else {})), inner_mtu(far) + 1)
    site.lan.send(lan_frame(site, packet))
    if version == 4:
        assert site.lan.expect(kind(IP, ICMP, type=3, code=4))[ICMP].nexthopmtu == inner_mtu(far)
    else:
        assert site.lan.expect(kind(ICMPv6PacketTooBig))[ICMPv6PacketTooBig].mtu == inner_mtu(far)


def test_a_burst_of_all_sizes(site, far):
    packets = [of_size(far.outward(4), size) for size in range(64, inner_mtu(far), 97)]
    for at in range(0, len(packets), 16):
        site.lan.send(*(lan_frame(site, packet) for packet in packets[at:at + 16]))
        for packet in packets[at:at + 16]:
            _, inner = far.expect(site.primary)
            assert bytes(inner).hex() == bytes(hop(packet)).hex()


def test_plain_and_nat(site):
    plain = of_size(IP(src=LAN_HOST, dst="10.30.0.7"), MTU)
    site.lan.send(lan_frame(site, plain))
    assert_same(site.primary.expect(has(plain[UDP])), to_link(site, "primary", "private", hop(plain)))
    out = of_size(IP(src=LAN_HOST, dst="13.107.6.130"), MTU)
    site.lan.send(lan_frame(site, out))
    outside = site.primary.expect(has(out[Raw]))
    assert_well_formed(outside)
    assert len(ip_of(outside)) == MTU
