"""The far end of a port: a packet socket that sends and receives whole frames, tags included, as scapy packets."""

import ctypes
import os
import select
import socket
import struct
import time
from contextlib import contextmanager

from scapy.layers.inet6 import (ICMPv6MLReport2, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RS, IPv6, IPv6ExtHdrHopByHop)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

SOL_PACKET = 263
PACKET_AUXDATA = 8
ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
VLAN_VALID = 0x10
VLAN_TPID_VALID = 0x40
CLONE_NEWNET = 0x40000000
SECONDS = 5.0  # the longest a test waits for what must come


@contextmanager
def inside(namespace: str):
    """The calling thread is in the namespace meanwhile: what it opens stays there."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(there, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
        yield
    finally:
        libc.setns(home, CLONE_NEWNET)
        os.close(there)
        os.close(home)


def is_chatter(frame: Packet) -> bool:
    """What Linux sends on an interface of its own accord."""
    return any(layer in frame for layer in (ARP, ICMPv6ND_NS, ICMPv6ND_NA, ICMPv6ND_RS, ICMPv6MLReport2)) or (
        IPv6 in frame and IPv6ExtHdrHopByHop in frame)


class Wire:
    def __init__(self, namespace: str, device: str):
        with inside(namespace):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self._socket.bind((device, ETH_P_ALL))
        self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        self._socket.setblocking(False)
        self.device = device

    def close(self) -> None:
        self._socket.close()

    def send(self, *frames: Packet) -> None:
        for frame in frames:
            self._socket.send(bytes(frame))

    def _next(self) -> Packet | None:
        """The next frame from the port, without waiting. The kernel keeps the outer tag beside the frame: it is put back."""
        while True:
            try:
                data, ancillary, _, address = self._socket.recvmsg(65536, 256)
            except BlockingIOError:
                return None
            except OSError:
                continue  # the device went down: said once
            if address[2] == socket.PACKET_OUTGOING:
                continue
            for level, kind, value in ancillary:
                if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                    status, _, _, _, _, tci, tpid = struct.unpack("=IIIHHHH", value[:20])
                    if status & VLAN_VALID:
                        tpid = tpid if status & VLAN_TPID_VALID else 0x8100
                        data = data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
            return Ether(data)

    def receive(self, wanted, seconds: float = SECONDS) -> Packet | None:
        deadline = time.monotonic() + seconds
        while True:
            frame = self._next()
            if frame is not None:
                if wanted(frame):
                    return frame
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            select.select([self._socket], [], [], left)

    def expect(self, wanted, seconds: float = SECONDS) -> Packet:
        frame = self.receive(wanted, seconds)
        assert frame is not None, f"nothing that fits came out at {self.device} within {seconds} s"
        return frame

    def waiting(self) -> list[Packet]:
        """What has come out and was not yet taken, Linux' own chatter left out."""
        return [frame for frame in iter(self._next, None) if not is_chatter(frame)]
