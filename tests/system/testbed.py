"""What is tested: Twinspan, FRR and strongSwan in `nva`, a host on its LAN, and Linux with its own ESP at the other end."""

import json
import secrets
import subprocess
from pathlib import Path

import net
from frr import Frr
from ike import Ike

BIN = Path("/opt/twinspan/bin")
RESULTS = Path("/run/results")
HOST = ("10.10.1.10", "10.10.2.10")  # by tunnel
BEHIND = ("10.20.1.10", "10.20.2.10")
TUNNELS = ("azure-0", "azure-1")
PEER_NAMES = ("onprem-0", "onprem-1")
LOCAL = ("172.16.0.1", "172.16.0.5")
REMOTE = ("10.30.0.4", "10.30.0.5")
# What FRR learns from the routers of both links and through the tunnels, until it does: its distance is in the metric's first byte.
LAST_RESORT = f"metric {200 << 24}"
ROUTES = (f"10.30.0.4/32 via 172.16.0.2 {LAST_RESORT}", f"10.30.0.5/32 via 172.16.0.6 {LAST_RESORT}",
          f"10.20.1.0/24 dev azure-0 {LAST_RESORT}", f"10.20.2.0/24 dev azure-1 {LAST_RESORT}")

CONFIG = """\
version: 1
name: nva
role: on-premises
dpdk: {{ hugepages: false, memory: 512MiB, buffers: 8192 }}
limits: {{ routes-ipv4: 4096, routes-ipv6: 1024 }}
ports:
  lan:       {{ device: "net_af_packet0,iface=lan0,blocksz=4096,framesz=2048,framecnt=1024,qpairs=1" }}
  primary:   {{ device: "net_af_packet1,iface=pri0,blocksz=4096,framesz=2048,framecnt=1024,qpairs=1" }}
  secondary: {{ device: "net_af_packet2,iface=sec0,blocksz=4096,framesz=2048,framecnt=1024,qpairs=1" }}
circuit: {{ name: system-test, bandwidth: 1Gbps, primary: primary, secondary: secondary }}
bgp: {{ asn: 65010, announce: [10.10.0.0/16] }}
peerings:
  lan:
    legs:
      - {{ port: lan, addresses: [10.10.0.1/16] }}
  private:
    bgp: {{ bfd: false }}
    legs:
      - {{ link: primary,   vlan: 100, addresses: [172.16.0.1/30] }}
      - {{ link: secondary, vlan: 100, addresses: [172.16.0.5/30] }}
tunnels:
  azure-0:
    {{ if-id: 1, local: 172.16.0.1, remote: 10.30.0.4, address: 169.254.21.1/30, bgp: {{ peer: 169.254.21.2 }},
      ike: {{ psk-file: psk, dpd: {dpd}, rekey-bytes: {rekey_bytes} }} }}
  azure-1:
    {{ if-id: 2, local: 172.16.0.5, remote: 10.30.0.5, address: 169.254.21.5/30, bgp: {{ peer: 169.254.21.6 }},
      ike: {{ psk-file: psk, dpd: {dpd}, rekey-bytes: {rekey_bytes} }} }}
encrypt: [10.20.0.0/16]
state-dir: /run/twinspan-state
"""

GATEWAY = """\
connections {{
{connections}
}}
secrets {{
  ike-peer {{
    secret = "{psk}"
  }}
}}
"""
CONNECTION = """\
  {name} {{
    version = 2
    local_addrs = {local}
    remote_addrs = {remote}
    if_id_in = {if_id}
    if_id_out = {if_id}
    unique = replace
    local {{
      auth = psk
    }}
    remote {{
      auth = psk
    }}
    children {{
      {name} {{
        local_ts = 0.0.0.0/0,::/0
        remote_ts = 0.0.0.0/0,::/0
        esp_proposals = aes256gcm16
        replay_window = 1024
      }}
    }}
  }}
"""


class Testbed:
    def __init__(self):
        self.folder = Path("/run/site")
        self.folder.mkdir(mode=0o700)
        self.config = self.folder / "nva.yaml"
        psk = self.folder / "psk"
        psk.touch(mode=0o600)
        psk.write_text(secrets.token_urlsafe(32) + "\n")
        self.psk = psk.read_text().strip()
        self.peer_config = self.gateway("peer.conf", PEER_NAMES, REMOTE, LOCAL)
        self.ike, self.peer_ike = Ike("nva", RESULTS / "nva"), Ike("peer", RESULTS / "peer")
        self.frr, self.peer_frr = Frr("nva", RESULTS), Frr("peer", RESULTS)
        self.daemon: subprocess.Popen | None = None
        self.baseline = {"lost": 0}
        self.captures = []

    def gateway(self, file: str, names: tuple[str, ...], local: tuple[str, ...], remote: tuple[str, ...]) -> Path:
        """strongSwan's file for an end whose ESP is Linux' own."""
        path = self.folder / file
        path.write_text(GATEWAY.format(psk=self.psk, connections="".join(
            CONNECTION.format(name=names[n], if_id=n + 1, local=local[n], remote=remote[n]) for n in range(2))))
        return path

    def make_network(self) -> None:
        net.make()
        net.inside("nva", "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        net.ip("host", *(f"address add {a}/16 dev eth0" for a in HOST), "route add default via 10.10.0.1")
        net.inside("peer", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for number, (trunk, ours) in enumerate((("pri1", "172.16.0.2/30"), ("sec1", "172.16.0.6/30"))):
            net.ip("peer", f"link add {trunk}.100 link {trunk} type vlan id 100", f"link set {trunk}.100 up", f"address add {ours} dev {trunk}.100",
                   f"address add {REMOTE[number]}/32 dev lo",
                   f"link add ipsec{number} type xfrm dev {trunk}.100 if_id {number + 1}", f"link set ipsec{number} mtu 1400 up",
                   f"address add 169.254.21.{4 * number + 2}/30 dev ipsec{number}", f"route add 10.10.{number + 1}.0/24 dev ipsec{number}")
        net.ip("peer", "address add 10.20.0.1/16 dev in0")
        net.ip("inside", *(f"address add {a}/16 dev eth0" for a in BEHIND), "route add default via 10.20.0.1")

    def write_config(self, rekey_bytes: str = "102400000KB", dpd: str = "20s") -> bool:
        """Whether it says something else than before."""
        before = self.config.read_text() if self.config.exists() else ""
        self.config.write_text(CONFIG.format(rekey_bytes=rekey_bytes, dpd=dpd))
        return self.config.read_text() != before

    def render(self, what: str) -> Path:
        """A folder of configuration as twinspanctl renders it from the one file."""
        out = self.folder / what
        net.run(BIN / "twinspanctl", "render", what, "--config", self.config, "--out", out)
        return out

    def start_daemon(self) -> None:
        with open(RESULTS / "twinspand.log", "ab") as log:
            self.daemon = subprocess.Popen(["ip", "netns", "exec", "nva", BIN / "twinspand", "--config", self.config],
                                           stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        net.eventually(self._is_ready, 180, "twinspand does not come up, see twinspand.log")
        net.ip("nva", *(f"route replace {route}" for route in ROUTES))

    def _is_ready(self) -> bool:
        if self.daemon.poll() is not None:
            raise RuntimeError(f"twinspand ended with {self.daemon.returncode}, see twinspand.log")
        links = json.loads(net.run("ip", "-n", "nva", "-j", "link", "show"))
        up = {link["ifname"] for link in links if "LOWER_UP" in link["flags"]}
        return self.daemon.poll() is None and {"prv-pri", "prv-sec", "lan"} <= up and set(TUNNELS) <= {link["ifname"] for link in links}

    def start_peer(self) -> None:
        self.peer_ike.start()
        self.peer_ike.load(self.peer_config)

    def start_ike(self) -> None:
        rendered = self.render("strongswan")
        self.ike.start(rendered / "twinspan.conf")
        self.ike.load(rendered / "swanctl.conf")
        self.ike.watch(self.render("systemd") / "systemd/system/twinspan-ike.service")

    def show(self, what: str):
        return json.loads(net.run(BIN / "twinspanctl", "--name", "nva", "show", what, "--json"))

    def tunnels(self) -> dict[str, dict]:
        return {row["name"]: row for row in self.show("tunnels")}

    def drops(self) -> dict[str, int]:
        return {row["reason"]: row["count"] for row in self.show("drops") if row["count"]}

    def are_up(self) -> bool:
        return set(self.ike.sas()) >= set(TUNNELS) and all(tunnel["state"] == "up" for tunnel in self.tunnels().values())


def peer_errors() -> dict[str, int]:
    """What Linux's ESP at the peer has refused or lost, by its own names."""
    lines = net.inside("peer", "cat", "/proc/net/xfrm_stat").splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}
