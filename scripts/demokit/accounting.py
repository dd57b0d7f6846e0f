"""At the end, every packet of both twinspands is accounted for."""

import time

from labkit import topology as topo

from .daemon import show

ATTEMPTS = 50
FIGURES = ("rx", "injected", "generated", "fragmented", "tx", "punted", "merged", "held", "drops", "exact")


def balanced(report) -> None:
    exact = True
    for daemon in topo.DAEMONS:
        books = _at_rest(daemon.name)
        left = books["rx"] + books["injected"] + books["generated"] + books["fragmented"]
        right = books["tx"] + books["punted"] + books["merged"] + books["held"] + books["drops"]
        exact &= books["exact"] and left == right
        report.figure(f"accounting.{daemon.name}", {key: books[key] for key in FIGURES})
        report.expect(f"accounting.{daemon.name}.difference", f"{daemon.name}: {left:,} in less {right:,} out", left - right, "0", left == right)
    report.expect("accounting.exact", "every packet in exactly one counter", exact, "True", exact)


def _at_rest(name: str) -> dict:
    """The books between packets: keepalives of the hosts go on, so the moment may have to be tried for."""
    for _ in range(ATTEMPTS):
        books = show(name, "accounting")
        if books["exact"]:
            return books
        time.sleep(0.05)
    return books
