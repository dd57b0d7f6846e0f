"""Runs the scenes in order, prints a line for each expectation, and ends with the counts."""

import subprocess
import sys
import time
import traceback

import scenes
from testbed import BIN, RESULTS, Testbed

started = time.monotonic()


class Report:
    def __init__(self):
        self.passed = self.failed = 0

    def expect(self, holds: bool, title: str, measured="") -> None:
        self.passed, self.failed = self.passed + bool(holds), self.failed + (not holds)
        print(f"{'PASS' if holds else 'FAIL'}  {time.monotonic() - started:4.0f} s  {title}{': ' if measured != '' else ''}{measured}", flush=True)


def run(scene, bed: Testbed, report: Report) -> None:
    """A scene that breaks is one failure; the next ones run all the same."""
    before, failed = time.monotonic(), report.failed
    try:
        scene(bed, report.expect)
    except (RuntimeError, TimeoutError, KeyError, IndexError, OSError, ValueError, StopIteration, subprocess.SubprocessError) as error:
        report.expect(False, scene.__name__, f"{type(error).__name__}: {str(error)[-1500:]}")
        traceback.print_exc(file=open(RESULTS / "traceback.log", "a"))
    if report.failed > failed:
        keep(bed, scene.__name__)
    print(f"----  {scene.__name__} took {time.monotonic() - before:.1f} s", flush=True)


def keep(bed: Testbed, name: str) -> None:
    """How things stand, for a person."""
    both = (("ip", "-s", "xfrm", "state"), ("ip", "route"), ("ip", "nexthop"), ("ip", "neighbour"), ("cat", "/proc/net/xfrm_stat"))
    wanted = [(namespace, *command) for namespace in ("nva", "peer") for command in both]
    wanted += [("nva", str(BIN / "twinspanctl"), "--name", "nva", "show", what)
               for what in ("tunnels", "legs", "ports", "routes", "neighbours", "drops", "metrics", "accounting")]
    with open(RESULTS / f"state-{name}.log", "w") as file:
        for namespace, *command in wanted:
            done = subprocess.run(["ip", "netns", "exec", namespace, *command], capture_output=True, text=True)
            file.write(f"[{namespace}] {' '.join(command)}\n{done.stdout}{done.stderr}\n")
        for frr in (bed.frr, bed.peer_frr):
            file.write(f"[{frr.namespace}] FRR\n{frr.vtysh('show bgp ipv4 unicast')}\n")
        for ike in (bed.ike, bed.peer_ike):
            file.write(f"[{ike.namespace}] swanctl --list-sas\n{ike.swanctl('--list-sas', check=False)}\n")


def main() -> int:
    report = Report()
    bed = Testbed()
    wanted = sys.argv[1:]
    for scene in scenes.ALL:
        if not wanted or scene in scenes.ALWAYS or scene.__name__ in wanted:
            if scene is scenes.end:
                keep(bed, "end")
            run(scene, bed, report)
    print(f"{report.passed} passed, {report.failed} failed", flush=True)
    return 1 if report.failed or not report.passed else 0


if __name__ == "__main__":
    sys.exit(main())
