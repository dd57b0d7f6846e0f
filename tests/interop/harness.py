"""A site with two links around one real twinspand, in a network namespace of its own; the tests are its neighbours."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Collection
from contextlib import contextmanager
from pathlib import Path

from peer import KEYS, is_sealed_chatter
from wire import Wire

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("TWINSPAN_BUILD", ROOT / "build" / "release"))
TWINSPAND = BUILD / "bin" / "twinspand"
TWINSPANCTL = BUILD / "bin" / "twinspanctl"
READY_SECONDS = 30
MTU, WIRE_ROOM = 1500, 100  # of ports; their wires carry tags as well

PORTS = ("lan", "primary", "secondary")
LAN_HOST, LAN_HOST6, LAN_MAC = "10.10.0.10", "fd10:10::10", "02:00:00:00:00:10"
MSEE_MAC = {"primary": "02:00:5e:00:01:01", "secondary": "02:00:5e:00:02:01"}

CONFIG = """\
version: 1
name: {name}
role: on-premises
dpdk: {{ hugepages: false, memory: 256MiB, buffers: 8192 }}
workers: {{ count: 1, idle: sleep }}
limits: {{ routes-ipv4: 4096, routes-ipv6: 4096 }}
ports:
{ports}
circuit: {{ name: bench, bandwidth: 10Gbps, primary: primary, secondary: secondary }}
peerings:
  lan:
    legs: [ {{ port: lan, addresses: [10.10.0.1/24, "fd10:10::1/64"] }} ]
  private:
    legs:
      - {{ link: primary,   vlan: 100, addresses: [172.16.0.1/30, "fd16::1/126"] }}
      - {{ link: secondary, vlan: 100, addresses: [172.16.0.5/30, "fd16::5/126"] }}
  public:
    legs:
      - {{ link: primary,   vlan: 200, addresses: [192.0.2.1/30] }}
      - {{ link: secondary, vlan: 200, addresses: [192.0.2.5/30] }}
    nat: {{ pool: [198.51.100.16/32], ports: 2000-2001 }}
  microsoft:
    legs:
      - {{ link: primary,   vlan: 300, addresses: [203.0.113.1/30] }}
      - {{ link: secondary, vlan: 300, addresses: [203.0.113.5/30] }}
    nat: {{ pool: [198.51.100.0/28] }}
    accept: [13.107.6.0/24, 20.51.0.0/29]
tunnels:
  azure-0: {{ if-id: 1, link: primary,   local: 203.0.113.1, remote: 20.51.0.4, mtu: 1500, sa-file: {folder}/azure-0.sa.yaml }}
  azure-1: {{ if-id: 2, link: secondary, local: 203.0.113.5, remote: 20.51.0.5, mtu: 1500, sa-file: {folder}/azure-1.sa.yaml }}
encrypt: [10.20.0.0/16, "fd10:20::/64"]
state-dir: {folder}/state
"""

NEIGHBOURS = (
    f"{LAN_HOST} lladdr {LAN_MAC} dev lan", f"{LAN_HOST6} lladdr {LAN_MAC} dev lan",
    *(f"{address} lladdr {MSEE_MAC[link]} dev {peering}-{link[:3]}"
      for link, addresses in (("primary", ("172.16.0.2", "192.0.2.2", "203.0.113.2")),
                              ("secondary", ("172.16.0.6", "192.0.2.6", "203.0.113.6")))
      for address, peering in zip(addresses, ("prv", "pub", "msft"))),
    f"fd16::2 lladdr {MSEE_MAC['primary']} dev prv-pri", f"fd16::6 lladdr {MSEE_MAC['secondary']} dev prv-sec",
)
ROUTES = (
    "10.30.0.0/16 via 172.16.0.2 dev prv-pri", "10.31.0.0/16 via 172.16.0.6 dev prv-sec",
    "fd30::/64 via fd16::2 dev prv-pri",
    "13.107.6.0/25 nexthop via 203.0.113.2 dev msft-pri nexthop via 203.0.113.6 dev msft-sec",
    "13.107.6.128/26 via 203.0.113.2 dev msft-pri", "13.107.6.192/26 via 203.0.113.6 dev msft-sec",
    "20.51.0.0/29 nexthop via 203.0.113.2 dev msft-pri nexthop via 203.0.113.6 dev msft-sec",
    "52.239.1.0/24 via 192.0.2.2 dev pub-pri",
    "10.20.0.0/24 nexthop dev azure-0 nexthop dev azure-1", "fd10:20::/64 nexthop via fe80::1 dev azure-0 nexthop via fe80::1 dev azure-1",
    "10.20.1.0/24 dev azure-0", "10.20.2.0/24 dev azure-1",
    "fd10:20::1:0/112 dev azure-0", "fd10:20::2:0/112 dev azure-1",
)


def run(*command) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr or done.stdout}"
    return done.stdout


def eventually(what, seconds: float = 10.0, message: str = ""):
    """The first true value of what(); for things that follow from an event without a packet of their own."""
    deadline = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < deadline, message or f"not within {seconds} s"
        time.sleep(0.01)


class Netns:
    """A network namespace."""

    def __init__(self, name: str):
        self.name = name
        run("ip", "netns", "add", name)

    def _batch(self, where: list[str], lines) -> None:
        done = subprocess.run(["ip", *where, "-batch", "-"], input="\n".join(lines) + "\n", capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def ip(self, *lines: str) -> None:
        self._batch(["-n", self.name], lines)

    def run(self, *command) -> str:
        return run("ip", "netns", "exec", self.name, *command)

    def links(self) -> dict[str, list[str]]:
        """The flags of every interface: UP, NO-CARRIER, ..."""
        return {link["ifname"]: link["flags"] for link in json.loads(run("ip", "-n", self.name, "-j", "link", "show"))}

    def remove(self) -> None:
        run("ip", "netns", "delete", self.name)


class Namespace(Netns):
    """Three veth pairs: the daemon opens one end of each (`lan0`, ...), the tests the other (`lan1`, ...)."""

    def __init__(self, name: str):
        super().__init__(name)
        self._batch([], [f"link add {port}0 netns {name} type veth peer {port}1 netns {name}" for port in PORTS])
        # The kernel must not answer on the wires for the addresses of the TAPs: it neither speaks ARP and IPv6 there nor
        # takes a packet whose way back is another interface.
        settings = ["net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0",
                    "net.ipv6.conf.default.router_solicitations=0", "net.ipv4.ip_forward=0",
                    "net.ipv4.conf.all.rp_filter=0"]
        for port in PORTS:
            for end in "01":
                settings += [f"net.ipv4.conf.{port}{end}.rp_filter=1", f"net.ipv6.conf.{port}{end}.disable_ipv6=1"]
                self.run("ethtool", "-K", f"{port}{end}", "tx", "off", "tso", "off", "gso", "off", "gro", "off")
        self.run("sysctl", "-qw", *settings)
        self.ip("link set lo up", *(f"link set {port}{end} arp off up" for port in PORTS for end in "01"))

    def set_mtu(self, mtu: int) -> None:
        self.ip(*(f"link set {port}{end} mtu {mtu + WIRE_ROOM}" for port in PORTS for end in "01"))

    def set_carrier(self, port: str, up: bool) -> None:
        self.ip(f"link set {port}1 {'up' if up else 'down'}")


def end_with_the_tests() -> None:
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def remove_abandoned() -> None:
    """Namespaces of sessions that were killed."""
    for line in run("ip", "netns", "list").splitlines():
        name = line.split()[0]
        if name.startswith("twi-") and not Path("/proc", name.split("-")[1]).exists():
            run("ip", "netns", "delete", name)


class Daemon:
    def __init__(self, namespace: Netns, config: Path, name: str):
        self._namespace, self._config, self.name = namespace, config, name
        self.log = config.with_suffix(".log")
        self.process: subprocess.Popen | None = None

    def spawn(self) -> subprocess.Popen:
        with open(self.log, "ab") as log:
            return subprocess.Popen(["ip", "netns", "exec", self._namespace.name, TWINSPAND, "--config", self._config],
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, preexec_fn=end_with_the_tests)

    def start(self) -> None:
        self.process = self.spawn()
        eventually(self._is_ready, READY_SECONDS, f"twinspand is not ready, see {self.log}")

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return self.ask({"command": "ping"})["ok"] and "UP" in self._namespace.links().get("lan", [])
        except OSError:
            return False

    def stop(self) -> int:
        """Exit status after SIGTERM; it is killed if it does not end."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def sessions_file(self) -> Path:
        """Where the NAT's sessions lie, also while no daemon runs."""
        return Path(f"/dev/shm/twinspan-{self.name}.nat")

    def forget_sessions(self) -> None:
        self.sessions_file.unlink(missing_ok=True)

    def ask(self, request: dict) -> dict:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(10)
            control.connect(f"/run/twinspan/{self.name}.sock")
            control.sendall(json.dumps(request).encode() + b"\n")
            with control.makefile() as replies:
                return json.loads(replies.readline())

    def show(self, what: str):
        reply = self.ask({"command": "show", "what": what})
        assert reply["ok"], reply
        return reply["data"]

    def named(self, what: str) -> dict[str, dict]:
        return {row["name"]: row for row in self.show(what)}

    def drops(self) -> dict[str, int]:
        return {row["reason"]: row["count"] for row in self.show("drops") if row["count"]}

    def metric(self, name: str) -> int:
        return next(row["value"] for row in self.show("metrics") if row["name"] == f"twinspan_{name}")

    def control(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([TWINSPANCTL, "--name", self.name, *arguments], capture_output=True, text=True)


class Site:
    def __init__(self, namespace: Namespace, folder: Path, name: str, config: str = CONFIG, routes=ROUTES, neighbours=NEIGHBOURS,
                 sa_file_head: str = "", sa_files: dict[str, str] | None = None, queues: int = 1, mtu: int = MTU,
                 pcap: bool = False):
        self.namespace, self.folder, self._routes, self._neighbours = namespace, folder, routes, neighbours
        self.config = write_config(folder, name, config, sa_file_head, sa_files, queues, mtu, pcap)
        namespace.set_mtu(mtu)
        self.daemon = Daemon(namespace, self.config, name)
        self.lan, self.primary, self.secondary = (Wire(namespace.name, f"{port}1") for port in PORTS)
        self.wires = {"lan": self.lan, "primary": self.primary, "secondary": self.secondary}

    def start(self, down: Collection[str] = ()) -> "Site":
        """Until all is as the tests need it: the tunnels up but those that stay `down`."""
        for port in PORTS:
            self.namespace.set_carrier(port, True)
        self.daemon.start()
        self.started = time.monotonic()
        self.namespace.ip(*(f"neighbour replace {n} nud permanent" for n in self._neighbours),
                          *(f"route replace {r}" for r in self._routes))
        wanted = {route.split()[0] for route in self._routes}
        eventually(lambda: wanted <= {r["prefix"] for r in self.daemon.show("routes")}, message="routes are not mirrored")
        known = {n.split()[0] for n in self._neighbours}
        eventually(lambda: known <= {n["address"] for n in self.daemon.show("neighbours") if n["mac"]})
        eventually(lambda: all(t["state"] == "up" for t in self.daemon.show("tunnels") if t["name"] not in down), message="tunnels are not up")
        self.mac = {name: port["mac"] for name, port in self.daemon.named("ports").items()}
        self.quiet()
        return self

    def end(self) -> None:
        for wire in self.wires.values():
            wire.close()
        if self.daemon.process is not None and self.daemon.process.poll() is None:
            status = self.daemon.stop()
            assert status == 0, f"twinspand ended with {status}, see {self.daemon.log}"
        self.daemon.forget_sessions()

    def quiet(self) -> dict[str, list]:
        """Everything that has come out unexpectedly, by wire; the wires are empty afterwards."""
        return {name: frames for name, wire in self.wires.items() if (frames := [f for f in wire.waiting() if not is_sealed_chatter(f)])}

    @contextmanager
    def dropped(self, **reasons: int):
        """Exactly these drops happen inside, and nothing comes out of any port. What Linux says by itself on a dead leg
        or tunnel is dropped there as well."""
        noisy = ("link_down", "tunnel_down")
        self.quiet()
        before = self.daemon.drops()
        yield
        change = {}
        deadline = time.monotonic() + 5
        while change != reasons and time.monotonic() < deadline:
            time.sleep(0.002)
            after = self.daemon.drops()
            change = {r: n - before.get(r, 0) for r, n in after.items() if n != before.get(r, 0)}
            change = {r: reasons.get(r, 0) if r in noisy and n >= reasons.get(r, 0) else n for r, n in change.items()}
            change = {r: n for r, n in change.items() if n != 0}
        assert change == reasons
        assert self.quiet() == {}

    def expect_exact_accounting(self) -> None:
        """Received + injected + generated + fragmented = transmitted + punted + merged + held + dropped, in each thread, once at rest."""
        def exact() -> bool:
            accounting = self.daemon.show("accounting")
            return accounting["exact"] and all(thread["exact"] for thread in accounting["threads"])

        eventually(exact, 5, f"accounting: {self.daemon.show('accounting')}")


def sa_files_of_peers(head: str = "") -> dict[str, str]:
    """The SA file of each tunnel that scapy's peers have keys for."""
    return {tunnel: head + "".join(f"{way}: {{ spi: {spi:#x}, suite: {suite}, key: {key} }}\n" for way, (spi, suite, key) in sas.items())
            for tunnel, sas in KEYS.items()}


def write_config(folder: Path, name: str, config: str = CONFIG, sa_file_head: str = "", sa_files: dict[str, str] | None = None,
                 queues: int = 1, mtu: int = MTU, pcap: bool = False) -> Path:
    """With `pcap`, ports of libpcap: they take more than 1500 bytes, and see fragments as they are."""
    devices = (f"net_pcap{number},rx_iface_in={port}0,tx_iface={port}0" if pcap else
               f"net_af_packet{number},iface={port}0,blocksz=4096,framesz=2048,framecnt=1024,qpairs={queues}" for number, port in enumerate(PORTS))
    ports = "\n".join(f'  {port}: {{ device: "{device}", mtu: {mtu} }}' for port, device in zip(PORTS, devices))
    for tunnel, text in (sa_files or sa_files_of_peers(sa_file_head)).items():
        file = folder / f"{tunnel}.sa.yaml"
        file.touch(mode=0o600)
        file.write_text(text)
    path = folder / f"{name}.yaml"
    path.write_text(config.format(name=name, ports=ports, folder=folder))
    return path
