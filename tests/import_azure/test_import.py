"""twinspanctl import azure: three kinds of files, a template, and what it says of files that are wrong."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BUILD = Path(os.environ.get("TWINSPAN_BUILD", HERE.parents[1] / "build" / "release"))
TWINSPANCTL = Path(os.environ.get("TWINSPANCTL", BUILD / "bin" / "twinspanctl"))
TWINSPAND = Path(os.environ.get("TWINSPAND", BUILD / "bin" / "twinspand"))
KEY = "Never-0n-A-Terminal"

FILLED = {
    "lan-device": "0000:17:00.0", "primary-device": "0000:65:00.0", "secondary-device": "0000:65:00.1",
    "wan-device": "0000:17:00.1", "lan-address": "10.10.0.1/24", "wan-length": "25", "site-paris-gateway": "20.51.0.4",
    "asn": "65010", "site-prefixes": "10.10.0.0/16", "microsoft-pool": "198.51.100.0/29",
    "private-primary-vlan": "100", "private-secondary-vlan": "100",
    "private-primary-address": "172.16.0.1/30", "private-secondary-address": "172.16.0.5/30",
}


@pytest.fixture
def folder(tmp_path):
    def copy(*sets):
        made = tmp_path / "azure"
        for name in sets:
            shutil.copytree(HERE / name, made, dirs_exist_ok=True)
        return made
    return copy


def run(folder: Path, *arguments):
    done = subprocess.run([TWINSPANCTL, "import", "azure", folder, *arguments], capture_output=True, text=True)
    assert KEY not in done.stdout + done.stderr, "a shared key on the terminal"
    return done


def imported(folder: Path, tmp_path: Path):
    done = run(folder, "--out", tmp_path / "nva.yaml")
    assert done.returncode == 0, done.stderr
    return (tmp_path / "nva.yaml").read_text(), done.stderr


def check(path: Path, text: str):
    """Filled in, it is a configuration that the daemon takes; and nothing else was to be filled in."""
    wanted = set(re.findall(r"UNKNOWN-([a-z0-9-]+)", text))
    assert wanted <= FILLED.keys()
    for name in wanted:
        text = re.sub(rf"UNKNOWN-{name}(?![a-z0-9-])", FILLED[name], text)
    path.write_text(text)
    done = subprocess.run([TWINSPAND, "--check", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return text


def test_vpn(folder, tmp_path):
    text, said = imported(folder("vpn"), tmp_path)
    key = tmp_path / "site-paris.psk"
    assert key.read_text() == KEY + "\n" and key.stat().st_mode & 0o777 == 0o600
    assert KEY not in text
    assert 'encrypt: [10.20.0.0/16, "fd10:20::/48"]' in text
    assert "local: 192.0.2.130" in text and "circuit:" not in text
    assert "UNKNOWN: tunnels.site-paris.remote: the public address of gateway spoke-west-vpn" in said
    unknown = {line for line in said.splitlines() if line.startswith("UNKNOWN: ")}
    assert {f"# {line}" for line in unknown} <= set(text.splitlines())
    check(tmp_path / "nva.yaml", text)


def test_expressroute(folder, tmp_path):
    text, said = imported(folder("expressroute"), tmp_path)
    assert "circuit: { name: paris-circuit, bandwidth: 2Gbps, sku: premium," in text
    assert "max-prefixes: 10000" in text
    assert "\nencrypt:" not in text and '# encrypt: [10.20.0.0/16, "fd10:20::/48"]' in text
    assert "may travel in clear over the circuit" in said
    check(tmp_path / "nva.yaml", text)


def test_vpn_as_the_fallback_of_a_circuit(folder, tmp_path):
    both = folder("vpn")
    for name in ("virtualNetworkGateway", "expressRouteCircuit"):
        shutil.copy(HERE / "expressroute" / f"{name}.parameters.json", both / f"er-{name}.parameters.json")
    text, said = imported(both, tmp_path)
    assert "fallback: [site-paris]" in text
    assert "\nencrypt:" not in text and "\n# encrypt: [" in text
    assert "announce: [10.10.0.0/16, 10.11.0.0/16]" in text
    assert "UNKNOWN: peerings.private.fallback: assumed" in said
    check(tmp_path / "nva.yaml", text)


def test_says_what_a_connection_has_and_the_file_lacks(folder, tmp_path):
    source = folder("vpn")
    path = source / "virtualNetworkGateway.parameters.json"
    document = json.loads(path.read_text())
    values(document)["virtualNetworkGatewaySettings"]["bgpSettings"] = {"asn": 65514}
    values(document)["connectionSettings"]["enableBgp"] = True
    path.write_text(json.dumps(document))
    text, said = imported(source, tmp_path)
    assert "UNKNOWN: tunnels.site-paris.address and bgp: " in said and "peer-asn 65514" in said
    check(tmp_path / "nva.yaml", text)
    plain = run(folder_of(tmp_path, "plain", "vpn"))
    assert "enableBgp" not in plain.stderr


POLICY = {"saLifeTimeSeconds": 14400, "saDataSizeKilobytes": 102400000, "ikeEncryption": "AES256", "ikeIntegrity": "SHA384",
          "dhGroup": "ECP384", "ipsecEncryption": "GCMAES256", "ipsecIntegrity": "GCMAES256", "pfsGroup": "ECP384"}


def with_policy(source, **changes):
    path = source / "virtualNetworkGateway.parameters.json"
    document = json.loads(path.read_text())
    values(document)["connectionSettings"]["ipsecPolicies"] = [POLICY | changes]
    path.write_text(json.dumps(document))
    return source


@pytest.mark.parametrize("changes, ike, esp", [
    ({}, "aes256-sha384-ecp384", "aes256gcm16-ecp384"),
    ({"ikeEncryption": "GCMAES256", "dhGroup": "DHGroup14"}, "aes256gcm16-prfsha384-modp2048", "aes256gcm16-ecp384"),
    ({"ipsecEncryption": "AES256", "ipsecIntegrity": "SHA256", "pfsGroup": "None"}, "aes256-sha384-ecp384", "aes256-sha256"),
    ({"ipsecEncryption": "AES128", "ipsecIntegrity": "SHA1", "pfsGroup": "PFS2048"}, "aes256-sha384-ecp384", "aes128-sha1-modp2048"),
    ({"ipsecEncryption": "GCMAES192", "ipsecIntegrity": "GCMAES192", "pfsGroup": "PFS24"}, "aes256-sha384-ecp384",
     "aes192gcm16-modp2048s256"),
])
def test_a_policy_of_the_connection_is_taken_over(folder, tmp_path, changes, ike, esp):
    text, _ = imported(with_policy(folder("vpn"), **changes), tmp_path)
    assert f"proposals: [{ike}], esp-proposals: [{esp}], rekey-time: 14400s, rekey-bytes: 102400000KB }}" in text
    check(tmp_path / "nva.yaml", text)


@pytest.mark.parametrize("changes, said", [
    ({"ipsecEncryption": "DES3"}, 'found ipsecEncryption "DES3", expected one that protects: 3DES is broken: use aes-256-gcm'),
    ({"ipsecEncryption": "DES"}, "DES is broken"),
    ({"ipsecIntegrity": "MD5"}, "MD5 is broken"),
    ({"ipsecEncryption": "None"}, 'found ipsecEncryption "None", expected one that protects: without encryption and integrity'),
    ({"ikeIntegrity": "MD5"}, "MD5 is broken"),
    ({"ipsecEncryption": "AES256"}, "ipsecEncryption and ipsecIntegrity of different kinds"),
    ({"pfsGroup": "PFS99"}, 'found pfsGroup "PFS99", expected one of None, PFS24'),
])
def test_a_policy_that_is_broken_is_refused_by_name(folder, changes, said):
    done = run(with_policy(folder("vpn"), **changes))
    assert done.returncode != 0
    assert said in done.stderr


def folder_of(tmp_path, name, kind):
    return shutil.copytree(HERE / kind, tmp_path / name)


def test_template_with_peerings(folder, tmp_path):
    text, _ = imported(folder("template"), tmp_path)
    assert "- { link: primary, vlan: 100, addresses: [172.16.0.1/30] }" in text
    assert "- { link: secondary, vlan: 300, addresses: [203.0.113.5/30] }" in text
    assert "sku: standard" in text and "max-prefixes: 4000" in text and "max-prefixes: 200" in text
    assert "asn: 65010" in text
    check(tmp_path / "nva.yaml", text)


def test_prints_without_out_and_keeps_the_key(folder, tmp_path):
    done = run(folder("vpn"))
    assert done.returncode == 0 and done.stdout.startswith("# A starting configuration")
    assert "site-paris.psk: not written, since keys are not printed: use --out" in done.stderr
    assert not list(tmp_path.glob("**/*.psk"))


def test_replaces_nothing(folder, tmp_path):
    source = folder("vpn")
    imported(source, tmp_path)
    (tmp_path / "nva.yaml").write_text("mine")
    done = run(source, "--out", tmp_path / "nva.yaml")
    assert done.returncode == 1 and "import replaces nothing" in done.stderr
    assert (tmp_path / "nva.yaml").read_text() == "mine"


def values(document):
    return {name: each["value"] for name, each in document["parameters"].items()}


WRONG = {
    "small gateway subnet": ("vpn", "virtualNetwork", lambda v: v["virtualNetworkSettings"]["subnets"][0].update(addressPrefix="10.20.255.240/28"),
                             "parameters.virtualNetworkSettings.value.subnets[0]: found GatewaySubnet 10.20.255.240/28, expected a /27 or larger"),
    "subnet outside": ("vpn", "virtualNetwork", lambda v: v["virtualNetworkSettings"]["subnets"][1].update(addressPrefix="10.21.1.0/24"),
                       "found subnet 10.21.1.0/24, expected it inside of the network's addressPrefixes"),
    "host bits": ("vpn", "virtualNetwork", lambda v: v["virtualNetworkSettings"].update(addressPrefixes=["10.20.0.1/16"]),
                  "value.addressPrefixes[0]: found \"10.20.0.1/16\", expected a prefix without host bits"),
    "policy-based": ("vpn", "virtualNetworkGateway", lambda v: v["virtualNetworkGatewaySettings"].update(vpnType="PolicyBased"),
                     "found vpnType \"PolicyBased\", expected RouteBased"),
    "gateway type": ("vpn", "virtualNetworkGateway", lambda v: v["virtualNetworkGatewaySettings"].update(gatewayType="Other"),
                     "found gatewayType \"Other\", expected ExpressRoute or Vpn"),
    "kind of connection": ("vpn", "virtualNetworkGateway", lambda v: v["connectionSettings"].update(connectionType="ExpressRoute"),
                           "found connectionType ExpressRoute on gateway 'spoke-west-vpn' of type Vpn, expected the same kind"),
    "IKEv1": ("vpn", "virtualNetworkGateway", lambda v: v["connectionSettings"].update(connectionProtocol="IKEv1"),
              "found connectionProtocol \"IKEv1\", expected IKEv2"),
    "unknown gateway": ("vpn", "virtualNetworkGateway", lambda v: v["connectionSettings"]["virtualNetworkGateway1"].update(name="gone"),
                        "found gateway 'gone', expected one of the gateways in the files"),
    "site in the network": ("vpn", "virtualNetworkGateway", lambda v: v["connectionSettings"]["localNetworkGateway"].update(addressPrefixes=["10.20.3.0/24"]),
                            "found 10.20.0.0/16, expected it apart from the site's 10.20.3.0/24"),
    "unknown circuit": ("expressroute", "virtualNetworkGateway", lambda v: v["connectionSettings"]["expressRouteCircuit"].update(name="other"),
                        "found circuit 'other', expected 'paris-circuit', which the files describe"),
    "tier": ("expressroute", "expressRouteCircuit", lambda v: v["expressRouteCircuitSettings"].update(skuTier="Basic"),
             "found skuTier \"Basic\", expected Standard or Premium"),
    "bandwidth": ("expressroute", "expressRouteCircuit", lambda v: v["expressRouteCircuitSettings"].update(bandwidthInMbps="50"),
                  "value.bandwidthInMbps: found \"50\", expected a whole number"),
}


@pytest.mark.parametrize("row", WRONG.values(), ids=WRONG.keys())
def test_refuses(folder, tmp_path, row):
    kind, file, change, expected = row
    source = folder(kind)
    path = source / f"{file}.parameters.json"
    document = json.loads(path.read_text())
    change(values(document))
    path.write_text(json.dumps(document))
    done = run(source, "--out", tmp_path / "nva.yaml")
    assert done.returncode == 1 and expected in done.stderr, done.stderr
    assert not (tmp_path / "nva.yaml").exists() and not list(tmp_path.glob("*.psk"))


@pytest.mark.parametrize("text, expected", [
    ("{ \"sharedKey\": \"Never-0n-A-Terminal\", ", "found broken JSON at byte"),
    ("{}", "found nothing of a kind that is known"),
    ("[1, 2]", "found nothing of a kind that is known"),
    ("{\"parameters\": {\"x\": {\"value\": {\"vmSize\": \"big\"}}}}", "found nothing of a kind that is known"),
    ("{\"resources\": {}}", "resources: found an object, expected a list"),
])
def test_refuses_what_is_no_file_of_azure(folder, text, expected):
    source = folder("vpn")
    (source / "broken.json").write_text(text)
    done = run(source)
    assert done.returncode == 1 and f"{source}/broken.json: " in done.stderr and expected in done.stderr, done.stderr


def test_refuses_an_empty_folder(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 1 and "found no file that ends in .json" in done.stderr
