"""ESP (RFC 4303) over python-cryptography's primitives. Scapy has no extended sequence numbers with HMAC, no AES-GMAC, no AES-GCM
with an ICV of 8 or 12 bytes, and makes no packet that is wrong on purpose."""

import os
import re
import struct

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

# name -> bytes of its key and of its ICV (RFC 2404, RFC 4868), and the hash
HMACS = {"sha1": (20, 12, hashes.SHA1), "sha256": (32, 16, hashes.SHA256), "sha384": (48, 24, hashes.SHA384), "sha512": (64, 32, hashes.SHA512)}
NAMES = [*(f"aes-{bits}-{mode}" for mode in ("gcm", "gmac") for bits in (128, 192, 256)), "chacha20-poly1305",
         *(f"aes-{bits}-cbc-hmac-{mac}" for bits in (128, 192, 256) for mac in HMACS)]


class Refused(Exception):
    """A check value or padding that RFC 4303 does not allow."""


class Suite:
    def __init__(self, name: str, icv_len: int | None = None):
        aes = re.fullmatch(r"aes-(\d+)-(gcm|gmac|cbc-hmac-(.+))", name)
        self.name, self.key_len = name, int(aes[1]) // 8 if aes else 32
        self.kind = aes[2][:4].rstrip("-") if aes else "chacha"
        self.salt_len, self.auth_len, icv, self.hash = (0, *HMACS[aes[3]]) if self.kind == "cbc" else (4, 0, 16, None)
        self.icv_len = icv_len or icv
        self.iv_len, self.alignment = (16, 16) if self.kind == "cbc" else (8, 4)

    def make_key(self) -> bytes:
        """Key and salt, or key and integrity key."""
        return os.urandom(self.key_len + self.salt_len + self.auth_len)


class Sa:
    """One direction. `esn`: numbers of 64 bits, of which the packet has the lower half."""

    def __init__(self, suite: Suite, spi: int, key: bytes, esn: bool = False):
        self.suite, self.spi, self.esn = suite, spi, esn
        self._key, self._rest = key[:suite.key_len], key[suite.key_len:]

    def seal(self, payload: bytes, next_header: int, sequence: int, *, padding: bytes | None = None, pad_len: int | None = None) -> bytes:
        """From SPI to ICV. `padding` only where it is not to be the shortest, 1, 2, 3, ... (RFC 4303 section 2.4), and `pad_len`
        only where that is not to be its length."""
        if padding is None:
            padding = bytes(range(1, 1 + -(len(payload) + 2) % self.suite.alignment))
        iv = os.urandom(self.suite.iv_len)
        header = struct.pack("!II", self.spi, sequence & 0xffffffff)
        text, icv = self._protect(header, sequence >> 32, iv, payload + padding + bytes((len(padding) if pad_len is None else pad_len, next_header)))
        return header + iv + text + icv

    def open(self, esp: bytes, high: int = 0) -> tuple[int, bytes, int]:
        """Sequence number, payload and next header; the padding must be the shortest, and as RFC 4303 says."""
        at, icv_len = 8 + self.suite.iv_len, self.suite.icv_len
        header, iv, text, icv = esp[:8], esp[8:at], esp[at:-icv_len], esp[-icv_len:]
        spi, sequence = struct.unpack("!II", header)
        if spi != self.spi or len(text) % self.suite.alignment != 0:
            raise Refused(f"SPI {spi:#x}, {len(text)} bytes of ciphertext")
        data = self._uncover(header, high, iv, text, icv)
        pad_len, next_header = data[-2:]
        if data[-2 - pad_len:-2] != bytes(range(1, pad_len + 1)) or pad_len >= self.suite.alignment:
            raise Refused(f"padding {data[-2 - pad_len:-2].hex()}")
        return high << 32 | sequence, data[:-2 - pad_len], next_header

    def _associated(self, header: bytes, high: int) -> bytes:
        """RFC 4106 section 5: with extended numbers the upper half stands before the lower."""
        return header[:4] + struct.pack("!I", high) + header[4:] if self.esn else header

    def _protect(self, header: bytes, high: int, iv: bytes, data: bytes) -> tuple[bytes, bytes]:
        associated, nonce = self._associated(header, high), self._rest + iv
        match self.suite.kind:
            case "gcm":
                return self._gcm(nonce, associated, data)
            case "gmac":  # RFC 4543 section 3.3: all of it is authenticated, nothing encrypted
                return data, self._gcm(nonce, associated + iv + data, b"")[1]
            case "chacha":  # RFC 7634
                sealed = ChaCha20Poly1305(self._key).encrypt(nonce, data, associated)
                return sealed[:-16], sealed[-16:]
        text = self._cbc(iv).encryptor().update(data)
        return text, self._hmac(header + iv + text, high)

    def _uncover(self, header: bytes, high: int, iv: bytes, text: bytes, icv: bytes) -> bytes:
        """The same key stream uncovers what it covered; the ICV is that of what comes out."""
        match self.suite.kind:
            case "cbc":
                if self._hmac(header + iv + text, high) != icv:
                    raise Refused("ICV")
                return self._cbc(iv).decryptor().update(text)
            case "gmac":
                data = text
            case "gcm":
                data = self._gcm(self._rest + iv, b"", text)[0]
            case "chacha":
                data = ChaCha20Poly1305(self._key).encrypt(self._rest + iv, text, b"")[:-16]
        if self._protect(header, high, iv, data)[1] != icv:
            raise Refused("ICV")
        return data

    def _gcm(self, nonce: bytes, associated: bytes, data: bytes) -> tuple[bytes, bytes]:
        encryptor = Cipher(algorithms.AES(self._key), modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(associated)
        return encryptor.update(data) + encryptor.finalize(), encryptor.tag[:self.suite.icv_len]

    def _cbc(self, iv: bytes) -> Cipher:
        return Cipher(algorithms.AES(self._key), modes.CBC(iv))

    def _hmac(self, data: bytes, high: int) -> bytes:
        """RFC 4303 section 2.2.1: the upper half of an extended number is behind the packet and not sent."""
        mac = hmac.HMAC(self._rest, self.suite.hash())
        mac.update(data + (struct.pack("!I", high) if self.esn else b""))
        return mac.finalize()[:self.suite.icv_len]
