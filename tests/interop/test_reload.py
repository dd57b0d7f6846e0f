"""A changed configuration under traffic: what follows, what is refused, and that no packet of a running session is lost."""

import ipaddress
import re
import signal
import subprocess
import time

import pytest
from harness import CONFIG as SITE_CONFIG
from harness import ROUTES as SITE_ROUTES
from harness import TWINSPANCTL, eventually
from packets import *

CONFIG = SITE_CONFIG.replace("nat: {{ pool: [198.51.100.0/28] }}", "nat: {{ pool: [198.51.100.0/29] }}").replace(
    "[198.51.100.16/32], ports: 2000-2001", "[198.51.100.32/31]")
ROUTES = (*SITE_ROUTES, f"10.9.0.0/24 via {LAN_HOST} dev lan")  # inside hosts, each with an outside address of its own
SERVER = "13.107.6.10"  # over both links
OLD = {f"198.51.100.{n}" for n in range(8)}
ADDED = {f"198.51.100.{n}" for n in range(8, 16)}
NEXT_PORT = iter(range(20000, 60000))


@pytest.fixture
def file(site):
    """The configuration file, put back as it was and followed at the end; no session is left then."""
    path = site.config
    before = path.read_text()
    yield path
    path.write_text(before.replace("nat: { pool:", "nat: { timeouts: { udp: 1s }, pool:"))
    assert site.daemon.control("reload").returncode == 0
    eventually(lambda: all(p["by_protocol"]["udp"] == 0 and p["draining"] is None for p in site.daemon.show("nat")["pools"]), 20)
    path.write_text(before)
    assert site.daemon.control("reload").returncode == 0


def edit(path, *changes):
    text = path.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    path.write_text(text)


class Flows:
    """One flow of each of some inside hosts."""

    def __init__(self, site, count=24, server=SERVER, peering="microsoft"):
        self.site, self.server, self.peering = site, server, peering
        self.port = next(NEXT_PORT)
        self.hosts = [f"10.9.0.{n + 1}" for n in range(count)]

    def round(self) -> dict[str, tuple[str, int]]:
        """A packet of each flow out and an answer back: nothing may be missing. The outside end of each."""
        sent = {}
        frames = []
        for host in self.hosts:
            packet = IP(src=host, dst=self.server) / UDP(sport=self.port, dport=443) / payload()
            sent[bytes(packet[Raw])] = host
            frames.append(bytes(lan_frame(self.site, packet)))
        self.site.lan.send(*frames)
        outside = {}
        for link, frame in self._collect(("primary", "secondary"), lambda f: self._is(f, sent) and f[IP].dst == self.server):
            outside[sent[bytes(frame[Raw])]] = (frame[IP].src, frame[UDP].sport)
            reply = IP(src=self.server, dst=frame[IP].src) / UDP(sport=443, dport=frame[UDP].sport) / frame[Raw]
            self.site.wires[link].send(link_frame(self.site, link, self.peering, reply))
        back = {f[IP].dst for _, f in self._collect(("lan",), lambda f: self._is(f, sent) and f[IP].src == self.server)}
        assert (set(outside), back) == (set(self.hosts), set(self.hosts))
        return outside

    @staticmethod
    def _is(frame, sent) -> bool:
        """One of these, and none of an earlier test."""
        return UDP in frame and Raw in frame and bytes(frame[Raw]) in sent

    def _collect(self, wires, wanted):
        found = []
        deadline = time.monotonic() + 5
        while len(found) < len(self.hosts):
            assert time.monotonic() < deadline, f"{len(self.hosts) - len(found)} of {len(self.hosts)} packets are lost"
            for name in wires:
                while (frame := self.site.wires[name].receive(wanted, 0)) is not None:
                    found.append((name, frame))
        return found


def reload_under(site, flows, *arguments) -> str:
    """What twinspanctl says, while the flows go on; they keep their outside ends."""
    before = flows.round()
    command = subprocess.Popen([TWINSPANCTL, "--name", site.daemon.name, "reload", *arguments], text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    while command.poll() is None:
        assert flows.round() == before
    assert flows.round() == before
    out, err = command.communicate()
    assert command.returncode == 0, err
    return out


def pool(site, peering="microsoft"):
    return next((p for p in site.daemon.show("nat")["pools"] if p["peering"] == peering), None)


def draining(site, peering="microsoft"):
    found = pool(site, peering)
    return found and found["draining"]


def given_up(site) -> set[str]:
    """By the log, in one piece or as each address has lost its last session."""
    ranges = re.findall(r"pool microsoft: (.+) has drained and is given up", site.daemon.log.read_text())
    ends = [part.partition("-") for text in ranges for part in text.split(", ")]
    return {str(ipaddress.ip_address(n)) for first, _, last in ends
            for n in range(int(ipaddress.ip_address(first)), int(ipaddress.ip_address(last or first)) + 1)}


def test_addresses_are_added(site, file):
    flows = Flows(site)
    edit(file, ("[198.51.100.0/29]", "[198.51.100.0/29, 198.51.100.8/29]"))
    said = reload_under(site, flows)
    assert said == ("changed:\n  peerings.microsoft.nat.pool: [198.51.100.0/29] -> [198.51.100.0/29, 198.51.100.8/29]\n")
    assert {address for address, _ in flows.round().values()} <= OLD
    assert {address for address, _ in Flows(site, 48).round().values()} & ADDED, "sessions begin there, and are answered"
    assert pool(site)["addresses"] == ["198.51.100.0-198.51.100.7", "198.51.100.8-198.51.100.15"]


def test_addresses_are_taken_out(site, file):
    flows = Flows(site, 32)
    gone = {f"198.51.100.{n}" for n in range(4)}
    there = {host: end for host, end in flows.round().items() if end[0] in gone}
    assert there
    edit(file, ("[198.51.100.0/29]", "[198.51.100.4/30]"))
    reload_under(site, flows)
    eventually(lambda: (draining(site) or {}).get("sessions") is not None)
    assert draining(site)["addresses"] == ["198.51.100.0-198.51.100.3"]
    assert draining(site)["sessions"] >= len(there)
    assert "draining" in site.daemon.control("show", "nat").stdout
    assert site.daemon.metric("nat_addresses_draining") >= 1
    for _ in range(3):
        assert not {address for address, _ in Flows(site, 32).round().values()} & gone, "none begins there"
    before = flows.round()
    edit(file, ("pool: [198.51.100.4/30]", "pool: [198.51.100.4/30], timeouts: { udp: 2s }"))
    assert site.daemon.control("reload").returncode == 0
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:  # those of the other tests end, these do not
        assert flows.round() == before
    assert draining(site)["sessions"] == len(there)
    eventually(lambda: draining(site) is None, 20, "the last session has ended")
    assert given_up(site) >= gone
    address, port = next(iter(there.values()))
    with site.dropped(no_route=1):
        late = IP(src=SERVER, dst=address) / UDP(sport=443, dport=port) / payload()
        site.primary.send(link_frame(site, "primary", "microsoft", late))


def test_an_address_that_comes_back_does_not_drain(site, file):
    flows = Flows(site, 32)
    flows.round()
    edit(file, ("[198.51.100.0/29]", "[198.51.100.4/30]"))
    reload_under(site, flows)
    edit(file, ("[198.51.100.4/30]", "[198.51.100.0/29]"))
    reload_under(site, flows)
    assert draining(site) is None


def test_a_pool_is_taken_away(site, file):
    flows = Flows(site, 8, "52.239.1.10", "public")
    flows.round()
    edit(file, ("    nat: { pool: [198.51.100.32/31] }\n", ""))
    reload_under(site, flows)
    assert pool(site, "public")["state"] == "draining"
    with site.dropped(nat_pool_down=1):
        site.lan.send(lan_frame(site, IP(src="10.9.0.77", dst="52.239.1.10") / UDP(sport=next(NEXT_PORT), dport=443) / payload()))
        assert site.lan.expect(kind(IP, ICMP, type=3, code=13))


def test_timeouts_change_for_the_sessions_that_are_there(site, file):
    flows = Flows(site, 8)
    flows.round()
    edit(file, ("[198.51.100.0/29]", "[198.51.100.0/29], timeouts: { udp: 2s }"))
    reload_under(site, flows)
    eventually(lambda: pool(site)["by_protocol"]["udp"] == 0, 20)


def test_what_is_encrypted_changes(site, file):
    """A destination of private peering, in clear before."""
    packet = IP(src=LAN_HOST, dst="10.30.0.7") / UDP(sport=1, dport=2) / payload()
    site.lan.send(lan_frame(site, packet))
    assert site.primary.expect(has(packet[Raw]))
    flows = Flows(site)
    edit(file, ("encrypt: [", "encrypt: [10.30.0.0/16, "))
    reload_under(site, flows)
    with site.dropped(tunnel_down=1):
        site.lan.send(lan_frame(site, IP(src=LAN_HOST, dst="10.30.0.7") / UDP(sport=1, dport=2) / payload()))


def test_blocks_come_again_as_they_were(site, file):
    flows = Flows(site, 8)
    without = file.read_text()
    before = flows.round()
    for ports, found in ((512, ""), (1024, "found blocks of 1024 ports, expected 512"), (512, "")):
        file.write_text(without)
        assert site.daemon.control("reload").returncode == 0
        edit(file, ("[198.51.100.0/29]", f"[198.51.100.0/29], port-blocks: {{ size: {ports} }}"))
        done = site.daemon.control("reload")
        assert (done.returncode == 0) == (found == "") and found in done.stderr
        assert flows.round() == before


def test_a_wrong_file_changes_nothing(site, file):
    flows = Flows(site)
    before = flows.round()
    edit(file, ("[198.51.100.0/29]", "[198.51.100.0/29, 10.1.2.3]"))
    done = site.daemon.control("reload")
    assert done.returncode == 1 and done.stdout == ""
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "10.1.2.3" in text)
    assert done.stderr.startswith("twinspanctl: not reloaded, the running configuration stays:\n")
    assert f"{file}:{line}:" in done.stderr and "found private addresses 10.1.2.3" in done.stderr
    assert "found private addresses 10.1.2.3" in site.daemon.log.read_text()
    assert flows.round() == before
    assert pool(site)["addresses"] == ["198.51.100.0-198.51.100.7"]


def test_keys_that_take_a_restart_are_named(site, file):
    flows = Flows(site)
    before = flows.round()
    refused = site.daemon.metric("config_reloads_refused_total")
    edit(file, ("count: 1", "count: 2"), ("remote: 20.51.0.5", "remote: 20.51.0.6"), ("[198.51.100.0/29]", "[198.51.100.4/30]"))
    done = site.daemon.control("reload")
    assert done.returncode == 1
    assert "found workers.count 2, expected 1 as it runs: a change takes a restart" in done.stderr
    assert "found tunnels.azure-1.remote 20.51.0.6, expected 20.51.0.5 as it runs: a change takes a restart" in done.stderr
    assert flows.round() == before
    assert (draining(site), pool(site)["addresses"]) == (None, ["198.51.100.0-198.51.100.7"]), "all of it or nothing"
    assert site.daemon.metric("config_reloads_refused_total") == refused + 1


def test_a_check_changes_nothing(site, file):
    edit(file, ("[198.51.100.0/29]", "[198.51.100.4/30]"))
    assert reload_under(site, Flows(site), "--check").startswith("would change:\n  peerings.microsoft.nat.pool: ")
    assert (draining(site), pool(site)["addresses"]) == (None, ["198.51.100.0-198.51.100.7"])


def test_sighup_reloads(site, file):
    flows = Flows(site)
    before = flows.round()
    reloads = site.daemon.metric("config_reloads_total")
    edit(file, ("[198.51.100.0/29]", "[198.51.100.0/29, 198.51.100.8/29]"))
    site.daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: site.daemon.metric("config_reloads_total") == reloads + 1)
    assert flows.round() == before
    assert len(pool(site)["addresses"]) == 2


def test_a_file_without_changes(site):
    done = site.daemon.control("reload")
    assert (done.returncode, done.stdout) == (0, "nothing has changed\n")
