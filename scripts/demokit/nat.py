"""Downloads through NAT over both links, and sessions that Microsoft's side starts."""

import ipaddress
import subprocess
import time

from labkit import lab, links, netns
from labkit import topology as topo

from .daemon import Shares, drops

DOWNLOADS = 200
DOWNLOAD_BYTES = 20_000
PROBES = 20
PEERINGS = {
    # peering: server host, its address, pool, the two legs
    "microsoft": ("m365", "13.107.6.10", topo.MICROSOFT_POOL, ("msft-pri", "msft-sec")),
    "public": ("paas", "52.239.1.10", topo.PUBLIC_POOL, ("pub-pri", "pub-sec")),
}


def downloads(report) -> None:
    for peering, (host, address, pool, legs) in PEERINGS.items():
        log = lab.LAB_DIR / f"{host}.access.log"
        already = len(log.read_text().splitlines()) if log.exists() else 0
        shares = Shares("nva", "legs", legs)
        good = _download(address)
        clients = _clients(log, already, good)
        strangers = sorted({c for c in clients if ipaddress.ip_address(c) not in ipaddress.ip_network(pool)})
        share = shares.smallest()
        ok = good if not strangers and len(clients) >= good else 0
        report.expect(f"nat.{peering}.ok", f"{peering} peering: downloads from {host}", ok, f"all {DOWNLOADS}", ok == DOWNLOADS)
        report.figure(f"nat.{peering}.client_addresses", sorted(set(clients)))
        report.expect(f"nat.{peering}.strangers", f"{peering} peering: sources outside {pool}", strangers, "none",
                      not strangers, str(len(strangers)))
        report.expect(f"nat.{peering}.link_share_min", f"{peering} peering: share of the lesser link", round(share, 3),
                      "25 % or more", share >= 0.25, f"{share:.0%}")


def _clients(log, already: int, expected: int) -> list[str]:
    """Who asked. The server writes its line behind the last byte: the download is over before."""
    until = time.monotonic() + 5
    while True:
        clients = [line.split()[0] for line in log.read_text().splitlines()[already:]]
        if len(clients) >= expected or time.monotonic() > until:
            return clients
        time.sleep(0.05)


def _download(address: str) -> int:
    """How many of the downloads, each on a connection of its own, come back whole."""
    done = subprocess.run(
        ["ip", "netns", "exec", topo.namespace("onprem"), "curl", "--silent", "--show-error", "--max-time", "20",
         "--parallel", "--parallel-max", "16", "--header", "Connection: close", "--output", "/dev/null",
         "--write-out", "%{http_code} %{size_download}\n", f"http://{address}/bytes/{DOWNLOAD_BYTES}?n=[1-{DOWNLOADS}]"],
        capture_output=True, text=True)
    return done.stdout.splitlines().count(f"200 {DOWNLOAD_BYTES}")


SEND_PROBES = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for target in sys.argv[2:]:
    for i in range(int(sys.argv[1])):
        s.sendto(b'unsolicited', (target, 4000 + i))
"""
# Until the time is up, counts packets of the probes that reach the LAN host.
COUNT_PROBES = """
import socket, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(('eth0', 0))
s.settimeout(0.1)
print('ready', flush=True)
end, seen = time.monotonic() + 1.5, 0
while time.monotonic() < end:
    try:
        seen += b'unsolicited' in s.recv(2048)
    except TimeoutError:
        pass
print(seen)
"""


def unsolicited(report) -> None:
    targets = {"m365": ("198.51.100.1", "198.51.100.9", "10.10.0.10"), "paas": ("198.51.100.16", "198.51.100.2")}
    sent = PROBES * sum(map(len, targets.values()))
    before = drops("nva")
    links.route_to_site(True)
    try:
        with subprocess.Popen(["ip", "netns", "exec", topo.namespace("onprem"), "/usr/bin/python3", "-c", COUNT_PROBES],
                              stdout=subprocess.PIPE, text=True) as counter:
            counter.stdout.readline()
            for host, addresses in targets.items():
                netns.in_host(host, "/usr/bin/python3", "-c", SEND_PROBES, str(PROBES), *addresses)
            arrived = int(counter.stdout.readline())
    finally:
        links.route_to_site(False)
    time.sleep(0.1)
    after = drops("nva")
    counted = sum(after[reason] - before[reason] for reason in ("nat_no_session", "nat_wrong_peering", "unsolicited"))
    report.expect("nat.unsolicited_dropped", f"sessions from Microsoft's side, {sent} packets: dropped by name", counted,
                  f"all {sent}", counted >= sent)
    report.expect("nat.unsolicited_arrived", "  and arrived on the LAN", arrived, "0", arrived == 0)
