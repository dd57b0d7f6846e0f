"""twinspanctl against a running daemon: tables that fit a terminal, JSON that is what the control socket's page says."""

import json
import subprocess

import pytest
from harness import TWINSPANCTL, eventually
from packets import *

KEYS_OF = {
    "ports": {"name", "device", "shared", "steered", "netdev", "link", "mac", "mtu", "rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "rx_missed", "rx_errors", "tx_errors"},
    "legs": {"name", "peering", "link", "port", "vlan", "addresses", "state", "rx_packets", "rx_bytes", "tx_packets", "tx_bytes"},
    "tunnels": {"name", "if_id", "link", "local", "remote", "state", "reason", "spi_out", "spi_in", "suite", "sequence", "reserved_until",
                "encapsulation", "moved", "outer_mtu", "inner_mtu", "mss4", "mss6", "worker", "sas", "rx_packets", "rx_bytes", "tx_packets", "tx_bytes"},
    "sas": {"tunnel", "spi", "direction", "source", "in_use", "suite", "icv", "esn", "encapsulation", "peer", "sequence", "reserved_until", "window",
            "packets", "bytes", "left"},
    "groups": {"id", "buckets", "members"},
    "routes": {"prefix", "kind", "via", "encrypt", "note"},
    "neighbours": {"address", "netdev", "mac", "state"},
    "drops": {"reason", "count", "help"},
    "workers": {"id", "cpu", "loops", "busy_loops", "helped", "rx", "injected", "generated", "fragmented", "taken", "tx", "punted", "merged", "handed", "held", "drops"},
}
OBJECTS = {"nat": {"pools", "talkers", "remotes", "sessions", "survey", "capacity", "memory_bytes"},
           "accounting": {"rx", "injected", "generated", "fragmented", "taken", "tx", "punted", "merged", "handed", "held", "drops", "exact", "threads"}}
WHAT = [*KEYS_OF, *OBJECTS]


@pytest.fixture(scope="module", autouse=True)
def traffic(site):
    """Something to show."""
    for destination in ("13.107.6.10", "52.239.1.10", "10.20.0.7", "10.30.0.7", "192.168.9.9"):
        site.lan.send(*(lan_frame(site, IP(src=LAN_HOST, dst=destination) / UDP(sport=6000 + n, dport=443) / payload(1000)) for n in range(40)))
    site.lan.send(lan_frame(site, IP(src=LAN_HOST, dst="13.107.6.10") / TCP(sport=7000, dport=443, flags="S")),
                  lan_frame(site, IP(src=LAN_HOST, dst="13.107.6.10") / ICMP(id=9)))
    eventually(lambda: site.daemon.drops().get("no_route", 0) == 40)


@pytest.mark.parametrize("what", WHAT)
def test_tables_fit_a_terminal(site, what):
    done = site.daemon.control("show", what)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
    assert [line for line in done.stdout.splitlines() if len(line) > 100] == []
    assert [line for line in done.stdout.splitlines() if line != line.rstrip()] == []


@pytest.mark.parametrize("what", WHAT)
def test_json_is_as_documented(site, what):
    done = site.daemon.control("show", what, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    data = json.loads(done.stdout)
    if what in OBJECTS:
        assert set(data) == OBJECTS[what]
    else:
        assert data and all(set(row) == KEYS_OF[what] for row in data)


def test_numbers_agree_with_what_was_sent(site):
    nat = site.daemon.show("nat")
    pools = {pool["peering"]: pool for pool in nat["pools"]}
    assert pools["microsoft"]["by_protocol"] == {"tcp": 1, "udp": 40, "icmp": 1}
    assert pools["microsoft"]["sessions"] == pools["microsoft"]["created"] == 42
    assert (pools["public"]["sessions"], pools["public"]["ports_exhausted"]) == (2, 38)
    assert len(nat["sessions"]) == 44
    assert nat["survey"] == {"complete": True, "running": False, "sessions": 44, "uncounted": 0}
    assert [(t["peering"], t["host"], t["sessions"]) for t in nat["talkers"]] == [("microsoft", LAN_HOST, 42), ("public", LAN_HOST, 2)]
    remotes = {(r["protocol"], r["remote"]): r for r in nat["remotes"]}
    assert (remotes["udp", "13.107.6.10:443"]["sessions"], remotes["udp", "13.107.6.10:443"]["free"]) == (40, 16 * 64512 - 40)
    assert (remotes["udp", "52.239.1.10:443"]["sessions"], remotes["udp", "52.239.1.10:443"]["free"]) == (2, 0)
    use = pools["public"]["by_address"]
    assert use == [{"address": "198.51.100.16", "protocol": "udp", "sessions": 2, "ports": 2, "ports_free": 0}]
    assert sum(row["sessions"] for row in pools["microsoft"]["by_address"]) == 42
    assert pools["microsoft"]["limit"] == 65536 and pools["microsoft"]["water"]["state"] == "normal"
    assert pools["microsoft"]["water"]["high"] == 52429 and pools["microsoft"]["water"]["low"] == 39321
    legs = site.daemon.named("legs")
    assert legs["msft-pri"]["tx_packets"] + legs["msft-sec"]["tx_packets"] >= 42 + 40
    assert legs["prv-pri"]["vlan"] == "100" and legs["lan"]["vlan"] == ""
    tunnels = site.daemon.named("tunnels")
    assert tunnels["azure-0"]["tx_packets"] + tunnels["azure-1"]["tx_packets"] >= 40
    for name, suite, spi in (("azure-0", "aes-256-gcm", 0x1001), ("azure-1", "aes-128-gcm", 0x1002)):
        assert (tunnels[name]["suite"], tunnels[name]["spi_out"], tunnels[name]["inner_mtu"], tunnels[name]["mss4"]) == (suite, spi, 1446, 1406)


def test_metrics_have_the_pools_by_protocol_and_address(site):
    lines = site.daemon.control("show", "metrics").stdout.splitlines()
    assert 'twinspan_nat_sessions{pool="microsoft",protocol="udp"} 40' in lines
    assert 'twinspan_nat_sessions_limit{pool="public"} 65536' in lines
    assert 'twinspan_nat_refused_total{cause="ports",pool="public"} 38' in lines
    assert 'twinspan_nat_address_sessions{address="198.51.100.16",pool="public"} 2' in lines
    assert 'twinspan_nat_ports_in_use{address="198.51.100.16",pool="public",protocol="udp"} 2' in lines
    assert 'twinspan_nat_ports_free{address="198.51.100.16",pool="public",protocol="udp"} 0' in lines
    assert 'twinspan_nat_ports_free{address="198.51.100.16",pool="public",protocol="tcp"} 2' in lines
    in_use = [int(line.split()[1]) for line in lines if line.startswith("twinspan_nat_ports_in_use{") and "microsoft" in line]
    assert (len(in_use), sum(in_use)) == (16 * 3, 42)
    assert 'twinspan_nat_high_water{pool="microsoft"} 0' in lines
    assert sum(int(line.split()[1]) for line in lines if line.startswith("twinspan_nat_address_sessions{") and "microsoft" in line) == 42
    named = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(named) == len(set(named)), "each name is explained once"


def test_routes_say_what_becomes_of_a_prefix(site):
    routes = {route["prefix"]: route for route in site.daemon.show("routes")}
    assert (routes["10.20.0.0/16"]["encrypt"], routes["13.107.6.0/25"]["encrypt"]) == (True, False)
    assert routes["10.10.0.1/32"]["kind"] == "local" and routes["198.51.100.0/28"]["kind"] == "pool"
    assert sorted(routes["10.20.0.0/24"]["via"]) == ["tunnel azure-0", "tunnel azure-1"]
    assert sorted(routes["13.107.6.0/25"]["via"]) == ["203.0.113.2 dev msft-pri", "203.0.113.6 dev msft-sec"]


def test_a_refused_route_says_why(site):
    site.namespace.ip("route add 8.8.8.0/24 via 203.0.113.2 dev msft-pri")
    try:
        note = eventually(lambda: [r["note"] for r in site.daemon.show("routes") if r["prefix"] == "8.8.8.0/24"])
        assert "accept" in note[0]
        assert [line for line in site.daemon.control("show", "routes").stdout.splitlines() if len(line) > 100] == []
        with site.dropped(no_route=1):
            site.primary.send(link_frame(site, "primary", "microsoft", IP(src="13.107.6.10", dst="8.8.8.8") / UDP() / payload()))
    finally:
        site.namespace.ip("route del 8.8.8.0/24 via 203.0.113.2 dev msft-pri")


def test_wrong_usage_is_said(site):
    for arguments in (["show", "nonsense"], ["show"], [], ["drain"]):
        done = site.daemon.control(*arguments)
        assert done.returncode not in (0, None) and done.stderr
    done = subprocess.run([TWINSPANCTL, "--name", "twi-nobody", "show", "ports"], capture_output=True, text=True)
    assert done.returncode != 0 and "twi-nobody" in done.stderr


@pytest.mark.parametrize("line", ["nonsense", "[]", "{}", '{"command": 7}', '{"command": "show"}', '{"command":"show","what":"x"}', "{" * 5000])
def test_a_bad_request_is_answered_and_the_daemon_lives(site, line):
    import socket
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(5)
        control.connect(f"/run/twinspan/{site.daemon.name}.sock")
        control.sendall(line.encode() + b"\n" + b'{"command":"ping"}\n')
        with control.makefile() as replies:
            reply = json.loads(replies.readline())
            assert reply["ok"] is False and reply["error"]
            assert json.loads(replies.readline())["ok"] is True
