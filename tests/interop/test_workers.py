"""Two workers share what may be shared of a tunnel: a peer with a narrow replay window gets its numbers in order from one of them, one with
a wide window gets packets of both; and one SA's packets are decrypted by both, each flow in order."""

import pytest
from esp import Suite
from far_end import FarEnd, config_of, routes_of, sa_files_of
from harness import CONFIG as PLAIN
from harness import eventually
from packets import *

FLOWS, EACH = 48, 40
AT_ONCE = 4 * FLOWS  # packets: fewer than the ports' rings hold, however late a worker wakes
NARROW = FarEnd(1, Suite("aes-256-gcm"), options="peer-window: 64")
WIDE = FarEnd(2, Suite("aes-256-gcm"), options="peer-window: 4096")
SPREAD = FarEnd(3, Suite("aes-256-gcm"), options="decrypt: spread")
SPREAD_CBC = FarEnd(4, Suite("aes-256-cbc-hmac-sha256"), options="decrypt: spread")
ONE = FarEnd(5, Suite("aes-256-gcm"), options="decrypt: one")
SPREAD_UDP = FarEnd(6, Suite("aes-256-gcm"), udp=True, options="decrypt: spread")
ENDS = [NARROW, WIDE, SPREAD, SPREAD_CBC, ONE, SPREAD_UDP]
CONFIG = config_of(ENDS, PLAIN.replace("count: 1", "count: 2"))
SA_FILES, ROUTES = sa_files_of(ENDS), routes_of(ENDS)
QUEUES = 2


def packets(far, way):
    """Of many flows, each with its packets numbered, and all mixed."""
    return [getattr(far, way)(4) / UDP(sport=1000 + flow, dport=9) / Raw(number.to_bytes(4, "big") + bytes(60))
            for number in range(EACH) for flow in range(FLOWS)]


def flow_and_number(packet) -> tuple[int, int]:
    return packet[UDP].sport - 1000, int.from_bytes(bytes(packet[UDP].payload)[:4], "big")


def in_parts(frames: list[bytes]):
    return (frames[at:at + AT_ONCE] for at in range(0, len(frames), AT_ONCE))


def in_order(found) -> None:
    """Every packet of every flow, once, and in the order in which it was sent."""
    by_flow: dict[int, list[int]] = {}
    for flow, number in found:
        by_flow.setdefault(flow, []).append(number)
    assert by_flow == {flow: list(range(EACH)) for flow in range(FLOWS)}


def loads(site, what: str) -> list[int]:
    return [worker[what] for worker in site.daemon.show("workers") if worker["rx"] or worker["tx"]]


def is_ours(far):
    return lambda frame: IP in frame and frame[IP].src == f"10.20.{far.number}.7" and UDP in frame


@pytest.mark.parametrize("far", [NARROW, WIDE], ids=["narrow", "wide"])
def test_out(site, far):
    """RFC 4303 section 3.4.3: what is further behind than the window is lost at the peer."""
    frames = [bytes(lan_frame(site, packet)) for packet in packets(far, "outward")]
    before = loads(site, "tx")
    numbers, found, wanted = [], [], 0
    for part in in_parts(frames):
        site.lan.send(*part)
        wanted += len(part)
        while len(found) < wanted:
            frame = site.primary.expect(far.carries)
            numbers.append(frame[ESP].seq)
            inner = far.look(frame)
            if UDP in inner and inner[IP].dst == f"10.20.{far.number}.7":
                found.append(flow_and_number(inner))
    in_order(found)
    assert len(set(numbers)) == len(numbers)
    if far is NARROW:
        assert numbers == sorted(numbers)
    else:
        late = max(max(numbers[:at + 1]) - number for at, number in enumerate(numbers))
        assert late < 1024, f"a packet came {late} behind the newest"
    print(f"{far.name}: sent by the workers {[after - old for after, old in zip(loads(site, 'tx'), before)]}")


@pytest.mark.parametrize("far", [SPREAD, SPREAD_CBC, ONE], ids=["spread", "spread-cbc", "one"])
def test_in(site, far):
    sealed = [bytes(link_frame(site, "primary", "private", far.seal(packet))) for packet in packets(far, "inward")]
    before = loads(site, "tx")
    found = []
    for part in in_parts(sealed):
        site.primary.send(*part)
        found += [flow_and_number(site.lan.expect(is_ours(far))) for _ in part]
    in_order(found)
    assert all(site.daemon.drops().get(reason, 0) == 0 for reason in ("esp_replayed", "esp_auth_failed"))
    print(f"{far.name}: sent by the workers {[after - old for after, old in zip(loads(site, 'tx'), before)]}")


def test_each_decrypts_for_the_other(site):
    """The port that a NAT gives the peer decides which worker receives: of many, each receives some, and the other one helps."""
    def helped() -> list[int]:
        return [worker["helped"] for worker in site.daemon.show("workers")]

    before = helped()
    some = packets(SPREAD_UDP, "inward")[:AT_ONCE]
    for port in range(20000, 20100):
        site.primary.send(*(bytes(link_frame(site, "primary", "private", SPREAD_UDP.seal(packet, port=port))) for packet in some))
        found = [flow_and_number(site.lan.expect(is_ours(SPREAD_UDP))) for _ in some]
        assert found == [flow_and_number(packet) for packet in some]
        if all(now > old for now, old in zip(helped(), before)):
            break
    else:
        pytest.fail(f"bursts opened for the other worker: {before} before, {helped()} after")


def test_none_helps_with_what_one_worker_is_to_decrypt(site):
    before = [worker["helped"] for worker in site.daemon.show("workers")]
    some = packets(ONE, "inward")[:AT_ONCE]
    site.primary.send(*(bytes(link_frame(site, "primary", "private", ONE.seal(packet))) for packet in some))
    assert [flow_and_number(site.lan.expect(is_ours(ONE))) for _ in some] == [flow_and_number(packet) for packet in some]
    assert [worker["helped"] for worker in site.daemon.show("workers")] == before


@pytest.mark.parametrize("far", [SPREAD, SPREAD_CBC], ids=["gcm", "cbc"])
def test_replays_between_workers(site, far):
    """Each packet four times, in one burst and over flows that different workers have: it passes once."""
    sealed = [bytes(link_frame(site, "primary", "private", far.seal(packet))) for packet in packets(far, "inward")[:AT_ONCE]]
    dropped = site.daemon.drops().get("esp_replayed", 0)
    found = []
    for at in range(0, len(sealed), 16):
        site.primary.send(*sealed[at:at + 16] * 4)
        found += [flow_and_number(site.lan.expect(is_ours(far))) for _ in range(16)]
    assert len(set(found)) == len(sealed)
    eventually(lambda: site.daemon.drops().get("esp_replayed", 0) == dropped + 3 * len(sealed))
    assert not [frame for frame in site.lan.waiting() if is_ours(far)(frame)]
