"""What NAT has to do besides plain packets: fragments in any order, hairpins, ICMP queries and hostile errors. Ports are libpcap's, which
see fragments as they are."""

import random

import pytest
from harness import CONFIG as BASE
from packets import *
from scapy.layers.inet import fragment, defragment

PCAP = True
CONFIG = BASE.replace("nat: {{ pool: [198.51.100.0/28] }}", "nat: {{ pool: [198.51.100.1] }}")
assert CONFIG != BASE
POOL = "198.51.100.1"
M365 = "13.107.6.130"  # over the primary link alone
OTHER = "10.10.0.11"   # behind the same MAC address
NEIGHBOURS = (*NEIGHBOURS, f"{OTHER} lladdr {LAN_MAC} dev lan")
NEXT_PORT = iter(range(30000, 40000))


def whole(pieces):
    done = defragment([IP(bytes(piece)) for piece in pieces])
    assert len(done) == 1 and not done[0].flags.MF and done[0].frag == 0
    return done[0]


@pytest.mark.parametrize("order", ["in order", "last first", "any"])
@pytest.mark.parametrize("protocol", ["udp", "tcp", "icmp"])
def test_fragments_both_ways(site, protocol, order):
    port = next(NEXT_PORT)
    out = {"udp": UDP(sport=port, dport=443), "tcp": TCP(sport=port, dport=443, flags="PA"), "icmp": ICMP(type=8, id=port)}[protocol]
    back = {"udp": UDP(sport=443, dport=port), "tcp": TCP(sport=443, dport=port, flags="A"), "icmp": ICMP(type=0, id=port)}[protocol]

    def arranged(pieces):
        return {"in order": pieces, "last first": pieces[::-1], "any": random.sample(pieces, len(pieces))}[order]

    def collect(wire, peer, enough):
        pieces = []
        while sum(len(p[IP].payload) for p in pieces) < enough:
            pieces.append(IP(bytes(wire.expect(kind(IP, **peer))[IP])[:1500]))
        assert all(len(p) <= 1500 for p in pieces)
        return IP(recomputed(whole(pieces)))

    number = random.randrange(65536)
    packet = IP(bytes(IP(src=LAN_HOST, dst=M365, id=number) / out / payload(4000)))
    site.lan.send(*(lan_frame(site, piece) for piece in arranged(fragment(packet, 1200))))
    expected = hop(packet)
    expected.src = POOL
    assert bytes(collect(site.primary, {"dst": M365}, 4000)) == recomputed(expected)

    reply = IP(bytes(IP(src=M365, dst=POOL, id=number ^ 1) / back / payload(3000)))
    for n, piece in enumerate(arranged(fragment(reply, 800))):  # over both links
        link = ("primary", "secondary")[n % 2]
        site.wires[link].send(link_frame(site, link, "microsoft", piece))
    expected = hop(reply)
    expected.dst = LAN_HOST
    assert bytes(collect(site.lan, {"src": M365}, 3000)) == recomputed(expected)
    site.expect_exact_accounting()
    assert site.daemon.show("accounting")["held"] == 0


@pytest.mark.parametrize("protocol", [UDP, TCP])
def test_two_hosts_meet_at_the_pool(site, protocol):
    """RFC 4787 REQ-9: each knows of the other what a server outside would tell it."""
    mine, theirs = next(NEXT_PORT), next(NEXT_PORT)
    first = IP(src=LAN_HOST, dst=POOL) / protocol(sport=mine, dport=theirs) / payload()
    second = IP(src=OTHER, dst=POOL) / protocol(sport=theirs, dport=mine) / payload()
    with site.dropped(nat_no_session=1):
        site.lan.send(lan_frame(site, first))
    for packet, receiver in ((second, LAN_HOST), (first, OTHER)):
        site.lan.send(lan_frame(site, packet))
        expected = hop(packet)
        expected.src, expected.dst = POOL, receiver
        got = site.lan.expect(has(packet[Raw]))
        assert_same(got, to_lan(site, expected))
    # And an error about it.
    error = IP(src=OTHER, dst=POOL) / ICMP(type=3, code=3) / Raw(bytes(ip_of(got)))
    site.lan.send(lan_frame(site, error))
    told = site.lan.expect(kind(IP, ICMP, type=3, code=3))
    assert_same(told, to_lan(site, IP(src=POOL, dst=LAN_HOST, ttl=63) / ICMP(type=3, code=3) / Raw(bytes(hop(first)))))


def test_a_timestamp_is_asked_for_and_answered(site):
    query = IP(src=LAN_HOST, dst=M365) / ICMP(type=13, id=next(NEXT_PORT), seq=3, ts_ori=5)
    site.lan.send(lan_frame(site, query))
    outside = site.primary.expect(kind(IP, ICMP, type=13))
    assert_well_formed(outside)
    site.secondary.send(link_frame(site, "secondary", "microsoft", IP(src=M365, dst=outside[IP].src) / ICMP(
        type=14, id=outside[ICMP].id, seq=3, ts_ori=5, ts_rx=6, ts_tx=7)))
    answer = site.lan.expect(kind(IP, ICMP, type=14))
    assert (answer[IP].dst, answer[ICMP].id, answer[ICMP].ts_tx) == (LAN_HOST, query[ICMP].id, 7)
    assert_well_formed(answer)


def test_errors_with_wrong_checksums_are_dropped(site):
    """RFC 5508 REQ-3."""
    packet = IP(src=LAN_HOST, dst=M365) / UDP(sport=next(NEXT_PORT), dport=443) / payload()
    site.lan.send(lan_frame(site, packet))
    quoted = ip_of(site.primary.expect(has(packet[Raw])))
    good = IP(src="100.64.9.9", dst=POOL) / ICMP(type=3, code=1) / Raw(bytes(quoted))
    wrong = IP(src="100.64.9.9", dst=POOL) / ICMP(type=3, code=1, chksum=0x1234) / Raw(bytes(quoted))
    bent = bytearray(bytes(quoted))
    bent[8] ^= 1
    other = IP(src="100.64.9.9", dst=POOL) / ICMP(type=3, code=1) / Raw(bytes(bent))
    with site.dropped(nat_bad_error=2):
        site.primary.send(link_frame(site, "primary", "microsoft", wrong), link_frame(site, "primary", "microsoft", other))
    site.primary.send(link_frame(site, "primary", "microsoft", good))
    assert site.lan.expect(kind(IP, ICMP, type=3, code=1))[IP].dst == LAN_HOST
