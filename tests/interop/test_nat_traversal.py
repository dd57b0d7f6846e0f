"""ESP in UDP (RFC 3948) against scapy, and what else arrives at that port."""

import socket

import pytest
from harness import eventually
from packets import *
from wire import inside

SA_FILE_HEAD = "udp-encapsulation: 4500\n"

INNER4 = {"azure-0": "10.20.1.7", "azure-1": "10.20.2.7"}
INNER6 = {"azure-0": "fd10:20::1:7", "azure-1": "fd10:20::2:7"}
LINK = {"azure-0": "primary", "azure-1": "secondary"}
INNER_MTU = 1438  # 8 less than without UDP
PORT = 4500


@pytest.fixture(scope="module")
def peers(site):
    # The far end stands behind a NAT that has changed its port.
    return {tunnel: Peer(tunnel, UDP(sport=33445, dport=PORT)) for tunnel in INNER4}


def arrive(site, tunnel, sealed):
    site.wires[LINK[tunnel]].send(link_frame(site, LINK[tunnel], "microsoft", sealed))


def at_port(tunnel, data):
    ours, theirs = TUNNEL_ENDS[tunnel]
    return IP(src=theirs, dst=ours) / UDP(sport=PORT, dport=PORT) / Raw(data)


def as_raw(packet):
    """Scapy takes whatever stands at port 4500 for ESP; its bytes then stay as they are."""
    return IP(bytes(packet))


@pytest.mark.parametrize("tunnel", INNER4)
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", [0, 3, 64, 1300])
def test_out(site, peers, tunnel, version, size):
    addresses = IP(src=LAN_HOST, dst=INNER4[tunnel]) if version == 4 else IPv6(src=LAN_HOST6, dst=INNER6[tunnel])
    packet = addresses / UDP(sport=1000, dport=2000) / payload(size)
    site.lan.send(lan_frame(site, packet))
    frame, inner = peers[tunnel].expect(site.wires[LINK[tunnel]])
    outer = ip_of(frame)
    assert (outer.src, outer.dst, outer.proto, str(outer.flags), outer.ttl) == (*TUNNEL_ENDS[tunnel], 17, "DF", 64)
    assert (outer[UDP].sport, outer[UDP].dport, outer[UDP].chksum) == (PORT, PORT, 0)
    assert outer[UDP].len == outer.len - 20
    assert bytes(inner).hex() == bytes(hop(packet)).hex()


@pytest.mark.parametrize("tunnel", INNER4)
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("checksum", [0, None], ids=["no checksum", "checksum"])
def test_in(site, peers, tunnel, version, checksum):
    addresses = IP(src=INNER4[tunnel], dst=LAN_HOST) if version == 4 else IPv6(src=INNER6[tunnel], dst=LAN_HOST6)
    packet = addresses / UDP(sport=7, dport=8) / payload(100)
    sealed = peers[tunnel].seal(packet)
    if checksum is None:
        del sealed[UDP].chksum
    arrive(site, tunnel, sealed)
    assert_same(site.lan.expect(has(packet[Raw])), to_lan(site, hop(packet)))


@pytest.mark.parametrize("version", [4, 6])
def test_sizes(site, peers, version):
    mss = INNER_MTU - (40 if version == 4 else 60)
    addresses = IP(src=LAN_HOST, dst=INNER4["azure-0"], flags="DF") if version == 4 else IPv6(src=LAN_HOST6, dst=INNER6["azure-0"])
    syn = addresses / TCP(sport=1, dport=2, flags="S", options=[("MSS", 1460)])
    site.lan.send(lan_frame(site, syn))
    _, inner = peers["azure-0"].expect(site.primary)
    assert inner[TCP].options == [("MSS", mss)]

    packet = addresses / UDP() / payload(INNER_MTU - (28 if version == 4 else 48))
    site.lan.send(lan_frame(site, packet))
    frame, inner = peers["azure-0"].expect(site.primary)
    assert len(ip_of(frame)) == 1500
    assert bytes(inner).hex() == bytes(hop(packet)).hex()
    packet[Raw].load += b"x"
    before = site.daemon.drops().get("too_big", 0)
    site.lan.send(lan_frame(site, packet))
    if version == 4:
        assert site.lan.expect(kind(IP, ICMP, type=3, code=4))[ICMP].nexthopmtu == INNER_MTU
    eventually(lambda: site.daemon.drops().get("too_big", 0) == before + 1)
    site.quiet()


def test_bare_esp_is_refused(site, peers):
    bare = Peer("azure-0")
    bare.sequence = peers["azure-0"].sequence + 1
    with site.dropped(esp_wrong_encapsulation=1):
        arrive(site, "azure-0", bare.seal(IP(src=INNER4["azure-0"], dst=LAN_HOST) / UDP() / payload()))


def test_keepalives_and_rubbish(site):
    with site.dropped(nat_keepalive=2):
        arrive(site, "azure-0", at_port("azure-0", b"\xff"))
        arrive(site, "azure-1", at_port("azure-1", b"\xff"))
    with site.dropped(esp_bad_length=3):
        for data in (b"", b"\xfe", b"\xff" * 7):
            arrive(site, "azure-0", at_port("azure-0", data))
    with site.dropped(esp_no_sa=1):
        arrive(site, "azure-0", at_port("azure-0", b"\x00\x00\x99\x99" + bytes(60)))


def test_modified_and_replayed_packets(site, peers):
    peer = peers["azure-0"]
    packet = IP(src=INNER4["azure-0"], dst=LAN_HOST) / UDP() / payload()
    sealed = peer.seal(packet)
    data = bytearray(bytes(sealed))
    data[-1] ^= 1
    with site.dropped(esp_auth_failed=1):
        arrive(site, "azure-0", as_raw(data))
    arrive(site, "azure-0", sealed)
    site.lan.expect(has(packet[Raw]))
    with site.dropped(esp_replayed=1):
        arrive(site, "azure-0", sealed)


def test_ike_reaches_linux_and_leaves_again(site):
    """A program on the gateway that speaks IKE on both ports."""
    ours, theirs = TUNNEL_ENDS["azure-0"]
    for port in (500, PORT):
        message = (bytes(4) if port == PORT else b"") + bytes(payload(40))
        with inside(site.namespace.name):
            ike = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            ike.bind((ours, port))
        ike.settimeout(5)
        packet = IP(src=theirs, dst=ours) / UDP(sport=port, dport=port) / Raw(message)
        arrive(site, "azure-0", packet)
        assert ike.recv(2000) == message
        ike.sendto(message[::-1] if port == 500 else message, (theirs, port))
        frame = site.primary.receive(lambda f: IP in f and f[IP].dst == theirs and UDP in f and f[UDP].sport == port, 2) or \
            site.secondary.expect(lambda f: IP in f and f[IP].dst == theirs and UDP in f and f[UDP].sport == port)
        assert frame[Dot1Q].vlan == 300 and frame[IP].src == ours
        ike.close()
