"""A far end behind a NAT that gives it another address and port while the tunnel is up (RFC 7296 section 2.23, RFC 3948)."""

import time

import pytest
from esp import Suite
from far_end import NAT_T, FarEnd, config_of, routes_of, sa_files_of
from harness import eventually
from packets import *

TICKS = 0.5  # seconds: some of the times at which control looks where peers are
FAR = {"IPv4": FarEnd(1, Suite("aes-256-gcm"), udp=True), "IPv6": FarEnd(2, Suite("aes-128-gcm"), version=6, udp=True),
       "bare": FarEnd(3, Suite("aes-256-gcm"))}
ELSEWHERE = {"IPv4": ["10.30.0.9", "10.30.200.10"], "IPv6": ["fd30::9", "fd30::a:10"]}
CONFIG, SA_FILES, ROUTES = (of(list(FAR.values())) for of in (config_of, sa_files_of, routes_of))


@pytest.fixture(params=["IPv4", "IPv6"])
def far(request, site):
    """At its first place, whatever was before."""
    end = FAR[request.param]
    if goes_to(site, end) != (end.theirs, end.port):
        arrive(site, end, end.seal(inner(end)))
        eventually(lambda: goes_to(site, end) == (end.theirs, end.port))
    site.quiet()
    return end


def inner(far):
    return far.inward(4) / UDP(sport=3, dport=4) / payload()


def arrive(site, far, *packets):
    site.primary.send(*(link_frame(site, "primary", "private", packet) for packet in packets))


def goes_to(site, far):
    """Where a packet to the far end leaves for."""
    packet = far.outward(4) / UDP() / payload()
    site.lan.send(lan_frame(site, packet))
    while True:
        frame, opened = far.expect(site.primary)
        outer = ip_of(frame)
        if bytes(packet[Raw]) in bytes(opened):
            assert outer[UDP].sport == NAT_T
            return outer.dst, outer[UDP].dport


def places(far):
    key = "IPv4" if far.version == 4 else "IPv6"
    return [(ELSEWHERE[key][0], far.port), (far.theirs, 33_445), (ELSEWHERE[key][1], 1024)]


def test_it_is_taken_and_answered_wherever_it_is(site, far):
    for source, port in [*places(far), (far.theirs, far.port)]:
        packet = inner(far)
        arrive(site, far, far.seal(packet, source=source, port=port))
        assert_same(site.lan.expect(has(packet[UDP])), to_lan(site, hop(packet)))
        eventually(lambda: goes_to(site, far) == (source, port))


def test_nothing_is_lost_while_it_moves(site, far):
    packets = [inner(far) for _ in range(60)]
    here = [(far.theirs, far.port), *places(far)]
    arrive(site, far, *(far.seal(packet, source=source, port=port) for at, packet in enumerate(packets)
                        for source, port in [here[at * len(here) // len(packets)]]))
    for packet in packets:
        assert_same(site.lan.expect(has(packet[UDP])), to_lan(site, hop(packet)))
    eventually(lambda: goes_to(site, far) == here[-1])


def test_who_has_no_key_moves_nothing(site, far):
    """A packet seen on the way and sent again, or changed, from the attacker's place."""
    source, port = places(far)[0]
    packet = inner(far)
    sealed = far.esp_of(far.seal(packet))
    arrive(site, far, far.carry(sealed))
    site.lan.expect(has(packet[UDP]))
    with site.dropped(esp_replayed=1, esp_auth_failed=1):
        arrive(site, far, far.carry(sealed, source=source, port=port))
        forged = bytearray(sealed)
        forged[4:8] = (far.sequence + 1000).to_bytes(4, "big")
        arrive(site, far, far.carry(bytes(forged), source=source, port=port))
    time.sleep(TICKS)
    assert goes_to(site, far) == (far.theirs, far.port)


def test_a_late_packet_does_not_move_it_back(site, far):
    """What was sent from the old place and comes after the first from the new one is taken, and says nothing of where it is."""
    late, packet = inner(far), inner(far)
    held = far.seal(late)
    source, port = places(far)[1]
    arrive(site, far, far.seal(packet, source=source, port=port))
    site.lan.expect(has(packet[UDP]))
    eventually(lambda: goes_to(site, far) == (source, port))
    arrive(site, far, held)
    site.lan.expect(has(late[UDP]))
    time.sleep(TICKS)
    assert goes_to(site, far) == (source, port)


def test_it_does_not_move_to_where_a_tunnel_may_not_go(site, far):
    """Into what is encrypted, and to ourselves."""
    for source in ("10.20.9.9", "172.16.0.5") if far.version == 4 else ("fd10:20::9:9", "fd16::5"):
        packet = inner(far)
        arrive(site, far, far.seal(packet, source=source))
        time.sleep(TICKS)
        assert goes_to(site, far) == (far.theirs, far.port)
    site.quiet()


def test_bare_esp_has_one_place(site):
    far = FAR["bare"]
    with site.dropped(esp_wrong_peer=1):
        arrive(site, far, far.seal(inner(far), source="10.30.0.9"))
