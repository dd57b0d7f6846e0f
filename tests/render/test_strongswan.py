"""strongSwan takes what is rendered."""

import base64
import subprocess

import pytest
from conftest import PSK
from daemons import Charon, Namespace, wait_for

TUNNELS = {"azure-0": 1, "azure-1": 2, "inet-0": 3}


@pytest.fixture
def nva():
    namespace = Namespace()
    for leg, address in (("msft-pri", "203.0.113.1/30"), ("msft-sec", "203.0.113.5/30"), ("inet", "192.0.2.130/25")):
        namespace.netdev(leg, address)
    yield namespace
    namespace.remove()


@pytest.fixture
def charon(need, nva, tmp_path):
    program = need("charon-systemd")
    need("swanctl")
    made = []

    def start(out):
        made.append(Charon(nva, program, tmp_path, out / "twinspan.conf"))
        return made[-1]

    yield start
    for one in made:
        one.stop()


def test_charon_takes_all_of_it(site, charon):
    out = site.render("strongswan")
    ike = charon(out)
    done = ike.swanctl(out, "--load-all")
    assert done.returncode == 0, done.stdout + done.stderr + ike.said()
    for name in TUNNELS:
        assert f"loaded connection '{name}'" in done.stdout
    assert "successfully loaded 3 connections, 0 unloaded" in done.stdout
    assert "loaded certificate from" in done.stdout and "loaded ike secret 'ike-azure-0'" in done.stdout
    assert "private" in done.stdout
    conns = ike.swanctl(out, "--list-conns").stdout
    assert "local:  203.0.113.1" in conns and "remote: 20.51.0.4" in conns
    assert "id: nva.example.com" in conns and "reauthentication" in conns
    assert "local:  0.0.0.0/0 ::/0" in conns


def test_ike_takes_the_leg_of_its_tunnel(site, charon, nva, need, tmp_path):
    """Microsoft peering announces all three gateways over both links, the one of the tunnel over the internet too."""
    need("tcpdump")
    for gateway, leg in (("203.0.113.2", "msft-pri"), ("203.0.113.6", "msft-sec"), ("192.0.2.129", "inet")):
        nva.run("ip", "neighbour", "add", gateway, "lladdr", "02:00:00:00:00:01", "dev", leg)
    nva.run("ip", "route", "add", "20.51.0.0/29", "nexthop", "via", "203.0.113.2", "dev", "msft-pri",
            "nexthop", "via", "203.0.113.6", "dev", "msft-sec")
    nva.run("ip", "route", "add", "default", "via", "192.0.2.129", "dev", "inet")
    seen = tmp_path / "seen"
    with seen.open("w") as file:
        capture = subprocess.Popen(nva.command("tcpdump", "-lni", "any", "-Q", "out", "udp port 500"), stdout=file,
                                   stderr=subprocess.PIPE, text=True)
        assert any("listening" in line for line in capture.stderr)
    try:
        out = site.render("strongswan")
        done = charon(out).swanctl(out, "--load-all")
        assert done.returncode == 0, done.stdout + done.stderr
        ways = wait_for("a packet of each tunnel", lambda: len(set(ways_in(seen))) >= 3 and ways_in(seen))
    finally:
        capture.terminate()
        capture.wait(20)
    assert set(ways) == {("msft-pri", "203.0.113.1.500"), ("msft-sec", "203.0.113.5.500"), ("inet", "192.0.2.130.500")}


def ways_in(capture):
    """Interface and source of what tcpdump wrote on lines like: 12:00:00 inet  Out IP 192.0.2.130.500 > ..."""
    lines = [line.split() for line in capture.read_text().splitlines() if line.endswith("]")]
    return [(words[1], words[4]) for words in lines]


def test_the_checker_would_have_refused(site, charon):
    out = site.render("strongswan")
    conf = out / "swanctl.conf"
    conf.write_text(conf.read_text().replace("aes256gcm16-prfsha384-ecp384", "aes256gcm17-ecp384"))
    done = charon(out).swanctl(out, "--load-all")
    assert done.returncode != 0 and "loading connection" in done.stdout + done.stderr


def test_files_and_what_they_say(site):
    out = site.render("strongswan")
    modes = {str(p.relative_to(out)): p.stat().st_mode & 0o777 for p in out.rglob("*") if p.is_file()}
    assert modes == {"swanctl.conf": 0o644, "twinspan-secrets.conf": 0o600, "twinspan.conf": 0o644,
                     "x509/inet-0.pem": 0o644, "x509ca/inet-0.pem": 0o644, "private/inet-0.pem": 0o600}
    conf = (out / "swanctl.conf").read_text()
    secret = base64.b64encode(PSK.encode()).decode()
    assert PSK not in conf and secret not in conf
    assert (out / "twinspan-secrets.conf").read_text().count(f"secret = 0s{secret}") == 2
    for name, if_id in TUNNELS.items():
        block = conf[conf.index(f"\n    {name} {{"):]
        assert f"if_id_in = {if_id}\n" in block and f"if_id_out = {if_id}\n" in block
    assert conf.count("policies = no") == 3 and conf.count("start_action = start") == 3
    azure_0, azure_1 = conf.index("\n    azure-0 {"), conf.index("\n    azure-1 {")
    assert "encap = no" in conf[azure_0:azure_1] and "encap = yes" in conf[azure_1:]
    assert conf.index("aes256gcm16") < conf.index("aes256-sha1")
    charon = (out / "twinspan.conf").read_text()
    assert "install_routes = no" in charon and "interfaces_use = inet,msft-pri,msft-sec" in charon


@pytest.mark.parametrize("proposal", ["3des-sha1", "aes256-md5", "null-sha256", "aes256", "aes256gcm16-aes256-sha256", "ecp384"])
def test_refuses_esp_that_the_data_plane_has_not(site, proposal):
    site.change(("ike: { psk-file: azure.psk }", f"ike: {{ psk-file: azure.psk, esp-proposals: [{proposal}] }}"))
    done = site.run("strongswan", site.folder / "out")
    assert done.returncode == 1 and f"found '{proposal}', expected" in done.stderr
    assert "use aes-256-gcm" in done.stderr or "aes256-sha256 (" in done.stderr


@pytest.mark.parametrize("proposal", ["aes256-sha256", "aes256gmac", "chacha20poly1305", "aes256gcm8"])
def test_takes_every_suite_of_the_data_plane(site, proposal):
    site.change(("ike: { psk-file: azure.psk }", f"ike: {{ psk-file: azure.psk, esp-proposals: [{proposal}] }}"))
    assert f"esp_proposals = {proposal}\n" in (site.render("strongswan") / "swanctl.conf").read_text()


def test_takes_aes_gcm_with_a_group(site):
    proposals = "aes192gcm16-ecp384-esn, aes128gcm128-modp2048"
    site.change(("ike: { psk-file: azure.psk }", f"ike: {{ psk-file: azure.psk, esp-proposals: [{proposals}] }}"))
    conf = (site.render("strongswan") / "swanctl.conf").read_text()
    assert f"esp_proposals = {proposals.replace(', ', ',')}\n" in conf


def test_refuses_a_key_of_two_lines(site):
    (site.folder / "azure.psk").write_text("first-half\nsecond-half\n")
    done = site.run("strongswan", site.folder / "out")
    assert done.returncode == 1 and "azure.psk: expected one line" in done.stderr and "half" not in done.stderr
