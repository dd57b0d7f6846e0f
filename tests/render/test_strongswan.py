"""strongSwan takes what is rendered."""

import base64

import pytest
from conftest import PSK
from daemons import Charon, Namespace

TUNNELS = {"azure-0": 1, "azure-1": 2, "inet-0": 3}


@pytest.fixture
def charon(need, tmp_path):
    program = need("charon-systemd")
    need("swanctl")
    namespace = Namespace()
    for leg, address in (("msft-pri", "203.0.113.1/30"), ("msft-sec", "203.0.113.5/30"), ("inet", "192.0.2.130/25")):
        namespace.netdev(leg, address)
    made = []

    def start(out):
        made.append(Charon(namespace, program, tmp_path, out / "twinspan.conf"))
        return made[-1]

    yield start
    for one in made:
        one.stop()
    namespace.remove()


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


def test_refuses_a_key_of_two_lines(site):
    (site.folder / "azure.psk").write_text("first-half\nsecond-half\n")
    done = site.run("strongswan", site.folder / "out")
    assert done.returncode == 1 and "azure.psk: expected one line" in done.stderr and "half" not in done.stderr
