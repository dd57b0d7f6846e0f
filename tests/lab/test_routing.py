"""The whole lab: BGP and BFD between the site, the MSEEs and Azure, and the routes that come of them."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from labkit import frr, netns, routing, topology as topo  # noqa: E402
from labkit.paths import LAB_DIR  # noqa: E402

BUILD_DIR = Path(os.environ.get("TWINSPAN_BUILD", str(ROOT / "build" / "release")))
CONVERGENCE_SECONDS = 20
POOLS = (topo.MICROSOFT_POOL, topo.PUBLIC_POOL)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(not (BUILD_DIR / "bin" / "twinspand").exists(), reason="twinspand is not built"),
]


def lab(*arguments: str) -> str:
    return subprocess.run([ROOT / "scripts" / "lab", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module", autouse=True)
def network():
    lab("up", "--build-dir", str(BUILD_DIR))
    yield
    lab("down")
    assert netns.existing() == []
    assert not list(frr.RUN_DIR.glob(f"{topo.PREFIX}*"))


def eventually(what) -> None:
    """Tries until what() no longer fails."""
    deadline = time.monotonic() + CONVERGENCE_SECONDS
    while True:
        try:
            what()
            return
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def routes(host: str, prefix: str) -> list[dict]:
    return json.loads(lab("exec", host, "ip", "-j", "route", "show", prefix))


def hops(host: str, prefix: str) -> set[str]:
    """The devices of the preferred route."""
    found = sorted(routes(host, prefix), key=lambda route: route.get("metric", 0))
    if not found:
        return set()
    return {hop["dev"] for hop in found[0].get("nexthops", [found[0]])}


def sessions(host: str) -> dict[str, bool]:
    return frr.established(LAB_DIR, host)


def check_sessions() -> None:
    for host in topo.FRR_HOSTS:
        assert all(sessions(host).values()), (host, sessions(host))


def check_whole() -> None:
    check_sessions()
    assert hops("nva", "13.107.6.0/24") == {"msft-pri", "msft-sec"}
    assert hops("nva", "52.239.1.0/24") == {"pub-pri", "pub-sec"}
    assert hops("nva", topo.SPOKE_PREFIX) == {"prv-pri", "prv-sec"}
    assert hops("nva", topo.VNET_PREFIXES[0]) == {"azure-0", "azure-1"}
    assert hops("azgw", topo.SITE_PREFIXES[0]) == {"onprem-0", "onprem-1"}
    for pool in POOLS:
        assert hops("core", pool) == {"msee1", "msee2"}


def test_both_msees_and_azure_have_their_sessions():
    eventually(check_sessions)
    peers = set(sessions("nva"))
    msees = {leg[1] for link in topo.LINKS.values() for leg in link.legs.values()}
    azure = {theirs for _, theirs in routing.TUNNEL_ADDRESSES.values()}
    assert msees <= peers and azure <= peers


def test_bfd_watches_every_leg():
    def check() -> None:
        state = {peer["peer"]: peer["status"] for peer in json.loads(frr.vtysh(LAB_DIR, "nva", "show bfd peers json"))}
        for link in topo.LINKS.values():
            for _, msee, _ in link.legs.values():
                assert state.get(msee) == "up", state
    eventually(check)


def test_a_session_with_another_password_does_not_come_up():
    address = topo.PRIMARY.legs[300][0]
    asn = f"router bgp {routing.MSEE_ASN}"
    password = (LAB_DIR / "msee.md5").read_text().strip()
    frr.vtysh(LAB_DIR, "msee1", "configure terminal", asn, f"neighbor {address} password wrong")
    try:
        time.sleep(3)
        assert sessions("msee1")[address] is False
    finally:
        frr.vtysh(LAB_DIR, "msee1", "configure terminal", asn, f"neighbor {address} password {password}")
    eventually(check_whole)


def test_routes_are_bgps_and_use_both_links():
    eventually(check_whole)
    for prefix in ("13.107.6.0/24", "52.239.1.0/24", "20.51.0.0/29", topo.SPOKE_PREFIX, topo.VNET_PREFIXES[0]):
        assert {route["protocol"] for route in routes("nva", prefix)} == {"bgp"}, prefix
    for pool in POOLS:
        assert {route["protocol"] for route in routes("core", pool)} == {"bgp"}


def test_private_prefixes_stay_on_private_peering():
    for host in ("core", "isp"):
        for address in ("10.10.0.10", "10.20.0.10", "10.30.0.10"):
            done = subprocess.run([ROOT / "scripts" / "lab", "exec", host, "ip", "route", "get", address], capture_output=True, text=True)
            assert done.returncode != 0 or "100.64.4" in done.stdout, f"{host} routes {address}"
    for msee in topo.MSEES:
        assert hops(msee, topo.SITE_PREFIXES[0]) == {"v100"}


def test_the_encrypted_prefix_is_announced_in_clear_and_not_followed():
    """Azure announces a network on private peering although the site encrypts to it."""
    neighbor = topo.PRIMARY.legs[100][0]
    announced = frr.ask(LAB_DIR, "msee1", f"show bgp ipv4 unicast neighbors {neighbor} advertised-routes")["advertisedRoutes"]
    assert topo.VNET_PREFIXES[0] in announced
    assert hops("nva", topo.VNET_PREFIXES[0]) == {"azure-0", "azure-1"}


def test_cut_and_heal_move_both_sides():
    lab("cut", "primary")
    try:
        def moved() -> None:
            assert hops("nva", "13.107.6.0/24") == {"msft-sec"}
            assert hops("nva", topo.VNET_PREFIXES[0]) == {"azure-1"}
            for prefix in (*POOLS, "203.0.113.0/30"):
                assert hops("core", prefix) == {"msee2"}
        eventually(moved)
        assert not sessions("nva")["203.0.113.2"] and sessions("nva")["203.0.113.6"]
    finally:
        lab("heal", "primary")
    eventually(check_whole)
    assert hops("core", "203.0.113.0/30") == {"msee1"}


def test_more_than_200_prefixes_end_the_session():
    """Our guard announces no more than a circuit takes. Without it Microsoft's side drops the session; the other link and peerings stay."""
    ours, msee, _ = topo.PRIMARY.legs[300]
    running = frr.vtysh(LAB_DIR, "nva", "show running-config")
    outward = re.search(rf"neighbor {re.escape(msee)} route-map (\S+) out", running).group(1)
    router = ("configure terminal", f"router bgp {routing.SITE_ASN}", "address-family ipv4 unicast")
    flood = [f"network 198.18.{number // 256}.{number % 256}/32" for number in range(201)]
    guard = re.search(rf"neighbor {re.escape(msee)} maximum-prefix-out 200", running).group(0)
    frr.vtysh(LAB_DIR, "nva", "configure terminal", "route-map flood permit 10")
    frr.vtysh(LAB_DIR, "nva", *router, *flood, f"neighbor {msee} route-map flood out")
    try:
        def guarded() -> None:
            assert frr.ask(LAB_DIR, "nva", "show bgp ipv4 unicast summary")["peers"][msee]["pfxSnt"] == 200
        eventually(guarded)
        assert sessions("msee1")[ours], "announcing no more than the limit keeps the session"
        frr.vtysh(LAB_DIR, "nva", *router, f"no {guard}")

        def dropped() -> None:
            peer = frr.ask(LAB_DIR, "msee1", "show bgp ipv4 unicast summary")["peers"][ours]
            assert peer["state"].startswith("Idle (PfxCt)"), peer["state"]
            assert hops("core", topo.MICROSOFT_POOL) == {"msee2"}
        eventually(dropped)
        assert sessions("nva")["203.0.113.6"] and sessions("nva")["172.16.0.2"]
    finally:
        frr.vtysh(LAB_DIR, "nva", *router, *(f"no {line}" for line in flood), f"neighbor {msee} route-map {outward} out", guard,
                  "exit", "exit", "no route-map flood")
        frr.vtysh(LAB_DIR, "msee1", f"clear bgp ipv4 unicast {ours}")
    eventually(check_whole)
