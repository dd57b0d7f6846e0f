"""What is under encrypt: leaves sealed or not at all."""

import socket

import pytest
from harness import PORTS, eventually
from packets import *
from wire import inside

VNET, VNET6 = "10.20.0.7", "fd10:20::7"


@pytest.fixture(autouse=True)
def restored(site):
    yield
    for port in PORTS:
        site.namespace.set_carrier(port, True)
    site.namespace.ip(*(f"route replace {r}" for r in ("10.20.0.0/24 nexthop dev azure-0 nexthop dev azure-1",
                                                       "fd10:20::/64 nexthop via fe80::1 dev azure-0 nexthop via fe80::1 dev azure-1")))
    eventually(lambda: all(t["state"] == "up" for t in site.daemon.show("tunnels")))
    eventually(lambda: all(len(tunnels_of(site, prefix)) == 2 for prefix in ("10.20.0.0/24", "fd10:20::/64")))


def tunnels_of(site, prefix):
    return [via for route in site.daemon.show("routes") if route["prefix"] == prefix for via in route["via"] if via.startswith("tunnel ")]


def down(site, *links):
    for link in links:
        site.namespace.set_carrier(link, False)
    eventually(lambda: all(site.daemon.named("ports")[link]["link"] == "down" for link in links))
    site.quiet()


def from_lan(site, destination, count=16):
    ip = IPv6(src=LAN_HOST6, dst=destination) if ":" in destination else IP(src=LAN_HOST, dst=destination)
    site.lan.send(*(lan_frame(site, ip / UDP(sport=1000 + n, dport=9) / payload()) for n in range(count)))


def from_linux(site, destination, count=4, device=None):
    """What a program on the gateway sends; Linux may refuse it."""
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with inside(site.namespace.name):
        sender = socket.socket(family, socket.SOCK_DGRAM)
    if device:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    for _ in range(count):
        try:
            sender.sendto(bytes(payload()), (destination, 9))
        except OSError:
            pass
    sender.close()


def drop_count(site, *reasons):
    drops = site.daemon.drops()
    return sum(drops.get(reason, 0) for reason in reasons)


@pytest.mark.parametrize("destination", [VNET, VNET6, "10.20.77.1"])
def test_both_links_down(site, destination):
    down(site, "primary", "secondary")
    with site.dropped(tunnel_down=16):
        from_lan(site, destination)


@pytest.mark.parametrize("destination", [VNET, VNET6])
def test_one_link_down_all_is_sealed_by_the_other_tunnel(site, destination):
    down(site, "primary")
    from_lan(site, destination)
    peer = Peer("azure-1")
    assert {peer.expect(site.secondary)[1][UDP].sport for _ in range(16)} == set(range(1000, 1016))
    assert site.quiet() == {}


@pytest.mark.parametrize(("prefix", "clear", "destination"), [
    ("10.20.0.0/24", "via 172.16.0.6 dev prv-sec", VNET),
    ("fd10:20::/64", "via fd16::6 dev prv-sec", VNET6),
    ("10.20.0.7/32", "via 172.16.0.6 dev prv-sec", VNET),
    ("10.20.0.0/24", "via 203.0.113.6 dev msft-sec", VNET),
    ("10.20.0.7/32", "dev lan", VNET),
    ("fd10:20::7/128", "via fd16::6 dev prv-sec", VNET6),
])
def test_a_clear_route_is_not_followed(site, prefix, clear, destination):
    site.namespace.ip(f"route replace {prefix} {clear}")
    try:
        known = prefix in (f"{VNET}/32", f"{VNET6}/128")
        eventually(lambda: not tunnels_of(site, prefix) and (not known or prefix in {r["prefix"] for r in site.daemon.show("routes")}))
        site.quiet()
        count = drop_count(site, "encrypt_required", "tunnel_down")
        from_lan(site, destination)
        eventually(lambda: drop_count(site, "encrypt_required", "tunnel_down") == count + 16)
        from_linux(site, destination)
        eventually(lambda: drop_count(site, "encrypt_required", "tunnel_down", "neighbour_unresolved") >= count + 16)
        assert site.quiet() == {}
    finally:
        site.namespace.ip(f"route del {prefix} {clear}")


@pytest.mark.parametrize("shorter", ["10.0.0.0/8", "10.20.0.0/15", "0.0.0.0/0"])
def test_a_shorter_clear_route_does_not_take_over_when_the_tunnels_routes_go(site, shorter):
    site.namespace.ip(f"route add {shorter} via 172.16.0.6 dev prv-sec", "route del 10.20.0.0/24")
    try:
        eventually(lambda: {"10.20.0.0/24"}.isdisjoint(r["prefix"] for r in site.daemon.show("routes")))
        eventually(lambda: shorter in {r["prefix"] for r in site.daemon.show("routes")})
        with site.dropped(tunnel_down=16):
            from_lan(site, VNET)
        encrypted = site.daemon.drops().get("encrypt_required", 0)
        from_linux(site, VNET)
        eventually(lambda: site.daemon.drops().get("encrypt_required", 0) == encrypted + 4)
        assert site.quiet() == {}
        packet = IP(src=LAN_HOST, dst="10.21.0.1") / UDP() / payload()  # the route itself works
        site.lan.send(lan_frame(site, packet))
        site.secondary.expect(has(packet[Raw]))
    finally:
        site.namespace.ip(f"route del {shorter} via 172.16.0.6 dev prv-sec")


@pytest.mark.parametrize(("device", "via", "destination"), [
    ("prv-sec", "172.16.0.6", VNET), ("prv-sec", "fd16::6", VNET6), ("msft-sec", "203.0.113.6", VNET),
    ("lan", LAN_HOST, VNET), ("lan", LAN_HOST6, VNET6)])
def test_linux_cannot_force_it_out_of_a_leg(site, device, via, destination):
    site.namespace.ip(f"route add {destination} via {via} dev {device} metric 5000")
    try:
        encrypted = site.daemon.drops().get("encrypt_required", 0)
        from_linux(site, destination, device=device)
        eventually(lambda: site.daemon.drops().get("encrypt_required", 0) >= encrypted + 4)
        assert site.quiet() == {}
    finally:
        site.namespace.ip(f"route del {destination} via {via} dev {device} metric 5000")


def test_linux_itself_with_both_links_down(site):
    down(site, "primary", "secondary")
    for destination in (VNET, VNET6, "10.20.1.7"):
        from_linux(site, destination)
        from_linux(site, destination, device="azure-0")
    from_lan(site, "10.20.1.7", 1)
    assert site.quiet() == {}
    # Whatever was held back must not come out when the links return.
    for port in ("primary", "secondary"):
        site.namespace.set_carrier(port, True)
    eventually(lambda: all(t["state"] == "up" for t in site.daemon.show("tunnels")))
    from_lan(site, VNET, 1)
    eventually(lambda: any(ESP in f for frames in site.quiet().values() for f in frames))
    assert site.quiet() == {}


def test_nothing_in_clear_is_accepted_for_it_either(site):
    """From outside to an encrypted prefix, hairpinned: also sealed or dropped."""
    packet = IP(src="10.30.0.7", dst=VNET) / UDP() / payload()
    site.primary.send(link_frame(site, "primary", "private", packet))
    found = []
    eventually(lambda: found.extend(f for frames in site.quiet().values() for f in frames) or found)
    assert all(ESP in frame and bytes(packet[Raw]) not in bytes(frame) for frame in found)
