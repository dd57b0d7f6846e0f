"""BFD, BGP and IKE of Linux on the legs: unchanged on the way, and not starved by what else is for us."""

import socket
import time

import pytest
from harness import CONFIG as SITE
from packets import *
from wire import inside

# A flood is easily over this rate; each class has it for itself.
CONFIG = SITE.replace("limits: {{ ", "limits: {{ punt: 400pps, ")

OURS, THEIRS = "203.0.113.1", "203.0.113.2"
CS6 = 48 << 2
IP_RECVTTL = 12  # linux/in.h


def listener(site, port):
    with inside(site.namespace.name):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((OURS, port))
    made.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    made.settimeout(5)
    return made


@pytest.mark.parametrize(("port", "ttl"), [(3784, 255), (3785, 255), (4784, 254)])
def test_bfd_reaches_linux_with_its_ttl_and_dscp(site, port, ttl):
    with listener(site, port) as bfd:
        token = payload(24)
        site.primary.send(link_frame(site, "primary", "microsoft",
                                     IP(src=THEIRS, dst=OURS, ttl=ttl, tos=CS6) / UDP(sport=49152, dport=port) / token))
        data, ancillary, _, _ = bfd.recvmsg(100, 100)
        values = {kind: value[0] for level, kind, value in ancillary if level == socket.IPPROTO_IP}
        assert data == bytes(token)
        assert values == {socket.IP_TTL: ttl, socket.IP_TOS: CS6}


def test_bfd_of_linux_leaves_with_its_ttl_and_dscp(site):
    with inside(site.namespace.name):
        bfd = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bfd.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
    bfd.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, CS6)
    bfd.bind((OURS, 49152))
    token = bytes(payload(24))
    bfd.sendto(token, (THEIRS, 3784))
    frame = site.primary.expect(lambda f: token in bytes(f))
    bfd.close()
    assert (frame[Dot1Q].vlan, frame[IP].src, frame[IP].ttl, frame[IP].tos) == (300, OURS, 255, CS6)
    assert frame[UDP].dport == 3784
    assert_well_formed(frame)


def test_bgp_session_over_a_leg(site):
    """Linux listens with TTL 1 as BGP to a neighbour does; the handshake and the first bytes pass both ways."""
    with inside(site.namespace.name):
        speaker = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        speaker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        speaker.bind((OURS, 179))
    speaker.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
    speaker.settimeout(5)
    speaker.listen()
    out = dict(sport=40000, dport=179)

    def send(tcp):
        site.primary.send(link_frame(site, "primary", "microsoft", IP(src=THEIRS, dst=OURS, ttl=1, tos=CS6) / tcp))

    send(TCP(**out, flags="S", seq=100, options=[("MSS", 1460)]))
    answer = site.primary.expect(kind(IP, TCP, sport=179, dport=40000))
    assert (str(answer[TCP].flags), answer[IP].ttl) == ("SA", 1)
    assert dict(answer[TCP].options)["MSS"] == 1460, "only what enters a tunnel is clamped"
    send(TCP(**out, flags="A", seq=101, ack=answer[TCP].seq + 1))
    send(TCP(**out, flags="PA", seq=101, ack=answer[TCP].seq + 1) / Raw(b"OPEN"))
    session, _ = speaker.accept()
    session.settimeout(5)
    assert session.recv(10) == b"OPEN"
    session.sendall(b"KEEPALIVE")
    data = site.primary.expect(lambda f: TCP in f and f[TCP].sport == 179 and b"KEEPALIVE" in bytes(f))
    assert (data[IP].ttl, data[Dot1Q].vlan) == (1, 300)
    send(TCP(**out, flags="RA", seq=105, ack=data[TCP].seq + 9))
    session.close()
    speaker.close()
    site.quiet()


def test_a_flood_of_pings_does_not_starve_bfd(site):
    before = site.daemon.drops()

    def change(reason):
        return site.daemon.drops().get(reason, 0) - before.get(reason, 0)

    pings = [link_frame(site, "primary", "microsoft", IP(src=THEIRS, dst=OURS) / ICMP(id=1) / payload()) for _ in range(20)]
    deadline = time.monotonic() + 30
    rounds = 0
    with listener(site, 3784) as bfd:
        while rounds < 60 or (change("punt_rate_limited") <= 60 and time.monotonic() < deadline):
            token = payload(24)
            site.primary.send(*pings, link_frame(site, "primary", "microsoft",
                                                 IP(src=THEIRS, dst=OURS, ttl=255, tos=CS6) / UDP(sport=49152, dport=3784) / token))
            assert bfd.recv(100) == bytes(token)
            rounds += 1
    assert change("punt_rate_limited") > 60, "the flood was no flood"
    assert change("punt_routing_limited") == 0
    site.quiet()


def test_each_class_names_its_own_drops(site):
    """More than a quarter of a second's worth at once."""
    def flood(packet):
        before = site.daemon.drops()
        site.primary.send(*(link_frame(site, "primary", "microsoft", packet) for _ in range(600)))
        from harness import eventually
        return eventually(lambda: {r for r, n in site.daemon.drops().items() if r.startswith("punt_") and n > before.get(r, 0)})

    for reason, transport in (("punt_routing_limited", UDP(sport=49152, dport=4784)), ("punt_ike_limited", UDP(sport=500, dport=500)),
                              ("punt_rate_limited", UDP(sport=9, dport=9))):
        assert flood(IP(src=THEIRS, dst=OURS, ttl=64) / transport / payload()) == {reason}
    site.quiet()
