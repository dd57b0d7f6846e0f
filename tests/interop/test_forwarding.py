"""Plain forwarding between the LAN and private peering, and what Linux answers for our addresses."""

import pytest
from packets import *
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, ICMPv6TimeExceeded
from scapy.layers.l2 import ARP

LINKS = {"primary": ("10.30.0.7", "172.16.0.1", "172.16.0.2"), "secondary": ("10.31.0.7", "172.16.0.5", "172.16.0.6")}


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("size", [64, 1472])
def test_lan_to_private_peering(site, link, size):
    token = payload(size)
    packet = IP(src=LAN_HOST, dst=LINKS[link][0], ttl=17, id=4711, tos=0x28) / UDP(sport=1234, dport=53) / token
    site.lan.send(lan_frame(site, packet))
    assert_same(site.wires[link].expect(has(token)), to_link(site, link, "private", hop(packet)))


def test_lan_to_private_peering_ipv6(site):
    token = payload()
    packet = IPv6(src=LAN_HOST6, dst="fd30::7", hlim=17, tc=0x28, fl=0x12345) / TCP(sport=1234, dport=443, flags="A") / token
    site.lan.send(lan_frame(site, packet))
    assert_same(site.primary.expect(has(token)), to_link(site, "primary", "private", hop(packet)))


@pytest.mark.parametrize("link", LINKS)
def test_private_peering_to_lan(site, link):
    for packet in (IP(src=LINKS[link][0], dst=LAN_HOST, ttl=2) / TCP(sport=80, dport=999, flags="PA"),
                   IPv6(src="fd30::7", dst=LAN_HOST6, hlim=2) / UDP(sport=80, dport=999)):
        token = payload()
        site.wires[link].send(link_frame(site, link, "private", packet / token))
        assert_same(site.lan.expect(has(token)), to_lan(site, hop(packet / token)))


def test_options_and_all_ttls_keep_the_checksum_right(site):
    from scapy.layers.inet import IPOption_NOP
    token = payload()
    frames = [IP(src=LAN_HOST, dst="10.30.0.7", ttl=ttl, id=ttl * 251, options=[IPOption_NOP()] * (ttl % 3)) / UDP() / token
              for ttl in range(2, 256)]
    site.lan.send(*(lan_frame(site, frame) for frame in frames))
    for frame in frames:
        assert_same(site.primary.expect(has(token)), to_link(site, "primary", "private", hop(frame)))


def test_last_hop_is_told_from_our_leg(site):
    packet = IP(src=LAN_HOST, dst="10.30.0.7", ttl=1, id=99) / UDP(sport=5, dport=6) / payload()
    before = site.daemon.drops().get("hop_limit_expired", 0)
    site.lan.send(lan_frame(site, packet))
    error = site.lan.expect(kind(IP, ICMP, type=11, code=0))
    assert (error[Ether].src, error[Ether].dst) == (site.mac["lan"], LAN_MAC)
    assert (error[IP].src, error[IP].dst) == ("10.10.0.1", LAN_HOST)
    assert bytes(packet).startswith(icmp_quote(error)) and len(icmp_quote(error)) >= 28
    assert_well_formed(error)
    assert site.daemon.drops()["hop_limit_expired"] == before + 1


def test_last_hop_is_told_over_the_link_it_came_from(site):
    packet = IP(src="172.16.0.2", dst=LAN_HOST, ttl=1) / UDP(sport=5, dport=6) / payload()
    site.primary.send(link_frame(site, "primary", "private", packet))
    error = site.primary.expect(kind(IP, ICMP, type=11, code=0))
    assert (error[Dot1Q].vlan, error[IP].src, error[IP].dst) == (100, "172.16.0.1", "172.16.0.2")
    assert_well_formed(error)


def test_last_hop_ipv6(site):
    packet = IPv6(src=LAN_HOST6, dst="fd30::7", hlim=1) / UDP(sport=5, dport=6) / payload()
    site.lan.send(lan_frame(site, packet))
    error = site.lan.expect(kind(ICMPv6TimeExceeded, code=0))
    assert (error[IPv6].src, error[IPv6].dst) == ("fd10:10::1", LAN_HOST6)
    assert icmp_quote(error) == bytes(packet)
    assert_well_formed(error)


def test_no_route_is_told_to_the_lan(site):
    site.lan.send(lan_frame(site, IP(src=LAN_HOST, dst="192.168.77.1") / UDP() / payload()))
    error = site.lan.expect(kind(IP, ICMP, type=3, code=0))
    assert (error[IP].src, error[IP].dst) == ("10.10.0.1", LAN_HOST)
    assert_well_formed(error)
    packet = IPv6(src=LAN_HOST6, dst="fd77::1") / UDP() / payload()
    site.lan.send(lan_frame(site, packet))
    error = site.lan.expect(kind(ICMPv6DestUnreach, code=0))
    assert error[IPv6].src == "fd10:10::1" and icmp_quote(error) == bytes(packet)
    assert_well_formed(error)


def test_no_icmp_error_about_an_icmp_error(site):
    with site.dropped(no_route=1):
        site.lan.send(lan_frame(site, IP(src=LAN_HOST, dst="192.168.77.1") / ICMP(type=3, code=1) / IP() / UDP()))


LEGS = [("lan", None, "10.10.0.9", "10.10.0.1")] + [
    (link, vlan, theirs, ours) for link, last in (("primary", 0), ("secondary", 4))
    for vlan, net in ((100, "172.16.0"), (200, "192.0.2"), (300, "203.0.113"))
    for ours, theirs in [(f"{net}.{last + 1}", f"{net}.{last + 2}")]]



@pytest.mark.parametrize(("wire", "vlan", "theirs", "ours"), LEGS)
def test_linux_answers_arp_and_ping_with_the_legs_tag(site, wire, vlan, theirs, ours):
    mac = "02:00:00:00:00:99"
    ethernet = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff")
    tag = Dot1Q(vlan=vlan) if vlan else None
    request = ARP(op="who-has", hwsrc=mac, psrc=theirs, pdst=ours)
    site.wires[wire].send(ethernet / tag / request if tag else ethernet / request)
    answer = site.wires[wire].expect(kind(ARP, op=2, psrc=ours, hwdst=mac))
    assert answer[ARP].hwsrc == site.mac[wire] and answer[Ether].src == site.mac[wire]
    assert (answer[Dot1Q].vlan if vlan else Dot1Q not in answer) == (vlan or True)

    ethernet = Ether(src=mac, dst=site.mac[wire])
    token = payload()
    ping = IP(src=theirs, dst=ours) / ICMP(id=7, seq=3) / token
    site.wires[wire].send(ethernet / tag / ping if tag else ethernet / ping)
    answer = site.wires[wire].expect(has(token))
    assert (answer[IP].src, answer[IP].dst, answer[ICMP].type, answer[ICMP].id, answer[ICMP].seq) == (ours, theirs, 0, 7, 3)
    assert (answer[Dot1Q].vlan if vlan else Dot1Q not in answer) == (vlan or True)
    assert_well_formed(answer)


def test_linux_answers_for_its_own_leg_only(site):
    mac = "02:00:00:00:00:99"
    for asked in ("203.0.113.1", "10.10.0.1", "198.51.100.1"):
        site.primary.send(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=100) / ARP(hwsrc=mac, psrc="172.16.0.2", pdst=asked))
    site.primary.send(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=100) / ARP(hwsrc=mac, psrc="172.16.0.2", pdst="172.16.0.1"))
    assert site.primary.expect(kind(ARP, op=2))[ARP].psrc == "172.16.0.1"


def test_linux_answers_neighbour_solicitation_and_ping6(site):
    mac = "02:00:00:00:00:10"
    site.lan.send(Ether(src=mac, dst="33:33:ff:00:00:01") / IPv6(src=LAN_HOST6, dst="ff02::1:ff00:1")
                  / ICMPv6ND_NS(tgt="fd10:10::1") / ICMPv6NDOptSrcLLAddr(lladdr=mac))
    answer = site.lan.expect(kind(ICMPv6ND_NA, tgt="fd10:10::1"))
    assert answer[Ether].src == site.mac["lan"]
    token = payload()
    site.lan.send(lan_frame(site, IPv6(src=LAN_HOST6, dst="fd10:10::1") / ICMPv6EchoRequest(id=9, data=bytes(token))))
    answer = site.lan.expect(kind(ICMPv6EchoReply, id=9))
    assert answer[ICMPv6EchoReply].data == bytes(token)
    assert_well_formed(answer)


def test_neighbour_is_found_by_linux_and_the_packet_sent_on(site):
    """A LAN host nobody has spoken to: the first packet makes Linux ask, and it is not lost."""
    token = payload()
    mac = "02:00:00:00:00:11"
    site.primary.send(link_frame(site, "primary", "private", IP(src="10.30.0.7", dst="10.10.0.11", ttl=9) / UDP() / token))
    asked = site.lan.expect(kind(ARP, op=1, pdst="10.10.0.11"))
    site.lan.send(Ether(src=mac, dst=asked[Ether].src) / ARP(op="is-at", hwsrc=mac, psrc="10.10.0.11", hwdst=asked[ARP].hwsrc, pdst=asked[ARP].psrc))
    first = site.lan.expect(has(token))
    assert (first[Ether].dst, first[IP].ttl) == (mac, 8)
    assert_well_formed(first)
    from harness import eventually
    eventually(lambda: any(r["prefix"] == "10.10.0.11/32" for r in site.daemon.show("routes")))
    packet = IP(src="10.30.0.7", dst="10.10.0.11", ttl=9) / UDP() / payload()
    site.primary.send(link_frame(site, "primary", "private", packet))
    assert_same(site.lan.expect(has(packet[Raw])), Ether(src=site.mac["lan"], dst=mac) / hop(packet))


@pytest.mark.parametrize("tags", [[], [Dot1Q(vlan=101)], [Dot1Q(vlan=100), Dot1Q(vlan=100)]], ids=["none", "101", "100.100"])
def test_unknown_tags_are_dropped_and_counted(site, tags):
    frame = Ether(src=MSEE_MAC["primary"], dst=site.mac["primary"])
    for tag in tags:
        frame = frame / tag
    with site.dropped(unknown_vlan=1):
        site.primary.send(frame / IP(src="10.30.0.7", dst=LAN_HOST) / UDP() / payload())


def test_frames_for_others_and_broken_packets_are_dropped_by_name(site):
    packet = IP(src=LAN_HOST, dst="10.30.0.7") / UDP() / payload()
    with site.dropped(not_for_us=1):
        site.lan.send(Ether(src=LAN_MAC, dst="02:00:00:00:00:77") / packet)
    with site.dropped(bad_ip_header=1):
        broken = packet.copy()
        broken.chksum = 0x1234
        site.lan.send(lan_frame(site, broken))
    with site.dropped(unknown_ethertype=1):
        site.lan.send(Ether(src=LAN_MAC, dst=site.mac["lan"], type=0x88b5) / payload())


def test_microsoft_and_public_peering_may_not_reach_inside(site):
    for peering, source in (("microsoft", "13.107.6.10"), ("public", "52.239.1.10")):
        for target in (LAN_HOST, "10.30.0.7"):
            with site.dropped(unsolicited=1):
                site.primary.send(link_frame(site, "primary", peering, IP(src=source, dst=target) / UDP() / payload()))
    with site.dropped(unsolicited=1):
        site.primary.send(link_frame(site, "primary", "microsoft", IP(src="13.107.6.10", dst="10.20.1.1") / UDP() / payload()))
