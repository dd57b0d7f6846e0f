"""Source NAT towards Microsoft and public peering, both ways, with scapy's own idea of every checksum."""

import ipaddress

import pytest
from harness import eventually
from packets import *
from scapy.layers.inet import IPerror, UDPerror, TCPerror, ICMPerror

POOL = ipaddress.ip_network("198.51.100.0/28")
M365 = "13.107.6.130"   # routed over the primary link alone
OTHER = {"primary": "secondary", "secondary": "primary"}
NEXT_PORT = iter(range(20000, 30000))


def udp():
    return UDP(sport=next(NEXT_PORT), dport=443)


def tcp():
    return TCP(sport=next(NEXT_PORT), dport=443, flags="S", seq=1000, options=[("MSS", 1460)])


def echo():
    return ICMP(type=8, id=next(NEXT_PORT), seq=5)


PROTOCOLS = [udp, tcp, echo]


def go_out(site, transport, destination=M365, link="primary", size=64):
    """What the LAN sent, and what came out translated."""
    packet = IP(src=LAN_HOST, dst=destination, ttl=64, id=321) / transport / payload(size)
    site.lan.send(lan_frame(site, packet))
    return packet, site.wires[link].expect(has(packet[Raw]))


def reply_to(outside):
    """What a server would answer to the frame it got."""
    packet = IP(src=outside[IP].dst, dst=outside[IP].src, ttl=50, id=77)
    if UDP in outside:
        return packet / UDP(sport=outside[UDP].dport, dport=outside[UDP].sport) / payload()
    if TCP in outside:
        return packet / TCP(sport=outside[TCP].dport, dport=outside[TCP].sport, flags="SA", seq=9, ack=outside[TCP].seq + 1) / payload()
    return packet / ICMP(type=0, id=outside[ICMP].id, seq=outside[ICMP].seq) / payload()


def inside_again(reply, packet):
    """The reply as the LAN host must get it."""
    expected = hop(reply)
    expected.dst = LAN_HOST
    if UDP in packet:
        expected[UDP].dport = packet[UDP].sport
    elif TCP in packet:
        expected[TCP].dport = packet[TCP].sport
    else:
        expected[ICMP].id = packet[ICMP].id
    return expected


@pytest.mark.parametrize("transport", PROTOCOLS)
@pytest.mark.parametrize("size", [64, 1400])
def test_out_and_back_over_the_other_link(site, transport, size):
    packet, outside = go_out(site, transport(), size=size)
    assert ipaddress.ip_address(outside[IP].src) in POOL
    assert (outside[Dot1Q].vlan, outside[IP].dst, outside[IP].ttl, outside[IP].id) == (300, M365, 63, 321)
    assert_well_formed(outside)
    expected = hop(packet)
    expected.src = outside[IP].src
    if ICMP in packet:
        expected[ICMP].id = outside[ICMP].id
    else:
        expected[type(packet.payload)].sport = outside[type(packet.payload)].sport
    assert_same(outside, to_link(site, "primary", "microsoft", expected))
    for link in ("secondary", "primary"):
        reply = reply_to(outside)
        site.wires[link].send(link_frame(site, link, "microsoft", reply))
        assert_same(site.lan.expect(has(reply[Raw])), to_lan(site, inside_again(reply, packet)))


def test_a_flow_keeps_its_outside_address_and_port(site):
    transport = udp()
    _, first = go_out(site, transport)
    _, second = go_out(site, transport)
    assert (first[IP].src, first[UDP].sport) == (second[IP].src, second[UDP].sport)


def test_udp_without_a_checksum_stays_without(site):
    _, outside = go_out(site, UDP(sport=next(NEXT_PORT), dport=443, chksum=0))
    assert outside[UDP].chksum == 0
    reply = reply_to(outside)
    reply[UDP].chksum = 0
    site.primary.send(link_frame(site, "primary", "microsoft", reply))
    assert site.lan.expect(has(reply[Raw]))[UDP].chksum == 0


def test_many_flows_use_both_links_and_never_share_an_outside(site):
    packets = [IP(src=LAN_HOST, dst="13.107.6.10") / udp() / payload() for _ in range(64)]
    site.lan.send(*(lan_frame(site, p) for p in packets))
    seen, links = set(), []
    for _ in packets:
        for name in ("primary", "secondary"):
            while (frame := site.wires[name].receive(kind(IP, UDP, dport=443), 0)) is not None:
                assert ipaddress.ip_address(frame[IP].src) in POOL
                assert_well_formed(frame)
                seen.add((frame[IP].src, frame[UDP].sport))
                links.append(name)
        if len(links) == len(packets):
            break
        site.primary.receive(lambda _: False, 0.02)
    assert len(seen) == len(packets)
    assert min(links.count("primary"), links.count("secondary")) >= 8


@pytest.mark.parametrize("transport", PROTOCOLS)
@pytest.mark.parametrize("error", [(3, 3), (3, 4), (11, 0)], ids=["port-unreachable", "too-big", "time-exceeded"])
def test_icmp_error_about_a_translated_packet(site, transport, error):
    packet, outside = go_out(site, transport())
    quoted = ip_of(outside)
    quoted.ttl -= 5
    del quoted.chksum
    quoted = IP(bytes(quoted))
    router = "100.64.9.9"
    message = IP(src=router, dst=outside[IP].src, ttl=60) / ICMP(type=error[0], code=error[1], nexthopmtu=1400 if error == (3, 4) else 0) / Raw(bytes(quoted))
    site.secondary.send(link_frame(site, "secondary", "microsoft", message))
    got = site.lan.expect(kind(IP, ICMP, type=error[0], code=error[1]))

    expected_quote = packet.copy()  # exactly what the LAN host sent, as far as it had come
    expected_quote.ttl = quoted.ttl
    expected = IP(src=router, dst=LAN_HOST, ttl=59) / ICMP(type=error[0], code=error[1], nexthopmtu=1400 if error == (3, 4) else 0) / Raw(bytes(expected_quote))
    assert_same(got, to_lan(site, expected))
    assert type(got[IPerror].payload) in (UDPerror, TCPerror, ICMPerror)


def test_a_quote_of_eight_bytes_is_enough(site):
    """All that RFC 792 promises; the transport's checksum is not in it for TCP."""
    packet, outside = go_out(site, tcp())
    message = IP(src="100.64.9.9", dst=outside[IP].src) / ICMP(type=3, code=1) / Raw(bytes(ip_of(outside))[:28])
    site.primary.send(link_frame(site, "primary", "microsoft", message))
    got = site.lan.expect(kind(IP, ICMP, type=3, code=1))
    assert (got[IP].dst, got[IPerror].src, got[TCPerror].sport) == (LAN_HOST, LAN_HOST, packet[TCP].sport)
    assert_well_formed(got)


def test_an_icmp_error_from_inside_is_translated_too(site):
    packet, outside = go_out(site, udp())
    reply = reply_to(outside)
    site.primary.send(link_frame(site, "primary", "microsoft", reply))
    delivered = ip_of(site.lan.expect(has(reply[Raw])))
    message = IP(src=LAN_HOST, dst=M365, ttl=64) / ICMP(type=3, code=3) / Raw(bytes(delivered))
    site.lan.send(lan_frame(site, message))
    got = site.primary.expect(kind(IP, ICMP, type=3, code=3))
    seen_by_server = hop(reply)
    expected = IP(src=outside[IP].src, dst=M365, ttl=63) / ICMP(type=3, code=3) / Raw(bytes(seen_by_server))
    assert_same(got, to_link(site, "primary", "microsoft", expected))


def test_other_protocols_are_dropped_by_name(site):
    with site.dropped(nat_unsupported=2):
        site.lan.send(lan_frame(site, IP(src=LAN_HOST, dst=M365, proto=47) / payload()),
                      lan_frame(site, IP(src=LAN_HOST, dst=M365) / ICMP(type=17) / payload()))


def test_nobody_outside_can_begin(site):
    remote = "13.107.6.150"  # nobody else speaks to it: each other port is free
    _, outside = go_out(site, udp(), remote)
    pool, port = outside[IP].src, outside[UDP].sport
    strangers = [IP(src=remote, dst=pool) / UDP(sport=443, dport=port ^ 1) / payload(),      # another port
                 IP(src=remote, dst=pool) / UDP(sport=444, dport=port) / payload(),          # from another port
                 IP(src="13.107.6.99", dst=pool) / UDP(sport=443, dport=port) / payload(), # from another host
                 IP(src=remote, dst=pool) / TCP(sport=443, dport=port) / payload()]          # another protocol
    with site.dropped(nat_no_session=len(strangers)):
        site.primary.send(*(link_frame(site, "primary", "microsoft", p) for p in strangers))
    with site.dropped(nat_no_session=1):
        site.primary.send(link_frame(site, "primary", "microsoft", IP(src=remote, dst=pool) / ICMP(type=8, id=1) / payload()))
    with site.dropped(nat_wrong_peering=2):
        site.primary.send(link_frame(site, "primary", "public", reply_to(outside)), link_frame(site, "primary", "private", reply_to(outside)))
    with site.dropped(nat_no_session=1):
        quoted = IP(src=pool, dst=remote) / UDP(sport=port ^ 1, dport=443) / payload()
        site.primary.send(link_frame(site, "primary", "microsoft", IP(src="100.64.9.9", dst=pool) / ICMP(type=3, code=1) / Raw(bytes(quoted))))


def test_pool_of_two_ports_is_exhausted_by_the_third_session(site):
    """The public pool has one address and the ports 2000 and 2001."""
    def pool():
        return next(p for p in site.daemon.show("nat")["pools"] if p["peering"] == "public")

    frames = [go_out(site, udp(), "52.239.1.10")[1] for _ in range(2)]
    assert {(f[IP].src, f[UDP].sport) for f in frames} == {("198.51.100.16", 2000), ("198.51.100.16", 2001)}
    assert all(f[Dot1Q].vlan == 200 for f in frames)
    with site.dropped(nat_ports_exhausted=1):
        refused = IP(src=LAN_HOST, dst="52.239.1.10") / udp() / payload()
        site.lan.send(lan_frame(site, refused))
        told = site.lan.expect(kind(IP, ICMP, type=3, code=13))  # RFC 5508 REQ-8
        assert (told[IP].src, bytes(told[IPerror])) == ("10.10.0.1", bytes(hop(refused)))
    assert (pool()["ports_exhausted"], pool()["sessions"], pool()["by_protocol"]["udp"]) == (1, 2, 2)
    # Another remote, and another protocol, have the same two ports for themselves.
    for transport, destination in ((udp(), "52.239.1.11"), (tcp(), "52.239.1.10")):
        _, outside = go_out(site, transport, destination)
        assert outside[IP].src == "198.51.100.16" and outside[type(transport)].sport in (2000, 2001)
    assert pool()["sessions"] == 4


def test_sessions_are_shown_as_they_are(site):
    packet, outside = go_out(site, udp())
    wanted = {"protocol": "udp", "inside": f"{LAN_HOST}:{packet[UDP].sport}", "outside": f"{outside[IP].src}:{outside[UDP].sport}",
              "remote": f"{M365}:443"}

    def shown():  # by a walk over the table, which another question may have made before
        return [{key: s[key] for key in wanted} for s in site.daemon.show("nat")["sessions"]].count(wanted)

    eventually(lambda: shown() == 1, message=str(wanted))


def test_private_peering_has_no_way_out_here(site):
    with site.dropped(policy_denied=1):
        site.primary.send(link_frame(site, "primary", "private", IP(src="10.30.0.7", dst=M365) / udp() / payload()))


def test_an_icmp_error_of_ours_quotes_the_packet_before_translation(site):
    packet = IP(src=LAN_HOST, dst=M365, ttl=1) / udp() / payload()
    site.lan.send(lan_frame(site, packet))
    error = site.lan.expect(kind(IP, ICMP, type=11))
    assert error[IPerror].src == LAN_HOST
    assert_well_formed(error)
