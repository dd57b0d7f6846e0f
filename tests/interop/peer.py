"""The other end of each tunnel: an ESP implementation that shares nothing with Twinspan."""

import warnings

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, IPSecIntegrityError, SecurityAssociation
from scapy.packet import Packet

from esp import Refused
from wire import SECONDS, Wire, is_chatter

warnings.filterwarnings("ignore")

# outbound key of tunnel N decrypts what comes out there, its inbound key seals what we send in; with the 4-byte salt
KEYS = {
    "azure-0": {"outbound": (0x1001, "aes-256-gcm", "0f" * 16 + "a1" * 16 + "5a17c0de"),
                "inbound": (0x2001, "aes-256-gcm", "3c" * 16 + "b2" * 16 + "5a17c0df")},
    "azure-1": {"outbound": (0x1002, "aes-128-gcm", "4d" * 8 + "c3" * 8 + "5a17c0e0"),
                "inbound": (0x2002, "aes-128-gcm", "5e" * 8 + "d4" * 8 + "5a17c0e1")},
    "inet-0": {"outbound": (0x1003, "aes-256-gcm", "6f" * 16 + "e5" * 16 + "5a17c0e2"),
               "inbound": (0x2003, "aes-256-gcm", "70" * 16 + "f6" * 16 + "5a17c0e3")},
}
TUNNEL_ENDS = {"azure-0": ("203.0.113.1", "20.51.0.4"), "azure-1": ("203.0.113.5", "20.51.0.5"), "inet-0": ("198.18.0.2", "20.51.9.4")}


def ip_of(frame: Packet) -> Packet:
    """The IP packet of a frame, cut to its own length: Ethernet may have padded it."""
    packet = frame[IP] if IP in frame and not (IPv6 in frame and isinstance(frame[IPv6].payload, IP)) else frame[IPv6]
    if isinstance(packet, IP):
        return IP(bytes(packet)[:packet.len])
    return IPv6(bytes(packet)[:40 + packet.plen])


def association(tunnel: str, way: str, udp: UDP | None = None) -> SecurityAssociation:
    """With `udp`, the header that stands before ESP (RFC 3948)."""
    spi, _, key = KEYS[tunnel][way]
    ours, theirs = TUNNEL_ENDS[tunnel]
    source, destination = (ours, theirs) if way == "outbound" else (theirs, ours)
    return SecurityAssociation(ESP, spi=spi, crypt_algo="AES-GCM", crypt_key=bytes.fromhex(key),
                               tunnel_header=IP(src=source, dst=destination), nat_t_header=udp)


class Peer:
    """The other end of a tunnel."""

    def __init__(self, tunnel: str, udp: UDP | None = None):
        self.tunnel = tunnel
        self.spi_in = KEYS[tunnel]["outbound"][0]  # what it receives
        self._udp = udp
        self._opening = association(tunnel, "outbound", udp)
        self._sealing = association(tunnel, "inbound", udp)
        self.sequence = 0

    def carries(self, frame: Packet) -> bool:
        return ESP in frame and frame[ESP].spi == self.spi_in

    def open(self, frame: Packet) -> Packet:
        """The inner packet; scapy raises an error when the check value is wrong."""
        return self._opening.decrypt(ip_of(frame))

    def seal(self, packet: Packet, sequence: int | None = None) -> Packet:
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        else:
            self.sequence = max(self.sequence, sequence)
        sealed = self._sealing.encrypt(packet, seq_num=sequence)
        if UDP in sealed and ESP in sealed and self._udp:
            sealed[UDP].len = len(sealed) - 20  # scapy gives that of the header alone
        return sealed

    def expect(self, wire: Wire, seconds: float = SECONDS) -> tuple[Packet, Packet]:
        """The next frame of the tunnel and what it carries, Linux' own chatter on the TUN left out."""
        while True:
            frame = wire.expect(self.carries, seconds)
            inner = self.open(frame)
            if not is_chatter(inner):
                return frame, inner


# SPI -> what opens the IP packet of a frame; a module with tunnels of its own adds them.
openers = {KEYS[tunnel]["outbound"][0]: association(tunnel, "outbound").decrypt for tunnel in KEYS}


def is_sealed_chatter(frame: Packet) -> bool:
    if ESP not in frame or frame[ESP].spi not in openers:
        return False
    try:
        return is_chatter(openers[frame[ESP].spi](ip_of(frame)))
    except (IPSecIntegrityError, Refused):
        return False
