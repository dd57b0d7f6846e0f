"""What the lab consists of, as data: hosts, veth pairs, addresses, routes. Nothing here touches the machine."""

from dataclasses import dataclass, field

PREFIX = "tw-"
HOSTS = ("onprem", "nva", "msee1", "msee2", "core", "m365", "paas", "azgw", "vnet")
ROUTERS = ("msee1", "msee2", "core")
TWINSPANDS = ("nva", "azgw")

# Fixed interface numbers that vlan.bpf.c relies on.
TRUNK_IFINDEX = 10
BACK_END_OFFSET = 1000
VLANS = {"private": 100, "public": 200, "microsoft": 300}

MICROSOFT_POOL = "198.51.100.0/28"
PUBLIC_POOL = "198.51.100.16/30"
SITE_PREFIXES = ("10.10.0.0/16", "fd10:10::/64")
VNET_PREFIXES = ("10.20.0.0/16", "fd10:20::/64")


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
)
LINKS = {link.name: link for link in (PRIMARY, SECONDARY)}

PAIRS: tuple[tuple[End, End], ...] = (
    (End("onprem", "eth0", ("10.10.0.10/24", "fd10:10::10/64")), End("nva", "lan0", port=True)),
    (End("msee1", "trunk", index=TRUNK_IFINDEX), End("nva", "pri0", port=True)),
    (End("msee2", "trunk", index=TRUNK_IFINDEX), End("nva", "sec0", port=True)),
    (End("msee1", "peer", ("100.64.3.1/30",)), End("msee2", "peer", ("100.64.3.2/30",))),
    (End("msee1", "core", ("100.64.1.2/30",)), End("core", "msee1", ("100.64.1.1/30",))),
    (End("msee2", "core", ("100.64.2.2/30",)), End("core", "msee2", ("100.64.2.1/30",))),
    (End("m365", "eth0", ("13.107.6.10/24",)), End("core", "m365", ("13.107.6.1/24",))),
    (End("paas", "eth0", ("52.239.1.10/24",)), End("core", "paas", ("52.239.1.1/24",))),
    (End("core", "azgw", ("20.51.0.1/29",)), End("azgw", "wan0", port=True)),
    (End("vnet", "eth0", ("10.20.0.10/24", "fd10:20::10/64")), End("azgw", "vnet0", port=True)),
)

# Hosts' own routes. The routers' are below: neither they nor the core know any private prefix, so that one of its
# packets in clear is Twinspan's doing and goes nowhere.
HOST_ROUTES: dict[str, tuple[str, ...]] = {
    "onprem": ("default via 10.10.0.1", "default via fd10:10::1"),
    "vnet": ("default via 10.20.0.1", "default via fd10:20::1"),
    "m365": ("default via 13.107.6.1",),
    "paas": ("default via 52.239.1.1",),
}


def both_msees(prefix: str) -> str:
    """A route of the core that spreads its flows over the two MSEEs."""
    return (f"{prefix} nexthop via {PRIMARY.msee_core_address} dev msee1 "
            f"nexthop via {SECONDARY.msee_core_address} dev msee2")


CORE_ROUTES: tuple[str, ...] = (
    both_msees(MICROSOFT_POOL),
    both_msees(PUBLIC_POOL),
    *(f"{prefix} via {link.msee_core_address} dev {link.msee}"
      for link in LINKS.values() for vlan, (_, _, prefix) in link.legs.items() if vlan != VLANS["private"]),
)


def leg_routes(link: Link) -> tuple[str, ...]:
    """Routes of an MSEE that exist only while its link is up."""
    to_us = {vlan: f"via {ours} dev v{vlan}" for vlan, (ours, _, _) in link.legs.items()}
    other = PRIMARY if link is SECONDARY else SECONDARY
    connected = [f"{prefix} dev v{vlan} src {msee} metric 10{table}"
                 for vlan, (_, msee, prefix) in link.legs.items() for table in ("", f" table {HANDED_OVER}")]
    pools = [f"{pool} {to_us[vlan]} metric 10{table}"
             for pool, vlan in ((MICROSOFT_POOL, VLANS["microsoft"]), (PUBLIC_POOL, VLANS["public"]))
             for table in ("", f" table {HANDED_OVER}")]
    others = [f"{other.legs[vlan][2]} {to_us[vlan]} metric 10 table {HANDED_OVER}"
              for vlan in (VLANS["public"], VLANS["microsoft"])]
    return (*connected, *pools, *others)


# Routing table for what the other MSEE hands over because its own link is down: it leaves by our link or not at all,
# so that two cut links do not make the MSEEs throw packets to and fro.
HANDED_OVER = 100


def standing_routes(link: Link) -> tuple[str, ...]:
    """Routes of an MSEE that the state of its link does not touch; metric 20 is the way round a cut."""
    beyond = ("13.107.6.0/24", "52.239.1.0/24", "20.51.0.0/29")
    protected = (MICROSOFT_POOL, PUBLIC_POOL, *(link.legs[vlan][2] for vlan in (200, 300)))
    other = PRIMARY if link is SECONDARY else SECONDARY
    return (
        *(f"{prefix} via {link.core_address} dev core" for prefix in beyond),
        *(f"{prefix} via {link.other_peer_address} dev peer metric 20" for prefix in protected),
        *(f"{other.legs[vlan][2]} via {link.other_peer_address} dev peer metric 20" for vlan in (200, 300)),
        f"blackhole default table {HANDED_OVER}",
    )


@dataclass(frozen=True)
class Twinspand:
    """A twinspand of the lab: its TAP netdevs and the static routes that Linux gets on them."""

    name: str
    taps: tuple[str, ...]
    routes: tuple[str, ...]
    ports: tuple[str, ...] = field(default=())


def spread(prefix: str, *hops: str) -> str:
    return prefix + "".join(f" nexthop {hop}" for hop in hops)


def over_tunnels(prefix: str, *tunnels: str) -> str:
    """IPv6 shares load among gateways only: any link-local one will do on a tunnel, where nobody is asked for it."""
    gateway = "via fe80::1 " if ":" in prefix else ""
    return spread(prefix, *(f"{gateway}dev {tunnel}" for tunnel in tunnels))


NVA = Twinspand(
    name="nva",
    taps=("lan", "prv-pri", "prv-sec", "pub-pri", "pub-sec", "msft-pri", "msft-sec", "azure-0", "azure-1"),
    routes=(
        spread("13.107.6.0/24", "via 203.0.113.2 dev msft-pri", "via 203.0.113.6 dev msft-sec"),
        spread("52.239.1.0/24", "via 192.0.2.2 dev pub-pri", "via 192.0.2.6 dev pub-sec"),
        spread("20.51.0.0/29", "via 203.0.113.2 dev msft-pri", "via 203.0.113.6 dev msft-sec"),
        *(over_tunnels(prefix, "azure-0", "azure-1") for prefix in VNET_PREFIXES),
    ),
    ports=("lan0", "pri0", "sec0"),
)
AZGW = Twinspand(
    name="azgw",
    taps=("inet", "lan", "onprem-0", "onprem-1"),
    routes=(
        "default via 20.51.0.1 dev inet",
        *(over_tunnels(prefix, "onprem-0", "onprem-1") for prefix in SITE_PREFIXES),
    ),
    ports=("wan0", "vnet0"),
)
DAEMONS = (NVA, AZGW)

WEB_SERVERS = ("m365", "paas")


def namespace(host: str) -> str:
    return PREFIX + host
