"""Network namespaces of the VM: the NVA, a host on its LAN, the peer, a host behind the peer, and the wires between them."""

import subprocess
import time

# A wire's ends: namespace and device. The ends in `nva` are Twinspan's ports.
WIRES = (
    (("nva", "lan0"), ("host", "eth0")),
    (("nva", "pri0"), ("peer", "pri1")),
    (("nva", "sec0"), ("peer", "sec1")),
    (("peer", "in0"), ("inside", "eth0")),
)
PORTS = ("lan0", "pri0", "sec0")
NAMESPACES = ("nva", "host", "peer", "inside")
OFFLOADS = "tx off rx off tso off gso off gro off txvlan off rxvlan off"


def run(*command, check: bool = True, text: str | None = None, seconds: float = 60) -> str:
    done = subprocess.run([str(part) for part in command], input=text, capture_output=True, text=True, timeout=seconds)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def inside(namespace: str, *command, **options) -> str:
    return run("ip", "netns", "exec", namespace, *command, **options)


def ip(namespace: str, *lines: str) -> None:
    run("ip", "-n", namespace, "-batch", "-", text="\n".join(lines) + "\n")


def eventually(what, seconds: float, message: str = "", every: float = 0.1):
    """The first true value of what()."""
    deadline = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(message or f"not within {seconds} s")
        time.sleep(every)


def make() -> None:
    for namespace in NAMESPACES:
        run("ip", "netns", "add", namespace)
        inside(namespace, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0",
               "net.ipv6.conf.default.router_solicitations=0", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
        ip(namespace, "link set lo up")
    for (near, device), (far, other) in WIRES:
        run("ip", "link", "add", device, "netns", near, "mtu", 1600, "type", "veth", "peer", "name", other, "netns", far, "mtu", 1600)
        for namespace, name in ((near, device), (far, other)):
            run("ip", "netns", "exec", namespace, "ethtool", "-K", name, *OFFLOADS.split())
    inside("nva", "sysctl", "-qw", *(f"net.ipv6.conf.{port}.disable_ipv6=1" for port in PORTS))
    for (near, device), (far, other) in WIRES:
        ip(near, f"link set {device} up")
        ip(far, f"link set {other} up")


def give_ports_away() -> None:
    """Linux sees nothing of what arrives at the ports: an AF_PACKET socket takes it before this filter drops it."""
    for port in PORTS:
        run("tc", "-n", "nva", "qdisc", "add", "dev", port, "clsact")
        run("tc", "-n", "nva", "filter", "add", "dev", port, "ingress", "matchall", "action", "drop")
