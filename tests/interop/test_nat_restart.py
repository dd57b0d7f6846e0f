"""NAT sessions over the ends of twinspand, orderly and not: what answered before answers after, from the outside's view alone."""

import os
import re
import struct
import time

import pytest
from harness import Site, eventually
from packets import *
from test_nat import M365, echo, inside_again, reply_to, tcp, udp


@pytest.fixture
def fresh(namespace, tmp_path):
    """A site of this test's own."""
    made = Site(namespace, tmp_path, f"twi-{os.getpid()}-keep")
    made.daemon.forget_sessions()
    yield made
    made.end()


def open_session(site, transport):
    """Out, back and out again: TCP is established, the others answered."""
    packet = IP(src=LAN_HOST, dst=M365, ttl=64, id=321) / transport / payload()
    site.lan.send(lan_frame(site, packet))
    outside = site.primary.expect(has(packet[Raw]))
    answer(site, packet, outside)
    if TCP in packet:
        again = packet.copy()
        again[TCP].flags = "A"
        del again.chksum, again[TCP].chksum
        again[Raw].load = bytes(payload()[Raw])
        site.lan.send(lan_frame(site, again))
        site.primary.expect(has(again[Raw]))
    return packet, outside


def answer(site, packet, outside):
    """What comes from outside reaches the inside."""
    reply = reply_to(outside)
    site.primary.send(link_frame(site, "primary", "microsoft", reply))
    assert_same(site.lan.expect(has(reply[Raw])), to_lan(site, inside_again(reply, packet)))


def restarted(site, config=None) -> None:
    if config is not None:
        site.config.write_text(config)
    site.start()


def end_by(site, how) -> None:
    if how == "SIGTERM":
        assert site.daemon.stop() == 0
    else:
        site.daemon.kill()


def left_out(site) -> dict[str, int]:
    prefix = "twinspan_nat_left_out_"
    return {row["name"].removeprefix(prefix).removesuffix("_total"): row["value"]
            for row in site.daemon.show("metrics") if row["name"].startswith(prefix) and row["value"]}


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_conversations_go_on(fresh, how):
    fresh.start()
    sessions = [open_session(fresh, transport()) for transport in (udp, tcp, echo) for _ in range(5)]
    before = {(s["inside"], s["outside"], s["state"]) for s in fresh.daemon.show("nat")["sessions"]}
    end_by(fresh, how)
    assert fresh.daemon.sessions_file.stat().st_mode & 0o077 == 0
    restarted(fresh)
    assert {(s["inside"], s["outside"], s["state"]) for s in fresh.daemon.show("nat")["sessions"]} >= before
    assert fresh.daemon.metric("nat_restored_total") >= 15
    assert left_out(fresh) == {}
    for packet, outside in sessions:  # from outside first: nothing from inside could have made the session again
        answer(fresh, packet, outside)
    for packet, outside in sessions:
        fresh.lan.send(lan_frame(fresh, packet))
        again = fresh.primary.expect(lambda f: has(packet[Raw])(f))
        assert (again[IP].src, bytes(again[IP].payload)[:2]) == (outside[IP].src, bytes(outside[IP].payload)[:2])
    fresh.expect_exact_accounting()


def test_sessions_of_a_links_own_pool_wait_for_the_link(fresh):
    text = fresh.config.read_text()
    own = text.replace("nat: { pool: [198.51.100.0/28] }", "nat: { pool: { primary: [198.51.100.0/29], secondary: [198.51.100.8/29] } }")
    assert own != text
    fresh.config.write_text(own)
    fresh.start()
    packet, outside = open_session(fresh, tcp())
    fresh.daemon.kill()
    fresh.namespace.set_carrier("primary", False)
    fresh.daemon.start()
    eventually(lambda: fresh.daemon.named("ports")["primary"]["link"] == "down")
    assert left_out(fresh) == {}
    time.sleep(1.5)  # the table is gone over once a second
    fresh.namespace.set_carrier("primary", True)
    eventually(lambda: fresh.daemon.named("ports")["primary"]["link"] == "up")
    fresh.namespace.ip(f"neighbour replace {LAN_HOST} lladdr {LAN_MAC} dev lan nud permanent")
    eventually(lambda: any(n["address"] == LAN_HOST and n["mac"] for n in fresh.daemon.show("neighbours")))
    fresh.quiet()
    answer(fresh, packet, outside)
    fresh.namespace.set_carrier("primary", False)
    eventually(lambda: not fresh.daemon.show("nat")["sessions"], message="a dead link's sessions stay")
    fresh.namespace.set_carrier("primary", True)


def test_the_last_session_before_a_kill_is_there(fresh):
    fresh.start()
    for _ in range(3):
        packet = IP(src=LAN_HOST, dst=M365) / udp() / payload()
        fresh.lan.send(lan_frame(fresh, packet))
        outside = fresh.primary.expect(has(packet[Raw]))
        fresh.daemon.kill()
        restarted(fresh)
        answer(fresh, packet, outside)


def test_idle_time_goes_on_while_nothing_runs(fresh):
    text = fresh.config.read_text()
    timeouts = "timeouts: { icmp: 3s, udp: 300s }"
    fresh.config.write_text(text.replace("nat: { pool: [198.51.100.0/28] }", f"nat: {{ pool: [198.51.100.0/28], {timeouts} }}"))
    assert timeouts in fresh.config.read_text()
    fresh.start()
    ping, datagram = open_session(fresh, echo()), open_session(fresh, udp())
    fresh.daemon.kill()
    time.sleep(5)
    restarted(fresh)
    assert left_out(fresh).get("expired", 0) >= 1
    answer(fresh, *datagram)
    reply = reply_to(ping[1])
    with fresh.dropped(nat_no_session=1):
        fresh.primary.send(link_frame(fresh, "primary", "microsoft", reply))


def test_a_changed_configuration_keeps_what_still_fits(fresh):
    fresh.start()
    old = [open_session(fresh, udp()) for _ in range(4)]
    used = old[0][1][IP].src
    inside_pool = f"{used}/32"
    text = fresh.config.read_text()
    fresh.daemon.kill()
    # One address of the pool stays; public peering's pool, number 0 so far, is gone.
    changed = text.replace("198.51.100.0/28", inside_pool).replace("    nat: { pool: [198.51.100.16/32], ports: 2000-2001 }\n", "")
    assert changed.count("nat:") == text.count("nat:") - 1
    restarted(fresh, changed)
    for packet, outside in old:
        if outside[IP].src == used:
            answer(fresh, packet, outside)
    fresh.daemon.kill()
    other = "198.51.100.9/32" if used != "198.51.100.9" else "198.51.100.8/32"
    restarted(fresh, changed.replace(inside_pool, other))
    assert left_out(fresh).get("no_address", 0) >= 4
    with fresh.dropped(no_route=1):
        fresh.primary.send(link_frame(fresh, "primary", "microsoft", reply_to(old[0][1])))


@pytest.mark.parametrize("damage, named", [
    (lambda file: file.write_bytes(os.urandom(file.stat().st_size)), "it holds no NAT sessions of twinspand"),
    (lambda file: os.truncate(file, 10_000), "it ends after 92 of "),
    (lambda file: file.write_bytes(file.read_bytes()[:8] + struct.pack("<I", 77) + file.read_bytes()[12:]), "its layout is version 77"),
    (lambda file: file.chmod(0o666), "others may have written it"),
], ids=["random", "cut", "version", "writable"])
def test_a_wrong_file_is_refused_by_name_and_the_daemon_starts(fresh, damage, named):
    fresh.start()
    open_session(fresh, udp())
    fresh.daemon.kill()
    damage(fresh.daemon.sessions_file)
    restarted(fresh)
    log = fresh.daemon.log.read_text()
    assert re.search(re.escape(str(fresh.daemon.sessions_file)) + ": not taken: " + re.escape(named), log), log[-2000:]
    assert fresh.daemon.metric("nat_restored_total") == 0
    packet, outside = open_session(fresh, udp())
    end_by(fresh, "SIGKILL")
    restarted(fresh)
    answer(fresh, packet, outside)


def test_torn_records_are_left_out_and_counted(fresh):
    fresh.start()
    kept, torn = open_session(fresh, udp()), open_session(fresh, udp())
    fresh.daemon.kill()
    data = bytearray(fresh.daemon.sessions_file.read_bytes())
    at = data.index(struct.pack("!H", torn[0][UDP].sport), 4096)  # the inside port begins the record's second word
    data[at + 4] = 99  # its protocol, on one side only
    fresh.daemon.sessions_file.write_bytes(data)
    restarted(fresh)
    assert left_out(fresh) == {"nonsense": 1}
    answer(fresh, *kept)


def test_without_the_file_it_begins_anew(fresh):
    fresh.start()
    packet, outside = open_session(fresh, udp())
    assert fresh.daemon.stop() == 0
    fresh.daemon.forget_sessions()
    restarted(fresh)
    with fresh.dropped(nat_no_session=1):
        fresh.primary.send(link_frame(fresh, "primary", "microsoft", reply_to(outside)))


def test_saved_sessions_outlive_a_reboot(fresh, tmp_path):
    fresh.start()
    packet, outside = open_session(fresh, tcp())
    done = fresh.daemon.control("save-state")
    saved = tmp_path / "state" / "nat-sessions"
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"\d+ NAT sessions saved to {saved}, which the next start takes\n", done.stdout)
    assert saved.stat().st_mode & 0o077 == 0
    elsewhere = tmp_path / "elsewhere"
    assert fresh.daemon.control("save-state", str(elsewhere)).stdout.endswith(f" saved to {elsewhere}; a start takes {saved}\n")
    answer(fresh, packet, outside)
    assert fresh.daemon.stop() == 0
    fresh.daemon.forget_sessions()  # as the reboot does
    restarted(fresh)
    answer(fresh, packet, outside)
    assert not saved.exists(), "taken once"
    failed = fresh.daemon.control("save-state", "/proc/none/file")
    assert failed.returncode == 1 and "/proc/none/file" in failed.stderr
    assert fresh.daemon.stop() == 0
    assert fresh.daemon.control("save-state").returncode == 1


def test_a_second_start_takes_saved_and_kept_sessions_once(fresh):
    fresh.start()
    packet, outside = open_session(fresh, udp())
    assert fresh.daemon.control("save-state").returncode == 0
    later = open_session(fresh, udp())
    fresh.daemon.kill()
    restarted(fresh)
    assert left_out(fresh) == {}
    answer(fresh, packet, outside)
    answer(fresh, *later)
