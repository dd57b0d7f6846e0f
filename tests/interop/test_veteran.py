"""What only time shows: a twinspand that has run since the session began."""

import time

from harness import eventually
from packets import *

REFRESH_SECONDS = 30  # how often the daemon makes Linux check its gateways' neighbours


def test_the_operators_permanent_neighbours_outlive_the_refresh(veteran):
    due = veteran.started + REFRESH_SECONDS + 1
    eventually(lambda: time.monotonic() > due, REFRESH_SECONDS + 10)
    assert {n["address"]: n["state"] for n in veteran.daemon.show("neighbours") if n["mac"] and not n["address"].startswith("ff")} == {
        neighbour.split()[0]: "permanent" for neighbour in NEIGHBOURS}
    assert all(t["state"] == "up" for t in veteran.daemon.show("tunnels"))


def test_it_still_forwards_and_its_books_are_right(veteran):
    packet = IP(src=LAN_HOST, dst="10.30.0.7") / UDP() / payload()
    veteran.lan.send(lan_frame(veteran, packet))
    assert_same(veteran.primary.expect(has(packet[Raw])), to_link(veteran, "primary", "private", hop(packet)))
    veteran.expect_exact_accounting()
