"""The NAT's log over UDP: what scapy decodes and what nfdump reads is what the packets did."""

import socket
import time

import harness
import pytest
from harness import LAN_HOST, eventually
from ipfix import Collector, Nfcapd
from packets import *

PORT, NFCAPD_PORT = 4739, 4740
CONFIG = (harness.CONFIG
          .replace("nat: {{ pool: [198.51.100.0/28] }}",
                   "nat: {{ pool: [198.51.100.0/28], sessions: 4096, high-water: 25%, low-water: 10%, timeouts: {{ udp: 2s, icmp: 2s, tcp-transitory: 2s, tcp-closing: 2s }} }}")
          + "nat-log: {{ collector: 127.0.0.1, sessions: true, template-refresh: 1s, domain: 77 }}\n")
SERVER = "13.107.6.130"
CREATE, DELETE, ADDRESSES_EXHAUSTED, PORTS_EXHAUSTED, THRESHOLD = 4, 5, 3, 12, 18
TRANSPORTS = {17: UDP(sport=31001, dport=443), 6: TCP(sport=31002, dport=443, flags="S"), 1: ICMP(type=8, id=31003)}


def send(site, destination, *transports):
    site.lan.send(*(lan_frame(site, IP(src=LAN_HOST, dst=destination) / transport / payload()) for transport in transports))


def metrics(site) -> dict:
    return {row["name"].removeprefix("twinspan_"): row["value"] for row in site.daemon.show("metrics")}


def of_event(records, event):
    return [record for record in records if record["natEvent"] == event]


@pytest.fixture(scope="module")
def collector(site):
    made = Collector(site.namespace, PORT, socket.SOCK_DGRAM)
    yield made
    made.close()


def expect_session(record, protocol, transport, outside):
    remote_port = 0 if protocol == 1 else 443
    local = transport.id if protocol == 1 else transport.sport
    assert (record["PROTOCOL"], record["IPV4_SRC_ADDR"], record["L4_SRC_PORT"]) == (protocol, LAN_HOST, local)
    assert (record["IPV4_DST_ADDR"], record["L4_DST_PORT"]) == (SERVER, remote_port)
    assert (record["postNATDestinationIPv4Address"], record["postNAPTDestinationTransportPort"]) == (SERVER, remote_port)
    assert (record["postNATSourceIPv4Address"], record["postNAPTSourceTransportPort"]) == outside
    assert record["natPoolId"] == 2, "microsoft's is the second"
    assert abs(record["observationTimeMilliseconds"] / 1000 - time.time()) < 30


def test_sessions_are_logged_from_beginning_to_end(site, collector):
    """The first time that anybody listens: templates come by themselves."""
    outside = {}
    for protocol, transport in TRANSPORTS.items():
        send(site, SERVER, transport)
        frame = site.primary.expect(kind(IP, dst=SERVER))
        outside[protocol] = (frame[IP].src, frame[ICMP].id if protocol == 1 else frame[IP].payload.sport)
    records = collector.until(lambda r: len(of_event(r, DELETE)) >= 3)
    created, ended = of_event(records, CREATE), of_event(records, DELETE)
    assert [r["PROTOCOL"] for r in created] == list(TRANSPORTS)
    assert sorted(r["PROTOCOL"] for r in ended) == sorted(TRANSPORTS)
    for record in created + ended:
        expect_session(record, record["PROTOCOL"], TRANSPORTS[record["PROTOCOL"]], outside[record["PROTOCOL"]])
    for record in ended:
        first = next(r for r in created if r["PROTOCOL"] == record["PROTOCOL"])
        assert 2000 <= record["observationTimeMilliseconds"] - first["observationTimeMilliseconds"] < 10_000
    assert collector.decoded.templates[0]


def test_templates_are_repeated(site, collector):
    before = sum(collector.decoded.templates)
    for number in range(3):
        time.sleep(1.1)
        send(site, SERVER, UDP(sport=32000 + number, dport=443))
    collector.until(lambda r: len([x for x in of_event(r, CREATE) if 32000 <= x["L4_SRC_PORT"] < 32003]) == 3)
    assert sum(collector.decoded.templates) >= before + 2


def test_exhaustion_is_logged_but_not_for_every_packet(site, collector):
    """Public peering has one address with two ports."""
    send(site, "52.239.1.10", *(UDP(sport=33000 + n, dport=53) for n in range(50)))
    eventually(lambda: site.daemon.drops().get("nat_ports_exhausted", 0) >= 48)
    records = collector.until(lambda r: of_event(r, PORTS_EXHAUSTED) and of_event(r, ADDRESSES_EXHAUSTED))
    ports, addresses = of_event(records, PORTS_EXHAUSTED), of_event(records, ADDRESSES_EXHAUSTED)
    assert len(ports) <= 2 and len(addresses) <= 2, "once a second"
    assert (ports[0]["postNATSourceIPv4Address"], ports[0]["PROTOCOL"], ports[0]["natPoolId"]) == ("198.51.100.16", 17, 1)
    assert addresses[0]["natPoolId"] == 1


def test_metrics_count_what_was_logged(site, collector):
    eventually(lambda: metrics(site)["nat_log_records_total"] >= len(collector.decoded.records))
    now = metrics(site)
    assert now["nat_log_connected"] == 1 and now["nat_log_messages_total"] > 0
    assert (now["nat_log_ring_full_total"], now["nat_log_limited_total"], now["nat_log_unsent_total"]) == (0, 0, 0)


def test_a_burst_of_sessions_is_logged_whole(site, collector):
    count = 3000
    ours = lambda records: [r for r in of_event(records, CREATE) if r["L4_SRC_PORT"] >= 40000]
    for first in range(0, count, 50):
        send(site, SERVER, *(UDP(sport=40000 + n, dport=443) for n in range(first, first + 50)))
    created = ours(collector.until(lambda r: len(ours(r)) == count))
    assert sorted(r["L4_SRC_PORT"] for r in created) == list(range(40000, 40000 + count))
    assert len({(r["postNATSourceIPv4Address"], r["postNAPTSourceTransportPort"]) for r in created}) == count


def test_high_and_low_water_are_logged(site, collector):
    """By the burst before, which is more than a quarter of the pool's 4,096 sessions, and by its end."""
    records = of_event(collector.until(lambda r: len(of_event(r, THRESHOLD)) == 2), THRESHOLD)
    high, low = records
    assert (high["natThresholdEvent"], high["natPoolId"], high["addressPoolHighThreshold"]) == (1, 2, 1024)
    assert (low["natThresholdEvent"], low["natPoolId"], low["addressPoolLowThreshold"]) == (2, 2, 409)
    pool = next(pool for pool in site.daemon.show("nat")["pools"] if pool["peering"] == "microsoft")
    assert pool["water"]["state"] == "normal" and pool["water"]["times"] == 1 and pool["water"]["peak"] >= 1024
    log = site.daemon.log.read_text()
    assert "pool microsoft: " in log and "at or above its high-water mark of 1024" in log
    assert log.count("without a port") == 1, "exhaustion is one line, not one for each packet"


def test_nfdump_reads_the_log(site, collector):
    """nfcapd in the place of the collector, which it was away from: it must get templates soon, and lose no sequence."""
    eventually(lambda: not next(pool for pool in site.daemon.show("nat")["pools"] if pool["peering"] == "microsoft")["sessions"], 20)
    collector.close()
    nfcapd = Nfcapd(site.namespace, PORT)
    try:
        time.sleep(1.5)  # templates are due, and come without an event
        site.quiet()
        for transport in TRANSPORTS.values():
            send(site, SERVER, transport)
        send(site, "52.239.1.10", *(UDP(sport=34000 + n, dport=53) for n in range(10)))
        frames = [site.primary.expect(kind(IP, dst=SERVER)) for _ in range(3)]
        time.sleep(5)
    finally:
        rows = nfcapd.end()
    by_event = {event: [row for row in rows if row.get("nat_event_id") == str(event)] for event in (CREATE, DELETE, PORTS_EXHAUSTED)}
    for event in (CREATE, DELETE):
        ours = [row for row in by_event[event] if row["dst4_addr"] == SERVER]  # on public peering, new ones end old ones
        assert sorted(row["proto"] for row in ours) == sorted(TRANSPORTS)
        for row in ours:
            frame = next(f for f in frames if f[IP].proto == row["proto"])
            assert (row["src4_addr"], row["dst4_addr"], row["src4_xlt_ip"], row["dst4_xlt_ip"]) == (LAN_HOST, SERVER, frame[IP].src, SERVER)
            if row["proto"] != 1:
                assert (row["src_port"], row["dst_port"]) == (TRANSPORTS[row["proto"]].sport, 443)
                assert (int(row["src_xlt_port"]), int(row["dst_xlt_port"])) == (frame[IP].payload.sport, 443)
    assert by_event[CREATE][0]["nat_event"] == "NAT44 session create"
    assert [row["src4_xlt_ip"] for row in by_event[PORTS_EXHAUSTED]] == ["198.51.100.16"]
