"""How long static keys may be used (RFC 4301 section 4.4.2.1): by packets, bytes and time, each direction by itself, over restarts."""

import time

import pytest
from esp import Suite
from far_end import FarEnd, config_of, routes_of, sa_files_of
from harness import eventually
from packets import *

PACKETS, BYTES, SECONDS = 1000, 64 * 1024, 8
FAR = {what: FarEnd(number, Suite("aes-256-gcm"), options=f"lifetime: {{{{ {limit} }}}}") for number, (what, limit) in enumerate({
    "packets out": f"packets: {PACKETS}", "packets in": f"packets: {PACKETS}", "bytes out": f"bytes: {BYTES // 1024}KB",
    "time": f"time: {SECONDS}s", "none": "packets: 1000000"}.items(), 1)}
CONFIG, SA_FILES, ROUTES = (of(list(FAR.values())) for of in (config_of, sa_files_of, routes_of))


def state(site, far) -> str:
    return site.daemon.named("tunnels")[far.name]["state"]


def log(site, far) -> str:
    return "\n".join(line for line in site.daemon.log.read_text().splitlines() if f"tunnel {far.name}:" in line)


def out(site, far, count, size=8):
    """So many packets into the tunnel, a few at a time: control looks a few times a second."""
    for _ in range(count):
        packet = far.outward(4) / UDP() / payload(size)
        site.lan.send(lan_frame(site, packet))
        far.expect(site.primary)


def sent_until_down(site, far, most, size=8) -> None:
    for _ in range(most):
        if state(site, far) == "down":
            break
        site.lan.send(lan_frame(site, far.outward(4) / UDP() / payload(size)))
    site.primary.waiting()


def is_worn_out(site, far):
    eventually(lambda: state(site, far) == "down", 5, f"{far.name} goes on: {log(site, far)}")
    assert "end of its lifetime" in log(site, far), log(site, far)
    with site.dropped(tunnel_down=1):
        site.lan.send(lan_frame(site, far.outward(4) / UDP() / payload()))


def is_warned_of(site, far):
    eventually(lambda: "nine tenths of its lifetime" in log(site, far), 5)
    assert state(site, far) == "up"


def test_packets_out(site):
    far = FAR["packets out"]
    out(site, far, PACKETS * 8 // 10)
    assert log(site, far) == "" and state(site, far) == "up"
    out(site, far, PACKETS // 8)
    is_warned_of(site, far)
    sent_until_down(site, far, PACKETS)
    is_worn_out(site, far)


def test_packets_in(site):
    far = FAR["packets in"]
    sent = [far.inward(4) / UDP() / payload(8) for _ in range(PACKETS + 1)]
    frames = [bytes(link_frame(site, "primary", "private", far.seal(packet))) for packet in sent]
    site.primary.send(*frames[:PACKETS * 95 // 100])
    is_warned_of(site, far)
    site.primary.send(*frames[PACKETS * 95 // 100:])
    is_worn_out(site, far)


def test_bytes_out(site):
    far = FAR["bytes out"]
    size = 1000
    out(site, far, BYTES * 92 // 100 // (size + 28), size)
    is_warned_of(site, far)
    sent_until_down(site, far, 10 * BYTES // size, size)
    is_worn_out(site, far)


def test_time(site):
    far = FAR["time"]
    eventually(lambda: state(site, far) == "down", SECONDS + 3)
    assert time.monotonic() - site.started > SECONDS - 2
    is_worn_out(site, far)


@pytest.mark.parametrize("orderly", [True, False], ids=["stop", "kill"])
def test_a_restart_gives_no_second_life(site, orderly):
    eventually(lambda: [state(site, far) for far in FAR.values()].count("down") == 4)
    time.sleep(1.5)  # what has passed is written down at times
    if orderly:
        assert site.daemon.stop() == 0
    else:
        site.daemon.kill()
    ended = [far.name for what, far in FAR.items() if what != "none"]
    site.start(down=ended)
    time.sleep(0.5)  # some of the times at which control looks
    assert [far.name for far in FAR.values() if state(site, far) == "down"] == ended
