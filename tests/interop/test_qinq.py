"""Two tags per leg, and fragments: the kernel reassembles IPv4 fragments for an AF_PACKET port unless two tags hide them."""

import pytest
from harness import CONFIG as PLAIN
from packets import *
from scapy.layers.l2 import ARP, Dot1AD

CONFIG = (PLAIN.replace("port: lan,", "port: lan, vlan: {{ outer: 10, inner: 20 }},")
          .replace("link: primary,   vlan: 100", "link: primary, vlan: {{ outer: 100, inner: 1100, ethertype: 0x88a8 }}")
          .replace("link: primary,   vlan: 300", "link: primary, vlan: {{ outer: 100, inner: 1300, ethertype: 0x88a8 }}"))
TAGS = {"lan": lambda: Dot1Q(vlan=10) / Dot1Q(vlan=20), "private": lambda: Dot1AD(vlan=100) / Dot1Q(vlan=1100),
        "microsoft": lambda: Dot1AD(vlan=100) / Dot1Q(vlan=1300)}


def arriving(site, leg, packet):
    wire = "lan" if leg == "lan" else "primary"
    mac = LAN_MAC if leg == "lan" else MSEE_MAC["primary"]
    site.wires[wire].send(Ether(src=mac, dst=site.mac[wire]) / TAGS[leg]() / packet)


def leaving(site, leg, packet):
    wire = "lan" if leg == "lan" else "primary"
    mac = LAN_MAC if leg == "lan" else MSEE_MAC["primary"]
    return Ether(src=site.mac[wire], dst=mac) / TAGS[leg]() / packet


@pytest.mark.parametrize("size", [64, 1400])
def test_both_ways(site, size):
    out = IP(src=LAN_HOST, dst="10.30.0.7") / UDP() / payload(size)
    arriving(site, "lan", out)
    assert_same(site.primary.expect(has(out[Raw])), leaving(site, "private", hop(out)))
    back = IPv6(src="fd30::7", dst=LAN_HOST6) / UDP() / payload(size)
    arriving(site, "private", back)
    assert_same(site.lan.expect(has(back[Raw])), leaving(site, "lan", hop(back)))


def test_linux_answers_with_both_tags(site):
    mac = MSEE_MAC["primary"]
    site.primary.send(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / TAGS["private"]() / ARP(hwsrc=mac, psrc="172.16.0.2", pdst="172.16.0.1"))
    answer = site.primary.expect(kind(ARP, op=2))
    assert (answer[Dot1AD].vlan, answer[Dot1Q].vlan, answer[ARP].psrc) == (100, 1100, "172.16.0.1")


def test_nat_both_ways(site):
    out = IP(src=LAN_HOST, dst="13.107.6.130") / UDP(sport=5000, dport=443) / payload()
    arriving(site, "lan", out)
    outside = site.primary.expect(has(out[Raw]))
    assert (outside[Dot1AD].vlan, outside[Dot1Q].vlan) == (100, 1300)
    assert_well_formed(outside)
    back = IP(src="13.107.6.130", dst=outside[IP].src) / UDP(sport=443, dport=outside[UDP].sport) / payload()
    arriving(site, "microsoft", back)
    expected = hop(back)
    expected.dst, expected[UDP].dport = LAN_HOST, 5000
    assert_same(site.lan.expect(has(back[Raw])), leaving(site, "lan", expected))


def test_other_stacks_are_dropped(site):
    packet = IP(src="10.30.0.7", dst=LAN_HOST) / UDP() / payload()
    stacks = [Dot1AD(vlan=100), Dot1Q(vlan=1100), Dot1AD(vlan=100) / Dot1Q(vlan=1101), Dot1AD(vlan=101) / Dot1Q(vlan=1100),
              Dot1AD(vlan=100) / Dot1Q(vlan=1100) / Dot1Q(vlan=1)]
    with site.dropped(unknown_vlan=len(stacks)):
        site.primary.send(*(Ether(src=MSEE_MAC["primary"], dst=site.mac["primary"]) / tags / packet for tags in stacks))


def test_fragments_become_whole_where_nat_needs_ports(site):
    from scapy.layers.inet import fragment
    out = IP(src=LAN_HOST, dst="13.107.6.130", id=9) / UDP(sport=5001, dport=443) / payload(1400)
    for part in fragment(out, 600):
        arriving(site, "lan", part)
    outside = site.primary.expect(kind(IP, dst="13.107.6.130"))
    assert (outside[Dot1AD].vlan, outside[Dot1Q].vlan, bytes(outside[Raw])) == (100, 1300, bytes(out[Raw]))
    assert_well_formed(outside)
    back = IP(src="13.107.6.130", dst=outside[IP].src, id=10) / UDP(sport=443, dport=outside[UDP].sport) / payload(1400)
    for part in fragment(back, 600):
        arriving(site, "microsoft", part)
    inside = site.lan.expect(kind(IP, src="13.107.6.130"))
    assert (inside[IP].dst, inside[UDP].dport, bytes(inside[Raw])) == (LAN_HOST, 5001, bytes(back[Raw]))


def test_fragments_are_forwarded_and_sealed(site):
    """Where no port matters a fragment is a packet like any other."""
    from scapy.layers.inet import fragment
    for destination in ("10.30.0.7", "10.20.1.7"):
        parts = fragment(IP(src=LAN_HOST, dst=destination, id=11) / UDP(sport=1, dport=2) / payload(1200), 600)
        peer = Peer("azure-0")
        for part in parts:
            arriving(site, "lan", part)
            if destination == "10.30.0.7":
                assert_same(site.primary.expect(kind(IP, dst=destination)), leaving(site, "private", hop(part)))
            else:
                _, inner = peer.expect(site.primary)
                assert bytes(inner).hex() == bytes(hop(part)).hex()
