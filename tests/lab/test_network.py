"""The lab without twinspands: tags, routes of Microsoft's side, cut and heal, seen by a packet socket in the NVA's place."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(Path(__file__).parent)]

import wire  # noqa: E402
from labkit import netns, topology as topo  # noqa: E402
from scapy.layers.inet import IP, UDP  # noqa: E402
from scapy.layers.l2 import ARP, Dot1Q, Ether  # noqa: E402

BUILD_DIR = os.environ.get("TWINSPAN_BUILD", str(ROOT / "build" / "release"))
LEGS = [(link, vlan) for link in topo.LINKS.values() for vlan in link.legs]
LEG_IDS = [f"{link.name}-{vlan}" for link, vlan in LEGS]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


def lab(*arguments: str) -> str:
    return subprocess.run([ROOT / "scripts" / "lab", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module", autouse=True)
def network():
    lab("up", "--network-only", "--build-dir", BUILD_DIR)
    yield
    lab("down")
    assert netns.existing() == []


@pytest.fixture
def ports():
    with wire.Wire("tw-nva", "pri0") as primary, wire.Wire("tw-nva", "sec0") as secondary:
        yield {"primary": primary, "secondary": secondary}


@pytest.mark.parametrize(("link", "vlan"), LEGS, ids=LEG_IDS)
def test_each_leg_answers_with_its_tag_in_metadata(ports, link, vlan):
    ours, msee, _ = link.legs[vlan]
    answer = wire.resolve(ports[link.name], (vlan,), ours, msee, seconds=1)
    assert answer is not None
    assert answer.frame[ARP].hwsrc == link.mac
    assert answer.vlan_in_metadata == vlan
    assert Dot1Q not in answer.frame


@pytest.mark.parametrize("vlans", [(), (1,), (100,), (301,), (300, 300)], ids=str)
def test_other_tags_are_not_answered(ports, vlans):
    assert wire.resolve(ports["primary"], vlans, "203.0.113.1", "203.0.113.2") is None


@pytest.mark.parametrize(("link", "vlan"), LEGS, ids=LEG_IDS)
@pytest.mark.parametrize("size", [0, 1472], ids=["small", "full"])
def test_ping_over_each_leg(ports, link, vlan, size):
    ours, msee, _ = link.legs[vlan]
    answer = wire.ping(ports[link.name], vlan, link.mac, ours, msee, size)
    assert answer is not None and answer.vlan_in_metadata == vlan
    assert answer.frame[IP].len == 28 + size


def test_kernel_of_the_nva_keeps_silent(ports):
    """Without the drop program the NVA's kernel would answer for addresses on any of its interfaces."""
    lab("exec", "nva", "ip", "address", "add", "10.10.0.1/32", "dev", "lo")
    try:
        done = subprocess.run([ROOT / "scripts" / "lab", "exec", "onprem", "ping", "-c1", "-W1", "10.10.0.1"],
                              capture_output=True)
        assert done.returncode != 0
    finally:
        lab("exec", "nva", "ip", "address", "del", "10.10.0.1/32", "dev", "lo")


def test_packets_from_hosts_are_complete():
    """No partial checksum and no packet above the MTU reaches a port."""
    with wire.Wire("tw-nva", "lan0") as port:
        lab("exec", "onprem", "ip", "neighbour", "replace", "10.10.0.1", "lladdr", wire.OUR_MAC, "dev", "eth0")
        send = ("import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
                "s.sendto(bytes(4000), ('13.107.6.10', 9)); s.sendto(b'x'*99, ('13.107.6.10', 9))")
        lab("exec", "onprem", "/usr/bin/python3", "-c", send)
        received = port.receive(lambda r: UDP in r.frame and r.frame[IP].len == 127)
        lab("exec", "onprem", "ip", "neighbour", "del", "10.10.0.1", "dev", "eth0")
    assert received is not None
    stated = received.frame[UDP].chksum
    del received.frame[UDP].chksum
    assert Ether(bytes(received.frame))[UDP].chksum == stated


@pytest.mark.parametrize("host", ["msee1", "msee2"])
@pytest.mark.parametrize("server", ["13.107.6.10", "52.239.1.10"])
def test_web_servers_answer_the_msees(host, server):
    count = lab("exec", host, "curl", "-sSf", "-o", "/dev/null", "-w", "%{size_download}", f"http://{server}/bytes/1000000")
    assert count == "1000000"


def test_nobody_knows_the_site_without_bgp():
    """No router has a route that the site's own BGP has not brought; isp hands all it does not know to the core."""
    for host in ("msee1", "msee2", "core", "spoke"):
        for address in ("10.10.0.10", "10.20.0.10"):
            done = subprocess.run([ROOT / "scripts" / "lab", "exec", host, "ip", "route", "get", address], capture_output=True)
            assert done.returncode != 0, f"{host} routes {address}"
    for pool in (topo.MICROSOFT_POOL, topo.PUBLIC_POOL):
        assert lab("exec", "core", "ip", "route", "show", pool) == ""


def core_uses(prefix: str, msee: str) -> None:
    """Waits until BGP has the core's traffic for a prefix on that way."""
    deadline = time.monotonic() + 5
    while f"dev {msee}" not in lab("exec", "core", "ip", "route", "show", prefix):
        assert time.monotonic() < deadline, f"the core does not send {prefix} to {msee}"
        time.sleep(0.05)


def reaches(ports, pool_address: str, seconds: float = 1.0) -> str | None:
    """The link over which a packet of m365 for an address arrives at the NVA, answering ARP for it."""
    send = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'probe', ('{pool_address}', 4242))"
    sender = subprocess.Popen([ROOT / "scripts" / "lab", "exec", "m365", "/usr/bin/python3", "-c", send])
    deadline = time.monotonic() + seconds
    found = None
    while found is None and time.monotonic() < deadline:
        for name, port in ports.items():
            received = port.receive(lambda r: ARP in r.frame or UDP in r.frame, 0.05)
            if received is not None and UDP in received.frame and received.frame[UDP].dport == 4242:
                found = name
            elif received is not None:
                wire.answer_arp(port, received)
    sender.wait()
    return found


def test_cut_takes_carrier_and_traffic_goes_round(ports):
    core_uses("203.0.113.0/30", "msee1")
    assert reaches(ports, "203.0.113.1") == "primary"
    times = json.loads(lab("cut", "primary"))
    try:
        assert "NO-CARRIER" in lab("exec", "nva", "ip", "link", "show", "pri0")
        assert (times["finished_ns"] - times["started_ns"]) < 1_000_000_000
        # At once by the MSEEs' own hand-over, then by BGP.
        assert reaches(ports, "203.0.113.1") == "secondary"
        core_uses("203.0.113.0/30", "msee2")
        assert reaches(ports, "203.0.113.1") == "secondary"
    finally:
        lab("heal", "primary")
    assert "NO-CARRIER" not in lab("exec", "nva", "ip", "link", "show", "pri0")
    core_uses("203.0.113.0/30", "msee1")
    assert reaches(ports, "203.0.113.1") == "primary"
    assert reaches(ports, "203.0.113.5") == "secondary"


def test_two_cuts_make_no_loop(ports):
    """What is for the site and cannot leave is dropped, not thrown from one MSEE to the other."""
    for link in topo.LINKS:
        lab("cut", link)
    try:
        with wire.Wire("tw-msee2", "peer") as between:
            assert reaches(ports, "203.0.113.1", 0.5) is None
            seen = 0
            while between.receive(lambda r: UDP in r.frame and r.frame[UDP].dport == 4242, 0.2) is not None:
                seen += 1
            assert seen <= 1
    finally:
        for link in topo.LINKS:
            lab("heal", link)
    core_uses("203.0.113.0/30", "msee1")
    core_uses("203.0.113.4/30", "msee2")


def test_heal_restores_every_route():
    def routes() -> list[list[str]]:
        return [sorted(lab("exec", host, "ip", "route", "show", "table", "all").splitlines()) for host in ("msee1", "msee2", "core")]

    before = routes()
    for link in topo.LINKS:
        lab("cut", link)
    assert routes() != before
    for link in topo.LINKS:
        lab("heal", link)
    deadline = time.monotonic() + 10
    while routes() != before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert routes() == before


@pytest.mark.skipif(not (Path(BUILD_DIR) / "bin" / "udp_stream").exists(), reason="udp_stream is not built")
def test_cut_costs_little_and_heal_nothing(ports):
    """The MSEEs' own part in a failover: what Twinspan cannot make up for must be small, and nothing on the way back."""
    stream = subprocess.Popen(
        [ROOT / "scripts" / "lab", "exec", "m365", Path(BUILD_DIR) / "bin" / "udp_stream", "send",
         "--to", "203.0.113.1", "--rate", "4000", "--seconds", "6"], stdout=subprocess.PIPE, text=True)
    plan = subprocess.Popen(["sh", "-ec", "sleep 0.8; scripts/lab cut primary; sleep 0.5; scripts/lab heal primary"],
                            cwd=ROOT, stdout=subprocess.PIPE, text=True)
    seen = wire.collect([ports["primary"], ports["secondary"]], 7.2)
    sent = json.loads(stream.communicate()[0])["sent"][0]
    plan.communicate()
    path = {sequence: port for port, _, sequence in seen}
    assert [port for _, port in sorted(path.items())].count(1) > 1000
    lost = [sequence for sequence in range(sent) if sequence not in path]
    first_round, last_round = (edge(s for s, port in path.items() if port == 1) for edge in (min, max))
    assert len(lost) < 200, f"{len(lost)} of {sent} lost"  # 50 ms: some 10 by itself, the rest is for a busy machine
    assert all(sequence < first_round for sequence in lost), f"lost after the cut: {[s for s in lost if s > first_round]}"
    assert last_round < sent - 1, "nothing came back to the primary link"
