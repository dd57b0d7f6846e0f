"""Both links gone: private peering goes on in a tunnel over the internet, Microsoft peering by plain internet with its pool."""

import harness
import pytest
from harness import MSEE_MAC, NEIGHBOURS, ROUTES, eventually
from packets import *

FLOWS = 32
INTERNET_VLAN, GATEWAY_MAC, POOL = 400, "02:00:5e:00:03:01", "198.51.100.40"
GUESTS, OFFICE, VNET = "10.30.0.7", "13.107.6.10", "10.20.0.7"
LINKS = ("primary", "secondary")

CONFIG = (harness.CONFIG
          .replace("  private:\n", "  private:\n    fallback: [inet-0]\n")
          .replace("  microsoft:\n", "  microsoft:\n    fallback: internet\n")
          .replace("tunnels:\n", """\
  internet:
    legs: [ {{ port: lan, vlan: 400, addresses: [198.18.0.2/24] }} ]
    nat: {{ pool: [198.51.100.40/32] }}
tunnels:
  inet-0: {{ if-id: 3, local: 198.18.0.2, remote: 20.51.9.4, mtu: 1500, sa-file: {folder}/inet-0.sa.yaml }}
"""))
ROUTES = (*(route for route in ROUTES if not route.startswith("10.30.0.0/16")),
          "10.30.0.0/16 nexthop via 172.16.0.2 dev prv-pri nexthop via 172.16.0.6 dev prv-sec",
          "0.0.0.0/0 via 198.18.0.1 dev inet")
NEIGHBOURS = (*NEIGHBOURS, f"198.18.0.1 lladdr {GATEWAY_MAC} dev inet")


@pytest.fixture(scope="module")
def inet():
    return Peer("inet-0")


def flows_to(site, destination: str, vlan: int):
    """Which link carries which flow."""
    site.lan.send(*(lan_frame(site, IP(src=LAN_HOST, dst=destination, id=n) / UDP(sport=1000 + n, dport=443) / payload()) for n in range(FLOWS)))
    found = {}

    def take():
        for link in LINKS:
            while (frame := site.wires[link].receive(lambda f: UDP in f and f[IP].dst == destination, 0)) is not None:
                assert frame[Dot1Q].vlan == vlan
                found[frame[IP].id] = link
        return len(found) == FLOWS

    eventually(take, message="a packet was lost")
    return found


def cut(site, *links):
    for link in links:
        site.namespace.set_carrier(link, False)
    eventually(lambda: all(leg["state"] == "down" for leg in site.daemon.show("legs") if leg["link"] in links), 2)
    site.quiet()


def heal(site):
    for link in LINKS:
        site.namespace.set_carrier(link, True)
    eventually(lambda: all(leg["state"] == "up" for leg in site.daemon.show("legs")))
    eventually(lambda: all(t["state"] == "up" for t in site.daemon.show("tunnels")))


def to_internet(frame) -> bool:
    return Dot1Q in frame and frame[Dot1Q].vlan == INTERNET_VLAN and frame[Ether].dst == GATEWAY_MAC


def test_a_gateway_that_does_not_answer_gives_up_its_flows_alone(site):
    before = flows_to(site, OFFICE, 300)
    assert set(before.values()) == set(LINKS)
    repairs = site.daemon.metric("failover_neighbour_total")
    site.namespace.ip("neighbour replace 203.0.113.2 dev msft-pri nud failed")
    eventually(lambda: site.daemon.metric("failover_neighbour_total") > repairs)
    site.quiet()
    during = flows_to(site, OFFICE, 300)
    assert set(during.values()) == {"secondary"}
    tunnels = {t["name"]: t["state"] for t in site.daemon.show("tunnels")}
    assert (tunnels["azure-0"], tunnels["azure-1"]) == ("down", "up")
    assert set(flows_to(site, GUESTS, 100).values()) == set(LINKS), "the link's other neighbours answer"
    assert site.daemon.metric("failover_neighbour_total") == repairs + 1
    site.namespace.ip(f"neighbour replace 203.0.113.2 lladdr {MSEE_MAC['primary']} dev msft-pri nud permanent")
    eventually(lambda: all(t["state"] == "up" for t in site.daemon.show("tunnels")))
    assert set(flows_to(site, OFFICE, 300).values()) == set(LINKS)


def test_private_peering_goes_on_in_the_tunnel_over_the_internet_and_returns(site, inet):
    cut(site, "primary")
    assert set(flows_to(site, GUESTS, 100).values()) == {"secondary"}
    repairs, groups = site.daemon.metric("failover_port_total"), site.daemon.metric("failover_groups_total")
    cut(site, "secondary")
    assert site.daemon.metric("failover_port_total") == repairs + 1
    assert site.daemon.metric("failover_groups_total") > groups

    packet = IP(src=LAN_HOST, dst=GUESTS) / UDP(sport=1, dport=2) / payload()
    site.lan.send(lan_frame(site, packet))
    sealed = site.lan.expect(lambda f: to_internet(f) and inet.carries(f))
    assert bytes(inet.open(sealed)) == bytes(hop(packet).__class__(bytes(hop(packet))))
    answer = IP(src=GUESTS, dst=LAN_HOST) / UDP(sport=2, dport=1) / payload()
    site.lan.send(Ether(src=GATEWAY_MAC, dst=site.mac["lan"]) / Dot1Q(vlan=INTERNET_VLAN) / inet.seal(answer))
    assert_same(site.lan.expect(has(answer[Raw])), to_lan(site, hop(answer)))

    heal(site)
    assert set(flows_to(site, GUESTS, 100).values()) == set(LINKS)


def test_microsoft_peering_goes_on_by_the_internet_with_its_pool(site):
    flows_to(site, OFFICE, 300)  # sessions of the peering's own pool, whose addresses the internet must not see
    cut(site, *LINKS)
    token = payload()
    site.lan.send(lan_frame(site, IP(src=LAN_HOST, dst=OFFICE) / UDP(sport=1000, dport=443) / token))
    out = site.lan.expect(lambda f: to_internet(f) and has(token)(f))
    assert out[IP].src == POOL
    answer = payload()
    site.lan.send(Ether(src=GATEWAY_MAC, dst=site.mac["lan"]) / Dot1Q(vlan=INTERNET_VLAN)
                  / IP(src=OFFICE, dst=POOL) / UDP(sport=443, dport=out[UDP].sport) / answer)
    back = site.lan.expect(has(answer))
    assert (back[IP].dst, back[UDP].dport) == (LAN_HOST, 1000)
    heal(site)
    assert set(flows_to(site, OFFICE, 300).values()) == set(LINKS)


def test_what_must_be_encrypted_never_leaves_in_clear(site, inet):
    """Its own tunnels are over Microsoft peering, which falls back to the internet: in clear, so not for these."""
    cut(site, *LINKS)
    with site.dropped(tunnel_down=FLOWS):
        site.lan.send(*(lan_frame(site, IP(src=LAN_HOST, dst=VNET) / UDP(sport=n) / payload()) for n in range(FLOWS)))
    site.daemon.control("drain", "inet-0")
    assert site.daemon.named("tunnels")["inet-0"]["state"] == "drained"
    with site.dropped(link_down=1):
        site.lan.send(lan_frame(site, IP(src=LAN_HOST, dst=GUESTS) / UDP() / payload()))
    site.daemon.control("undrain", "inet-0")
    heal(site)
