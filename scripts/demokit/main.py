"""Runs the scenes in the lab, prints the report and writes build/demo/report.json."""

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True

from demokit import accounting, failover, nat, tunnel  # noqa: E402
from demokit.expect import Report  # noqa: E402
from labkit import lab, netns  # noqa: E402

SCENES = (
    ("NAT: 200 downloads from each Microsoft service, over both links", nat.downloads),
    ("Sessions that Microsoft's side starts", nat.unsolicited),
    ("Encrypted tunnels, one per link, under load", tunnel.through_both),
    ("The primary link is cut in the middle of 10,000 packets/s, and comes back", failover.cut_and_return),
    ("The primary's MSEE dies without a word: no carrier is lost, BFD tells", failover.silent_death),
    ("The primary's MSEE resets its BGP sessions", failover.session_reset),
    ("Microsoft announces maintenance of the primary: a longer AS path", failover.maintenance),
    ("An operator drains the primary link", failover.drain),
    ("Both links cut: on through the internet, and back", failover.both_cut),
    ("All tunnels down: fail closed", tunnel.fail_closed),
    ("Accounting", accounting.balanced),
)
REPORT = lab.ROOT / "build" / "demo" / "report.json"

KEPT = """
The lab is up. Enter a host with a shell or a command:
    scripts/lab exec onprem                       the client (10.10.0.10); try: curl http://13.107.6.10/bytes/1000
    scripts/lab exec onprem ping 10.20.0.10       through the tunnels
    scripts/lab exec nva build/release/bin/twinspanctl --name nva show tunnels
    scripts/lab exec msee1 tcpdump -ni trunk      what the circuit sees
    scripts/lab cut primary; scripts/lab heal primary
    scripts/lab status; scripts/lab down"""


def run_scenes(report: Report) -> None:
    printed = 0
    for title, scene in SCENES:
        print(f"\n{title}", flush=True)
        started = time.monotonic()
        try:
            scene(report)
        finally:
            printed = report.print_new(printed)
        report.figure(f"seconds.{scene.__module__.split('.')[-1]}_{scene.__name__}", round(time.monotonic() - started, 1))


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("scripts/demo: network namespaces need root", file=sys.stderr)
        return 1
    report = Report()
    failure = None
    try:
        lab.up(lab.ROOT / "build" / "release")
        run_scenes(report)
    except (netns.LabError, OSError, ValueError) as error:
        failure = error
    finally:
        if not arguments.keep:
            lab.down()
    report.figure("error", str(failure) if failure else None)
    report.write(REPORT)
    if failure:
        print(f"\nscripts/demo: {failure}\nLogs are in {lab.LAB_DIR}", file=sys.stderr)
    if arguments.keep:
        print(KEPT)
    met = sum(line.met for line in report.lines)
    print(f"\n{met} of {len(report.lines)} expectations met; figures in {REPORT.relative_to(lab.ROOT)}")
    return 0 if report.passed and not failure else 1


if __name__ == "__main__":
    sys.exit(main())
