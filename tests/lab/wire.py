"""A port of the NVA without a twinspand: packet sockets that send what scapy builds and tell how tags arrive."""

import ctypes
import os
import select
import socket
import struct
import time
from dataclasses import dataclass

from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.inet import ICMP, IP
from scapy.packet import Packet, Raw

SOL_PACKET = 263
PACKET_AUXDATA = 8
SO_RCVBUFFORCE = 33
ETH_P_ALL = 3
VLAN_VALID = 0x10
CLONE_NEWNET = 0x40000000
STREAM_MAGIC = struct.pack("=I", 0x54535553)
OUR_MAC = "02:00:00:00:00:01"


@dataclass(frozen=True)
class Received:
    frame: Packet
    vlan_in_metadata: int | None
    length_in_metadata: int


def enter(namespace: str) -> None:
    """Moves the calling thread into a namespace."""
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"setns {namespace}")
    os.close(descriptor)


class Wire:
    """A packet socket on one device of a namespace; the caller's own namespace stays as it was."""

    def __init__(self, namespace: str, device: str):
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        enter(namespace)
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self._socket.bind((device, ETH_P_ALL))
            self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        finally:
            ctypes.CDLL(None).setns(home, CLONE_NEWNET)
            os.close(home)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def send(self, frame: Packet) -> None:
        self._socket.send(bytes(frame))

    def receive(self, wanted, seconds: float = 1.0) -> Received | None:
        """The next incoming frame for which wanted(received) holds."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._socket], [], [], left)[0]:
                return None
            data, ancillary, _, address = self._socket.recvmsg(65536, 256)
            if address[2] == socket.PACKET_OUTGOING:
                continue
            received = _read(data, ancillary)
            if wanted(received):
                return received
        return None


def _read(data: bytes, ancillary) -> Received:
    vlan, length = None, len(data)
    for level, kind, value in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, length, _, _, _, tci, _ = struct.unpack("=IIIHHHH", value[:20])
            vlan = tci & 0xFFF if status & VLAN_VALID else None
    return Received(Ether(data), vlan, length)


def arp_request(vlans: tuple[int, ...], ours: str, wanted: str) -> Packet:
    frame = Ether(src=OUR_MAC, dst="ff:ff:ff:ff:ff:ff")
    for vlan in vlans:
        frame = frame / Dot1Q(vlan=vlan)
    return frame / ARP(op="who-has", hwsrc=OUR_MAC, psrc=ours, pdst=wanted)


def resolve(wire: Wire, vlans: tuple[int, ...], ours: str, wanted: str, seconds: float = 0.3) -> Received | None:
    wire.send(arp_request(vlans, ours, wanted))
    return wire.receive(lambda r: ARP in r.frame and r.frame[ARP].op == 2 and r.frame[ARP].psrc == wanted, seconds)


def ping(wire: Wire, vlan: int, mac: str, ours: str, wanted: str, size: int = 56) -> Received | None:
    """One echo; answers the MSEE's ARP request for us on the way."""
    wire.send(Ether(src=OUR_MAC, dst=mac) / Dot1Q(vlan=vlan) / IP(src=ours, dst=wanted) / ICMP(id=7) / Raw(bytes(size)))
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        received = wire.receive(lambda r: ARP in r.frame or ICMP in r.frame, 0.5)
        if received is None:
            return None
        if ICMP in received.frame and received.frame[ICMP].type == 0:
            return received
        answer_arp(wire, received)
    return None


def answer_arp(wire: Wire, received: Received) -> None:
    if ARP in received.frame and received.frame[ARP].op == 1:
        asked = received.frame[ARP]
        wire.send(Ether(src=OUR_MAC, dst=asked.hwsrc) / Dot1Q(vlan=received.vlan_in_metadata)
                  / ARP(op="is-at", hwsrc=OUR_MAC, psrc=asked.pdst, hwdst=asked.hwsrc, pdst=asked.psrc))


def collect(wires: list[Wire], seconds: float) -> list[tuple[int, int, int]]:
    """What udp_stream's packets did on the wires meanwhile, as (wire, flow, sequence), with ARP answered for us."""
    seen = []
    sockets = {wire._socket: number for number, wire in enumerate(wires)}
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        for ready in select.select(list(sockets), [], [], left)[0]:
            data, ancillary, _, address = ready.recvmsg(2048, 256)
            if address[2] == socket.PACKET_OUTGOING:
                continue
            if data[12:14] == b"\x08\x06":
                answer_arp(wires[sockets[ready]], _read(data, ancillary))
            elif data[42:46] == STREAM_MAGIC:
                flow, sequence, _, total = struct.unpack_from("=IQQQ", data, 46)
                if total == 0:
                    seen.append((sockets[ready], flow, sequence))
    return seen
