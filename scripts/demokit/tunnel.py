"""Traffic through the tunnels, and what happens to it when all are down."""

import json
import subprocess
import time

from labkit import frr, lab, netns
from labkit import topology as topo

from . import esp, streams
from .capture import Capture, LeakWatch, on_trunks
from .daemon import Shares, drops, show

VNET_HOST, ONPREM_HOST = "10.20.0.10", "10.10.0.10"
FOLDER = lab.ROOT / "build" / "demo"
PINGS = 20
BGP_PORT, BFD_PORT = 179, 3784


def through_both(report) -> None:
    with LeakWatch("tunnel") as watch:
        _inspected(report)
        _spread(report)
        _throughput(report)
    report.expect("tunnel.cleartext_packets", "private packets in clear on links and internet", watch.leaks, "0", watch.leaks == 0)


def _inspected(report) -> None:
    """A little of everything, captured whole, then decrypted by scapy and compared with what the LAN host sent and got."""
    captures = on_trunks("tunnel", FOLDER)
    inside = Capture("onprem", "eth0", FOLDER / "tunnel-onprem.pcap", f"host {VNET_HOST} or net fd10:20::/64")
    with captures[0], captures[1], inside:
        answered = _ping("onprem", VNET_HOST) + _ping("vnet", ONPREM_HOST) + _ping("onprem", "fd10:20::10")
        _iperf("--bytes", "60K")
        _iperf("--udp", "--bandwidth", "2M", "--bytes", "60K", "--length", "1200")
        _iperf("--udp", "--bandwidth", "2M", "--bytes", "60K", "--length", "1200", "--reverse")
    report.expect("tunnel.pings_answered", "ping both ways, IPv4 and IPv6", answered, f"all {3 * PINGS}", answered == 3 * PINGS)
    _decrypt(report, [p for c in captures for p in esp.ip_packets(c.file)], esp.ip_packets(inside.file))


def _decrypt(report, on_wire: list, inside: list) -> None:
    others = [p.summary() for p in on_wire if esp.ESP not in p and not _is_link_local(p) and not _is_routing(p)]
    inner, failed = esp.decrypt(on_wire)
    found = {esp.identity(p) for p in inner}
    missing = [p for p in inside if esp.identity(p) not in found and not _is_link_local(p)]
    report.expect("tunnel.other_packets", "packets on the MSEEs, not ESP, BGP or BFD", len(others), "0", not others)
    report.figure("tunnel.other_packets_seen", sorted(set(others))[:10])
    report.expect("tunnel.decrypted", "ESP packets that scapy opens with the SA's keys", len(inner), "all", failed == 0 and len(inner) > 0)
    report.expect("tunnel.originals_missing", f"of {len(inside)} packets of the LAN host, not found in them", len(missing), "0",
                  not missing and len(inside) > 3 * PINGS)


def _is_link_local(packet) -> bool:
    """Neighbour discovery and router solicitations, which stay on their wire."""
    return packet.version == 6 and (packet.dst.startswith("ff02") or packet.dst.startswith("fe80") or packet.nh == 58 and packet.payload.type in (135, 136))


def _is_routing(packet) -> bool:
    """BGP or BFD between the two ends of a leg."""
    ends = {address for link in topo.LINKS.values() for ours, theirs, _ in link.legs.values() for address in (ours, theirs)}
    transport = packet.payload
    return {packet.src, packet.dst} <= ends and bool({getattr(transport, "sport", 0), getattr(transport, "dport", 0)} & {BGP_PORT, BFD_PORT})


def _ping(host: str, target: str) -> int:
    done = subprocess.run(["ip", "netns", "exec", topo.namespace(host), "ping", "-q", "-c", str(PINGS), "-i", "0.01", "-W", "2", target],
                          capture_output=True, text=True)
    return next((int(part.split()[0]) for part in done.stdout.split(", ") if part.endswith(" received")), 0)


def _iperf(*arguments: str) -> dict:
    """The report of one run. A server that has not put the run before behind it says it is busy."""
    for _ in range(20):
        done = subprocess.run(["ip", "netns", "exec", topo.namespace("onprem"), "iperf3", "--client", VNET_HOST, "--json", *arguments],
                              capture_output=True, text=True)
        report = json.loads(done.stdout)
        if "error" not in report:
            return report
        time.sleep(0.1)
    raise netns.LabError(f"iperf3 {' '.join(arguments)}: {report['error']}")


def _spread(report) -> None:
    """Many flows each way, by packets per tunnel."""
    shares = Shares("nva", "tunnels", esp.TUNNELS)
    sent = lost = 0
    for source, target, address in (("onprem", "vnet", VNET_HOST), ("vnet", "onprem", ONPREM_HOST)):
        with streams.Stream(source, target, address, flows=64, rate=2000, seconds=1.0) as stream:
            stream.wait()
        sent += stream.received + stream.lost
        lost += stream.lost
    share = shares.smallest()
    report.expect("tunnel.link_share_min", "share of the lesser tunnel, both ways", round(share, 3), "25 % or more", share >= 0.25, f"{share:.0%}")
    report.expect("tunnel.udp_lost", f"of {sent} UDP packets in 128 flows, lost", lost, "0", lost == 0)


def _throughput(report) -> None:
    figures = {}
    for name, arguments in (("tcp_gbps", ()), ("tcp_reverse_gbps", ("--reverse",))):
        result = _iperf("--time", "2", "--parallel", "4", *arguments)
        figures[name] = round(result["end"]["sum_received"]["bits_per_second"] / 1e9, 3)
    udp = _iperf("--time", "2", "--udp", "--bandwidth", "100M", "--parallel", "2", "--length", "1200")["end"]["sum"]
    report.figure("tunnel.tcp_reverse_gbps", figures["tcp_reverse_gbps"])
    report.expect("tunnel.tcp_gbps", "iperf3 TCP, 4 streams: Gbit/s out", figures["tcp_gbps"], "more than 0.1", figures["tcp_gbps"] > 0.1)
    report.expect("tunnel.tcp_reverse_gbps", "iperf3 TCP, 4 streams: Gbit/s back", figures["tcp_reverse_gbps"], "more than 0.1",
                  figures["tcp_reverse_gbps"] > 0.1)
    report.figure("tunnel.udp_200m_lost_percent", round(udp["lost_percent"], 3))


NASTY_PACKETS = 50
ASTRAY = f"{topo.VNET_PREFIXES[0]} via 172.16.0.2 dev prv-pri"


def fail_closed(report) -> None:
    """Azure's gateways are withdrawn, so every tunnel is down while the links are up; and routes that lead astray."""
    before = drops("nva")
    with LeakWatch("fail-closed") as watch:
        _announce_gateways(False)
        netns.ip_batch("nva", [f"route del {route}" for route in topo.NVA.routes if ":" not in route])
        try:
            _wait_for_tunnels("down")
            _send_private("onprem")
            netns.ip_batch("nva", [f"route replace {ASTRAY}"])
            time.sleep(0.2)
            _send_private("onprem")
            _send_private("nva")
        finally:
            netns.ip_batch("nva", [f"route del {ASTRAY}"], force=True)
            netns.ip_batch("nva", netns.route_lines(topo.NVA.routes))
            _announce_gateways(True)
            _wait_for_tunnels("up")
    after = drops("nva")
    counted = {reason: after[reason] - before[reason] for reason in ("tunnel_down", "encrypt_required")}
    sent = 3 * NASTY_PACKETS
    report.figure("tunnel.fail_closed_drops", counted)
    report.expect("tunnel.fail_closed_dropped", f"all tunnels down, {sent} packets to 10.20/16: dropped by name", sum(counted.values()),
                  f"all {sent}", sum(counted.values()) >= sent)
    report.expect("tunnel.fail_closed_leaks", "  and seen in clear on links or internet", watch.leaks, "0", watch.leaks == 0)


def _announce_gateways(wanted: bool) -> None:
    network = "network 20.51.0.0/29 route-map microsoft" if wanted else "no network 20.51.0.0/29"
    frr.vtysh(lab.LAB_DIR, "core", "configure terminal", "router bgp 12076", "address-family ipv4 unicast", network)


def _send_private(host: str) -> None:
    script = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    script += f"for i in range({NASTY_PACKETS}): s.sendto(b'private', ('{VNET_HOST}', 5000 + i))"
    netns.in_host(host, "/usr/bin/python3", "-c", script)
    time.sleep(0.2)


def _wait_for_tunnels(state: str) -> None:
    deadline = time.monotonic() + 15
    while any(tunnel["state"] != state for tunnel in show("nva", "tunnels")):
        if time.monotonic() > deadline:
            raise netns.LabError(f"the tunnels do not go {state}: {show('nva', 'tunnels')}")
        time.sleep(0.02)
