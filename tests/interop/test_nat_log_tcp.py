"""The NAT's log over TCP: one set of templates for each connection, events that wait for a collector that is away, and a
collector that takes nothing. nfcapd takes UDP alone, so it gets the stream's messages as datagrams."""

import socket
import time

import harness
from harness import LAN_HOST, eventually
from ipfix import Nfcapd, Stream
from packets import *
from wire import inside

PORT = 4739
CONFIG = harness.CONFIG + "nat-log: {{ collector: 127.0.0.1:4739, transport: tcp, sessions: true }}\n"
SERVER = "13.107.6.130"
CREATE = 4


def listen(site) -> socket.socket:
    with inside(site.namespace.name):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", PORT))
    listener.listen(1)
    listener.settimeout(45)
    return listener


def send(site, ports):
    ports = list(ports)
    for first in range(0, len(ports), 50):
        site.lan.send(*(lan_frame(site, IP(src=LAN_HOST, dst=SERVER) / UDP(sport=port, dport=443) / payload()) for port in ports[first:first + 50]))


def connected(site) -> bool:
    return {row["name"]: row["value"] for row in site.daemon.show("metrics")}["twinspan_nat_log_connected"] == 1


def logged(records) -> list[int]:
    return [r["L4_SRC_PORT"] for r in records if r["natEvent"] == CREATE]


def test_events_wait_for_a_collector_that_comes_late(site):
    send(site, range(20000, 20100))
    listener = listen(site)
    stream = Stream(listener)
    records = stream.until(lambda r: len(logged(r)) == 100)
    assert logged(records) == list(range(20000, 20100))
    eventually(lambda: connected(site))
    send(site, range(20100, 20150))
    stream.until(lambda r: len(logged(r)) == 150)
    assert stream.decoded.templates.count(True) == 1 and stream.decoded.templates[0]

    # The collector ends the connection; the next one begins anew.
    stream.close()
    eventually(lambda: not connected(site))
    send(site, range(20200, 20230))
    again = Stream(listener)
    assert logged(again.until(lambda r: len(logged(r)) == 30)) == list(range(20200, 20230))
    assert again.decoded.sequences[0] == 0 and again.decoded.templates[0]
    again.close()

    # What nfdump makes of the two streams.
    nfcapd = Nfcapd(site.namespace, 4741)
    try:
        with inside(site.namespace.name):
            relay = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for message in again.messages:
            relay.sendto(message, ("127.0.0.1", 4741))
        relay.close()
        time.sleep(0.5)
    finally:
        rows = nfcapd.end()
    assert [row["src_port"] for row in rows] == list(range(20200, 20230))
    assert {row["nat_event"] for row in rows} == {"NAT44 session create"}
    listener.close()


def test_a_collector_that_takes_nothing_holds_nobody_up(site):
    """Its window closes; packets, the control socket and memory must not notice."""
    listener = listen(site)
    stream = Stream(listener)
    eventually(lambda: connected(site), 40)
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slowest = 0.0
    for first in range(30000, 60000, 3000):
        send(site, range(first, first + 3000))
        began = time.monotonic()
        site.daemon.ask({"command": "ping"})
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 1
    stream.close()
    listener.close()
    eventually(lambda: not connected(site), 20)
