"""Packets longer than their way are cut, before encryption and behind NAT; ESP and IKE for us arrive in pieces."""

import random
import socket

import pytest
from esp import Suite
from far_end import FarEnd, config_of, routes_of, sa_files_of
from harness import CONFIG as BASE
from harness import eventually
from packets import *
from scapy.layers.inet import defragment, fragment
from scapy.packet import Packet
from wire import inside

MTU, PCAP = 2000, True  # of the ports; what they lead to takes less
LEG_MTU = 1400
FAR = {
    "ipv4": FarEnd(1, Suite("aes-256-gcm"), options="mtu: 1400"),
    "udp": FarEnd(2, Suite("aes-256-cbc-hmac-sha256"), udp=True, options="mtu: 1400"),
    "ipv6": FarEnd(3, Suite("aes-128-gcm"), version=6, options="mtu: 1400"),
}
CONFIG = config_of(list(FAR.values()), BASE.replace("vlan: 300,", f"vlan: 300, mtu: {LEG_MTU},").replace(
    'addresses: [172.16.0.1/30,', f'mtu: {LEG_MTU}, addresses: [172.16.0.1/30,'))
SA_FILES, ROUTES = (of(list(FAR.values())) for of in (sa_files_of, routes_of))
INNER_MTU = {"ipv4": 1346, "udp": 1326, "ipv6": 1326}  # 1400 less headers and trailer, in whole words or blocks


@pytest.fixture(params=FAR)
def name(request):
    return request.param


def datagram(size: int, **fields) -> Packet:
    packet = IP(src=LAN_HOST, **fields) / UDP(sport=1, dport=2) / payload(size - 28)
    return IP(bytes(packet))


def joined(pieces: list[Packet]) -> Packet:
    done = defragment([IP(bytes(piece)) for piece in pieces])
    assert len(done) == 1 and not done[0].flags.MF and done[0].frag == 0
    return done[0]


def check_pieces(pieces: list[Packet], whole: Packet, mtu: int) -> None:
    assert [piece.flags.MF for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    assert all(len(piece) <= mtu and piece.id == whole.id and piece.ttl == whole.ttl for piece in pieces)
    assert len(pieces[0]) > mtu - 8
    for piece in pieces:
        header = IP(bytes(piece))
        del header.chksum
        assert piece.len == len(bytes(piece)) and IP(bytes(header)).chksum == piece.chksum
    assert bytes(joined(pieces)) == bytes(whole)


def test_cut_before_encryption(site, name):
    far = FAR[name]
    packet = datagram(MTU, dst=f"10.20.{far.number}.7", id=random.randrange(65536))
    cut = site.daemon.metric("fragmented_total")
    site.lan.send(lan_frame(site, packet))
    pieces = []
    for _ in range(2):
        frame, inner = far.expect(site.primary)
        assert len(ip_of(frame)) <= 1400
        if far.version == 4:
            assert ip_of(frame).frag == 0 and not ip_of(frame).flags.MF
        pieces.append(inner)
    check_pieces(pieces, hop(packet), INNER_MTU[name])
    eventually(lambda: site.daemon.metric("fragmented_total") == cut + 1)


def test_a_fragment_is_cut_again(site):
    whole = datagram(5000, dst="10.30.0.7", id=77)
    middle = fragment(whole, 1960)[1]
    site.lan.send(lan_frame(site, middle))
    pieces = [site.primary.expect(kind(IP, dst="10.30.0.7"))[IP] for _ in range(2)]
    assert [(piece.frag, piece.flags.MF) for piece in pieces] == [(middle.frag, True), (middle.frag + (LEG_MTU - 20) // 8, True)]
    assert b"".join(bytes(piece.payload) for piece in pieces)[:len(middle.payload)] == bytes(middle.payload)


def test_translated_before_it_is_cut(site):
    packet = datagram(MTU, dst="13.107.6.130", id=78)
    site.lan.send(lan_frame(site, packet))
    pieces = [site.primary.expect(kind(IP, dst="13.107.6.130"))[IP] for _ in range(2)]
    pieces = [IP(bytes(piece)[:piece.len]) for piece in pieces]
    whole = joined(pieces)
    assert whole.src.startswith("198.51.100.") and bytes(whole[UDP].payload) == bytes(packet[UDP].payload)
    check_pieces(pieces, IP(recomputed(whole)), LEG_MTU)


def test_with_df_the_sender_is_told(site):
    site.lan.send(lan_frame(site, datagram(LEG_MTU + 1, dst="10.30.0.7", flags="DF")))
    assert site.lan.expect(kind(IP, ICMP, type=3, code=4))[ICMP].nexthopmtu == LEG_MTU


def pieces_of(outer: Packet, size: int, number: int) -> list[Packet]:
    """Of a whole outer packet, with so many bytes of payload each."""
    if isinstance(outer, IP):
        return fragment(IP(bytes(outer)[:20]) / Raw(bytes(outer)[20:]), size)
    data = bytes(outer)
    out = []
    for at in range(40, len(data), size):
        field = (at - 40) | (at + size < len(data))
        head = bytes([data[6], 0]) + field.to_bytes(2, "big") + number.to_bytes(4, "big")
        part = data[at:at + size]
        out.append(IPv6(data[:4] + (8 + len(part)).to_bytes(2, "big") + bytes([44]) + data[7:40] + head + part))
    return out


@pytest.mark.parametrize("order", ["in order", "last first"])
def test_esp_in_pieces_over_both_links(site, name, order):
    far = FAR[name]
    merged, wanted = site.daemon.metric("fragments_merged_total"), 0
    for number, size in enumerate((200, 1300, 1900)):
        packet = IP(bytes(far.inward(4) / UDP(sport=3, dport=4) / payload(size)))
        parts = pieces_of(far.seal(packet, id=500 + number) if far.version == 4 else far.seal(packet), 584, number)
        wanted += len(parts) - 1
        links = ["primary", "secondary"] * len(parts)
        sent = list(zip(links, parts))
        for link, part in sent if order == "in order" else reversed(sent):
            site.wires[link].send(link_frame(site, link, "private", part))
        assert_same(site.lan.expect(has(packet[UDP])), to_lan(site, hop(packet)))
    site.expect_exact_accounting()
    eventually(lambda: site.daemon.metric("fragments_merged_total") == merged + wanted)
    assert site.daemon.show("accounting")["held"] == 0 == site.daemon.metric("fragments_held")


@pytest.mark.parametrize("version", [4, 6])
def test_a_long_message_of_ike_reaches_its_daemon(site, version):
    """A certificate makes IKE_AUTH longer than a frame."""
    with inside(site.namespace.name):
        ike = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        ike.bind(("172.16.0.1" if version == 4 else "fd16::1", 4500))
    ike.settimeout(10)
    ends = IP(src="10.30.0.4", dst="172.16.0.1", id=900) if version == 4 else IPv6(src="fd30::4", dst="fd16::1")
    message = bytes(4) + bytes(payload(5000))
    whole = ends / UDP(sport=4500, dport=4500) / Raw(message)
    for part in pieces_of(type(ends)(bytes(whole)), 1240, 9):
        site.primary.send(link_frame(site, "primary", "private", part))
    assert ike.recv(65536) == message
    ike.close()


def sealed_parts(site, size: int, number: int) -> list[Packet]:
    far = FAR["ipv4"]
    return pieces_of(far.seal(far.inward(4) / UDP() / payload(1300), id=number), size, number)


def send(site, *parts: Packet) -> None:
    for part in parts:
        site.primary.send(link_frame(site, "primary", "private", part))


def test_hostile_ones_are_named(site):
    parts = sealed_parts(site, 400, 1000)
    with site.dropped(fragment_overlap=len(parts) + 1):  # RFC 5722 section 4: those that are there, and those still to come
        shifted = parts[1].copy()
        shifted.frag -= 1
        del shifted.chksum
        send(site, parts[0], parts[1], shifted, *parts[2:])
    with site.dropped(fragment_duplicate=1):
        parts = sealed_parts(site, 800, 1001)
        send(site, parts[0], parts[0])
    send(site, parts[1])
    site.lan.expect(kind(IP, dst=LAN_HOST))
    with site.dropped(too_long=2):
        ends = {"src": "10.30.0.4", "dst": "172.16.0.1", "id": 1002, "proto": 50}
        send(site, *(IP(bytes(IP(**ends, **place) / Raw(bytes(800)))) for place in ({"flags": "MF"}, {"frag": 8189})))
    with site.dropped(fragment_too_many=33):
        send(site, *sealed_parts(site, 40, 1003)[:33])
    with site.dropped(fragment_tiny=1):
        send(site, IP(bytes(IP(src="10.30.0.4", dst="172.16.0.1", id=1004, proto=17, flags="MF") / Raw(bytes(4)))))
    with site.dropped(fragment_timeout=2):
        send(site, *sealed_parts(site, 400, 1005)[:2])
        assert eventually(lambda: site.daemon.show("accounting")["held"] == 2 == site.daemon.metric("fragments_held"), 1)
    site.expect_exact_accounting()
