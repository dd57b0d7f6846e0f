"""What happens to a link of the circuit: it is cut and healed as a fibre is; its MSEE dies without a word and boots again."""

import json
import time

from . import frr, netns
from . import topology as topo
from .paths import LAB_DIR


def _v_devices(link: topo.Link) -> list[str]:
    return [f"v{vlan}" for vlan in link.legs]


def cut(name: str) -> str:
    """The port loses carrier with the first command; the MSEE's BGP learns of it with the next ones."""
    link = topo.LINKS[name]
    return _timed(link, "cut", ["link set trunk down", *(f"link set {device} down" for device in _v_devices(link))])


def heal(name: str) -> str:
    """The port sees carrier before the MSEE takes up its routes, so that the core sends nothing that cannot leave."""
    link = topo.LINKS[name]
    lines = ["link set trunk up", *(f"link set {device} up" for device in _v_devices(link))]
    return _timed(link, "heal", lines + netns.route_lines(topo.leg_routes(link)))


def silence(name: str) -> str:
    """The MSEE dies: its daemons are gone, nothing passes it any more, and no wire loses its carrier."""
    link = topo.LINKS[name]
    started = time.monotonic_ns()
    netns.drop_all(link.msee, present=True)
    finished = time.monotonic_ns()
    frr.kill(LAB_DIR, link.msee)
    return _times(link, "silence", started, finished)


def revive(name: str) -> str:
    """The MSEE has booted again."""
    link = topo.LINKS[name]
    started = time.monotonic_ns()
    netns.drop_all(link.msee, present=False)
    frr.restart(LAB_DIR, link.msee)
    return _times(link, "revive", started, time.monotonic_ns())


def _timed(link: topo.Link, action: str, lines: list[str]) -> str:
    started = time.monotonic_ns()
    netns.ip_batch(link.msee, lines)
    return _times(link, action, started, time.monotonic_ns())


def _times(link: topo.Link, action: str, started: int, finished: int) -> str:
    """Times are CLOCK_MONOTONIC, which all namespaces share, so that a capture or a stream can be set against them."""
    return json.dumps({"link": link.name, "action": action, "started_ns": started, "finished_ns": finished})


def is_up(name: str) -> bool:
    state = netns.run("ip", "-n", topo.namespace(topo.LINKS[name].msee), "-br", "link", "show", "trunk")
    return " UP " in state or "LOWER_UP" in state


def route_to_site(present: bool) -> None:
    """Lets the Microsoft side reach for the LAN through the Microsoft peering, as an attacker there would."""
    verb = "replace" if present else "del"
    prefix = topo.SITE_PREFIXES[0]
    hops = " ".join(f"nexthop via {link.msee_core_address} dev {link.msee}" for link in topo.LINKS.values())
    netns.ip_batch("core", [f"route {verb} {prefix} {hops}"], force=not present)
    for link in topo.LINKS.values():
        ours = link.legs[topo.VLANS["microsoft"]][0]
        netns.ip_batch(link.msee, [f"route {verb} {prefix} via {ours} dev v300"], force=not present)
