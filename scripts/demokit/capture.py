"""tcpdump on the MSEEs' trunks and the internet: to files for later, and as a watch for private packets in clear."""

import signal
import subprocess
import time
from pathlib import Path

from labkit import lab, netns
from labkit import topology as topo

# What no link may carry in clear. The spoke's network is not encrypted: private peering carries it, the internet never.
SECRET = "net 10.20.0.0/16 or ip6 net fd10:10::/64 or ip6 net fd10:20::/64 or (net 10.10.0.0/16 and not net 10.30.0.0/16)"
# Once tagged, once not: `vlan` moves the offsets of what follows it.
IN_CLEAR = "({0}) or (vlan and ({0}))".format(SECRET)
IN_CLEAR_ON_INTERNET = "net 10.0.0.0/8 or ip6"
READY_SECONDS = 5


class Capture:
    """tcpdump in a host until the end of the block; what it wrote is in `file`."""

    def __init__(self, host: str, device: str, file: Path, expression: str = "", snap_bytes: int = 0):
        self.file = file
        self._host = host
        self._command = ["tcpdump", "-i", device, "-n", "-U", "--immediate-mode", "-B", "65536", "-s", str(snap_bytes),
                         "-w", str(file), *([expression] if expression else [])]

    def __enter__(self):
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.unlink(missing_ok=True)
        self._process = subprocess.Popen(["ip", "netns", "exec", topo.namespace(self._host), *self._command],
                                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + READY_SECONDS
        while not self.file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise netns.LabError(f"tcpdump in {self._host} does not start")
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        time.sleep(0.2)  # what is on its way still counts
        self._process.send_signal(signal.SIGINT)
        _, text = self._process.communicate(timeout=10)
        if " 0 packets dropped by kernel" not in text.replace("\n", " "):
            raise netns.LabError(f"the capture in {self._host} is not complete:\n{text}")


def on_trunks(name: str, folder: Path, expression: str = "", snap_bytes: int = 0) -> list[Capture]:
    return [Capture(link.msee, "trunk", folder / f"{name}-{link.msee}.pcap", expression, snap_bytes)
            for link in topo.LINKS.values()]


class LeakWatch:
    """Counts private packets in clear on both links and on the internet. Each router sends one such packet itself at the
    start, which the watch has to see: one that cannot see proves nothing."""

    def __init__(self, name: str):
        folder = lab.ROOT / "build" / "demo"
        self._captures = [*on_trunks(f"leaks-{name}", folder, IN_CLEAR, 96),
                          Capture("isp", "nva", folder / f"leaks-{name}-isp.pcap", IN_CLEAR_ON_INTERNET, 96)]
        self.leaks: int | None = None

    def __enter__(self):
        for capture in self._captures:
            capture.__enter__()
        for link in topo.LINKS.values():
            _send_in_clear(link.msee, "trunk", link.mac, "/Dot1Q(vlan=300)")
        _send_in_clear("isp", "nva", "02:00:00:00:00:98", "")
        return self

    def __exit__(self, *failure):
        for capture in self._captures:
            capture.__exit__(*failure)
        if failure[0] is not None:
            return
        seen = [_packets_in(capture.file) for capture in self._captures]
        if min(seen) == 0:
            raise netns.LabError("the watch for private packets in clear did not see its own probe")
        self.leaks = sum(seen) - len(seen)


def _packets_in(file: Path) -> int:
    from scapy.utils import RawPcapReader
    return sum(1 for _ in RawPcapReader(str(file)))


def _send_in_clear(host: str, device: str, mac: str, tag: str) -> None:
    """A packet of private addresses towards the NVA, which has to drop it, too."""
    script = (
        "from scapy.all import Ether, Dot1Q, IP, UDP, sendp; import sys; "
        f"sendp(Ether(dst=sys.argv[1], src=sys.argv[2]){tag}/IP(src='10.20.0.99', dst='10.10.0.99')"
        "/UDP(sport=9, dport=9), iface=sys.argv[3], verbose=False)")
    netns.in_host(host, "/usr/bin/python3", "-c", script, "02:00:00:00:00:99", mac, device)
