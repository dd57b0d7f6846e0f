"""One NIC for Linux and the workers. Linux's own traffic on it must not notice that a data plane starts, ends or is killed.

Two namespaces and a veth between them: `nic` has the NIC (eth0), twinspand and Linux's servers, `far` is everybody else:
Linux's client, and the tests with their packet socket. A packet socket on eth0 sees exactly what was left with Linux.
"""

import json
import os
import socket
import struct
import threading
import time

import pytest
from harness import BUILD, Daemon, Namespace, eventually, run
from packets import *
from peer import KEYS
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.l2 import ARP
from scapy.packet import Packet
from wire import Wire, inside

NIC, FAR = "203.0.113.1", "203.0.113.2"
NIC_MAC, FAR_MAC = "02:00:00:00:0e:01", "02:00:00:00:0e:02"
REMOTE = TUNNEL_ENDS["azure-0"][1]
VLAN_HOST = "10.42.0.9"
CONFIG = """\
version: 1
name: {name}
role: azure
dpdk: {{ hugepages: false, memory: 256MiB, buffers: 8192 }}
workers: {{ count: 1, idle: sleep }}
limits: {{ routes-ipv4: 4096, routes-ipv6: 4096 }}
ports: {{ wan: {{ shared: eth0 }} }}
peerings:
  lan:
    legs:
      - {{ port: wan, addresses: [{nic}/29] }}
      - {{ port: wan, vlan: 42, netdev: lan, addresses: [10.42.0.1/24] }}
  internet:
    legs: [ {{ port: wan, vlan: 43, addresses: [192.0.2.1/30] }} ]
    nat: {{ pool: [198.51.100.0/28] }}
tunnels:
  azure-0: {{ if-id: 1, local: {nic}, remote: {remote}, mtu: 1500, sa-file: {folder}/azure-0.sa.yaml }}
encrypt: [10.20.0.0/16]
state-dir: {folder}/state
"""


class Nic(Namespace):
    """The two namespaces; `links`, `ip` and `remove` are those of the one with the NIC."""

    def __init__(self, name: str):
        self.name, self.far = name, f"{name}-far"
        self._batch([], [f"netns add {self.name}", f"netns add {self.far}",
                         f"link add far0 index 10 address {FAR_MAC} netns {self.far} type veth peer eth0 address {NIC_MAC} netns {self.name}"])
        for namespace, device, address, other in ((self.name, "eth0", NIC, FAR), (self.far, "far0", FAR, NIC)):
            self._batch(["-n", namespace], ["link set lo up", f"link set {device} up", f"address add {address}/29 dev {device}",
                                            f"route add default via {other}"])
            run("ip", "netns", "exec", namespace, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", f"net.ipv4.conf.{device}.rp_filter=0",
                "net.ipv4.ip_forward=0", "net.ipv4.icmp_ratelimit=0")

    def push_tags_beside_the_frame(self) -> None:
        """What is sent out of `bare` leaves far0 with tag 42, which the kernel keeps beside the frame, as a NIC that takes
        tags off gives it to the driver. By the lab's program, which goes by the numbers of the interfaces."""
        self._batch(["-n", self.far], ["link add push index 1042 type veth peer bare", "link set bare up", "link set push up"])
        tc = ("ip", "netns", "exec", self.far, "tc")
        run(*tc, "qdisc", "add", "dev", "push", "clsact")
        run(*tc, "filter", "add", "dev", "push", "ingress", "bpf", "da", "obj", BUILD / "lab" / "vlan.bpf.o", "sec", "tc/push")

    def xdp(self) -> dict | None:
        """The XDP program on eth0, as Linux shows it."""
        return json.loads(run("ip", "-n", self.name, "-j", "link", "show", "eth0"))[0].get("xdp")

    def flags(self) -> set[str]:
        return set(self.links()["eth0"])

    def remove(self) -> None:
        run("ip", "netns", "delete", self.name)
        run("ip", "netns", "delete", self.far)


class Session:
    """A TCP session of Linux on the NIC: a word each few milliseconds, and its echo."""

    def __init__(self, nic: Nic):
        with inside(nic.name):
            self._listener = socket.create_server((NIC, 22))
        with inside(nic.far):
            self._client = socket.create_connection((NIC, 22))
        self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server, _ = self._listener.accept()
        self._server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.slowest, self.words, self._excused, self._ends = 0.0, 0, 0, threading.Event()
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._echo, self._talk)]
        for thread in self._threads:
            thread.start()

    def _echo(self) -> None:
        while data := self._server.recv(65536):
            self._server.sendall(data)

    def _talk(self) -> None:
        while not self._ends.is_set():
            sent = time.monotonic()
            self._client.sendall(struct.pack("!Q", self.words) * 100)
            left = 800
            while left:
                left -= len(self._client.recv(left))
            self.slowest = max(self.slowest, time.monotonic() - sent)
            self.words += 1
            time.sleep(0.002)
        self._client.shutdown(socket.SHUT_WR)

    def retransmitted(self) -> int:
        """tcpi_total_retrans of both ends."""
        return sum(struct.unpack_from("I", end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192), 100)[0]
                   for end in (self._client, self._server))

    def lives(self) -> None:
        """It has gone on, without one segment sent twice."""
        before = self.words
        eventually(lambda: self.words > before + 20, 5, "the TCP session stands still")
        assert self.retransmitted() == self._excused

    def excuse(self) -> None:
        """What was lost until now was not the daemon's doing."""
        before = self.words
        eventually(lambda: self.words > before + 20, 10)
        self._excused, self.slowest = self.retransmitted(), 0.0

    def end(self) -> None:
        self._ends.set()
        for thread in reversed(self._threads):
            thread.join(5)
            assert not thread.is_alive()
        for end in (self._client, self._server, self._listener):
            end.close()


@pytest.fixture(scope="module")
def nic():
    made = Nic(f"twi-{os.getpid()}-nic")
    yield made
    made.remove()


@pytest.fixture(scope="module")
def session(nic):
    made = Session(nic)
    yield made
    made.end()


@pytest.fixture(scope="module")
def daemon(nic, session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared_port")
    file = folder / "azure-0.sa.yaml"
    file.touch(mode=0o600)
    file.write_text("".join(f"{way}: {{ spi: {spi:#x}, suite: {suite}, key: {key} }}\n" for way, (spi, suite, key) in KEYS["azure-0"].items()))
    name = f"twi-{os.getpid()}-shared"
    config = folder / f"{name}.yaml"
    config.write_text(CONFIG.format(name=name, nic=NIC, remote=REMOTE, folder=folder))
    made = Daemon(nic, config, name)
    start(nic, made)
    yield made
    if made.process.poll() is None:
        assert made.stop() == 0
    made.forget_sessions()


def start(nic: Nic, daemon: Daemon) -> None:
    daemon.start()
    nic.ip("route replace 10.20.0.0/16 dev azure-0", f"neighbour replace {FAR} lladdr {FAR_MAC} dev eth0 nud reachable",
           f"neighbour replace {VLAN_HOST} lladdr {FAR_MAC} dev lan nud permanent")
    eventually(lambda: daemon.named("tunnels")["azure-0"]["state"] == "up", message="the tunnel is not up")
    eventually(lambda: VLAN_HOST in {n["address"] for n in daemon.show("neighbours") if n["mac"]})


@pytest.fixture
def far(nic, daemon):
    wire = Wire(nic.far, "far0")
    yield wire
    wire.close()


@pytest.fixture
def linux(nic, daemon):
    """What reaches Linux on the NIC."""
    wire = Wire(nic.name, "eth0")
    yield wire
    wire.close()


peer = Peer("azure-0")


def to_nic(packet: Packet, dst: str = NIC_MAC) -> Packet:
    return Ether(src=FAR_MAC, dst=dst) / packet


def steered(daemon: Daemon) -> dict[str, int]:
    return daemon.named("ports")["wan"]["steered"]


def test_the_daemon_says_what_it_shares(nic, daemon):
    port = daemon.named("ports")["wan"]
    assert (port["shared"], port["netdev"], port["device"], port["mac"], port["link"]) == ("eth0", "eth0", None, NIC_MAC, "up")
    assert nic.xdp()["prog"]["name"].startswith("twinspan_steer")
    assert "PROMISC" not in nic.flags()
    assert {"eth0", "lan", "azure-0"} <= set(nic.links()), "the untagged leg is the NIC itself"
    assert daemon.named("legs")["eth0"]["addresses"] == [f"{NIC}/29"]


def test_linux_keeps_its_own(nic, daemon, session, far, linux):
    before = steered(daemon)
    for frame in (to_nic(ARP(hwsrc=FAR_MAC, psrc=FAR, pdst=NIC), "ff:ff:ff:ff:ff:ff"),
                  to_nic(IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / BOOTP(chaddr=b"\x02\0\0\0\x0e\x02") /
                         DHCP(options=[("message-type", "discover"), "end"]), "ff:ff:ff:ff:ff:ff"),
                  to_nic(IP(src="168.63.129.16", dst=NIC) / TCP(sport=50000, dport=81, flags="S")),
                  to_nic(IP(src="168.63.129.16", dst="198.51.100.3") / TCP(sport=50000, dport=81, flags="S")),
                  to_nic(IP(src=REMOTE, dst=NIC) / UDP(sport=4500, dport=4500) / Raw(b"\xff")),
                  to_nic(IP(src=REMOTE, dst="10.9.9.9") / ESP(spi=0x2001, seq=1) / payload()),
                  to_nic(Dot1Q(vlan=41) / IP(src=REMOTE, dst=NIC) / ESP(spi=0x2001, seq=1) / payload())):
        far.send(frame)
        linux.expect(lambda seen, sent=frame: bytes(seen).startswith(bytes(sent)))
    assert far.expect(kind(ARP, op=2)).psrc == NIC
    answer = far.expect(lambda frame: TCP in frame and frame[IP].dst == "168.63.129.16")
    assert answer[TCP].flags == "RA", "Linux's answer to a probe of a closed port"
    run("ip", "netns", "exec", nic.far, "ping", "-c", "3", "-i", "0.05", "-W", "1", NIC)
    session.lives()
    after = steered(daemon)
    assert {name: after[name] - before[name] for name in after if name != "linux"} == {name: 0 for name in after if name != "linux"}
    assert after["linux"] > before["linux"] + 10


@pytest.mark.parametrize("port, data", [(500, bytes(range(1, 29))), (4500, bytes(4) + bytes(range(1, 29)))])
def test_ike_reaches_linux(nic, daemon, far, port, data):
    with inside(nic.name):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.settimeout(5)
    server.bind((NIC, port))
    far.send(to_nic(IP(src=REMOTE, dst=NIC) / UDP(sport=port, dport=port) / Raw(data)))
    assert server.recvfrom(2000) == (data, (REMOTE, port))
    server.close()


def test_esp_is_opened_by_the_workers(daemon, far, linux):
    before = steered(daemon)["esp"]
    inner = IP(src="10.20.0.7", dst=VLAN_HOST) / UDP(sport=7, dport=8) / payload()
    far.send(to_nic(peer.seal(inner)))
    opened = far.expect(has(inner[Raw]))
    assert (opened[Dot1Q].vlan, opened[Ether].src, opened[IP].ttl) == (42, NIC_MAC, inner.ttl - 1)
    assert steered(daemon)["esp"] == before + 1
    assert not [frame for frame in linux.waiting() if ESP in frame], "Linux has seen none of it"


def test_esp_in_udp_reaches_the_workers(daemon, far, linux):
    before = steered(daemon)["esp_in_udp"]
    far.send(to_nic(IP(src=REMOTE, dst=NIC) / UDP(sport=4500, dport=4500) / Raw(bytes(range(1, 65)))))
    eventually(lambda: steered(daemon)["esp_in_udp"] == before + 1)
    assert not [frame for frame in linux.waiting() if UDP in frame and frame[UDP].dport == 4500]


def test_encrypted_prefixes_are_sealed(daemon, far, linux):
    inner = IP(src=FAR, dst="10.20.0.7") / UDP(sport=9, dport=10) / payload()
    far.send(to_nic(inner))
    frame, opened = peer.expect(far)
    assert (frame[Ether].dst, frame[IP].src, frame[IP].dst) == (FAR_MAC, NIC, REMOTE)
    assert_same(opened, hop(inner))
    assert not [seen for seen in linux.waiting() if IP in seen and seen[IP].dst == "10.20.0.7"]


def test_what_linux_itself_encrypts_leaves_as_esp(nic, daemon, far):
    with inside(nic.name):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    data = bytes(payload())
    client.sendto(data, ("10.20.0.9", 9))
    _, opened = peer.expect(far)
    assert (opened[IP].src, opened[IP].dst, bytes(opened[Raw])) == (NIC, "10.20.0.9", data)
    client.close()


def test_pool_addresses_reach_the_workers(daemon, far, linux):
    """The NIC's leg is inside: to a pool, its packets are hairpins (RFC 4787 REQ-9), here to nobody."""
    before, drops = steered(daemon)["pool"], daemon.drops().get("nat_no_session", 0)
    far.send(to_nic(IP(src="13.107.6.1", dst="198.51.100.3") / UDP(sport=443, dport=5000) / payload()))
    eventually(lambda: daemon.drops().get("nat_no_session", 0) == drops + 1, message=str(daemon.drops()))
    assert steered(daemon)["pool"] == before + 1
    assert not [seen for seen in linux.waiting() if IP in seen and seen[IP].dst == "198.51.100.3"]


def test_a_tagged_leg_is_the_workers(daemon, far, linux):
    far.send(Ether(src=FAR_MAC, dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=42) / ARP(hwsrc=FAR_MAC, psrc=VLAN_HOST, pdst="10.42.0.1"))
    answer = far.expect(lambda frame: Dot1Q in frame and ARP in frame and frame[ARP].op == 2)
    assert (answer[Dot1Q].vlan, answer[ARP].psrc, answer[ARP].hwsrc) == (42, "10.42.0.1", NIC_MAC)
    inner = IP(src=VLAN_HOST, dst="10.20.0.7") / UDP(sport=9, dport=10) / payload()
    far.send(Ether(src=FAR_MAC, dst=NIC_MAC) / Dot1Q(vlan=42) / inner)
    _, opened = peer.expect(far)
    assert_same(opened, hop(inner))
    assert not [seen for seen in linux.waiting() if Dot1Q in seen]


def test_a_tag_beside_the_frame_is_put_back(nic, daemon, far, linux):
    nic.push_tags_beside_the_frame()
    before = steered(daemon)["tagged"]
    bare = Wire(nic.far, "bare")
    inner = IP(src=VLAN_HOST, dst="10.20.0.7") / UDP(sport=9, dport=10) / payload()
    bare.send(Ether(src=FAR_MAC, dst=NIC_MAC) / inner)
    _, opened = peer.expect(far)
    assert_same(opened, hop(inner))
    # To the tunnel's address, but in a VLAN: not ESP of the untagged leg.
    esp = steered(daemon)["esp"]
    bare.send(Ether(src=FAR_MAC, dst=NIC_MAC) / IP(src=REMOTE, dst=NIC) / ESP(spi=0x2001, seq=1) / payload())
    eventually(lambda: steered(daemon)["tagged"] >= before + 2)
    assert steered(daemon)["esp"] == esp
    assert not [seen for seen in linux.waiting() if IP in seen and seen[IP].dst == "10.20.0.7"]
    bare.close()


def test_what_has_no_way_back_to_linux_is_named(daemon, far):
    """Steered as the first fragment of ESP in UDP, whose later ones are Linux's."""
    before = daemon.drops()
    far.send(to_nic(IP(src=REMOTE, dst=NIC, flags="MF") / UDP(sport=4500, dport=4500, len=2000) / Raw(bytes(range(1, 73)))))
    eventually(lambda: sum(daemon.drops().values()) == sum(before.values()) + 1, message=str(daemon.drops()))
    changed = {reason for reason, count in daemon.drops().items() if count != before.get(reason, 0)}
    assert changed <= {"shared_port_kernel", "fragment_timeout"}, changed


def test_carrier_of_the_nic_drives_the_leg(nic, daemon, session):
    session.lives()
    run("ip", "-n", nic.far, "link", "set", "far0", "down")
    eventually(lambda: daemon.named("ports")["wan"]["link"] == "down")
    run("ip", "-n", nic.far, "link", "set", "far0", "up")
    run("ip", "-n", nic.far, "route", "replace", "default", "via", NIC)
    eventually(lambda: daemon.named("ports")["wan"]["link"] == "up")
    eventually(lambda: daemon.named("tunnels")["azure-0"]["state"] == "up")
    session.excuse()


def test_another_program_is_not_pushed_aside(nic, daemon, tmp_path):
    other = Daemon(nic, tmp_path / "other.yaml", f"{daemon.name}-other")
    text = daemon._config.read_text().replace(f"name: {daemon.name}", f"name: {other.name}")
    other._config.write_text(text.replace("/state\n", "/other-state\n"))
    process = other.spawn()
    assert process.wait(20) != 0
    assert 'another XDP program, "twinspan_steer' in other.log.read_text()
    assert nic.xdp()["prog"]["name"].startswith("twinspan_steer"), "ours is still there"


def nothing_is_left(nic: Nic) -> None:
    assert nic.xdp() is None
    net = json.loads(run("ip", "netns", "exec", nic.name, "bpftool", "-j", "net"))
    assert all(not entry["xdp"] for entry in net)
    assert not nic.flags() & {"PROMISC", "ALLMULTI"}


def linux_has_the_port_whole(nic: Nic, session: Session, far: Wire, linux: Wire) -> None:
    frame = to_nic(IP(src=REMOTE, dst=NIC) / ESP(spi=0x2001, seq=1 << 20) / payload())
    far.send(frame)
    linux.expect(lambda seen: bytes(seen) == bytes(frame))
    tagged = Ether(src=FAR_MAC, dst=NIC_MAC) / Dot1Q(vlan=42) / IP(src=VLAN_HOST, dst="10.20.0.7") / UDP() / payload()
    far.send(tagged)
    linux.expect(has(tagged[Raw]))
    run("ip", "netns", "exec", nic.far, "ping", "-c", "3", "-i", "0.05", "-W", "1", NIC)
    session.lives()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_after_the_end_linux_has_the_port_whole_and_a_restart_takes_up_again(nic, daemon, session, far, linux, end):
    session.lives()
    getattr(daemon, end)()
    eventually(lambda: nic.xdp() is None, 5, "the XDP program stays")
    nothing_is_left(nic)
    linux_has_the_port_whole(nic, session, far, linux)
    start(nic, daemon)
    session.lives()
    inner = IP(src="10.20.0.7", dst=VLAN_HOST) / UDP() / payload()
    peer.sequence += 100
    far.send(to_nic(peer.seal(inner)))
    far.expect(has(inner[Raw]))


def test_the_session_never_noticed(session, daemon):
    session.lives()
    assert session.slowest < 1.0, "the longest that one word and its echo took"
    print(f"\n{session.words} words, the slowest {session.slowest * 1000:.1f} ms, none sent twice")
    accounting = daemon.show("accounting")
    assert accounting["exact"], accounting
