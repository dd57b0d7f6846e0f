"""An ESP implementation that shares nothing with Twinspan: scapy, given the keys of the lab's SA files."""

import warnings
from pathlib import Path

import yaml
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, IPSecIntegrityError, SecurityAssociation
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet
from scapy.utils import PcapReader

from labkit import lab

warnings.filterwarnings("ignore")
TUNNELS = ("azure-0", "azure-1")


def associations() -> dict[int, SecurityAssociation]:
    """By SPI, both directions of both tunnels."""
    found = {}
    for tunnel in TUNNELS:
        for sa in yaml.safe_load((lab.LAB_DIR / f"{tunnel}.sa.yaml").read_text()).values():
            found[sa["spi"]] = SecurityAssociation(ESP, spi=sa["spi"], crypt_algo="AES-GCM",
                                                   crypt_key=bytes.fromhex(str(sa["key"])), tunnel_header=IP())
    return found


def ip_packets(file: Path) -> list[Packet]:
    """The IP packets of a capture, tags or not; ARP and the like left out."""
    packets = []
    with PcapReader(str(file)) as reader:
        for frame in reader:
            payload = frame[Dot1Q].payload if Dot1Q in frame else frame[Ether].payload
            if isinstance(payload, (IP, IPv6)):
                packets.append(payload)
    return packets


def decrypt(packets: list[Packet]) -> tuple[list[Packet], int]:
    """The inner packets, and how many did not open."""
    sas = associations()
    inner, failed = [], 0
    for packet in packets:
        if ESP not in packet:
            continue
        try:
            inner.append(sas[packet[ESP].spi].decrypt(packet))
        except (IPSecIntegrityError, KeyError):
            failed += 1
    return inner, failed


def identity(packet: Packet) -> tuple:
    """What a packet keeps on its way through a tunnel: all but TTL, checksums, and the options that the MSS clamp changes."""
    if isinstance(packet, IPv6):
        return (packet.src, packet.dst, packet.nh, bytes(packet.payload))
    if packet.proto == 6:
        tcp = packet.payload
        return (packet.src, packet.dst, 6, packet.id, tcp.sport, tcp.dport, tcp.seq, tcp.ack, bytes(tcp.payload))
    return (packet.src, packet.dst, packet.proto, packet.id, bytes(packet.payload))


def stream_flow(packet: Packet, magic: bytes) -> int | None:
    """The flow number in a packet of udp_stream."""
    if UDP not in packet:
        return None
    payload = bytes(packet[UDP].payload)
    return int.from_bytes(payload[4:8], "little") if payload[:4] == magic else None
