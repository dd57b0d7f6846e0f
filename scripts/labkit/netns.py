"""Makes and removes the namespaces, veth pairs, tc programs and routes of the topology."""

import shutil
import subprocess
from pathlib import Path

from . import topology as topo
from .paths import LAB_DIR

BPF_OBJECT = "vlan.bpf.o"
OFFLOADS = "tx off tso off gso off gro off"
ROUTER_SYSCTLS = {
    "net.ipv4.ip_forward": 1,
    "net.ipv4.fib_multipath_hash_policy": 1,
    # An MSEE answers ARP for the address of that peering only, not for any it owns.
    "net.ipv4.conf.all.arp_ignore": 1,
    "net.ipv4.conf.all.arp_announce": 2,
    "net.ipv6.conf.all.disable_ipv6": 1,
    "net.ipv6.conf.default.disable_ipv6": 1,
}
COMMON_SYSCTLS = {
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    # No waiting for duplicate address detection, no router solicitations.
    "net.ipv6.conf.all.accept_dad": 0,
    "net.ipv6.conf.default.accept_dad": 0,
    "net.ipv6.conf.default.accept_ra": 0,
    "net.ipv6.conf.default.router_solicitations": 0,
}
TWINSPAND_SYSCTLS = {
    # For IPv4 twinspand lets Linux forward what comes from its own netdevs; IPv6 has this switch for all of them only.
    "net.ipv4.ip_forward": 0,
    "net.ipv6.conf.all.forwarding": 1,
    "net.ipv4.fib_multipath_hash_policy": 1,
    "net.ipv6.fib_multipath_hash_policy": 1,
    "net.ipv4.conf.all.ignore_routes_with_linkdown": 1,
    "net.ipv4.conf.default.ignore_routes_with_linkdown": 1,
    "net.ipv6.conf.all.ignore_routes_with_linkdown": 1,
    "net.ipv6.conf.default.ignore_routes_with_linkdown": 1,
}


class LabError(Exception):
    """Something the user should read without a traceback."""


def run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def in_host(host: str, *command: str, text: str | None = None) -> str:
    return run("ip", "netns", "exec", topo.namespace(host), *command, text=text)


def ip_batch(host: str | None, lines: list[str], force: bool = False) -> None:
    """Runs many ip commands in one process; with force, one that fails does not stop the rest."""
    where = ["-n", topo.namespace(host)] if host else []
    options = ["-force"] if force else []
    command = ["ip", *where, *options, "-batch", "-"]
    done = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True)
    if done.returncode != 0 and not force:
        raise LabError(f"ip in {host or 'the root namespace'}: {done.stderr.strip()}")


def existing() -> list[str]:
    names = [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line]
    return sorted(name for name in names if name.startswith(topo.PREFIX))


def make_namespaces() -> None:
    ip_batch(None, [f"netns add {topo.namespace(host)}" for host in topo.HOSTS])
    for host in topo.HOSTS:
        settings = dict(COMMON_SYSCTLS)
        if host in topo.ROUTERS:
            settings |= ROUTER_SYSCTLS
        if host in topo.TWINSPANDS:
            settings |= TWINSPAND_SYSCTLS
        in_host(host, "sysctl", "-q", "-p", "-", text="".join(f"{key}={value}\n" for key, value in settings.items()))


def _add_pair(a: topo.End, b: topo.End) -> str:
    def end(e: topo.End) -> str:
        number = f" index {e.index}" if e.index else ""
        return f"{e.name}{number} netns {topo.namespace(e.host)}"

    return f"link add {end(a)} type veth peer {end(b)}"


def make_links() -> None:
    lines = [_add_pair(a, b) for a, b in topo.PAIRS]
    for link in topo.LINKS.values():
        lines += [
            _add_pair(topo.End(link.msee, f"v{vlan}", index=vlan),
                      topo.End(link.msee, f"v{vlan}t", index=topo.BACK_END_OFFSET + vlan))
            for vlan in link.legs
        ]
    ip_batch(None, lines)


def _ends(host: str) -> list[topo.End]:
    return [end for pair in topo.PAIRS for end in pair if end.host == host]


def _vlan_devices(host: str) -> list[str]:
    return [name for link in topo.LINKS.values() if link.msee == host
            for vlan in link.legs for name in (f"v{vlan}", f"v{vlan}t")]


def configure_host(host: str) -> None:
    devices = [end.name for end in _ends(host)] + _vlan_devices(host)
    ports = [end.name for end in _ends(host) if end.port]
    script = [f"ethtool -K {device} {OFFLOADS} >/dev/null" for device in devices]
    script += [f"sysctl -qw net.ipv6.conf.{port}.disable_ipv6=1" for port in ports]
    # Packets that wait for an ARP answer after a healed link must all fit the queue.
    script += [f"sysctl -qw net.ipv4.neigh.{device}.unres_qlen_bytes=8388608" for device in devices]
    in_host(host, "sh", "-e", "-s", text="\n".join(script) + "\n")

    lines = ["link set lo up"]
    lines += [f"address add {topo.LOOPBACKS[host]} dev lo"] if host in topo.LOOPBACKS else []
    lines += [f"address add {address} dev {end.name}" for end in _ends(host) for address in end.addresses]
    lines += [line for link in topo.LINKS.values() if link.msee == host for line in _leg_lines(link)]
    lines += [f"link set {device} up txqueuelen 10000" for device in devices]
    ip_batch(host, lines)


def _leg_lines(link: topo.Link) -> list[str]:
    lines = []
    for vlan, (_, msee_address, _) in link.legs.items():
        lines += [f"link set v{vlan} address {link.mac}", f"address add {msee_address}/30 dev v{vlan}"]
    return lines


def load_programs(bpf_object: Path) -> None:
    shutil.copy(bpf_object, LAB_DIR / BPF_OBJECT)
    wanted = [(end.host, end.name, "tc/drop") for pair in topo.PAIRS for end in pair if end.port]
    for link in topo.LINKS.values():
        wanted.append((link.msee, "trunk", "tc/pop"))
        wanted += [(link.msee, f"v{vlan}t", "tc/push") for vlan in link.legs]
    for host in topo.HOSTS:
        programs = [(device, section) for owner, device, section in wanted if owner == host]
        devices = {device for device, _ in programs} | {end.name for end in _ends(host) if host in topo.MSEES}
        lines = [f"qdisc add dev {device} clsact" for device in sorted(devices)]
        lines += [f"filter add dev {device} ingress pref 2 bpf da obj {LAB_DIR / BPF_OBJECT} sec {section}" for device, section in programs]
        if lines:
            run("tc", "-n", topo.namespace(host), "-batch", "-", text="\n".join(lines) + "\n")


def drop_all(host: str, present: bool) -> None:
    """Nothing enters or leaves a router any more, while all its wires keep their carrier."""
    verb, program = ("add", f"bpf da obj {LAB_DIR / BPF_OBJECT} sec tc/drop") if present else ("del", "")
    lines = [f"filter {verb} dev {end.name} {direction} pref 1 {program}"
             for end in _ends(host) for direction in ("ingress", "egress")]
    run("tc", "-n", topo.namespace(host), "-batch", "-", text="\n".join(lines) + "\n")


def route_lines(routes: tuple[str, ...]) -> list[str]:
    return [f"route replace {route}" for route in routes]


def make_routes() -> None:
    for host, routes in topo.HOST_ROUTES.items():
        ip_batch(host, route_lines(routes))
    for link in topo.LINKS.values():
        rule = [f"rule add iif peer lookup {topo.HANDED_OVER} pref 100"]
        ip_batch(link.msee, rule + route_lines(topo.standing_routes(link) + topo.leg_routes(link)))


def build(bpf_object: Path) -> None:
    if not bpf_object.exists():
        raise LabError(f"{bpf_object} is missing: build the target lab_bpf")
    make_namespaces()
    make_links()
    # Before the first link is up: no frame may reach the kernel behind a twinspand's port.
    load_programs(bpf_object)
    for host in topo.HOSTS:
        configure_host(host)
    make_routes()


def remove() -> None:
    for name in existing():
        run("ip", "netns", "delete", name)
