"""The traffic that an event meets: paced flows of every kind, both ways, and what became of each packet."""

import subprocess
import time
from contextlib import ExitStack

from labkit import lab, netns
from labkit import topology as topo

from . import esp, streams
from .capture import on_trunks

FOLDER = lab.ROOT / "build" / "demo"
# name: source host, target host, address, flows, packets/s, port. Together 10,000 packets/s.
KINDS = {
    "nat": ("onprem", "m365", "13.107.6.10", 16, 3000, 9001),
    "tunnel": ("onprem", "vnet", "10.20.0.10", 16, 3000, 9002),
    "private": ("onprem", "spoke", "10.30.0.10", 8, 1500, 9003),
    "back": ("vnet", "onprem", "10.10.0.10", 16, 2500, 9004),
}
LOOK_SECONDS = 0.15  # how long the MSEEs are watched before an event, to learn which link carries which flow
LONGEST_SECONDS = 60
CLOSE_NS = 50_000_000


class Flight:
    """Starts the flows; `look` says which link carries which; `land` stops them and knows the fate of every packet."""

    def __init__(self, name: str, kinds: tuple[str, ...] = tuple(KINDS)):
        self._name = name
        self._kinds = kinds
        self._stack = ExitStack()
        self.by_link: dict[str, dict[str, set[int]]] = {}
        self.flows: dict[str, list[dict]] = {}

    def __enter__(self):
        self._streams = {}
        try:
            for kind in self._kinds:
                source, target, address, flows, rate, port = KINDS[kind]
                self._streams[kind] = self._stack.enter_context(streams.Stream(source, target, address, flows, rate, LONGEST_SECONDS, port=port))
        except BaseException:
            self._stack.close()
            raise
        time.sleep(0.3)
        return self

    def __exit__(self, *_):
        self._stack.close()

    def look(self) -> None:
        self._captures = on_trunks(f"failover-{self._name}", FOLDER)
        with self._captures[0], self._captures[1]:
            time.sleep(LOOK_SECONDS)

    def land(self) -> None:
        for kind, stream in self._streams.items():
            stream.stop()
            self.flows[kind] = stream.report["flows"]

    def learn_links(self) -> None:
        """kind -> link -> flow numbers, from the captures: NATed and clear packets as they are, tunnelled ones decrypted."""
        self.by_link = {kind: {link: set() for link in topo.LINKS} for kind in self._kinds}
        for link, capture in zip(topo.LINKS, self._captures):
            packets = esp.ip_packets(capture.file)
            inner, _ = esp.decrypt(packets)
            for kind in self._kinds:
                address = KINDS[kind][2]
                seen = inner if kind in ("tunnel", "back") else packets
                flows = (esp.stream_flow(p, streams.MAGIC) for p in seen if p.dst == address)
                self.by_link[kind][link] |= {flow for flow in flows if flow is not None}

    def known(self) -> tuple[int, int]:
        """Flows seen on exactly one link, and all."""
        return (sum(len(links["primary"] ^ links["secondary"]) for links in self.by_link.values()),
                sum(KINDS[kind][3] for kind in self._kinds))

    def lost(self, since_ns: int = 0, until_ns: int = 1 << 62, only: str | None = None, kinds: tuple[str, ...] = ()) -> int:
        """Packets sent in a span of time that never arrived; `only` those of flows on that link."""
        count = 0
        for kind in kinds or self._kinds:
            for flow in self.flows[kind]:
                if only is None or flow["flow"] in self.by_link[kind][only]:
                    count += sum(run["packets"] for run in flow["losses"]
                                 if run["after_ns"] < until_ns and (run["before_ns"] or 1 << 62) > since_ns)
        return count

    def outage_ms(self, began_ns: int, until_ns: int, kinds: tuple[str, ...] = ()) -> float:
        """The longest silence of any flow at its receiver that began in a span of time around an event."""
        gaps = [gap["ms"] for kind in kinds or self._kinds for flow in self.flows[kind] for gap in flow["gaps"]
                if began_ns - CLOSE_NS <= gap["from_ns"] <= until_ns]
        return round(max(gaps, default=0.0), 1)

    def outages(self, began_ns: int, until_ns: int) -> dict[str, float]:
        return {kind: self.outage_ms(began_ns, until_ns, (kind,)) for kind in self._kinds}

    def moved(self) -> int:
        """Changes of a translated flow's outside address or port: its session was lost."""
        return sum(flow["source_changes"] for flow in self.flows["nat"])


class Downloads:
    """Slow TCP downloads through NAT from both services, open while an event happens."""

    EACH = 4

    def __init__(self, seconds: int):
        self._seconds = seconds
        self._processes = [self._start(address) for address in ("13.107.6.10", "52.239.1.10") for _ in range(self.EACH)]
        self.total = len(self._processes)

    def _start(self, address: str) -> subprocess.Popen:
        return subprocess.Popen(["ip", "netns", "exec", topo.namespace("onprem"), "curl", "--silent", "--max-time", str(self._seconds + 20),
                                 "--output", "/dev/null", "--write-out", "%{http_code} %{size_download}",
                                 f"http://{address}/slow?seconds={self._seconds}"], stdout=subprocess.PIPE, text=True)

    def survived(self) -> int:
        return sum(self._whole(process) for process in self._processes)

    def _whole(self, process: subprocess.Popen) -> bool:
        text, _ = process.communicate(timeout=self._seconds + 30)
        return process.returncode == 0 and text.split() == ["200", str(self._seconds * 10 * 1000)]


def fetched(address: str, count: int) -> int:
    """Short downloads, one after the other."""
    done = subprocess.run(["ip", "netns", "exec", topo.namespace("onprem"), "curl", "--silent", "--max-time", "10", "--output", "/dev/null",
                           "--header", "Connection: close", "--write-out", "%{http_code} %{size_download}\n",
                           f"http://{address}/bytes/2000?n=[1-{count}]"], capture_output=True, text=True)
    if done.returncode not in (0, 28, 7, 56):
        raise netns.LabError(f"curl: {done.stderr}")
    return done.stdout.splitlines().count("200 2000")
