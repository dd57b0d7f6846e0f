"""What the tests send and what they compare with: scapy's packets, scapy's checksums, scapy's ESP."""

import itertools

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror
from scapy.layers.inet6 import IPerror6, IPv6
from scapy.layers.ipsec import ESP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

from harness import LAN_HOST, LAN_HOST6, LAN_MAC, MSEE_MAC, NEIGHBOURS
from peer import TUNNEL_ENDS, Peer, ip_of

_serial = itertools.count(1)
VLAN = {"private": 100, "public": 200, "microsoft": 300}


def payload(size: int = 64) -> Raw:
    """Different in every packet, so that nothing older can be taken for it."""
    return Raw(next(_serial).to_bytes(8, "big") * (size // 8) + bytes(size % 8))


def lan_frame(site, packet: Packet) -> Packet:
    return Ether(src=LAN_MAC, dst=site.mac["lan"]) / packet


def link_frame(site, link: str, peering: str, packet: Packet) -> Packet:
    return Ether(src=MSEE_MAC[link], dst=site.mac[link]) / Dot1Q(vlan=VLAN[peering]) / packet


def to_lan(site, packet: Packet) -> Packet:
    return Ether(src=site.mac["lan"], dst=LAN_MAC) / packet


def to_link(site, link: str, peering: str, packet: Packet) -> Packet:
    return Ether(src=site.mac[link], dst=MSEE_MAC[link]) / Dot1Q(vlan=VLAN[peering]) / packet


def has(token: Raw):
    """Frames with this payload."""
    data = bytes(token)
    return lambda frame: data in bytes(frame)


def kind(*layers, **fields):
    """Frames with all these layers whose last one has these values."""
    def wanted(frame: Packet) -> bool:
        return all(layer in frame for layer in layers) and all(getattr(frame[layers[-1]], k) == v for k, v in fields.items())

    return wanted


def recomputed(packet: Packet) -> bytes:
    """The bytes with every outer length and checksum computed anew by scapy. A quoted packet is left as it is quoted."""
    copy = packet.copy()
    layer = copy
    while layer and not isinstance(layer, (IPerror, IPerror6)):
        for field in ("chksum", "cksum", "len", "plen", "ihl", "dataofs"):
            if field in layer.fields and not isinstance(layer, ESP):
                del layer.fields[field]
        layer.raw_packet_cache = None
        layer = layer.payload
    return bytes(copy)


def assert_well_formed(frame: Packet) -> None:
    """Lengths and checksums are those that scapy computes."""
    packet = ip_of(frame)
    assert bytes(packet).hex() == recomputed(packet).hex()


def assert_same(frame: Packet, expected: Packet) -> None:
    """Byte for byte; shorter frames have Ethernet's padding."""
    wanted = bytes(expected)
    assert bytes(frame)[:len(wanted)].hex() == wanted.hex()
    assert len(bytes(frame)) == max(len(wanted), len(bytes(frame)) if len(wanted) < 60 else 0)


def hop(packet: Packet) -> Packet:
    """The packet one router further."""
    copy = packet.copy()
    if isinstance(copy, IP):
        copy.ttl -= 1
        del copy.chksum  # of a packet that was taken apart it stands for the other TTL
    else:
        copy.hlim -= 1
    return copy


def icmp_quote(frame: Packet) -> bytes:
    """What an ICMP error quotes."""
    return bytes(ip_of(frame)[ICMP].payload) if ICMP in frame else bytes(ip_of(frame).payload)[8:]


__all__ = ["assert_same", "assert_well_formed", "hop", "has", "icmp_quote", "ip_of", "kind", "lan_frame",
           "link_frame", "payload", "Peer", "recomputed", "to_lan", "to_link", "LAN_HOST", "LAN_HOST6", "LAN_MAC",
           "MSEE_MAC", "NEIGHBOURS", "TUNNEL_ENDS", "VLAN", "Dot1Q", "ESP", "Ether", "ICMP", "IP", "IPv6", "Raw", "TCP", "UDP"]
