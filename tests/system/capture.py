"""All frames of the two links from tcpdump, and what must hold for each of them."""

import struct
import subprocess
from collections import defaultdict
from pathlib import Path

ESP = 50
PRIVATE = (b"\x0a\x0a", b"\x0a\x14")  # 10.10 and 10.20: only ever inside ESP


class Capture:
    def __init__(self, device: str, folder: Path):
        self.path = folder / f"{device}.pcap"
        self._process = subprocess.Popen(["ip", "netns", "exec", "peer", "tcpdump", "-n", "-U", "-s", "96", "-B", "16384", "-Z", "root", "-i", device,
                                          "-w", str(self.path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self._process.stderr.readline()

    def end(self) -> int:
        """How many frames the kernel could not hand to tcpdump."""
        self._process.terminate()
        text = self._process.communicate()[1]
        return next(int(line.split()[0]) for line in text.splitlines() if "dropped by kernel" in line)

    def frames(self):
        data = self.path.read_bytes()
        offset = 24
        while offset + 16 <= len(data):
            length = struct.unpack_from("=I", data, offset + 8)[0]
            yield data[offset + 16:offset + 16 + length]
            offset += 16 + length


def _ipv4(frame: bytes) -> bytes | None:
    """The packet behind the Ethernet header and its tags."""
    offset = 12
    while frame[offset:offset + 2] in (b"\x81\x00", b"\x88\xa8"):
        offset += 4
    return frame[offset + 2:] if frame[offset:offset + 2] == b"\x08\x00" else None


def judge(captures: list[Capture]) -> dict[str, int]:
    """Of every packet on the links: ESP packets, SAs, IVs that one SA used twice, and packets of the private networks in clear."""
    ivs: dict[bytes, set[bytes]] = defaultdict(set)
    figures = {"esp": 0, "repeated_ivs": 0, "clear": 0}
    for capture in captures:
        for frame in capture.frames():
            packet = _ipv4(frame)
            if packet is None:
                continue
            if packet[9] != ESP:
                figures["clear"] += packet[12:14] in PRIVATE or packet[16:18] in PRIVATE
                continue
            header = (packet[0] & 15) * 4
            spi, iv = packet[header:header + 4], packet[header + 8:header + 16]
            figures["esp"] += 1
            figures["repeated_ivs"] += iv in ivs[packet[16:20] + spi]
            ivs[packet[16:20] + spi].add(iv)
    return figures | {"sas": len(ivs)}
