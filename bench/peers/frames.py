"""The packets that a peer is fed, and the check of what it made of them. Frames are bytes of Ethernet without FCS."""

import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

SIZES = (64, 512, 1420)
KEY = bytes(range(1, 33))
SALT = b"salt"
SPI = {"encrypt": 1000, "decrypt": 2000}
OUR_END, FAR_END = "203.0.113.1", "20.51.0.1"
ETHERNET = 14
ESP_AT = ETHERNET + 20
PATCHED = 64  # bytes that a generator writes of a packet whose payload does not matter
FLOWS = 256  # headers; whole packets, for decryption, are fewer, so that they stay in the cache
SEALED = 32


def plain(size: int, flow: int) -> bytes:
    """A UDP packet of one of our flows, `size` bytes with its Ethernet header."""
    ip = IP(src=f"10.10.{flow // 200}.{1 + flow % 200}", dst=f"13.0.0.{1 + flow % 250}", flags="DF")
    ip /= UDP(sport=10_000 + flow, dport=443) / bytes(size - ETHERNET - 28)
    return bytes(Ether(dst="02:00:00:00:00:01", src="02:00:00:00:0f:01") / ip)


def turned(size: int, flow: int) -> bytes:
    """The same flow's reply."""
    frame = Ether(plain(size, flow))
    frame[IP].src, frame[IP].dst = frame[IP].dst, frame[IP].src
    frame[UDP].sport, frame[UDP].dport = frame[UDP].dport, frame[UDP].sport
    del frame[IP].chksum, frame[UDP].chksum
    return bytes(frame)


def seal(frame: bytes, sequence: int) -> bytes:
    """ESP in tunnel mode (RFC 4303, RFC 4106) from the far end to ours."""
    inner = frame[ETHERNET:]
    padding = -(len(inner) + 2) % 4
    text = inner + bytes(range(1, padding + 1)) + bytes([padding, 4])
    header = struct.pack("!II", SPI["decrypt"], sequence)
    iv = struct.pack("!Q", sequence)
    esp = header + iv + AESGCM(KEY).encrypt(SALT + iv, text, header)
    return frame[:ETHERNET] + bytes(IP(src=FAR_END, dst=OUR_END, proto=50, flags="DF", len=20 + len(esp))) + esp


def open_esp(frame: bytes) -> bytes:
    """The packet inside. Raises what AESGCM raises when it is not authentic."""
    esp = frame[ESP_AT:]
    padded = AESGCM(KEY).decrypt(SALT + esp[8:16], esp[16:], esp[:8])
    return padded[: -2 - padded[-2]]


def sealed_len(size: int) -> int:
    return len(seal(plain(size, 0), 1))


def feed(direction: str) -> bytes:
    """What feed.cpp reads: of each size the lengths of a frame, of what is copied of it, of what is to come out, and how
    many there are; then the bytes."""
    out = b""
    for size in SIZES:
        if direction == "encrypt":
            frames = [plain(size, flow)[:PATCHED] for flow in range(FLOWS)]
            lengths = size, PATCHED, sealed_len(size)
        else:
            frames = [seal(turned(size, flow), 1 + flow) for flow in range(SEALED)]
            lengths = len(frames[0]), len(frames[0]), size
        out += struct.pack("<4H", *lengths, len(frames)) + b"".join(frames)
    return out


def check(direction: str, size: int, sent: bytes) -> None:
    """Raises ValueError unless the peer did its work on the packet that it sent."""
    if direction == "encrypt":
        if len(sent) != sealed_len(size) or struct.unpack_from("!I", sent, ESP_AT)[0] != SPI["encrypt"]:
            raise ValueError(f"{size} B: no ESP packet of {sealed_len(size)} bytes came out")
        inner = open_esp(sent)
        whole = {flow: plain(size, flow)[ETHERNET:] for flow in range(FLOWS)}
    else:
        inner = sent[ETHERNET:]
        whole = {flow: turned(size, flow)[ETHERNET:] for flow in range(SEALED)}
    # A hop was taken, if the peer takes one, and with it the checksum changed; beyond the headers the generator
    # leaves what the buffer held.
    same = slice(12, min(len(inner), PATCHED - ETHERNET))
    if len(inner) != size - ETHERNET or all(inner[same] != w[same] for w in whole.values()):
        raise ValueError(f"{size} B: what came out is not what went in")
