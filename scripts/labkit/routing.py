"""FRR's configurations on Microsoft's side of the lab: the MSEEs, its core, the Azure gateways and a spoke network."""

import json
import time

from . import netns
from . import topology as topo

# azgw is an appliance in Azure, not Azure's own gateway, whose ASN means timers of 60 and 180 s.
MSEE_ASN, SITE_ASN, AZURE_ASN, AZGW_ASN = 12076, 65010, 65515, 65020
# tunnel on premises -> addresses inside, ours and theirs; the last one goes over the internet
TUNNEL_ADDRESSES = {
    "azure-0": ("169.254.21.1", "169.254.21.2"),
    "azure-1": ("169.254.22.1", "169.254.22.2"),
    "inet-0": ("169.254.23.1", "169.254.23.2"),
}
# What Microsoft tags its prefixes with: services of a region, storage of a region, virtual networks of a region.
MICROSOFT_COMMUNITY, STORAGE_COMMUNITY, PRIVATE_COMMUNITY = "12076:51004", "12076:52004", "12076:50026"
BFD = """\
bfd
 profile fast
  detect-multiplier 3
  receive-interval 300
  transmit-interval 300
 exit
exit
"""
HEAD = f"""\
frr defaults traditional
hostname {{host}}
log stdout informational
no zebra nexthop kernel enable
{{bfd}}"""
# host -> prefix -> over how many devices, once BGP has converged.
MICROSOFT_ALONE = {
    "core": {"203.0.113.0/30": 1, "203.0.113.4/30": 1, "192.0.2.0/30": 1, "192.0.2.4/30": 1},
    "msee1": {"13.107.6.0/24": 1, "52.239.1.0/24": 1, topo.SPOKE_PREFIX: 1},
    "msee2": {"13.107.6.0/24": 1, "52.239.1.0/24": 1, topo.SPOKE_PREFIX: 1},
}
WHOLE = MICROSOFT_ALONE | {
    "core": {**MICROSOFT_ALONE["core"], topo.MICROSOFT_POOL: 2, topo.PUBLIC_POOL: 2},
    "nva": {"13.107.6.0/24": 2, "52.239.1.0/24": 2, topo.SPOKE_PREFIX: 2, topo.VNET_PREFIXES[0]: 2},
    "azgw": {topo.SITE_PREFIXES[0]: 2, topo.SPOKE_PREFIX: 1},
    "spoke": {topo.SITE_PREFIXES[0]: 2},
}


def wait_for_routes(wanted: dict[str, dict[str, int]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for host, prefixes in wanted.items():
        while missing := [prefix for prefix, hops in prefixes.items() if _hops(host, prefix) != hops]:
            if time.monotonic() > deadline:
                raise netns.LabError(f"BGP in {host} does not bring {', '.join(missing)} in {seconds:.0f} s")
            time.sleep(0.1)


def _hops(host: str, prefix: str) -> int:
    """Of the preferred route."""
    routes = json.loads(netns.in_host(host, "ip", "-j", "route", "show", prefix))
    best = min(routes, key=lambda route: route.get("metric", 0), default={"nexthops": []})
    return len(best.get("nexthops", [best]))


def _router(asn: int, router_id: str, neighbors: list[str], families: str) -> str:
    lines = "\n".join(f" {line}" for line in neighbors)
    return f"""\
router bgp {asn}
 bgp router-id {router_id}
 bgp log-neighbor-changes
 no bgp default ipv4-unicast
 no bgp network import-check
 timers bgp 60 180
{lines}
{families}exit
"""


def _neighbor(address: str, asn: int, description: str, *more: str) -> list[str]:
    options = (f"remote-as {asn}", f"description {description}", "timers connect 1", "bfd profile fast", *more)
    return [f"neighbor {address} {option}" for option in options]


def _family(name: str, lines: list[str]) -> str:
    text = "\n".join(f"  {line}" for line in lines)
    return f" address-family {name}\n{text}\n exit-address-family\n"


def _policies(address: str, inward: str | None, outward: str | None) -> list[str]:
    lines = [f"neighbor {address} activate"]
    lines += [f"neighbor {address} route-map {inward} in"] if inward else []
    lines += [f"neighbor {address} route-map {outward} out"] if outward else []
    return lines


# What a router of Microsoft's lets in from a customer, and says to it: by prefix, then by community.
MSEE_POLICIES = """\
ip prefix-list SITE seq 5 permit 10.0.0.0/8 le 32
ip prefix-list MICROSOFT-POOL seq 5 permit {microsoft_pool} le 32
ip prefix-list PUBLIC-POOL seq 5 permit {public_pool} le 32
ip prefix-list PRIVATE seq 5 permit 10.0.0.0/8 le 32
bgp community-list standard MICROSOFT seq 5 permit {microsoft}
bgp community-list standard STORAGE seq 5 permit {storage}
bgp community-list standard VNETS seq 5 permit {private}
route-map private-in permit 10
 match ip address prefix-list SITE
exit
route-map private-out permit 10
 match community VNETS
exit
route-map public-in permit 10
 match ip address prefix-list PUBLIC-POOL
exit
route-map public-out permit 10
 match community STORAGE
exit
route-map microsoft-in permit 10
 match ip address prefix-list MICROSOFT-POOL
exit
route-map microsoft-out permit 10
 match community MICROSOFT
exit
route-map to-core deny 10
 match ip address prefix-list PRIVATE
exit
route-map to-core permit 20
exit
route-map to-spoke permit 10
 match ip address prefix-list SITE
exit
route-map link-here permit 10
 match interface v200
 set local-preference 200
exit
route-map link-here permit 20
 match interface v300
 set local-preference 200
exit
route-map link-there permit 10
 set local-preference 50
exit
"""


def msee(link: topo.Link, password: str) -> str:
    """A session per peering with the customer; the other MSEE and the core know what it knows, the core nothing private.
    While its own link is cut, the other MSEE carries what is for this link's addresses: its static routes."""
    sides = {vlan: link.legs[vlan][0] for vlan in link.legs}
    other = topo.PRIMARY if link is topo.SECONDARY else topo.SECONDARY
    neighbors, family = [], ["redistribute connected route-map link-here", "redistribute static route-map link-there"]
    for peering, limit in (("private", 4000), ("public", 200), ("microsoft", 200)):
        address = sides[topo.VLANS[peering]]
        neighbors += _neighbor(address, SITE_ASN, f"{peering} peering")
        if peering != "public":
            neighbors.append(f"neighbor {address} password {password}")
        family += _policies(address, f"{peering}-in", f"{peering}-out")
        # Counts what is refused, too, for which the refused has to be kept.
        family += [f"neighbor {address} soft-reconfiguration inbound", f"neighbor {address} maximum-prefix {limit} force"]
    for address, asn, name, outward in ((link.other_peer_address, MSEE_ASN, other.msee, None), (link.core_address, MSEE_ASN, "core", "to-core"),
                                        (link.spoke_address, AZURE_ASN, "spoke", "to-spoke")):
        neighbors += _neighbor(address, asn, name)
        family += [*_policies(address, "everything" if asn != MSEE_ASN else None, outward), f"neighbor {address} next-hop-self"]
    round_the_cut = "".join(f"ip route {other.legs[vlan][2]} {link.legs[vlan][0]} v{vlan}\n" for vlan in (200, 300))
    return (HEAD.format(host=link.msee, bfd=BFD) + round_the_cut
            + _router(MSEE_ASN, link.msee_core_address, neighbors, _family("ipv4 unicast", family))
            + MSEE_POLICIES.format(microsoft_pool=topo.MICROSOFT_POOL, public_pool=topo.PUBLIC_POOL, microsoft=MICROSOFT_COMMUNITY,
                                   storage=STORAGE_COMMUNITY, private=PRIVATE_COMMUNITY)
            + "route-map everything permit 10\nexit\n")


def core() -> str:
    """Microsoft's own prefixes, and both MSEEs' ways to the customer at once."""
    neighbors, family = [], ["maximum-paths ibgp 2"]
    for link in topo.LINKS.values():
        neighbors += _neighbor(link.msee_core_address, MSEE_ASN, link.msee)
        family.append(f"neighbor {link.msee_core_address} activate")
    family += [f"network {prefix} route-map {tag}" for prefix, tag in (
        ("13.107.6.0/24", "microsoft"), ("20.51.0.0/29", "microsoft"), ("52.239.1.0/24", "storage"))]
    tags = "".join(f"route-map {name} permit 10\n set community {community}\nexit\n"
                   for name, community in (("microsoft", MICROSOFT_COMMUNITY), ("storage", STORAGE_COMMUNITY)))
    return (HEAD.format(host="core", bfd=BFD)
            + _router(MSEE_ASN, topo.PRIMARY.core_address, neighbors, _family("ipv4 unicast", family)) + tags)


def spoke() -> str:
    """The ExpressRoute gateway of a virtual network: prefers the circuit to the way through azgw's internet tunnel. As Azure
    does, it announces azgw's network on private peering, too: the site's end must not follow."""
    neighbors, family = [], [f"network {topo.SPOKE_PREFIX}"]
    for link in topo.LINKS.values():
        neighbors += _neighbor(link.msee_spoke_address, MSEE_ASN, link.msee)
        family += _policies(link.msee_spoke_address, "circuit", "vnets")
    neighbors += _neighbor("10.30.255.1", AZURE_ASN, "azgw")
    family += [*_policies("10.30.255.1", None, "own"), "neighbor 10.30.255.1 next-hop-self"]
    return HEAD.format(host="spoke", bfd=BFD) + _router(AZURE_ASN, "10.30.0.10", neighbors, _family("ipv4 unicast", family)) + f"""\
ip prefix-list OWN seq 5 permit {topo.SPOKE_PREFIX}
ip prefix-list VNETS seq 5 permit {topo.SPOKE_PREFIX}
ip prefix-list VNETS seq 10 permit {topo.VNET_PREFIXES[0]}
route-map circuit permit 10
 set local-preference 200
exit
route-map vnets permit 10
 match ip address prefix-list VNETS
 set community {PRIVATE_COMMUNITY}
exit
route-map own permit 10
 match ip address prefix-list OWN
exit
"""


def azgw() -> str:
    """Azure's end of the tunnels. The spoke is offered through the internet tunnel alone."""
    neighbors = []
    family4 = [f"network {topo.VNET_PREFIXES[0]}", "neighbor 10.30.255.2 activate", "neighbor 10.30.255.2 next-hop-self"]
    for tunnel, (ours, _) in TUNNEL_ADDRESSES.items():
        name = "internet" if tunnel == "inet-0" else "circuit"
        neighbors += _neighbor(ours, SITE_ASN, f"the other end of {tunnel}", f"local-as {AZGW_ASN} no-prepend replace-as")
        family4 += _policies(ours, f"{name}-in", f"{name}-out")
    neighbors += _neighbor("10.30.255.2", AZURE_ASN, "spoke")
    return (HEAD.format(host="azgw", bfd=BFD)
            + _router(AZURE_ASN, "20.51.0.4", neighbors, _family("ipv4 unicast", family4)) + f"""\
ip prefix-list ENCRYPTED seq 5 permit {topo.VNET_PREFIXES[0]}
route-map circuit-in permit 10
exit
route-map circuit-out permit 10
 match ip address prefix-list ENCRYPTED
exit
route-map internet-in permit 10
 set local-preference 50
exit
route-map internet-out permit 10
exit
""")


def nva_additions() -> str:
    """What the lab asks of FRR beside what twinspanctl renders: BFD inside the tunnels, whose other end hears of two cut links by it alone."""
    lines = [f"neighbor {theirs} {option}" for _, theirs in TUNNEL_ADDRESSES.values() for option in ("timers connect 1", "bfd profile fast")]
    body = "\n".join(f" {line}" for line in lines)
    return f"{BFD}router bgp {SITE_ASN}\n{body}\nexit\n"
