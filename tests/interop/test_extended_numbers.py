"""Sequence numbers of 64 bits, of which packets have the lower half (RFC 4303 section 2.2.1 and appendix A), and the end of 32-bit ones."""

import re

import pytest
from esp import Suite
from far_end import FarEnd, config_of, routes_of, sa_files_of
from harness import eventually
from packets import *

TURN = 1 << 32
WINDOW = 1024
FAR = {name: FarEnd(number, Suite(name), esn=True, window=WINDOW) for number, name in
       enumerate(("aes-256-gcm", "chacha20-poly1305", "aes-256-gmac", "aes-256-cbc-hmac-sha256"), 1)}
PLAIN = FarEnd(5, Suite("aes-256-gcm"), window=WINDOW)
CONFIG, SA_FILES, ROUTES = (of([*FAR.values(), PLAIN]) for of in (config_of, sa_files_of, routes_of))


@pytest.fixture(params=FAR)
def far(request):
    return FAR[request.param]


def inner(far):
    return far.inward(4) / UDP() / payload()


def arrive(site, *packets):
    site.primary.send(*(link_frame(site, "primary", "private", packet) for packet in packets))


def passes(site, far, sequence):
    packet = inner(far)
    arrive(site, far.seal(packet, sequence))
    assert_same(site.lan.expect(has(packet[UDP])), to_lan(site, hop(packet)))


def test_in_over_the_turn(site, far):
    """Appendix A2: the upper half follows from where the window is, also for packets behind the turn that come late."""
    for turn in (TURN, 2 * TURN):
        for offset in (-5000, -20, 3, -19, -7, 0, 1, 4, 2, WINDOW - 20, WINDOW - 21):
            passes(site, far, turn + offset)
        with site.dropped(esp_replayed=2):
            arrive(site, far.seal(inner(far), turn + 3), far.seal(inner(far), turn + WINDOW - 20))
        # Left of the window, it is taken for one of the next turn, whose ICV it has not.
        with site.dropped(esp_auth_failed=1):
            arrive(site, far.seal(inner(far), turn - 5000))


def test_the_upper_half_is_authenticated(site, far):
    """Section 2.2.1: same lower half, another upper one."""
    passes(site, far, far.sequence + 10)
    newest = far.sequence
    with site.dropped(esp_auth_failed=2):
        arrive(site, far.seal(inner(far), newest + TURN + 1), far.seal(inner(far), newest % TURN + 5))
    far.sequence = newest


def test_found_again_after_a_loss_of_more_than_2_to_the_32(site, far):
    """Appendix A3: as if two turns and more had been lost. After 64 packets that fail it looks further, and goes on there with the
    next burst; a packet from before stays refused."""
    passes(site, far, far.sequence + 10)
    old = far.sequence
    ahead = (old // TURN + 3) * TURN + old % TURN + 1000
    failed = site.daemon.drops().get("esp_auth_failed", 0)
    arrive(site, *(far.seal(inner(far), ahead + at) for at in range(100)))
    site.lan.expect(lambda frame: UDP in frame)
    assert site.daemon.drops()["esp_auth_failed"] >= failed + 64
    site.quiet()
    passes(site, far, far.sequence + 1)
    with site.dropped(esp_auth_failed=1):
        arrive(site, far.seal(inner(far), old + 1))


def state_file(site, far):
    return next(path for path in (site.folder / "state").iterdir() if f"\nspi {far.spi_in}\n" in path.read_text(errors="replace"))


def goes_on_at(site, ends, number):
    """A restart with a reservation as after so many packets."""
    assert site.daemon.stop() == 0
    for far in ends:
        file = state_file(site, far)
        body = re.sub(r"reserved_until \d+", f"reserved_until {number}", file.read_text().split("checksum")[0])
        check = 0xcbf29ce484222325
        for byte in body.encode():
            check = (check ^ byte) * 0x100000001b3 % (1 << 64)
        file.write_text(f"{body}checksum {check:016x}\n")
        far.opened = number - 1
    site.start()


def is_at(site, far):
    """The tunnel's number is that of the last packet: Linux may send one of its own into it at any time."""
    number = site.daemon.named("tunnels")[far.name]["sequence"]
    for frame in site.primary.waiting():
        if far.carries(frame):
            far.open(frame)
    return number == far.opened


def test_out_over_the_turn(site):
    """The far end infers the upper half: the ICV covers what is not sent, and neither a number nor an IV comes twice."""
    goes_on_at(site, FAR.values(), TURN - 6)
    for far in FAR.values():
        sent = [far.outward(4) / UDP() / payload() for _ in range(20)]
        site.lan.send(*(lan_frame(site, packet) for packet in sent))
        for packet in sent:
            _, opened = far.expect(site.primary)
            assert bytes(opened).hex() == bytes(hop(packet)).hex()
        assert TURN + 10 < far.opened < TURN + 100
        eventually(lambda: is_at(site, far))


def test_out_stops_before_32_bits_end(site):
    """Section 3.3.3: number 2^32 is not sent, what would have had it is dropped by name, and the tunnel makes room for another one."""
    goes_on_at(site, [PLAIN], TURN - 6)

    def lost() -> int:
        # esp_unreserved: of the moment between control's stop and the snapshot in which the tunnel is down
        drops = site.daemon.drops()
        return sum(drops.get(reason, 0) for reason in ("esp_sequence_exhausted", "esp_unreserved", "tunnel_down"))

    before = lost()
    sent = [PLAIN.outward(4) / UDP() / payload() for _ in range(10)]
    site.lan.send(*(lan_frame(site, packet) for packet in sent))
    eventually(lambda: site.daemon.named("tunnels")[PLAIN.name]["state"] == "down")
    opened = [PLAIN.open(frame) for frame in site.primary.waiting() if PLAIN.carries(frame)]
    ours = [bytes(packet).hex() for packet in opened if UDP in packet]
    assert PLAIN.opened == TURN - 1
    assert ours == [bytes(hop(packet)).hex() for packet in sent[:len(ours)]] and 0 < len(ours) <= 6
    eventually(lambda: lost() - before >= len(sent) - len(ours))
