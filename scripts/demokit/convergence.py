"""When Twinspan acted on an event and when BGP was whole again, by Twinspan's and FRR's own word."""

import time

from labkit import frr, lab, netns
from labkit import topology as topo

from .daemon import show

# What each link's ways out are called, and the prefixes whose ways are watched.
WAYS = {"primary": ("dev prv-pri", "dev pub-pri", "dev msft-pri", "tunnel azure-0"),
        "secondary": ("dev prv-sec", "dev pub-sec", "dev msft-sec", "tunnel azure-1")}
WATCHED = ("10.20.0.0/16", "10.30.0.0/16", "13.107.6.0/24", "52.239.1.0/24")
POLL_SECONDS = 0.005
RETURN_SECONDS = 25


def in_use(link: str) -> set[tuple[str, str]]:
    """Which watched prefixes the link carries: (prefix, way), where a way without buckets carries nothing."""
    routes = {row["prefix"]: tuple(row["via"]) for row in show("nva", "routes") if row["prefix"] in WATCHED}
    idle = {(tuple(member["egress"] for member in group["members"]), member["egress"])
            for group in show("nva", "groups") for member in group["members"] if member["buckets"] == 0}
    return {(prefix, way) for prefix, ways in routes.items() for way in ways
            if (ways, way) not in idle and way.endswith(WAYS[link])}


class Detection:
    """From an event to the moment when the last watched prefix has left the links, to the poll's 5 ms."""

    def __init__(self, links_: tuple[str, ...], started_ns: int):
        self._links, self._started_ns = links_, started_ns
        self.ms: float | None = None

    def wait(self, seconds: float) -> float:
        """The limit itself when nothing has happened by then."""
        deadline = self._started_ns + int(seconds * 1e9)
        while any(in_use(link) for link in self._links):
            if time.monotonic_ns() > deadline:
                return seconds * 1000
            time.sleep(POLL_SECONDS)
        return round((time.monotonic_ns() - self._started_ns) / 1e6, 1)


def wait_for_return(started_ns: int) -> float:
    """Until both links carry every watched prefix again; ms since an event."""
    while any(len(in_use(link)) < len(WATCHED) for link in topo.LINKS):
        if time.monotonic_ns() > started_ns + RETURN_SECONDS * 1_000_000_000:
            raise netns.LabError(f"traffic does not return to both links: {[sorted(in_use(link)) for link in topo.LINKS]}; "
                                 f"sessions {frr.established(lab.LAB_DIR, 'nva')}")
        time.sleep(0.02)
    return round((time.monotonic_ns() - started_ns) / 1e6, 1)


def bfd_downs(host: str) -> int:
    """How often BFD sessions of a host have gone down so far, whatever the reason."""
    counters = frr.ask(lab.LAB_DIR, host, "show bfd peers counters")
    return sum(peer["session-down"] for peer in counters)
