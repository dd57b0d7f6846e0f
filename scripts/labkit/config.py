"""Renders the configuration of both twinspands, fresh keys for their static SAs and a fresh password for the BGP sessions."""

import os
import secrets
from pathlib import Path

from . import routing

SUITE = "aes-256-gcm"
KEY_AND_SALT_BYTES = 32 + 4
PASSWORD_FILE = "msee.md5"

# tunnel on premises, tunnel in Azure, link, address on premises, address in Azure, SPIs seen from the site
TUNNELS = (
    ("azure-0", "onprem-0", "primary", "203.0.113.1", "20.51.0.4", 0x1001, 0x2001),
    ("azure-1", "onprem-1", "secondary", "203.0.113.5", "20.51.0.5", 0x1002, 0x2002),
    ("inet-0", "onprem-2", None, "192.0.2.65", "20.51.0.6", 0x1003, 0x2003),
)

NVA = """\
version: 1
name: nva
role: on-premises
dpdk: {{ hugepages: false, memory: 1024MiB }}
workers: {{ count: 1, idle: sleep }}
ports:
  lan:       {{ device: "{lan}" }}
  primary:   {{ device: "{primary}" }}
  secondary: {{ device: "{secondary}" }}
  internet:  {{ device: "{internet}" }}
bgp: {{ asn: 65010, router-id: 10.10.0.1, announce: [10.10.0.0/16] }}
circuit: {{ name: lab-circuit, bandwidth: 10Gbps, primary: primary, secondary: secondary }}
peerings:
  lan:
    legs:
      - {{ port: lan, addresses: [10.10.0.1/24, "fd10:10::1/64"] }}
  private:
    fallback: [inet-0]
    bgp: {{ password-file: msee.md5, communities: ["12076:50026"] }}
    legs:
      - {{ link: primary,   vlan: 100, addresses: [172.16.0.1/30] }}
      - {{ link: secondary, vlan: 100, addresses: [172.16.0.5/30] }}
  public:
    fallback: internet
    bgp: {{}}
    legs:
      - {{ link: primary,   vlan: 200, addresses: [192.0.2.1/30] }}
      - {{ link: secondary, vlan: 200, addresses: [192.0.2.5/30] }}
    nat: {{ pool: [198.51.100.16/30] }}
  microsoft:
    fallback: [internet, inet-0]
    bgp: {{ password-file: msee.md5, communities: ["12076:51004"] }}
    legs:
      - {{ link: primary,   vlan: 300, addresses: [203.0.113.1/30] }}
      - {{ link: secondary, vlan: 300, addresses: [203.0.113.5/30] }}
    nat: {{ pool: [198.51.100.0/28] }}
    accept: [13.107.6.0/24, 20.51.0.0/29]
  internet:
    legs:
      - {{ port: internet, addresses: [192.0.2.65/30] }}
    nat: {{ pool: [192.0.2.72/29] }}
tunnels:
{tunnels}
encrypt: [10.20.0.0/16, "fd10:20::/64"]
state-dir: {state}
"""

AZGW = """\
version: 1
name: azgw
role: azure
dpdk: {{ hugepages: false, memory: 1024MiB }}
workers: {{ count: 1, idle: sleep }}
ports:
  wan:  {{ device: "{wan}" }}
  vnet: {{ device: "{vnet}" }}
  spoke: {{ device: "{spoke}" }}
peerings:
  internet:
    legs:
      - {{ port: wan, addresses: [20.51.0.4/29, 20.51.0.5/29, 20.51.0.6/29] }}
  lan:
    legs:
      - {{ port: vnet, addresses: [10.20.0.1/24, "fd10:20::1/64"] }}
      - {{ port: spoke, addresses: [10.30.255.1/24] }}
tunnels:
{tunnels}
encrypt: [10.10.0.0/16, "fd10:10::/64"]
state-dir: {state}
"""

SA_FILE = """\
outbound: {{ spi: {outbound:#x}, suite: {suite}, key: {outbound_key} }}
inbound:  {{ spi: {inbound:#x}, suite: {suite}, key: {inbound_key}, replay-window: 1024 }}
"""


def _device(number: int, interface: str) -> str:
    return f"net_af_packet{number},iface={interface},blocksz=4096,framesz=2048,framecnt=4096,qpairs=1"


def _write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _write_sas(directory: Path) -> None:
    for site, azure, _, _, _, out_spi, in_spi in TUNNELS:
        out_key, in_key = (secrets.token_hex(KEY_AND_SALT_BYTES) for _ in range(2))
        _write_secret(directory / f"{site}.sa.yaml", SA_FILE.format(
            suite=SUITE, outbound=out_spi, outbound_key=out_key, inbound=in_spi, inbound_key=in_key))
        _write_secret(directory / f"{azure}.sa.yaml", SA_FILE.format(
            suite=SUITE, outbound=in_spi, outbound_key=in_key, inbound=out_spi, inbound_key=out_key))


def _tunnel(name: str, if_id: int, link: str | None, local: str, remote: str, inside: str, bgp: str, directory: Path) -> str:
    on_link = f"link: {link}, " if link else ""
    return (f"  {name}: {{ if-id: {if_id}, {on_link}local: {local}, remote: {remote}, mtu: 1500, address: {inside}/30, {bgp}"
            f"sa-file: {directory / name}.sa.yaml }}")


def render(directory: Path) -> None:
    """Writes nva.yaml, azgw.yaml, their SA files and their state directories."""
    _write_sas(directory)
    _write_secret(directory / PASSWORD_FILE, secrets.token_hex(16) + "\n")
    for name in ("nva", "azgw"):
        (directory / f"{name}-state").mkdir(mode=0o700)
    on_site, in_azure = [], []
    for number, (site, azure, link, ours, theirs, _, _) in enumerate(TUNNELS, start=1):
        here, there = routing.TUNNEL_ADDRESSES[site]
        bgp = f"bgp: {{ peer: {there}, peer-asn: {routing.AZGW_ASN}, keepalive: 3s, hold: 10s }}, "
        on_site.append(_tunnel(site, number, link, ours, theirs, here, bgp, directory))
        in_azure.append(_tunnel(azure, number, None, theirs, ours, there, "", directory))
    (directory / "nva.yaml").write_text(NVA.format(
        lan=_device(0, "lan0"), primary=_device(1, "pri0"), secondary=_device(2, "sec0"), internet=_device(3, "net0"),
        tunnels="\n".join(on_site), state=directory / "nva-state"))
    (directory / "azgw.yaml").write_text(AZGW.format(
        wan=_device(0, "wan0"), vnet=_device(1, "vnet0"), spoke=_device(2, "spoke0"),
        tunnels="\n".join(in_azure), state=directory / "azgw-state"))
