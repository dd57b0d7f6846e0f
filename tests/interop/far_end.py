"""The other end of a tunnel of any suite: scapy's ESP where scapy has it, else ours in esp.py, which shares nothing with Twinspan."""

import itertools
from dataclasses import dataclass, field

import harness
import peer
from esp import HMACS, Sa, Suite
from harness import LAN_HOST, LAN_HOST6
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.packet import Packet, Raw
from wire import SECONDS, Wire, is_chatter

NAT_T = 4500
ENDS = {4: ("172.16.0.1", "10.30.0.4"), 6: ("fd16::1", "fd30::4")}  # over private peering of the primary link
_spis = itertools.count(0x5001)
_SCAPY_MAC = {"sha1": "HMAC-SHA1-96", "sha256": "SHA2-256-128", "sha384": "SHA2-384-192", "sha512": "SHA2-512-256"}
_PROTOCOL = {IP: 4, IPv6: 41}


def sa_line(way: str, spi: int, suite: Suite, key: bytes, more: str = "") -> str:
    """A line of an SA file. `key`: all of it, the integrity key at its end."""
    at = suite.key_len + suite.salt_len
    parts = [f"spi: {spi:#x}", f"suite: {suite.name}", f"key: {key[:at].hex()}", *([f"integrity-key: {key[at:].hex()}"] if suite.auth_len else []),
             *([f"icv: {suite.icv_len}"] if suite.kind == "gcm" and suite.icv_len != 16 else []), *([more] if more else [])]
    return f"{way}: {{ {', '.join(parts)} }}"


@dataclass
class FarEnd:
    number: int  # 1 to 255, of the module's tunnels; 10.20.NUMBER.0/24 and fd10:20::NUMBER:0/112 are behind it
    suite: Suite
    version: int = 4  # of the outer header
    esn: bool = False
    udp: bool = False
    port: int = NAT_T  # of the far end
    window: int | None = None  # twinspand's
    options: str = ""  # of the tunnel in the configuration
    by_scapy: bool = False
    sequence: int = 0  # of the last packet sealed here
    opened: int = 0  # the highest number opened
    ivs: set = field(default_factory=set)

    def __post_init__(self):
        self.name = f"t{self.number}"
        self.ours, self.theirs = ENDS[self.version]
        self.spi_in, self.spi_out = next(_spis), next(_spis)  # what it receives and sends with
        keys = self.suite.make_key(), self.suite.make_key()
        self._opens, self._seals = Sa(self.suite, self.spi_in, keys[0], self.esn), Sa(self.suite, self.spi_out, keys[1], self.esn)
        self._scapy_opens, self._scapy_seals = (self._scapy(spi, key) for spi, key in zip((self.spi_in, self.spi_out), keys)) \
            if self.scapy_has_it() else (None, None)
        self._keys = dict(zip(("outbound", "inbound"), zip((self.spi_in, self.spi_out), keys)))
        peer.openers[self.spi_in] = self._look

    def scapy_has_it(self) -> bool:
        return self.suite.kind in ("gcm", "chacha") and self.suite.icv_len == 16 or self.suite.kind == "cbc" and not self.esn

    def _scapy(self, spi: int, key: bytes) -> SecurityAssociation:
        outer = (IP if self.version == 4 else IPv6)(src=self.theirs, dst=self.ours)
        if self.suite.kind == "cbc":
            at, mac = self.suite.key_len, self.suite.name.rsplit("-", 1)[1]
            return SecurityAssociation(ESP, spi=spi, crypt_algo="AES-CBC", crypt_key=key[:at], auth_algo=_SCAPY_MAC[mac], auth_key=key[at:],
                                       tunnel_header=outer)
        algorithm = "AES-GCM" if self.suite.kind == "gcm" else "CHACHA20-POLY1305"
        return SecurityAssociation(ESP, spi=spi, crypt_algo=algorithm, crypt_key=key, tunnel_header=outer, esn_en=self.esn)

    def sa_file(self) -> str:
        lines = [f"udp-encapsulation: {NAT_T}"] * self.udp + ["extended-sequence-numbers: true"] * self.esn
        windows = {"inbound": f"replay-window: {self.window}"} if self.window is not None else {}
        lines += [sa_line(way, spi, self.suite, key, windows.get(way, "")) for way, (spi, key) in self._keys.items()]
        return "\n".join(lines) + "\n"

    def outward(self, version: int, **fields) -> Packet:
        """From the LAN to a host behind it."""
        if version == 4:
            return IP(src=LAN_HOST, dst=f"10.20.{self.number}.7", **fields)
        return IPv6(src=LAN_HOST6, dst=f"fd10:20::{self.number:x}:7", **fields)

    def inward(self, version: int, **fields) -> Packet:
        if version == 4:
            return IP(src=f"10.20.{self.number}.7", dst=LAN_HOST, **fields)
        return IPv6(src=f"fd10:20::{self.number:x}:7", dst=LAN_HOST6, **fields)

    # ---- what it receives

    def carries(self, frame: Packet) -> bool:
        return ESP in frame and frame[ESP].spi == self.spi_in

    def open(self, frame: Packet) -> Packet:
        """The inner packet. No IV comes twice, and no number either (RFC 4303 section 3.3.3)."""
        packet = peer.ip_of(frame)
        esp = self.esp_of(packet)
        low = int.from_bytes(esp[4:8], "big")
        high = (self.opened >> 32) + (low < (self.opened & 0xffffffff))
        number, data, next_header = self._opens.open(esp, high if self.esn else 0)
        assert number > self.opened, f"number {number:#x} after {self.opened:#x}"
        iv = esp[8:8 + self.suite.iv_len]
        assert iv not in self.ivs, f"IV {iv.hex()} twice"
        self.opened = number
        self.ivs.add(iv)
        inner = {4: IP, 41: IPv6}[next_header](data)
        if self.by_scapy:
            assert bytes(self._scapy_opens.decrypt(packet, esn=number >> 32)) == data
        return inner

    def look(self, frame: Packet) -> Packet:
        """The inner packet, whatever its number."""
        return self._look(peer.ip_of(frame))

    def _look(self, packet: Packet) -> Packet:
        _, data, next_header = self._opens.open(self.esp_of(packet), self.opened >> 32 if self.esn else 0)
        return {4: IP, 41: IPv6}[next_header](data)

    def esp_of(self, packet: Packet) -> bytes:
        return bytes(packet)[(20 if isinstance(packet, IP) else 40) + 8 * self.udp:]

    def expect(self, wire: Wire, seconds: float = SECONDS) -> tuple[Packet, Packet]:
        """The next frame of the tunnel and what it carries, Linux' own chatter on the TUN left out."""
        while True:
            frame = wire.expect(self.carries, seconds)
            inner = self.open(frame)
            if not is_chatter(inner):
                return frame, inner

    # ---- what it sends

    def next(self) -> int:
        self.sequence += 1
        return self.sequence

    def seal(self, packet: Packet, sequence: int | None = None, **outer) -> Packet:
        """The outer packet; `outer` are fields of its IP header."""
        sequence = self._number(sequence)
        if self.by_scapy:
            sealed = self._scapy_seals.encrypt(packet, seq_num=sequence & 0xffffffff, esn=sequence >> 32)
            return self.carry(bytes(sealed[ESP]), **outer)
        return self.carry(self._seals.seal(bytes(packet), _PROTOCOL[type(packet)], sequence), **outer)

    def seal_bytes(self, data: bytes, next_header: int, padding: bytes | None = None, sequence: int | None = None, **outer) -> Packet:
        """Whatever it is, under a good check value."""
        return self.carry(self._seals.seal(data, next_header, self._number(sequence), padding=padding), **outer)

    def sealed_raw(self, text: bytes) -> bytes:
        """ESP whose plain text, trailer included, is this."""
        return self._seals.seal(text[:-2], text[-1], self.next(), padding=b"", pad_len=text[-2])

    def _number(self, sequence: int | None) -> int:
        if sequence is None:
            return self.next()
        self.sequence = max(self.sequence, sequence)
        return sequence

    def carry(self, esp: bytes, source: str | None = None, port: int | None = None, **outer) -> Packet:
        """These bytes behind the outer headers; from another source or port than the tunnel's."""
        protocol = {"proto" if self.version == 4 else "nh": 17 if self.udp else 50}
        header = (IP if self.version == 4 else IPv6)(src=source or self.theirs, dst=self.ours, **outer, **protocol)
        # Scapy would take what stands at port 4500 for ESP of its own.
        udp = bytes(UDP(sport=port or self.port, dport=NAT_T, len=8 + len(esp), chksum=0)) if self.udp else b""
        return type(header)(bytes(header / Raw(udp + esp)))


def config_of(ends: list[FarEnd], base: str = harness.CONFIG) -> str:
    """The harness' site with these tunnels in place of its own."""
    tunnels = (f'  {end.name}: {{{{ if-id: {end.number}, local: "{end.ours}", remote: "{end.theirs}", '
               f'sa-file: {{folder}}/{end.name}.sa.yaml{", " * bool(end.options)}{end.options} }}}}\n' for end in ends)
    return base[:base.index("tunnels:\n")] + "tunnels:\n" + "".join(tunnels) + base[base.index("encrypt:"):]


def sa_files_of(ends: list[FarEnd]) -> dict[str, str]:
    return {end.name: end.sa_file() for end in ends}


def routes_of(ends: list[FarEnd]) -> tuple[str, ...]:
    return (*(route for route in harness.ROUTES if "azure-" not in route), *(f"10.20.{end.number}.0/24 dev {end.name}" for end in ends),
            *(f"fd10:20::{end.number:x}:0/112 dev {end.name}" for end in ends))


assert set(_SCAPY_MAC) == set(HMACS)
