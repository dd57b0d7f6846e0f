"""What of the outer header follows from the inner one, and what of the inner one from the outer (RFC 4301 section 5.1.2, RFC 6040,
RFC 6438), with scapy at the far end."""

import random

import pytest
from esp import Suite
from far_end import FarEnd, config_of, routes_of, sa_files_of
from packets import *

# tunnel -> IP version outside, and its lines in the configuration
RULES = {
    "plain4": (4, ""), "plain6": (6, ""),
    "copies4": (4, "df: copy, ttl: copy"), "copies6": (6, "ttl: copy, flow-label: copy"),
    "fixed4": (4, "dscp: AF21, df: clear, ttl: 9, ecn: clear"), "fixed6": (6, "dscp: 46, flow-label: zero, ttl: 9, ecn: clear"),
    "msft4": (4, "dscp: microsoft"), "msft6": (6, "dscp: microsoft"),
}
FAR = {name: FarEnd(number, Suite("aes-256-gcm"), version, options=options) for number, (name, (version, options)) in enumerate(RULES.items(), 1)}
NOT_ECT, ECT1, ECT0, CE = range(4)
CLASSES = [0, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 44, 46, 48, 56, 1, 33, 63]

CONFIG, SA_FILES, ROUTES = (of(list(FAR.values())) for of in (config_of, sa_files_of, routes_of))

every_tunnel = pytest.mark.parametrize("name", RULES)
both_versions = pytest.mark.parametrize("version", [4, 6])


def addressed(name: str, version: int, traffic_class: int = 0, hops: int = 64, **fields):
    return FAR[name].outward(version, **({"tos": traffic_class, "ttl": hops} if version == 4 else {"tc": traffic_class, "hlim": hops}), **fields)


def returned(name: str, version: int, traffic_class: int = 0, hops: int = 64):
    return FAR[name].inward(version, **({"tos": traffic_class, "ttl": hops} if version == 4 else {"tc": traffic_class, "hlim": hops}))


def traffic_class(packet) -> int:
    return packet.tos if isinstance(packet, IP) else packet.tc


def hops(packet) -> int:
    return packet.ttl if isinstance(packet, IP) else packet.hlim


def outers(site, name: str, packets: list) -> list:
    """The outer packets of these, whose inner ones come out as they must."""
    packets = [packet / UDP(sport=at + 1, dport=9) / payload() if UDP not in packet else packet for at, packet in enumerate(packets)]
    site.lan.send(*(lan_frame(site, packet) for packet in packets))
    found = []
    for packet in packets:
        frame, inner = FAR[name].expect(site.primary)
        assert bytes(inner).hex() == bytes(hop(packet)).hex()
        assert_well_formed(frame)
        found.append(ip_of(frame))
    return found


def microsoft(dscp: int) -> int:
    """What docs/configuration.md says."""
    named = {46: 46, 34: 34, 18: 18, 10: 10, 24: 24, 12: 10, 14: 10, 16: 18, 20: 18, 22: 18, 26: 24, 28: 24, 30: 24, 48: 24, 56: 24,
             32: 34, 36: 34, 38: 34, 40: 46, 44: 46}
    return named.get(dscp, 0)


@every_tunnel
@both_versions
def test_class_of_the_outer_packet(site, name, version):
    """RFC 4301 section 5.1.2, note 3: copied, fixed, or mapped. Microsoft peering carries six classes."""
    expected = {"plain": lambda dscp: dscp, "copies": lambda dscp: dscp, "fixed": lambda _: 18 if name == "fixed4" else 46, "msft": microsoft}[name[:-1]]
    found = outers(site, name, [addressed(name, version, dscp << 2) for dscp in CLASSES])
    assert [traffic_class(outer) >> 2 for outer in found] == [expected(dscp) for dscp in CLASSES]


@every_tunnel
@both_versions
def test_ecn_going_in(site, name, version):
    """RFC 6040 section 4.1: normal mode copies, compatibility mode says Not-ECT."""
    found = outers(site, name, [addressed(name, version, ecn) for ecn in range(4)])
    assert [traffic_class(outer) & 3 for outer in found] == ([NOT_ECT] * 4 if name.startswith("fixed") else [NOT_ECT, ECT1, ECT0, CE])


@pytest.mark.parametrize("name", ["plain4", "plain6"])
@both_versions
@pytest.mark.parametrize("inner", range(4))
@pytest.mark.parametrize("outer", range(4))
def test_ecn_coming_out(site, name, version, inner, outer):
    """RFC 6040 section 4.2, figure 4. The class of the outer packet stays outside."""
    packet = returned(name, version, 10 << 2 | inner) / UDP() / payload()
    field = "tos" if name == "plain4" else "tc"
    frame = link_frame(site, "primary", "private", FAR[name].seal(packet, **{field: 46 << 2 | outer}))
    if (inner, outer) == (NOT_ECT, CE):
        with site.dropped(esp_ecn_illegal=1):
            site.primary.send(frame)
        return
    ecn = inner if inner in (NOT_ECT, CE) or outer in (NOT_ECT, ECT0) else outer
    expected = hop(packet)
    expected.fields["tos" if version == 4 else "tc"] = 10 << 2 | ecn
    if version == 4:
        del expected.chksum
    site.primary.send(frame)
    assert_same(site.lan.expect(has(packet[Raw])), to_lan(site, expected))


@every_tunnel
@both_versions
def test_hop_limit(site, name, version):
    """RFC 4301 section 5.1.2, note 2. The router that seals takes one off the inner one first."""
    found = outers(site, name, [addressed(name, version, hops=n) for n in (2, 33, 255)])
    expected = {"copies": [1, 32, 254], "fixed": [9] * 3}.get(name[:-1], [64] * 3)
    assert [hops(outer) for outer in found] == expected


@every_tunnel
@both_versions
def test_hop_limit_of_the_outer_packet_stays_outside(site, name, version):
    packet = returned(name, version, hops=7) / UDP() / payload()
    sealed = FAR[name].seal(packet, **({"ttl": 1} if name.endswith("4") else {"hlim": 1}))
    site.primary.send(link_frame(site, "primary", "private", sealed))
    assert_same(site.lan.expect(has(packet[Raw])), to_lan(site, hop(packet)))


@pytest.mark.parametrize("name", [name for name in RULES if name.endswith("4")])
def test_dont_fragment(site, name):
    """RFC 4301 section 8.1: set, cleared or copied; an IPv6 packet counts as one with DF."""
    inner = [addressed(name, 4, flags="DF"), addressed(name, 4), addressed(name, 6)]
    expected = {"copies4": [True, False, True], "fixed4": [False] * 3}.get(name, [True] * 3)
    assert [bool(outer.flags.DF) for outer in outers(site, name, inner)] == expected


def test_identification_where_routers_may_fragment(site):
    """RFC 6864 section 4.1: no value twice in a packet's lifetime."""
    found = outers(site, "fixed4", [addressed("fixed4", 4) for _ in range(200)])
    assert len({outer.id for outer in found}) == len(found)


def flow_of(number: int, version: int, name: str):
    return addressed(name, version, **({"fl": 0x12300 + number} if version == 6 else {})) / UDP(sport=1000 + number, dport=443) / payload()


@both_versions
def test_flow_label_from_the_flow(site, version):
    """RFC 6438 section 3: the same for all packets of a flow, evenly spread, and not zero."""
    numbers = [random.randrange(40) for _ in range(200)]
    found = outers(site, "plain6", [flow_of(number, version, "plain6") for number in numbers])
    labels = {}
    for number, outer in zip(numbers, found):
        assert outer.fl != 0 and labels.setdefault(number, outer.fl) == outer.fl
    assert len(set(labels.values())) > 0.9 * len(labels)


@both_versions
def test_flow_label_copied_or_none(site, version):
    """RFC 4301 section 5.1.2.2, note 1."""
    assert {outer.fl for outer in outers(site, "fixed6", [flow_of(n, version, "fixed6") for n in range(5)])} == {0}
    copied = [outer.fl for outer in outers(site, "copies6", [flow_of(n, version, "copies6") for n in range(5)])]
    assert copied == ([0x12300 + n for n in range(5)] if version == 6 else [0] * 5)
