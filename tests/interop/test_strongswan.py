"""The other end is a strongSwan that does ESP itself (kernel-libipsec, RFC 3948 only), and behind both ends are Linux hosts. IKE
runs through twinspand too: charon behind its TAPs negotiates one CHILD_SA for each suite, whose keys become twinspand's own."""

import os
import tempfile
from pathlib import Path

import pytest
import strongswan
from esp import Suite
from far_end import sa_line
from harness import Daemon, Netns, eventually
from hosts import Echo, datagrams, join, stream
from packets import ESP, UDP
from wire import Wire

pytestmark = pytest.mark.skipif(strongswan.why_not() is not None, reason=strongswan.why_not() or "")

# tunnel -> what IKE negotiates, the suite, and whether the outer header is IPv6
SUITES = {
    "gcm256": ("aes256gcm16", Suite("aes-256-gcm"), False),
    "gcm192-12": ("aes192gcm12", Suite("aes-192-gcm", 12), False),
    "gcm128-8": ("aes128gcm8", Suite("aes-128-gcm", 8), False),
    "chacha": ("chacha20poly1305", Suite("chacha20-poly1305"), False),
    "cbc128-sha1": ("aes128-sha1", Suite("aes-128-cbc-hmac-sha1"), False),
    "cbc256-sha256": ("aes256-sha256", Suite("aes-256-cbc-hmac-sha256"), False),
    "cbc192-sha384": ("aes192-sha384", Suite("aes-192-cbc-hmac-sha384"), False),
    "cbc256-sha512": ("aes256-sha512", Suite("aes-256-cbc-hmac-sha512"), False),
    "gcm256-v6": ("aes256gcm16", Suite("aes-256-gcm"), True),
    "cbc256-v6": ("aes256-sha256", Suite("aes-256-cbc-hmac-sha256"), True),
}
NUMBER = {tunnel: number for number, tunnel in enumerate(SUITES, 1)}
FAR = {tunnel: f"10.20.{number}.1" for tunnel, number in NUMBER.items()}
FAR6 = {tunnel: f"fd10:20::{number:x}:1" for tunnel, number in NUMBER.items()}
GATEWAY, GATEWAY6, HOST, HOST6 = "10.10.0.1", "fd10:10::1", "10.10.0.10", "fd10:10::10"
OUTER = {False: ("198.18.0.2", "198.18.0.1"), True: ("fd98::2", "fd98::1")}  # ours and the peer's
CONNECTIONS = {False: "over4", True: "over6"}

CONFIG = """\
version: 1
name: {name}
role: azure
dpdk: {{ hugepages: false, memory: 256MiB, buffers: 8192 }}
workers: {{ count: 1, idle: sleep }}
limits: {{ routes-ipv4: 4096, routes-ipv6: 4096 }}
ports:
  lan: {{ device: "net_af_packet0,iface=lan0,blocksz=4096,framesz=2048,framecnt=1024,qpairs=1" }}
  wan: {{ device: "net_af_packet1,iface=wan0,blocksz=4096,framesz=2048,framecnt=1024,qpairs=1" }}
peerings:
  lan: {{ legs: [ {{ port: lan, addresses: [10.10.0.1/24, "fd10:10::1/64"] }} ] }}
  internet: {{ legs: [ {{ port: wan, addresses: [198.18.0.2/24, "fd98::2/64"] }} ] }}
tunnels:
{tunnels}
encrypt: [10.20.0.0/16, "fd10:20::/64"]
state-dir: {folder}/state
"""
TUNNEL = '  {tunnel}: {{ if-id: {number}, local: "{ours}", remote: "{theirs}", sa-file: {folder}/{tunnel}.sa.yaml }}'


def prefixes_of(tunnel: str) -> tuple[str, str]:
    return f"10.20.{NUMBER[tunnel]}.0/24", f"fd10:20::{NUMBER[tunnel]:x}:0/112"


class Gateways:
    """host lan1 -- lan0 [twinspand, charon] wan0 -- wan1 peer [charon]: three namespaces."""

    def __init__(self, folder: Path):
        self._folder = folder
        self.host, self.nva, self.peer = (Netns(f"twi-{os.getpid()}-swan-{part}") for part in ("host", "nva", "peer"))
        for namespace in (self.host, self.nva, self.peer):
            namespace.run("sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv4.conf.all.rp_filter=0", "net.ipv6.conf.all.accept_dad=0",
                          "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.router_solicitations=0")
        self.nva.run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")  # of packets whose next hop Linux has still to find
        join(self.nva, "lan0", self.host, "lan1", f"{HOST}/24", f"{HOST6}/64")
        join(self.nva, "wan0", self.peer, "wan1", *(f"{theirs}/{24 if '.' in theirs else 64}" for _, theirs in OUTER.values()))
        self.host.ip(f"route add default via {GATEWAY}", f"route add default via {GATEWAY6}")
        self.peer.ip(*(f"address add {address}/32 dev lo" for address in FAR.values()),
                     *(f"address add {address}/128 dev lo nodad" for address in FAR6.values()))
        self._ours = strongswan.Charon(self.nva, folder / "ours", with_keys=True)
        self.theirs = strongswan.Charon(self.peer, folder / "theirs", with_keys=False)
        config = folder / f"{self.nva.name}.yaml"
        tunnels = "\n".join(TUNNEL.format(tunnel=tunnel, number=number, ours=ours, theirs=theirs, folder=folder)
                            for tunnel, number in NUMBER.items() for ours, theirs in [OUTER[SUITES[tunnel][2]]])
        config.write_text(CONFIG.format(name=self.nva.name, tunnels=tunnels, folder=folder))
        self.daemon = Daemon(self.nva, config, self.nva.name)
        self._servers = [Echo(self.host.name, HOST, HOST6), Echo(self.peer.name, *FAR.values(), *FAR6.values())]

    def _write_keys(self, keys: dict[str, dict[str, tuple[int, bytes]]]) -> None:
        for tunnel, ways in keys.items():
            file = self._folder / f"{tunnel}.sa.yaml"
            file.touch(mode=0o600)
            lines = (sa_line(way, spi, SUITES[tunnel][1], key) for way, (spi, key) in ways.items())
            file.write_text("\n".join(["udp-encapsulation: 4500", *lines, ""]))

    def start(self) -> None:
        self.daemon.start()
        self.nva.ip(*(f"route replace {prefix} dev {tunnel}" for tunnel in SUITES for prefix in prefixes_of(tunnel)))
        eventually(lambda: all(tunnel["state"] == "up" for tunnel in self.daemon.show("tunnels")), message="tunnels are not up")
        wanted = {prefix for tunnel in SUITES for prefix in prefixes_of(tunnel)}
        eventually(lambda: wanted <= {route["prefix"] for route in self.daemon.show("routes")})

    def negotiate(self) -> None:
        """IKE finds the keys; until then twinspand has some of no use."""
        self._write_keys({tunnel: {way: (0x1000 * number + at, SUITES[tunnel][1].make_key()) for at, way in enumerate(("outbound", "inbound"))}
                          for tunnel, number in NUMBER.items()})
        self.start()
        children = [strongswan.Child(tunnel, CONNECTIONS[six], "10.10.0.0/24,fd10:10::/64", ",".join(prefixes_of(tunnel)), proposal)
                    for tunnel, (proposal, _, six) in SUITES.items()]
        connections = {CONNECTIONS[six]: ends for six, ends in OUTER.items()}
        self.theirs.start("peer", "nva", {name: (theirs, ours) for name, (ours, theirs) in connections.items()},
                          [child.mirrored() for child in children])
        self._ours.start("nva", "peer", connections, children)
        keys = {tunnel: self._ours.initiate(tunnel) for tunnel in SUITES}
        # Else Linux would route what it says to the peer's hosts into our charon, which has the same keys.
        for family in ("-4", "-6"):
            self.nva.run("ip", family, "rule", "delete", "table", "220")
        assert self.daemon.stop() == 0
        self._write_keys(keys)
        self.start()

    def rekey_ike(self) -> str:
        return self._ours.swanctl("--rekey", "--ike", "over4")

    def end(self) -> None:
        for server in self._servers:
            server.end()
        for charon in (self._ours, self.theirs):
            charon.stop()
        if self.daemon.process is not None and self.daemon.process.poll() is None:
            assert self.daemon.stop() == 0
        for namespace in (self.host, self.nva, self.peer):
            namespace.remove()


@pytest.fixture(scope="module")
def gateways():
    with tempfile.TemporaryDirectory(prefix="twi-swan-") as folder:  # mode 0700: it has keys
        made = Gateways(Path(folder))
        try:
            made.negotiate()
            yield made
        finally:
            made.end()


@pytest.fixture
def nothing_lost(gateways):
    """No ESP packet is dropped by either end meanwhile."""
    before, said = gateways.daemon.drops(), len(gateways.theirs.log())
    yield
    after = gateways.daemon.drops()
    assert {r: n - before.get(r, 0) for r, n in after.items() if r.startswith("esp_") and n != before.get(r, 0)} == {}
    complaints = [line for line in gateways.theirs.log()[said:].splitlines() if "[ESP]" in line]
    assert [line for line in complaints if "ff02::16" not in line] == []  # Linux says on a TUN which groups it listens to


def is_esp(frame) -> bool:
    return UDP in frame and ESP in frame


@pytest.mark.parametrize("far", [FAR, FAR6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("tunnel", SUITES)
def test_every_length_of_padding(gateways, nothing_lost, tunnel, far):
    """RFC 4303 section 2.4: charon pads more than it must, twinspand as little as it may."""
    before, ours = gateways.theirs.counters(tunnel), gateways.daemon.named("tunnels")[tunnel]
    datagrams(gateways.host.name, far[tunnel], range(1, 36))
    after, now = gateways.theirs.counters(tunnel), gateways.daemon.named("tunnels")[tunnel]
    assert after["out"][1] - before["out"][1] == now["rx_packets"] - ours["rx_packets"] == 35
    # Linux may have said on the TUN which multicast groups it listens to.
    assert after["in"][1] - before["in"][1] >= 35 and now["tx_packets"] - ours["tx_packets"] >= 35


@pytest.mark.parametrize("tunnel", SUITES)
@pytest.mark.parametrize("begins", ["host", "peer"])
def test_tcp(gateways, nothing_lost, tunnel, begins):
    if begins == "host":
        stream(gateways.host.name, FAR[tunnel], 200_000)
        stream(gateways.host.name, FAR6[tunnel], 200_000)
    else:
        stream(gateways.peer.name, HOST, 200_000, source=FAR[tunnel])
        stream(gateways.peer.name, HOST6, 200_000, source=FAR6[tunnel])


def test_only_esp_in_udp_is_on_the_wire(gateways, nothing_lost):
    wire = Wire(gateways.peer.name, "wan1")
    for tunnel in SUITES:
        datagrams(gateways.host.name, FAR[tunnel], [100])
    frames = wire.waiting()
    wire.close()
    assert len(frames) >= len(SUITES) and all(is_esp(frame) and frame[UDP].dport == 4500 for frame in frames)


@pytest.mark.parametrize("tunnel", SUITES)
def test_both_refuse_a_replay(gateways, tunnel):
    """RFC 4303 section 3.4.3. Each end is shown its last packet again."""
    at_peer, at_nva = Wire(gateways.peer.name, "wan1"), Wire(gateways.nva.name, "wan0")
    datagrams(gateways.host.name, FAR[tunnel], [64])
    ours, theirs = at_peer.expect(is_esp), at_nva.expect(is_esp)
    dropped, said = gateways.daemon.drops().get("esp_replayed", 0), len(gateways.theirs.log())
    at_peer.send(theirs)
    at_nva.send(ours)
    eventually(lambda: gateways.daemon.drops().get("esp_replayed", 0) == dropped + 1)
    eventually(lambda: "ESP sequence number verification failed" in gateways.theirs.log()[said:])
    at_peer.close(), at_nva.close()


def test_ike_goes_on_beside_esp(gateways, nothing_lost):
    """RFC 3948 section 2.2: both share port 4500; charon exchanges new IKE keys through twinspand."""
    before = gateways.theirs.log().count("IKE_SA over4[")
    gateways.rekey_ike()
    eventually(lambda: "rekeyed between" in gateways.theirs.log(), message=gateways.theirs.log()[-1000:])
    assert gateways.theirs.log().count("IKE_SA over4[") > before
    datagrams(gateways.host.name, FAR["gcm256"], [64])


@pytest.mark.parametrize("orderly", [True, False], ids=["stop", "kill"])
def test_a_restart_stays_ahead_of_the_window_of_the_peer(gateways, nothing_lost, orderly):
    """RFC 4303 section 3.3.3: numbers go on where the reservation ends, and charon refuses none of them."""
    if orderly:
        assert gateways.daemon.stop() == 0
    else:
        gateways.daemon.kill()
    gateways.start()
    for tunnel in SUITES:
        datagrams(gateways.host.name, FAR[tunnel], [64] * 3)
