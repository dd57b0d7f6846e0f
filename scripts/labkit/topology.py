"""What the lab consists of, as data: hosts, veth pairs, addresses, routes. Nothing here touches the machine."""

from dataclasses import dataclass, field

PREFIX = "tw-"
HOSTS = ("onprem", "nva", "msee1", "msee2", "isp", "core", "m365", "paas", "azgw", "vnet", "spoke")
ROUTERS = ("msee1", "msee2", "isp", "core", "spoke")
TWINSPANDS = ("nva", "azgw")
MSEES = ("msee1", "msee2")
FRR_HOSTS = ("nva", "msee1", "msee2", "core", "azgw", "spoke")

# Fixed interface numbers that vlan.bpf.c relies on.
TRUNK_IFINDEX = 10
BACK_END_OFFSET = 1000
VLANS = {"private": 100, "public": 200, "microsoft": 300}

MICROSOFT_POOL = "198.51.100.0/28"
PUBLIC_POOL = "198.51.100.16/30"
INTERNET_POOL = "192.0.2.72/29"
SITE_PREFIXES = ("10.10.0.0/16", "fd10:10::/64")
# Under `encrypt:`, behind azgw; the spoke is not, and private peering carries it in clear.
VNET_PREFIXES = ("10.20.0.0/16", "fd10:20::/64")
SPOKE_PREFIX = "10.30.0.0/16"
# Addresses of a host's loopback.
LOOPBACKS = {"spoke": "10.30.0.10/32"}


@dataclass(frozen=True)
class End:
    """One end of a veth pair. A port is an end that a twinspand opens: no addresses, hidden from the kernel."""

    host: str
    name: str
    addresses: tuple[str, ...] = ()
    port: bool = False
    index: int = 0


@dataclass(frozen=True)
class Link:
    """One of the circuit's two links, seen from its MSEE."""

    name: str
    msee: str
    other_msee: str
    port: str
    mac: str
    other_mac: str
    # VLAN -> (our address, the MSEE's address, prefix)
    legs: dict[int, tuple[str, str, str]]
    core_address: str
    msee_core_address: str
    peer_address: str
    other_peer_address: str
    spoke_address: str
    msee_spoke_address: str


PRIMARY = Link(
    name="primary", msee="msee1", other_msee="msee2", port="pri0",
    mac="02:00:5e:00:01:01", other_mac="02:00:5e:00:02:01",
    legs={
        100: ("172.16.0.1", "172.16.0.2", "172.16.0.0/30"),
        200: ("192.0.2.1", "192.0.2.2", "192.0.2.0/30"),
        300: ("203.0.113.1", "203.0.113.2", "203.0.113.0/30"),
    },
    core_address="100.64.1.1", msee_core_address="100.64.1.2",
    peer_address="100.64.3.1", other_peer_address="100.64.3.2",
    spoke_address="100.64.5.2", msee_spoke_address="100.64.5.1",
)
SECONDARY = Link(
    name="secondary", msee="msee2", other_msee="msee1", port="sec0",
    mac="02:00:5e:00:02:01", other_mac="02:00:5e:00:01:01",
    legs={
        100: ("172.16.0.5", "172.16.0.6", "172.16.0.4/30"),
        200: ("192.0.2.5", "192.0.2.6", "192.0.2.4/30"),
        300: ("203.0.113.5", "203.0.113.6", "203.0.113.4/30"),
    },
    core_address="100.64.2.1", msee_core_address="100.64.2.2",
    peer_address="100.64.3.2", other_peer_address="100.64.3.1",
    spoke_address="100.64.6.2", msee_spoke_address="100.64.6.1",
)
LINKS = {link.name: link for link in (PRIMARY, SECONDARY)}

PAIRS: tuple[tuple[End, End], ...] = (
    (End("onprem", "eth0", ("10.10.0.10/24", "fd10:10::10/64")), End("nva", "lan0", port=True)),
    (End("msee1", "trunk", index=TRUNK_IFINDEX), End("nva", "pri0", port=True)),
    (End("msee2", "trunk", index=TRUNK_IFINDEX), End("nva", "sec0", port=True)),
    (End("msee1", "peer", ("100.64.3.1/30",)), End("msee2", "peer", ("100.64.3.2/30",))),
    (End("msee1", "core", ("100.64.1.2/30",)), End("core", "msee1", ("100.64.1.1/30",))),
    (End("msee2", "core", ("100.64.2.2/30",)), End("core", "msee2", ("100.64.2.1/30",))),
    (End("msee1", "spoke", ("100.64.5.1/30",)), End("spoke", "msee1", ("100.64.5.2/30",))),
    (End("msee2", "spoke", ("100.64.6.1/30",)), End("spoke", "msee2", ("100.64.6.2/30",))),
    (End("isp", "nva", ("192.0.2.66/30",)), End("nva", "net0", port=True)),
    (End("isp", "core", ("100.64.4.2/30",)), End("core", "isp", ("100.64.4.1/30",))),
    (End("m365", "eth0", ("13.107.6.10/24",)), End("core", "m365", ("13.107.6.1/24",))),
    (End("paas", "eth0", ("52.239.1.10/24",)), End("core", "paas", ("52.239.1.1/24",))),
    (End("core", "azgw", ("20.51.0.1/29",)), End("azgw", "wan0", port=True)),
    (End("vnet", "eth0", ("10.20.0.10/24", "fd10:20::10/64")), End("azgw", "vnet0", port=True)),
    (End("spoke", "azgw", ("10.30.255.2/30",)), End("azgw", "spoke0", port=True)),
)

# Routes that no routing protocol brings: those of hosts, and the internet's.
HOST_ROUTES: dict[str, tuple[str, ...]] = {
    "onprem": ("default via 10.10.0.1", "default via fd10:10::1"),
    "vnet": ("default via 10.20.0.1", "default via fd10:20::1"),
    "m365": ("default via 13.107.6.1",),
    "paas": ("default via 52.239.1.1",),
    "isp": ("default via 100.64.4.1", f"{INTERNET_POOL} via 192.0.2.65"),
    "core": ("192.0.2.64/27 via 100.64.4.2",),
}


# What an MSEE whose link is cut does at once, before BGP: it hands over to the other one, which sends it out of its own link or
# drops it, so that two cut links do not make the MSEEs throw packets to and fro. That is table 100. zebra reads the upper byte of a
# kernel route's metric as its distance: 220 loses to all of BGP's.
HANDED_OVER = 100
LAST_RESORT = 220 << 24


def _protected(link: Link) -> dict[str, str]:
    """Public prefixes beyond the circuit -> this link's way to them."""
    pools = {MICROSOFT_POOL: VLANS["microsoft"], PUBLIC_POOL: VLANS["public"]}
    subnets = {end.legs[vlan][2]: vlan for end in LINKS.values() for vlan in pools.values()}
    return {prefix: f"via {link.legs[vlan][0]} dev v{vlan}" for prefix, vlan in (pools | subnets).items()}


def leg_routes(link: Link) -> tuple[str, ...]:
    """Routes of an MSEE that go when its link does, and that somebody has to put back."""
    own = [f"{link.legs[vlan][2]} dev v{vlan} table {HANDED_OVER}" for vlan in link.legs]
    return (*own, *(f"{prefix} {way} metric 10 table {HANDED_OVER}" for prefix, way in _protected(link).items()))


def standing_routes(link: Link) -> tuple[str, ...]:
    """Routes of an MSEE that the state of its link does not touch."""
    return tuple(route for prefix in _protected(link) for route in (
        f"{prefix} via {link.other_peer_address} dev peer metric {LAST_RESORT}", f"blackhole {prefix} metric 1000 table {HANDED_OVER}"))


@dataclass(frozen=True)
class Twinspand:
    """A twinspand of the lab: its TAP netdevs and the routes that Linux gets on them before any routing daemon."""

    name: str
    taps: tuple[str, ...]
    routes: tuple[str, ...]
    ports: tuple[str, ...] = field(default=())


def over_tunnels(prefix: str, preferred: tuple[str, ...], fallback: str) -> tuple[str, ...]:
    """IPv6 shares load among gateways only: any link-local one will do on a tunnel, where nobody is asked for it."""
    hops = " ".join(f"nexthop via fe80::1 dev {tunnel}" for tunnel in preferred)
    return (f"{prefix} metric 100 {hops}", f"{prefix} metric 200 via fe80::1 dev {fallback}")


NVA = Twinspand(
    name="nva",
    taps=("lan", "prv-pri", "prv-sec", "pub-pri", "pub-sec", "msft-pri", "msft-sec", "inet", "azure-0", "azure-1", "inet-0"),
    # What a provider gives; without the second one the way to inet-0's end would be BGP's, over the circuit. IPv6 through the
    # tunnels is static: their BGP sessions are IPv4's, and a netdev without an IPv6 address has no next hop to announce.
    routes=("default via 192.0.2.66 dev inet", "20.51.0.6/32 via 192.0.2.66 dev inet",
            *over_tunnels(VNET_PREFIXES[1], ("azure-0", "azure-1"), "inet-0")),
    ports=("lan0", "pri0", "sec0", "net0"),
)
AZGW = Twinspand(
    name="azgw",
    taps=("inet", "lan", "lan1", "onprem-0", "onprem-1", "onprem-2"),
    routes=("default via 20.51.0.1 dev inet", *over_tunnels(SITE_PREFIXES[1], ("onprem-0", "onprem-1"), "onprem-2")),
    ports=("wan0", "vnet0", "spoke0"),
)
DAEMONS = (NVA, AZGW)

WEB_SERVERS = ("m365", "paas")


def namespace(host: str) -> str:
    return PREFIX + host
