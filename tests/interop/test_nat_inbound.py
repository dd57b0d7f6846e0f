"""Sessions that Microsoft begins: static mappings, with an address of ours inside for who begins, and other protocols by address."""

import pytest
from harness import CONFIG as BASE
from packets import *

CONFIG = BASE.replace("nat: {{ pool: [198.51.100.0/28] }}", """nat:
      pool: [198.51.100.0/28]
      protocols: any
      from-microsoft: [10.10.255.0/30]
      static:
        - {{ outside: 198.51.100.5, inside: 10.10.0.10 }}
        - {{ outside: 198.51.100.6, inside: 10.10.0.10, protocol: tcp, port: 443, inside-port: 8443 }}""")
assert CONFIG != BASE
WHOLE, PORT = "198.51.100.5", "198.51.100.6"
CLIENT = "13.107.6.130"  # over the primary link alone


def stand_in(packet):
    assert packet[IP].src.startswith("10.10.255.")
    return packet[IP].src


@pytest.mark.parametrize("begin, answer", [
    (IP(src=CLIENT, dst=WHOLE) / UDP(sport=7000, dport=22), UDP(sport=22)),
    (IP(src=CLIENT, dst=WHOLE) / TCP(sport=7001, dport=22, flags="S"), TCP(sport=22, flags="SA")),
    (IP(src=CLIENT, dst=PORT) / TCP(sport=7002, dport=443, flags="S"), TCP(sport=8443, flags="SA")),
], ids=["host-udp", "host-tcp", "port-tcp"])
def test_microsoft_begins_and_the_reply_comes_back_here(site, begin, answer):
    begin = begin / payload()
    for link in ("primary", "secondary"):  # the second packet over the other link
        site.wires[link].send(link_frame(site, link, "microsoft", begin))
        got = site.lan.expect(has(begin[Raw]))
        assert (got[IP].dst, got[IP].ttl) == (LAN_HOST, 63)
        assert_well_formed(got)
    transport = type(answer)
    assert got[transport].dport == answer.sport
    reply = IP(src=LAN_HOST, dst=stand_in(got)) / answer.copy() / payload()
    reply[transport].dport = got[transport].sport
    site.lan.send(lan_frame(site, reply))
    outside = site.primary.expect(has(reply[Raw]))
    expected = hop(reply)
    expected.src, expected.dst = begin[IP].dst, CLIENT
    expected[transport].sport, expected[transport].dport = begin[transport].dport, begin[transport].sport
    assert_same(outside, to_link(site, "primary", "microsoft", expected))


def test_a_ping_from_microsoft_is_answered(site):
    begin = IP(src=CLIENT, dst=WHOLE) / ICMP(type=8, id=77, seq=1) / payload()
    site.primary.send(link_frame(site, "primary", "microsoft", begin))
    got = site.lan.expect(has(begin[Raw]))
    assert_well_formed(got)
    reply = IP(src=LAN_HOST, dst=stand_in(got)) / ICMP(type=0, id=got[ICMP].id, seq=1) / payload()
    site.lan.send(lan_frame(site, reply))
    outside = site.primary.expect(has(reply[Raw]))
    assert (outside[IP].src, outside[IP].dst, outside[ICMP].id) == (WHOLE, CLIENT, 77)
    assert_well_formed(outside)


def test_other_ports_and_the_public_peering_take_nothing(site):
    with site.dropped(nat_no_session=2):
        site.primary.send(link_frame(site, "primary", "microsoft", IP(src=CLIENT, dst=PORT) / TCP(sport=1, dport=444, flags="S") / payload()),
                          link_frame(site, "primary", "microsoft", IP(src=CLIENT, dst=PORT) / UDP(sport=1, dport=443) / payload()))
    with site.dropped(unsolicited=1):
        site.primary.send(link_frame(site, "primary", "public", IP(src="52.239.1.9", dst="198.51.100.16") / TCP(sport=1, dport=443, flags="S")))


def test_the_host_begins_from_its_static_address(site):
    packet = IP(src=LAN_HOST, dst=CLIENT) / UDP(sport=123, dport=123) / payload()
    site.lan.send(lan_frame(site, packet))
    outside = site.primary.expect(has(packet[Raw]))
    assert (outside[IP].src, outside[UDP].sport) == (WHOLE, 123)
    assert_well_formed(outside)


def test_other_protocols_go_by_address(site):
    """GRE of two hosts to one server: an outside address each."""
    seen = {}
    for host in ("10.10.0.31", "10.10.0.32"):
        packet = IP(src=host, dst=CLIENT, proto=47) / payload()
        site.lan.send(lan_frame(site, packet))
        outside = site.primary.expect(has(packet[Raw]))
        assert_well_formed(outside)
        seen[host] = outside[IP].src
    assert len(set(seen.values())) == 2 and WHOLE not in seen.values()
    # Nobody resolved those two; LAN_HOST gets its replies.
    packet = IP(src=LAN_HOST, dst=CLIENT, proto=47) / payload()
    site.lan.send(lan_frame(site, packet))
    outside = site.primary.expect(has(packet[Raw]))
    reply = IP(src=CLIENT, dst=outside[IP].src, proto=47) / payload()
    site.secondary.send(link_frame(site, "secondary", "microsoft", reply))
    got = site.lan.expect(has(reply[Raw]))
    assert got[IP].dst == LAN_HOST
    assert_well_formed(got)
