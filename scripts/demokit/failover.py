"""Scene 4: the primary link is cut in the middle of streams, and comes back."""

import json
import subprocess
import time
from contextlib import ExitStack

from labkit import lab, links, netns
from labkit import topology as topo

from . import esp, streams
from .capture import on_trunks
from .daemon import Shares

FOLDER = lab.ROOT / "build" / "demo"
RATE, FLOWS = 10_000, 32  # packets/s of the two streams together; flows of each
BEFORE, CUT_FOR, AFTER = 1.5, 2.0, 2.5  # seconds
LOOK_SECONDS = 0.25  # how long the MSEEs are watched before the cut, to learn which link carries which flow
DOWNLOADS = 4  # from each server
OUTAGE_LIMIT_MS = 100
STREAMS = {"nat": ("m365", "13.107.6.10", 9001), "tunnel": ("vnet", "10.20.0.10", 9002)}


def cut_and_return(report) -> None:
    seconds = BEFORE + CUT_FOR + AFTER
    with ExitStack() as stack:
        downloads = [_download(address, seconds) for address in ("13.107.6.10", "52.239.1.10") for _ in range(DOWNLOADS)]
        running = {name: stack.enter_context(streams.Stream("onprem", host, address, FLOWS, RATE // len(STREAMS), seconds, port=port))
                   for name, (host, address, port) in STREAMS.items()}
        captures = _look()
        time.sleep(BEFORE - LOOK_SECONDS)
        cut = json.loads(links.cut("primary"))
        time.sleep(CUT_FOR)
        heal = json.loads(links.heal("primary"))
        time.sleep(1.0)
        shares = Shares("nva", "legs", ("msft-pri", "msft-sec"))
        for stream in running.values():
            stream.wait()
        survived = sum(_whole(process, seconds) for process in downloads)
        returned = shares.smallest(("tx_packets",))
    _judge(report, running, _flows_by_link(captures), cut, heal)
    report.expect("failover.downloads_survived", "open TCP downloads through NAT that survive both", survived, f"all {2 * DOWNLOADS}",
                  survived == 2 * DOWNLOADS)
    report.expect("failover.return_share_min", "share of the lesser link after the return", round(returned, 3), "25 % or more",
                  returned >= 0.25, f"{returned:.0%}")


def _look() -> list:
    captures = on_trunks("failover", FOLDER)
    with captures[0], captures[1]:
        time.sleep(LOOK_SECONDS)
    return captures


def _download(address: str, seconds: float) -> subprocess.Popen:
    return subprocess.Popen(["ip", "netns", "exec", topo.namespace("onprem"), "curl", "--silent", "--max-time", str(seconds + 20),
                             "--output", "/dev/null", "--write-out", "%{http_code} %{size_download}",
                             f"http://{address}/slow?seconds={seconds:.0f}"], stdout=subprocess.PIPE, text=True)


def _whole(process: subprocess.Popen, seconds: float) -> bool:
    text, _ = process.communicate(timeout=seconds + 30)
    return process.returncode == 0 and text.split() == ["200", str(int(float(f"{seconds:.0f}") * 10) * 1000)]


def _flows_by_link(captures: list) -> dict[str, dict[str, set[int]]]:
    """stream -> link -> flow numbers, read from the MSEEs' own captures: NATed packets as they are, tunnelled ones decrypted."""
    found = {name: {link: set() for link in topo.LINKS} for name in STREAMS}
    for link, capture in zip(topo.LINKS, captures):
        packets = esp.ip_packets(capture.file)
        inner, _ = esp.decrypt(packets)
        for name, seen in (("nat", packets), ("tunnel", inner)):
            _, address, _ = STREAMS[name]
            flows = (esp.stream_flow(p, streams.MAGIC) for p in seen if p.dst == address)
            found[name][link] |= {flow for flow in flows if flow is not None}
    return found


def _outage_ms(flow: dict, cut: dict) -> float:
    """The longest silence at the receiver that began around the cut, as far as it is longer than the flow's own pace."""
    begin, end = cut["started_ns"] - 50_000_000, cut["finished_ns"] + 1_000_000_000
    return max((gap["ms"] for gap in flow["gaps"] if begin <= gap["from_ns"] <= end), default=0.0)


def _judge(report, running: dict, by_link: dict, cut: dict, heal: dict) -> None:
    outage_ms, primary_lost, bystander_lost, return_lost, known = 0.0, 0, 0, 0, 0
    for name, stream in running.items():
        on_primary, on_secondary = by_link[name]["primary"], by_link[name]["secondary"]
        known += len(on_primary ^ on_secondary)
        for flow in stream.report["flows"]:
            back = sum(run["packets"] for run in flow["losses"] if run["before_ns"] == 0 or run["before_ns"] > heal["started_ns"])
            return_lost += back
            if flow["flow"] in on_secondary:
                bystander_lost += flow["lost"] - back
            else:
                primary_lost += flow["lost"] - back
                outage_ms = max(outage_ms, _outage_ms(flow, cut))
        report.figure(f"failover.flows.{name}", {link: len(flows) for link, flows in by_link[name].items()})
    total = len(running) * FLOWS
    report.expect("failover.flows_known", "flows seen on exactly one link before the cut", known, f"all {total}", known == total)
    moved = sum(flow["source_changes"] for flow in running["nat"].report["flows"])
    report.expect("failover.sessions_moved", "translated flows whose outside address or port changed", moved, "0", moved == 0)
    report.expect("failover.bystander_lost", "link cut: packets lost by flows on the secondary", bystander_lost, "0", bystander_lost == 0)
    report.figure("failover.primary_lost", primary_lost)
    report.expect("failover.outage_ms", "  longest outage of a flow on the primary, ms", round(outage_ms, 1), f"at most {OUTAGE_LIMIT_MS}",
                  outage_ms <= OUTAGE_LIMIT_MS)
    report.expect("failover.return_lost", "  packets lost when the link is back", return_lost, "0", return_lost == 0)
    report.figure("failover.cut_took_ms", (cut["finished_ns"] - cut["started_ns"]) / 1e6)


def drain(report) -> None:
    """An operator takes the primary out of service and puts it back, without a packet lost."""
    with streams.Stream("onprem", "m365", "13.107.6.10", FLOWS, RATE // 2, 3.0, port=9003) as stream:
        time.sleep(0.7)
        _control("drain", "primary")
        time.sleep(0.3)
        quiet = Shares("nva", "legs", ("msft-pri", "msft-sec"))
        time.sleep(0.6)
        share = quiet.smallest(("tx_packets",))
        _control("undrain", "primary")
        stream.wait()
    report.expect("drain.lost", "drain and undrain of the primary: packets lost", stream.lost, "0", stream.lost == 0)
    report.expect("drain.primary_share", "  share of new packets on the drained link", round(share, 3), "under 1 %", share < 0.01, f"{share:.0%}")


def _control(verb: str, link: str) -> None:
    netns.in_host("nva", str(lab.ROOT / "build" / "release" / "bin" / "twinspanctl"), "--name", "nva", verb, link)
