"""ESP tunnels against scapy: it opens what comes out and seals what goes in. azure-0 is AES-GCM-256, azure-1 -128."""

import pytest
from packets import *
from scapy.layers.inet6 import ICMPv6PacketTooBig

INNER4 = {"azure-0": "10.20.1.7", "azure-1": "10.20.2.7"}
INNER6 = {"azure-0": "fd10:20::1:7", "azure-1": "fd10:20::2:7"}
LINK = {"azure-0": "primary", "azure-1": "secondary"}
OTHER = {"primary": "secondary", "secondary": "primary"}
INNER_MTU = 1446   # 1500 - IPv4 20 - ESP 8 - IV 8 - ICV 16 - pad length and next header 2, and the padding is to 4 bytes
TUNNELS = list(INNER4)


@pytest.fixture(scope="module")
def peers(site):
    return {tunnel: Peer(tunnel) for tunnel in TUNNELS}


def addressed(tunnel, version, **fields):
    if version == 4:
        return IP(src=LAN_HOST, dst=INNER4[tunnel], **fields)
    return IPv6(src=LAN_HOST6, dst=INNER6[tunnel], **fields)


def returned(tunnel, version, **fields):
    if version == 4:
        return IP(src=INNER4[tunnel], dst=LAN_HOST, **fields)
    return IPv6(src=INNER6[tunnel], dst=LAN_HOST6, **fields)


def arrive(site, tunnel, sealed, link=None):
    link = link or LINK[tunnel]
    site.wires[link].send(link_frame(site, link, "microsoft", sealed))


# ---- out

@pytest.mark.parametrize("tunnel", TUNNELS)
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 64, 1300])
def test_out(site, peers, tunnel, version, size):
    packet = addressed(tunnel, version) / UDP(sport=1000, dport=2000) / payload(size)
    site.lan.send(lan_frame(site, packet))
    frame, inner = peers[tunnel].expect(site.wires[LINK[tunnel]])
    outer = frame[IP]
    assert frame[Dot1Q].vlan == 300
    assert (frame[Ether].src, frame[Ether].dst) == (site.mac[LINK[tunnel]], MSEE_MAC[LINK[tunnel]])
    assert (outer.src, outer.dst) == TUNNEL_ENDS[tunnel]
    assert (outer.version, outer.ihl, outer.proto, outer.ttl, str(outer.flags), outer.frag) == (4, 5, 50, 64, "DF", 0)
    assert_well_formed(frame)
    assert len(ip_of(frame)) % 4 == 0
    assert bytes(inner).hex() == bytes(hop(packet)).hex()


@pytest.mark.parametrize("tunnel", TUNNELS)
def test_sequence_numbers_rise_by_one_per_packet(site, peers, tunnel):
    count = 200
    site.lan.send(*(lan_frame(site, addressed(tunnel, 4) / UDP(sport=n) / payload()) for n in range(count)))
    frames, opened = [], 0
    while opened < count:
        frames.append(site.wires[LINK[tunnel]].expect(peers[tunnel].carries))
        opened += UDP in peers[tunnel].open(frames[-1])
    sent = site.daemon.named("tunnels")[tunnel]["sequence"]
    while frames[-1][ESP].seq < sent:  # what Linux itself sent into the tunnel behind them
        frames.append(site.wires[LINK[tunnel]].expect(peers[tunnel].carries))
    numbers = [frame[ESP].seq for frame in frames]
    assert numbers == list(range(numbers[0], sent + 1))
    ivs = [bytes(frame[ESP])[8:16] for frame in frames]
    assert len(set(ivs)) == len(ivs)


@pytest.mark.parametrize("tunnel", TUNNELS)
@pytest.mark.parametrize(("version", "mss"), [(4, INNER_MTU - 40), (6, INNER_MTU - 60)])
@pytest.mark.parametrize("flags", ["S", "SA"])
def test_mss_of_a_syn_is_clamped(site, peers, tunnel, version, mss, flags):
    for options in ([("MSS", 1460), ("SAckOK", b"")], [("NOP", None), ("MSS", 8960)]):
        packet = addressed(tunnel, version) / TCP(sport=1, dport=2, flags=flags, options=options)
        site.lan.send(lan_frame(site, packet))
        _, inner = peers[tunnel].expect(site.wires[LINK[tunnel]])
        expected = hop(packet)
        expected[TCP].options = [("MSS", mss) if name == "MSS" else (name, value) for name, value in options]
        assert bytes(inner).hex() == bytes(expected).hex()


def test_smaller_mss_and_other_segments_stay(site, peers):
    for transport in (TCP(flags="S", options=[("MSS", 1200)]), TCP(flags="A", options=[("MSS", 1460)])):
        packet = addressed("azure-0", 4) / transport / payload()
        site.lan.send(lan_frame(site, packet))
        _, inner = peers["azure-0"].expect(site.primary)
        assert bytes(inner).hex() == bytes(hop(packet)).hex()


@pytest.mark.parametrize("version", [4, 6])
def test_largest_inner_packet_and_one_byte_more(site, peers, version):
    tunnel = "azure-1"
    header = 28 if version == 4 else 48
    packet = addressed(tunnel, version) / UDP() / payload(INNER_MTU - header)
    if version == 4:
        packet.flags = "DF"
    site.lan.send(lan_frame(site, packet))
    frame, inner = peers[tunnel].expect(site.secondary)
    assert len(ip_of(frame)) == 1500
    assert bytes(inner).hex() == bytes(hop(packet)).hex()

    before = site.daemon.drops().get("too_big", 0)
    packet[Raw].load += b"x"
    site.lan.send(lan_frame(site, packet))
    if version == 4:
        error = site.lan.expect(kind(IP, ICMP, type=3, code=4))
        assert error[ICMP].nexthopmtu == INNER_MTU and error[IP].src == "10.10.0.1"
    else:
        error = site.lan.expect(kind(ICMPv6PacketTooBig))
        assert error[ICMPv6PacketTooBig].mtu == INNER_MTU and error[IPv6].src == "fd10:10::1"
    assert bytes(packet).startswith(icmp_quote(error))
    assert_well_formed(error)
    assert site.daemon.drops()["too_big"] == before + 1
    assert site.quiet() == {}


def test_flows_use_both_tunnels(site, peers):
    site.lan.send(*(lan_frame(site, IP(src=LAN_HOST, dst="10.20.0.7") / UDP(sport=n, dport=9) / payload()) for n in range(64)))
    site.lan.send(*(lan_frame(site, IPv6(src=LAN_HOST6, dst="fd10:20::7") / UDP(sport=n, dport=9) / payload()) for n in range(64)))
    opened = {tunnel: [] for tunnel in TUNNELS}
    while sum(map(len, opened.values())) < 128:
        found = [(t, f) for t in TUNNELS if (f := site.wires[LINK[t]].receive(peers[t].carries, 0.5)) is not None]
        assert found, f"only {sum(map(len, opened.values()))} of 128 came"
        for tunnel, frame in found:
            inner = peers[tunnel].open(frame)
            opened[tunnel] += [inner] if UDP in inner else []
    assert min(map(len, opened.values())) >= 16
    ports = {(type(p), p[UDP].sport) for inner in opened.values() for p in inner}
    assert len(ports) == 128


def test_linux_itself_uses_the_tunnel(site, peers):
    """A program on the gateway, over the TUN."""
    import socket
    from wire import inside
    with inside(site.namespace.name):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    token = bytes(payload())
    sender.sendto(token, ("10.20.1.9", 5353))
    _, inner = peers["azure-0"].expect(site.primary)
    assert (inner.dst, inner[UDP].dport, bytes(inner[UDP].payload)) == ("10.20.1.9", 5353, token)
    assert inner.chksum == IP(recomputed(inner)).chksum and bytes(inner).hex() == recomputed(inner).hex()
    sender.close()


# ---- in

@pytest.mark.parametrize("tunnel", TUNNELS)
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("link", ["its", "other"])
@pytest.mark.parametrize("size", [8, 65, 1392])
def test_in(site, peers, tunnel, version, link, size):
    packet = returned(tunnel, version) / UDP(sport=7, dport=8) / payload(size)
    sealed = peers[tunnel].seal(packet)
    arrive(site, tunnel, sealed, LINK[tunnel] if link == "its" else OTHER[LINK[tunnel]])
    assert_same(site.lan.expect(has(packet[Raw])), to_lan(site, hop(packet)))


def test_in_mss_is_clamped(site, peers):
    for version, mss in ((4, INNER_MTU - 40), (6, INNER_MTU - 60)):
        packet = returned("azure-0", version) / TCP(sport=443, dport=5, flags="SA", seq=7, options=[("MSS", 1460)])
        arrive(site, "azure-0", peers["azure-0"].seal(packet))
        expected = hop(packet)
        expected[TCP].options = [("MSS", mss)]
        assert_same(site.lan.expect(kind(TCP, sport=443, dport=5)), to_lan(site, expected))


def test_replayed_packet_is_dropped(site, peers):
    packet = returned("azure-0", 4) / UDP() / payload()
    sealed = peers["azure-0"].seal(packet)
    arrive(site, "azure-0", sealed)
    site.lan.expect(has(packet[Raw]))
    with site.dropped(esp_replayed=2):
        arrive(site, "azure-0", sealed)
        arrive(site, "azure-0", sealed, "secondary")


def test_replay_inside_one_burst(site, peers):
    packets = [returned("azure-1", 4) / UDP() / payload() for _ in range(8)]
    sealed = [peers["azure-1"].seal(packet) for packet in packets]
    frames = [link_frame(site, "secondary", "microsoft", s) for s in sealed]
    before = site.daemon.drops().get("esp_replayed", 0)
    site.secondary.send(*(frame for frame in frames for _ in range(3)))
    for packet in packets:
        site.lan.expect(has(packet[Raw]))
    from harness import eventually
    eventually(lambda: site.daemon.drops().get("esp_replayed", 0) == before + 16)
    assert site.quiet() == {}


def test_window(site, peers):
    """1024 packets: the oldest inside still passes once, in any order; one further left does not."""
    peer = peers["azure-1"]
    top = peer.sequence + 5000
    packets = {sequence: returned("azure-1", 4) / UDP() / payload() for sequence in (top, top - 1, top - 1000, top - 1023)}
    for sequence, packet in packets.items():
        arrive(site, "azure-1", peer.seal(packet, sequence))
        assert_same(site.lan.expect(has(packet[Raw])), to_lan(site, hop(packet)))
    with site.dropped(esp_replayed=2):
        for sequence in (top - 1100, top - 4000):
            arrive(site, "azure-1", peer.seal(returned("azure-1", 4) / UDP() / payload(), sequence))
    with site.dropped(esp_replayed=1):
        arrive(site, "azure-1", peer.seal(returned("azure-1", 4) / UDP() / payload(), 0))


def test_a_forged_number_does_not_move_the_window(site, peers):
    peer = peers["azure-0"]
    forged = peer.seal(returned("azure-0", 4) / UDP() / payload())
    data = bytearray(bytes(forged))
    data[24:28] = (peer.sequence + 1_000_000).to_bytes(4, "big")
    with site.dropped(esp_auth_failed=1):
        arrive(site, "azure-0", IP(bytes(data)))
    packet = returned("azure-0", 4) / UDP() / payload()
    arrive(site, "azure-0", peer.seal(packet))
    site.lan.expect(has(packet[Raw]))


@pytest.mark.parametrize("tunnel", TUNNELS)
@pytest.mark.parametrize("at", [28, 40, -17, -16, -1], ids=["iv", "ciphertext", "trailer", "icv", "last"])
def test_modified_packet_is_dropped(site, peers, tunnel, at):
    data = bytearray(bytes(peers[tunnel].seal(returned(tunnel, 4) / UDP() / payload())))
    data[at] ^= 1
    with site.dropped(esp_auth_failed=1):
        arrive(site, tunnel, IP(bytes(data)))


def test_unknown_spi_and_wrong_peers_are_dropped(site, peers):
    sealed = peers["azure-0"].seal(returned("azure-0", 4) / UDP() / payload())
    with site.dropped(esp_no_sa=1):
        data = bytearray(bytes(sealed))
        data[20:24] = (0x9999).to_bytes(4, "big")
        arrive(site, "azure-0", IP(bytes(data)))
    for field, value in (("src", "20.51.0.5"), ("dst", "203.0.113.5")):
        wrong = sealed.copy()
        setattr(wrong, field, value)
        del wrong.chksum
        with site.dropped(esp_wrong_peer=1):
            arrive(site, "azure-0", wrong)
    with site.dropped(esp_bad_length=1):
        arrive(site, "azure-0", IP(src="20.51.0.4", dst="203.0.113.1", proto=50) / Raw(bytes(sealed)[20:44]))


def test_what_a_tunnel_may_not_carry(site, peers):
    """The other end may reach the LAN and private peering, not the world through us, and not another tunnel."""
    for inner in (IP(src=INNER4["azure-0"], dst="13.107.6.130") / UDP() / payload(),
                  IP(src=INNER4["azure-0"], dst=INNER4["azure-1"]) / UDP() / payload()):
        with site.dropped(policy_denied=1):
            arrive(site, "azure-0", peers["azure-0"].seal(inner))
    with site.dropped(policy_denied=1):  # ESP inside ESP: once only
        inside = peers["azure-1"].seal(returned("azure-1", 4) / UDP() / payload())
        arrive(site, "azure-0", peers["azure-0"].seal(IP(src=INNER4["azure-0"], dst="198.51.100.1") / UDP() / payload()))
    assert inside is not None


def test_ping_through_the_tunnel_to_our_own_address(site, peers):
    token = payload()
    arrive(site, "azure-0", peers["azure-0"].seal(IP(src=INNER4["azure-0"], dst="10.10.0.1") / ICMP(id=3) / token))
    _, inner = peers["azure-0"].expect(site.primary)
    assert (inner.src, inner.dst, inner[ICMP].type, bytes(inner[Raw])) == ("10.10.0.1", INNER4["azure-0"], 0, bytes(token))
    assert bytes(inner).hex() == recomputed(inner).hex()


def test_last_hop_inside_the_tunnel(site, peers):
    """The error goes back through the tunnel, never in clear."""
    packet = returned("azure-0", 4, ttl=1) / UDP() / payload()
    arrive(site, "azure-0", peers["azure-0"].seal(packet))
    _, inner = peers["azure-0"].expect(site.primary)
    assert (inner.dst, inner[ICMP].type) == (INNER4["azure-0"], 11)
    assert bytes(inner).hex() == recomputed(inner).hex()
    assert site.quiet() == {}


def test_counters_of_the_tunnel(site, peers):
    def counters():
        row = site.daemon.named("tunnels")["azure-0"]
        return {key: row[key] for key in ("tx_packets", "tx_bytes", "rx_packets", "rx_bytes")}

    before = counters()
    out = addressed("azure-0", 4) / UDP() / payload(100)
    site.lan.send(lan_frame(site, out))
    peers["azure-0"].expect(site.primary)
    back = returned("azure-0", 4) / UDP() / payload(200)
    arrive(site, "azure-0", peers["azure-0"].seal(back))
    site.lan.expect(has(back[Raw]))
    change = {key: value - before[key] for key, value in counters().items()}
    assert change == {"tx_packets": 1, "tx_bytes": len(out), "rx_packets": 1, "rx_bytes": len(back)}
