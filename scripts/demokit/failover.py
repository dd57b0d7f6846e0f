"""Scenes of failure, on BGP and BFD: how soon Twinspan acts, how long a flow is silent, what is lost, and the way back."""

import ipaddress
import json
import time

from labkit import frr, lab, links, netns
from labkit import topology as topo

from . import streams
from .capture import LeakWatch
from .convergence import Detection, wait_for_return
from .daemon import Shares
from .flight import Downloads, Flight, fetched

BEFORE, AFTER = 0.5, 1.0  # seconds of traffic around what happens
BFD_MS = 900  # three packets of 300 ms
FLOWS, RATE = 32, 5000  # of the operator's drain
PRIMARY_LEGS = ("msft-pri", "msft-sec")


def _both_ways_back(started_ns: int) -> float:
    took = wait_for_return(started_ns)
    time.sleep(AFTER)
    return took


def _seen(report, key: str, flight: Flight) -> None:
    flight.learn_links()
    known, total = flight.known()
    report.figure(f"{key}.flows", {kind: {link: len(flows) for link, flows in by.items()} for kind, by in flight.by_link.items()})
    report.expect(f"{key}.flows_known", "flows seen on exactly one link before", known, f"all {total}", known == total)


def _judge(report, key: str, flight: Flight, event: dict, back: dict, detected: tuple[float, float], outage_limit_ms: float) -> None:
    """What an event on the primary may cost: time for its own flows, nothing for the others, nothing on the way back."""
    detection, detection_limit = detected
    _seen(report, key, flight)
    report.expect(f"{key}.detection_ms", "no flow is sent to the primary any more after, ms", detection, f"at most {detection_limit:.0f}",
                  detection <= detection_limit)
    outage = flight.outage_ms(event["started_ns"], back["started_ns"])
    report.expect(f"{key}.outage_ms", "longest silence of a flow, ms", outage, f"at most {outage_limit_ms:.0f}", outage <= outage_limit_ms)
    report.figure(f"{key}.outage_ms_by_kind", flight.outages(event["started_ns"], back["started_ns"]))
    bystanders = flight.lost(until_ns=back["started_ns"], only="secondary")
    report.expect(f"{key}.bystander_lost", "packets lost by flows on the secondary", bystanders, "0", bystanders == 0)
    report.figure(f"{key}.primary_lost", flight.lost(until_ns=back["started_ns"], only="primary"))
    returned = flight.lost(since_ns=back["started_ns"])
    report.expect(f"{key}.return_lost", "packets lost on the way back to both links", returned, "0", returned == 0)
    report.expect(f"{key}.sessions_moved", "translated flows whose outside address or port changed", flight.moved(), "0", flight.moved() == 0)


def cut_and_return(report) -> None:
    """Loss of carrier: Twinspan repairs its groups before any daemon has heard of it."""
    with Flight("cut") as flight:
        downloads = Downloads(6)
        flight.look()
        time.sleep(BEFORE)
        cut = json.loads(links.cut("primary"))
        detection = Detection(("primary",), cut["started_ns"]).wait(2)
        time.sleep(1.5)
        heal = json.loads(links.heal("primary"))
        report.figure("failover.return_ms", _both_ways_back(heal["started_ns"]))
        shares = Shares("nva", "legs", PRIMARY_LEGS)
        time.sleep(0.5)
        returned = shares.smallest(("tx_packets",))
        flight.land()
        survived = downloads.survived()
    _judge(report, "failover", flight, cut, heal, (detection, 100), 100)
    report.expect("failover.downloads_survived", "open TCP downloads through NAT that survive both", survived, f"all {downloads.total}",
                  survived == downloads.total)
    report.expect("failover.return_share_min", "share of the lesser link after the return", round(returned, 3), "25 % or more",
                  returned >= 0.25, f"{returned:.0%}")
    report.figure("failover.cut_took_ms", (cut["finished_ns"] - cut["started_ns"]) / 1e6)


def silent_death(report) -> None:
    """An MSEE stops dead and its wires stay up: only BFD can tell."""
    with Flight("silent") as flight:
        flight.look()
        time.sleep(BEFORE)
        death = json.loads(links.silence("primary"))
        detection = Detection(("primary",), death["started_ns"]).wait(5)
        time.sleep(1)
        boot = json.loads(links.revive("primary"))
        report.figure("silent.return_ms", _both_ways_back(boot["started_ns"]))
        flight.land()
    _judge(report, "silent", flight, death, boot, (detection, BFD_MS + 400), BFD_MS + 600)


def session_reset(report) -> None:
    """The MSEE resets its BGP sessions with the site; it goes on forwarding meanwhile."""
    with Flight("reset") as flight:
        flight.look()
        time.sleep(BEFORE)
        started = time.monotonic_ns()
        frr.vtysh(lab.LAB_DIR, topo.PRIMARY.msee, "clear bgp ipv4 unicast 65010")
        detection = Detection(("primary",), started).wait(3)
        report.figure("reset.return_ms", _both_ways_back(started))
        flight.land()
    _seen(report, "reset", flight)
    report.expect("reset.detection_ms", "no flow is sent to the primary any more after, ms", detection, "at most 500", detection <= 500)
    outage = flight.outage_ms(started, started + 5_000_000_000)
    report.expect("reset.outage_ms", "longest silence of a flow, ms", outage, "at most 100", outage <= 100)
    report.figure("reset.outage_ms_by_kind", flight.outages(started, started + 5_000_000_000))
    bystanders = flight.lost(only="secondary")
    report.expect("reset.bystander_lost", "packets lost by flows on the secondary", bystanders, "0", bystanders == 0)
    report.figure("reset.primary_lost", flight.lost(only="primary"))
    report.expect("reset.sessions_moved", "translated flows whose outside address or port changed", flight.moved(), "0", flight.moved() == 0)


def maintenance(report) -> None:
    """Microsoft takes a link out of service as it does for maintenance: a longer AS path on it, and what it hears there it likes less."""
    with Flight("maintenance") as flight:
        time.sleep(BEFORE)
        started = time.monotonic_ns()
        _prefer_less(topo.PRIMARY.msee, True)
        detection = Detection(("primary",), started).wait(3)
        time.sleep(0.3)
        quiet = Shares("nva", "legs", PRIMARY_LEGS)
        time.sleep(0.5)
        share = quiet.smallest(("tx_packets",))
        restored = time.monotonic_ns()
        _prefer_less(topo.PRIMARY.msee, False)
        report.figure("maintenance.return_ms", _both_ways_back(restored))
        flight.land()
    report.expect("maintenance.detection_ms", "no flow is sent to the primary any more after, ms", detection, "at most 1000", detection <= 1000)
    report.expect("maintenance.primary_share", "share of packets on that link then", round(share, 3), "under 1 %", share < 0.01, f"{share:.0%}")
    report.expect("maintenance.outage_ms", "longest silence of a flow, ms", flight.outage_ms(started, restored), "at most 100",
                  flight.outage_ms(started, restored) <= 100)
    report.expect("maintenance.lost", "packets lost, there and back", flight.lost(), "0", flight.lost() == 0)


def _prefer_less(msee: str, wanted: bool) -> None:
    commands = ["configure terminal"]
    longer, less = ("set as-path prepend 12076 12076 12076", "set local-preference 50") if wanted else ("no set as-path prepend", "no set local-preference")
    for peering in topo.VLANS:
        commands += [f"route-map {peering}-out permit 10", longer, "exit", f"route-map {peering}-in permit 10", less, "exit"]
    frr.vtysh(lab.LAB_DIR, msee, *commands, "end", "clear bgp ipv4 unicast 65010 soft")


def drain(report) -> None:
    """An operator takes the primary out of service and puts it back, without a packet lost."""
    with streams.Stream("onprem", "m365", "13.107.6.10", FLOWS, RATE, 3.0, port=9005) as stream:
        time.sleep(0.7)
        started = time.monotonic_ns()
        _control("drain", "primary")
        detection = Detection(("primary",), started).wait(1)
        time.sleep(0.3)
        quiet = Shares("nva", "legs", PRIMARY_LEGS)
        time.sleep(0.6)
        share = quiet.smallest(("tx_packets",))
        _control("undrain", "primary")
        stream.wait()
    report.expect("drain.detection_ms", "no flow is sent to the primary any more after, ms", detection, "at most 100", detection <= 100)
    report.expect("drain.lost", "packets lost, there and back", stream.lost, "0", stream.lost == 0)
    report.expect("drain.primary_share", "share of packets on the drained link", round(share, 3), "under 1 %", share < 0.01, f"{share:.0%}")
    wait_for_return(time.monotonic_ns())


def _control(verb: str, link: str) -> None:
    netns.in_host("nva", str(lab.ROOT / "build" / "release" / "bin" / "twinspanctl"), "--name", "nva", verb, link)


FALLBACK_FETCHES = 10
SERVICES = {"m365": ("13.107.6.10", topo.MICROSOFT_POOL), "paas": ("52.239.1.10", topo.PUBLIC_POOL)}


def both_cut(report) -> None:
    """Without the circuit: private traffic through the internet tunnel, the services by the internet and its pool; and back."""
    with LeakWatch("both-cut") as watch, Flight("both-cut", ("tunnel", "private", "back")) as flight:
        time.sleep(BEFORE)
        cuts = [json.loads(links.cut(link)) for link in topo.LINKS]
        cut_ns = cuts[-1]["started_ns"]
        detection = Detection(tuple(topo.LINKS), cut_ns).wait(5)
        _fetch(report, "fallback.internet", "both links cut: downloads", dict.fromkeys(SERVICES, topo.INTERNET_POOL))
        time.sleep(2)
        steady = time.monotonic_ns()
        time.sleep(0.7)
        heal_ns = time.monotonic_ns()
        for link in topo.LINKS:
            links.heal(link)
        report.figure("fallback.return_ms", _both_ways_back(heal_ns))
        _fetch(report, "fallback.circuit", "links healed: downloads", {host: pool for host, (_, pool) in SERVICES.items()})
        flight.land()
    report.expect("fallback.detection_ms", "no flow is sent to either link any more after, ms", detection, "at most 1000", detection <= 1000)
    for kinds, title, limit in ((("private",), "private peering", 150), (("tunnel",), "encrypted, to Azure", 1500),
                                (("back",), "encrypted, from Azure", 2500)):
        outage = flight.outage_ms(cuts[0]["started_ns"], steady, kinds)
        report.expect(f"fallback.{kinds[0]}_outage_ms", f"longest silence of a flow, {title}, ms", outage, f"at most {limit}", outage <= limit)
    lost = flight.lost(steady, heal_ns)
    report.expect("fallback.steady_lost", "packets lost while on the internet tunnel", lost, "0", lost == 0)
    returned = flight.lost(heal_ns)
    report.expect("fallback.return_lost", "packets lost on the way back to the links", returned, "0", returned == 0)
    report.expect("fallback.cleartext_packets", "private packets in clear on links and internet", watch.leaks, "0", watch.leaks == 0)


def _fetch(report, key: str, title: str, pools: dict[str, str]) -> None:
    """Downloads from each service; the servers' logs tell the pool."""
    for host, pool in pools.items():
        address, _ = SERVICES[host]
        log = lab.LAB_DIR / f"{host}.access.log"
        already = len(log.read_text().splitlines())
        good = fetched(address, FALLBACK_FETCHES)
        clients = {line.split()[0] for line in log.read_text().splitlines()[already:]}
        ok = good if _all_within(clients, pool) else 0
        report.expect(f"{key}.{host}", f"{title} from {host} by {pool}", ok, f"all {FALLBACK_FETCHES}", ok == FALLBACK_FETCHES)


def _all_within(addresses: set[str], pool: str) -> bool:
    return all(ipaddress.ip_address(address) in ipaddress.ip_network(pool) for address in addresses)
