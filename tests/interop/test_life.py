"""How a twinspand begins and ends: what it refuses, what it leaves behind, and that no sequence number returns."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from harness import CONFIG, KEYS, TWINSPAND, Daemon, Namespace, Site, eventually, write_config
from packets import *

NETDEVS = {"lan", "prv-pri", "prv-sec", "pub-pri", "pub-sec", "msft-pri", "msft-sec", "azure-0", "azure-1"}


@pytest.fixture
def fresh(namespace, tmp_path):
    """A site of this test's own, started by it."""
    made = Site(namespace, tmp_path, f"twi-{os.getpid()}-life")
    yield made
    made.end()


def remains(site) -> dict[str, list]:
    """What an ended daemon must not leave."""
    name = site.daemon.name
    found = {"netdevs": sorted(NETDEVS & set(site.namespace.links())),
             "run": [str(p) for p in Path("/run/twinspan").glob(f"{name}.*")],
             "dpdk": [str(p) for p in Path("/run/dpdk").glob(name)] if Path("/run/dpdk").exists() else [],
             "hugepages": hugepage_files(name)}
    return {what: things for what, things in found.items() if things}


def hugepage_files(name: str) -> list[str]:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "hugetlbfs"]
    return [str(p) for mount in mounts for p in Path(mount).glob(f"{name}map_*")]


def sealed(site, count) -> list[int]:
    """The sequence numbers of `count` packets of ours through tunnel azure-0, and of Linux' own in between."""
    peer, numbers, ours = Peer("azure-0"), [], 0
    site.lan.send(*(lan_frame(site, IP(src=LAN_HOST, dst="10.20.1.7") / UDP(sport=n + 1) / payload()) for n in range(count)))
    while ours < count:
        frame = site.primary.expect(peer.carries)
        numbers.append(frame[ESP].seq)
        ours += UDP in peer.open(frame)
    return numbers


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_orderly_end_leaves_nothing(fresh, number):
    fresh.start()
    assert NETDEVS <= set(fresh.namespace.links())
    assert (Path("/run/twinspan") / f"{fresh.daemon.name}.sock").is_socket()
    sealed(fresh, 3)
    assert fresh.daemon.sessions_file.exists()
    fresh.daemon.process.send_signal(number)
    assert fresh.daemon.process.wait(10) == 0
    assert remains(fresh) == {}
    assert not fresh.daemon.sessions_file.exists(), "it has none to keep"


def test_an_orderly_end_under_load(fresh):
    """SIGTERM while packets run in both directions and wait in rings."""
    fresh.start()
    frames = [bytes(lan_frame(fresh, IP(src=LAN_HOST, dst=dst) / UDP(sport=n + 1) / payload()))
              for n in range(200) for dst in ("10.20.0.7", "13.107.6.10", "10.10.0.1")]
    fresh.lan.send(*frames)
    fresh.daemon.process.send_signal(signal.SIGTERM)
    fresh.lan.send(*frames)
    assert fresh.daemon.process.wait(10) == 0
    assert remains(fresh) == {}


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGPIPE])
def test_a_closed_terminal_or_log_ends_nothing(fresh, number):
    fresh.start()
    fresh.daemon.process.send_signal(number)
    assert sealed(fresh, 3)
    assert fresh.daemon.ask({"command": "ping"})["ok"]


def test_a_port_whose_netdev_is_removed_stays_down(tmp_path):
    """AF_PACKET says that its link is up whatever happens."""
    namespace = Namespace(f"twi-{os.getpid()}-gone")
    site = Site(namespace, tmp_path, namespace.name)
    try:
        site.start()
        namespace.ip("link delete secondary0")
        eventually(lambda: site.daemon.named("ports")["secondary"]["link"] == "down")
        time.sleep(0.1)  # some of the ticks at which control asks DPDK about links
        assert site.daemon.named("ports")["secondary"]["link"] == "down"
        assert {t["state"] for t in site.daemon.show("tunnels") if t["link"] == "secondary"} == {"down"}
        assert site.daemon.named("ports")["primary"]["link"] == "up"
    finally:
        site.end()
        namespace.remove()


def test_the_socket_is_for_root_only(fresh):
    fresh.start()
    assert (Path("/run/twinspan") / f"{fresh.daemon.name}.sock").stat().st_mode & 0o077 == 0


def test_a_second_daemon_of_the_name_leaves_the_first_alone(fresh, tmp_path):
    fresh.start()
    (tmp_path / "second").mkdir()
    second = Daemon(fresh.namespace, write_config(tmp_path / "second", fresh.daemon.name), fresh.daemon.name)
    began = time.monotonic()
    process = second.spawn()
    assert process.wait(10) not in (0, -signal.SIGSEGV, -signal.SIGABRT)
    assert time.monotonic() - began < 2
    assert f'another twinspand named "{fresh.daemon.name}" is running' in second.log.read_text()
    assert sealed(fresh, 5)
    assert fresh.daemon.ask({"command": "ping"})["ok"]


def test_after_kill_9_it_starts_again_and_uses_no_sequence_number_twice(fresh):
    """The IV of AES-GCM is the sequence number: using one twice under one key gives the key away."""
    fresh.start()
    seen = sealed(fresh, 50)
    for _ in range(2):
        fresh.daemon.kill()
        fresh.start()
        again = sealed(fresh, 50)
        assert min(again) > max(seen)
        seen += again
    assert fresh.daemon.stop() == 0
    assert remains(fresh) == {}
    fresh.start()
    assert min(sealed(fresh, 5)) > max(seen)
    assert len(seen) == len(set(seen))


def test_more_packets_than_one_reservation(fresh):
    """The reserved numbers are topped up in time, or the packets dropped by name: never used beyond them."""
    fresh.start()
    tunnel = fresh.daemon.named("tunnels")["azure-0"]
    assert tunnel["reserved_until"] > tunnel["sequence"]
    fresh.lan.send(*[bytes(lan_frame(fresh, IP(src=LAN_HOST, dst="10.20.1.7") / UDP() / payload()))] * 3000)
    eventually(lambda: fresh.daemon.named("tunnels")["azure-0"]["sequence"] >= tunnel["sequence"] + 2500)
    tunnel = fresh.daemon.named("tunnels")["azure-0"]
    assert tunnel["sequence"] <= tunnel["reserved_until"]
    fresh.expect_exact_accounting()


def refused(namespace, config: Path) -> str:
    """What a start with this file says; it must end with exit status 2 at once and make nothing."""
    done = subprocess.run(["ip", "netns", "exec", namespace.name, TWINSPAND, "--config", config], capture_output=True, text=True, timeout=5)
    assert done.returncode == 2, done
    assert not NETDEVS & set(namespace.links())
    return done.stdout + done.stderr


def check(config: Path) -> subprocess.CompletedProcess:
    return subprocess.run([TWINSPAND, "--check", config], capture_output=True, text=True, timeout=5)


def test_check_of_a_good_file(tmp_path):
    done = check(write_config(tmp_path, "good"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "7 legs" in done.stdout and "2 tunnels" in done.stdout


@pytest.mark.parametrize(("right", "wrong", "says"), [
    ("peerings:", "peering:", ["found unknown key 'peering'", "did you mean 'peerings'?"]),
    ("vlan: 100, addresses: [172.16.0.1/30", "vlan: 5000, addresses: [172.16.0.1/30", ["5000", "4094"]),
    ("203.0.113.1/30", "203.0.113.2/30", ["203.0.113.2/30", "203.0.113.1/30"]),
    ("if-id: 2", "if-id: 1", ["if-id"]),
    ("198.51.100.0/28", "198.51.100.0/33", ["198.51.100.0/33"]),
    ("role: on-premises", "role: [", []),
])
def test_check_of_a_bad_file_says_where(namespace, tmp_path, right, wrong, says):
    assert right in CONFIG
    path = write_config(tmp_path, "bad", CONFIG.replace(right, wrong, 1))
    good = write_config(tmp_path, "good").read_text().splitlines()
    line = next(n for n, (a, b) in enumerate(zip(good[2:], path.read_text().splitlines()[2:]), 3) if a != b)  # the second is the name
    done = check(path)
    assert done.returncode == 2
    said = (done.stdout + done.stderr).splitlines()
    places = [text[len(str(path)) + 1:].split(":")[:2] for text in said if text.startswith(f"{path}:")]
    assert len(places) == len(said) and all(number.isdigit() for place in places for number in place)
    assert str(line) in [place[0] for place in places] or not says
    assert all(any(text in sentence for sentence in said) for text in says), said
    assert refused(namespace, path).splitlines() == said


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o601])
def test_an_sa_file_that_others_may_touch_is_refused(namespace, tmp_path, mode):
    path = write_config(tmp_path, "open")
    (tmp_path / "azure-1.sa.yaml").chmod(mode)
    done = check(path)
    said = done.stdout + done.stderr
    assert done.returncode == 2 and "azure-1.sa.yaml" in said
    assert "azure-1.sa.yaml" in refused(namespace, path)


def test_an_sa_file_of_another_owner_or_behind_a_link_is_refused(namespace, tmp_path):
    path = write_config(tmp_path, "owned")
    sa = tmp_path / "azure-0.sa.yaml"
    os.chown(sa, 65534, 0)
    assert "azure-0.sa.yaml" in refused(namespace, path)
    os.chown(sa, 0, 0)
    sa.rename(tmp_path / "elsewhere.yaml")
    sa.symlink_to(tmp_path / "elsewhere.yaml")
    assert "azure-0.sa.yaml" in refused(namespace, path)


def test_no_key_is_ever_printed(namespace, fresh, tmp_path):
    fresh.start()
    sealed(fresh, 2)
    said = fresh.daemon.log.read_text() + "".join(str(fresh.daemon.show(w)) for w in ("tunnels", "groups", "routes"))
    broken = tmp_path / "broken"
    broken.mkdir()
    path = write_config(broken, "broken")
    sa = broken / "azure-0.sa.yaml"
    key = KEYS["azure-0"]["outbound"][2]
    sa.write_text(sa.read_text().replace(key, key[:-2] + "zz"))
    said += check(path).stdout + check(path).stderr
    for sas in KEYS.values():
        for _, _, key in sas.values():
            assert key[:16] not in said.lower() and key[-8:] not in said.lower()


def test_wrong_usage(tmp_path):
    for arguments in ([], ["--config"], ["--nonsense"], ["--config", "a", "--check", "b"]):
        done = subprocess.run([TWINSPAND, *arguments], capture_output=True, text=True, timeout=5)
        assert done.returncode == 2 and done.stderr
    done = check(tmp_path / "none.yaml")
    assert done.returncode == 2 and "none.yaml" in done.stdout + done.stderr
