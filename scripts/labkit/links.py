"""Cuts and heals a link of the circuit the way a fibre does: carrier first, routes at once."""

import json
import time

from . import netns
from . import topology as topo


def _v_devices(link: topo.Link) -> list[str]:
    return [f"v{vlan}" for vlan in link.legs]


def cut(name: str) -> str:
    """The port loses carrier with the first command; the MSEE goes the way round with the next ones."""
    link = topo.LINKS[name]
    lines = ["link set trunk down"]
    lines += [f"route del {route}" for route in topo.leg_routes(link)]
    lines += [f"link set {device} down" for device in _v_devices(link)]
    return _timed(link, "cut", lines, force=True)


def heal(name: str) -> str:
    """The MSEE can receive before the port sees carrier, and sends only when its own side is complete."""
    link = topo.LINKS[name]
    lines = [f"link set {device} up" for device in _v_devices(link)]
    lines += ["link set trunk up"]
    lines += netns.route_lines(topo.leg_routes(link))
    return _timed(link, "heal", lines, force=False)


def _timed(link: topo.Link, action: str, lines: list[str], force: bool) -> str:
    """Times are CLOCK_MONOTONIC, which all namespaces share, so that a capture or a stream can be set against them."""
    started = time.monotonic_ns()
    netns.ip_batch(link.msee, lines, force=force)
    return json.dumps({"link": link.name, "action": action, "started_ns": started, "finished_ns": time.monotonic_ns()})


def is_up(name: str) -> bool:
    state = netns.run("ip", "-n", topo.namespace(topo.LINKS[name].msee), "-br", "link", "show", "trunk")
    return " UP " in state or "LOWER_UP" in state


def route_to_site(present: bool) -> None:
    """Lets the Microsoft side reach for the LAN through the Microsoft peering, as an attacker there would."""
    verb = "replace" if present else "del"
    prefix = topo.SITE_PREFIXES[0]
    netns.ip_batch("core", [f"route {verb} {topo.both_msees(prefix)}"], force=not present)
    for link in topo.LINKS.values():
        ours = link.legs[topo.VLANS["microsoft"]][0]
        netns.ip_batch(link.msee, [f"route {verb} {prefix} via {ours} dev v300"], force=not present)
