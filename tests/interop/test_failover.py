"""A link that dies, comes back, is drained and undrained: where flows go, and what Linux sees."""

import pytest
from harness import eventually
from packets import *

FLOWS = 32
ON = {"primary": ("prv-pri", "pub-pri", "msft-pri", "azure-0"), "secondary": ("prv-sec", "pub-sec", "msft-sec", "azure-1")}
OTHER = {"primary": "secondary", "secondary": "primary"}


@pytest.fixture(scope="module")
def peers():
    return {"primary": Peer("azure-0"), "secondary": Peer("azure-1")}


def sealed_flows(site, peers):
    """Which link carries which of the flows to the virtual network."""
    site.lan.send(*(lan_frame(site, IP(src=LAN_HOST, dst="10.20.0.7") / UDP(sport=1000 + n, dport=9) / payload()) for n in range(FLOWS)))
    return collect(site, lambda link, frame: inner[UDP].sport - 1000
                   if peers[link].carries(frame) and UDP in (inner := peers[link].open(frame)) else None)


def translated_flows(site):
    site.lan.send(*(lan_frame(site, IP(src=LAN_HOST, dst="13.107.6.10", id=n) / UDP(sport=1000 + n, dport=443) / payload()) for n in range(FLOWS)))
    found = collect(site, lambda link, frame: (frame[IP].id, (frame[IP].src, frame[UDP].sport))
                    if UDP in frame and frame[UDP].dport == 443 else None)
    return {flow: (link, outside) for (flow, outside), link in found.items()}


def collect(site, flow_of):
    found = {}

    def take():
        for link in ("primary", "secondary"):
            while (frame := site.wires[link].receive(lambda _: True, 0)) is not None:
                if (flow := flow_of(link, frame)) is not None:
                    assert flow not in found, "a packet came out twice"
                    found[flow] = link
        return len(found) == FLOWS

    eventually(take, message="a packet was lost")
    return found


def flags(site, link):
    links = site.namespace.links()
    return [links[name] for name in ON[link]]


@pytest.mark.parametrize("link", ["primary", "secondary"])
def test_carrier_goes_and_returns(site, peers, link):
    before, translated = sealed_flows(site, peers), translated_flows(site)
    assert set(before.values()) == {"primary", "secondary"}
    assert all("NO-CARRIER" not in f and "LOWER_UP" in f for f in flags(site, link))

    site.namespace.set_carrier(link, False)
    eventually(lambda: all("NO-CARRIER" in f for f in flags(site, link)), 2)
    assert all("NO-CARRIER" not in f for f in flags(site, OTHER[link]))
    assert {leg["state"] for leg in site.daemon.show("legs") if leg["link"] == link} == {"down"}
    assert {t["state"] for t in site.daemon.show("tunnels") if t["link"] == link} == {"down"}
    site.quiet()
    assert set(sealed_flows(site, peers).values()) == {OTHER[link]}
    moved = translated_flows(site)
    assert {l for l, _ in moved.values()} == {OTHER[link]}
    assert {flow: outside for flow, (_, outside) in moved.items()} == {flow: outside for flow, (_, outside) in translated.items()}

    site.namespace.set_carrier(link, True)
    eventually(lambda: all("NO-CARRIER" not in f for f in flags(site, link)), 2)
    eventually(lambda: all(t["state"] == "up" for t in site.daemon.show("tunnels")))
    after = sealed_flows(site, peers)
    assert min(list(after.values()).count(l) for l in OTHER) >= FLOWS // 5


def test_drain_and_undrain(site, peers):
    for link in ("primary", "secondary"):
        done = site.daemon.control("drain", link)
        assert (done.returncode, done.stderr) == (0, "") and "drained" in done.stdout
        assert set(sealed_flows(site, peers).values()) == {OTHER[link]}
        assert {l for l, _ in translated_flows(site).values()} == {OTHER[link]}
        assert {leg["state"] for leg in site.daemon.show("legs") if leg["link"] == link} == {"drained"}
        assert site.daemon.named("ports")[link]["link"] == "up"

        # What is still under way on the drained link arrives.
        peer = peers[link]
        tunnel_source = {"primary": "10.20.1.7", "secondary": "10.20.2.7"}[link]
        packet = IP(src=tunnel_source, dst=LAN_HOST) / UDP() / payload()
        site.wires[link].send(link_frame(site, link, "microsoft", peer.seal(packet)))
        assert_same(site.lan.expect(has(packet[Raw])), to_lan(site, hop(packet)))

        done = site.daemon.control("undrain", link)
        assert (done.returncode, done.stderr) == (0, "") and "up" in done.stdout
        assert set(sealed_flows(site, peers).values()) == {"primary", "secondary"}


def test_drain_loses_and_doubles_nothing(site, peers):
    """A stream while the link is drained and undrained over and over."""
    count = 400
    token = payload(8)
    sent = [IP(src=LAN_HOST, dst="13.107.6.10", id=n) / UDP(sport=3000 + n % 16, dport=444) / token for n in range(count)]
    before = site.daemon.drops()
    for n, packet in enumerate(sent):
        site.lan.send(lan_frame(site, packet))
        if n % 50 == 25:
            site.daemon.ask({"command": ("drain", "undrain")[n // 50 % 2], "link": "primary"})
    seen = []
    eventually(lambda: [seen.append(f[IP].id) for frames in site.quiet().values() for f in frames if UDP in f and f[UDP].dport == 444]
               is not None and len(seen) >= count)
    assert sorted(seen) == list(range(count))
    assert site.daemon.drops() == before
    site.daemon.ask({"command": "undrain", "link": "primary"})


def test_draining_is_for_known_links(site):
    done = site.daemon.control("drain", "west")
    assert done.returncode != 0 and "primary" in done.stderr
    reply = site.daemon.ask({"command": "drain", "link": "west"})
    assert reply["ok"] is False and "west" in reply["error"]


def test_drain_of_both_links_drops_by_name(site, peers):
    for link in ("primary", "secondary"):
        site.daemon.ask({"command": "drain", "link": link})
    with site.dropped(tunnel_down=1):
        site.lan.send(lan_frame(site, IP(src=LAN_HOST, dst="10.20.0.7") / UDP() / payload()))
    with site.dropped(link_down=1):
        site.lan.send(lan_frame(site, IP(src=LAN_HOST, dst="13.107.6.10") / UDP() / payload()))
    for link in ("primary", "secondary"):
        site.daemon.ask({"command": "undrain", "link": link})
    assert set(sealed_flows(site, peers).values()) == {"primary", "secondary"}
