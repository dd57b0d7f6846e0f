#!/usr/bin/python3
"""Makes ESP packets with OpenSSL (python3-cryptography), independently of Twinspan's own code:

tests/vectors/esp.inc        for tests/unit/crypto: each suite, sequence width and ICV length, several lengths, IVs and trailers
tests/vectors/esp_rfc.inc    the samples of RFC 7634 and RFC 3602
crypto/known_answers.inc     for the self-test at start: one packet per suite and sequence width

Run in the root of the tree: tests/vectors/esp.py
"""
import hashlib
import hmac
import struct
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

SPI = 0x1001
SEQUENCES = {'bits32': 0x01020304, 'bits64': 0x0000000201020304}
LENGTHS = [0, 1, 13, 14, 21, 100]
HASHES = {'sha1': (hashlib.sha1, 20, 12), 'sha256': (hashlib.sha256, 32, 16), 'sha384': (hashlib.sha384, 48, 24),
          'sha512': (hashlib.sha512, 64, 32)}


def suites():
    for kind in ('gcm', 'gmac'):
        for bits in (128, 192, 256):
            yield f'aes_{bits}_{kind}'
            if kind == 'gcm' and bits == 256:
                yield 'chacha20_poly1305'
    for name in HASHES:
        for bits in (128, 192, 256):
            yield f'aes_{bits}_cbc_hmac_{name}'


def key_lengths(suite):
    """Key, then salt or integrity key, in bytes."""
    if suite == 'chacha20_poly1305':
        return 32, 4
    key = int(suite.split('_')[1]) // 8
    return key, HASHES[suite.rsplit('_', 1)[1]][1] if 'cbc' in suite else 4


def icv_lengths(suite):
    if 'cbc' in suite:
        return [HASHES[suite.rsplit('_', 1)[1]][2]]
    return [16, 12, 8] if suite.endswith('gcm') else [16]


def trailer(payload, alignment, next_header):
    """RFC 4303 section 2.4."""
    padding = -(len(payload) + 2) % alignment
    return payload + bytes(range(1, padding + 1)) + bytes([padding, next_header])


def gcm(key, nonce, plain, aad, icv_len):
    encryptor = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(aad)
    return encryptor.update(plain) + encryptor.finalize() + encryptor.tag[:icv_len]


def seal(suite, keymat, width, seq, payload, next_header, icv_len, iv=None, spi=SPI, plain=None):
    """A whole packet; `plain` stands for payload and trailer when given."""
    key_len, _ = key_lengths(suite)
    key, rest = keymat[:key_len], keymat[key_len:]
    header = struct.pack('>II', spi, seq & 0xffffffff)
    aad = header if width == 'bits32' else struct.pack('>IQ', spi, seq)
    if 'cbc' in suite:
        digest, _, _ = HASHES[suite.rsplit('_', 1)[1]]
        iv = iv or hashlib.sha256(b'iv' + keymat + header).digest()[:16]
        encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
        packet = header + iv + encryptor.update(plain or trailer(payload, 16, next_header)) + encryptor.finalize()
        high = b'' if width == 'bits32' else struct.pack('>I', seq >> 32)
        return packet + hmac.new(rest, packet + high, digest).digest()[:icv_len]
    iv = iv or struct.pack('>Q', seq)
    plain = plain or trailer(payload, 4, next_header)
    if suite == 'chacha20_poly1305':
        return header + iv + ChaCha20Poly1305(key).encrypt(rest + iv, plain, aad)
    if suite.endswith('gmac'):
        return header + iv + plain + gcm(key, rest + iv, b'', aad + iv + plain, icv_len)
    return header + iv + gcm(key, rest + iv, plain, aad, icv_len)


def row(suite, width, icv_len, spi, seq, keymat, payload, next_header, esp, status='ok'):
    return (f'{{Suite::{suite}, SequenceWidth::{width}, {icv_len}, {spi:#x}, {seq:#x}, OpenStatus::{status}, {next_header},\n'
            f' "{keymat.hex()}",\n "{payload.hex()}",\n "{esp.hex()}"}},\n')


def keymat_of(suite):
    index = list(suites()).index(suite)
    return bytes((7 * i + index + 1) % 256 for i in range(sum(key_lengths(suite))))


def vectors():
    for suite in suites():
        keymat = keymat_of(suite)
        usual = icv_lengths(suite)[0]
        for width, seq in SEQUENCES.items():
            for icv_len in icv_lengths(suite):
                lengths = LENGTHS if icv_len == usual else [0, 21]
                for length in lengths + ([1420] if '256' in suite and width == 'bits64' and icv_len == usual else []):
                    payload = bytes((0x45 + i) % 256 for i in range(length))
                    yield row(suite, width, icv_len, SPI, seq, keymat, payload, 4,
                              seal(suite, keymat, width, seq, payload, 4, icv_len))


def ivs(suite):
    """Zero, all ones, and around the borders of 32-bit words: what no sender of ours writes, and a peer may."""
    if 'cbc' in suite:
        return [bytes(16), b'\xff' * 16, bytes(15) + b'\x01']
    return [bytes(8), b'\xff' * 8, bytes.fromhex('00000000ffffffff'), bytes.fromhex('ffffffff00000000'),
            bytes.fromhex('00000001ffffffff')]


def trailers(suite):
    """Plaintexts of 32 or 272 bytes with their payload's length; None where the padding is not 1, 2, 3, ..."""
    def plain(size, padding, pad=None):
        pad = bytes(range(1, padding + 1)) if pad is None else pad
        return bytes(range(0x45, 0x45 + size - len(pad) - 2)) + pad + bytes([padding, 4]) if size < 100 else \
            bytes(size - len(pad) - 2) + pad + bytes([padding, 4])
    for padding in range(31):  # RFC 4303 section 2.4: a peer may send more than it must
        yield plain(32, padding), 30 - padding
    yield plain(272, 255), 272 - 257
    for wrong in range(8):  # one byte of eight is not what it must be
        pad = bytearray(range(1, 9))
        pad[wrong] ^= 0x10
        yield plain(32, 8, bytes(pad)), None
    yield plain(32, 8, bytes(8)), None
    for padding in (31, 32, 254, 255):  # longer than what is there, and counting up as far as one can see
        yield bytes((padding - 30 + i + 1) % 256 for i in range(30)) + bytes([padding, 4]), None


def edges():
    for suite in suites():
        keymat, icv_len = keymat_of(suite), icv_lengths(suite)[0]
        payload = bytes(range(0x45, 0x45 + 40))
        for iv in ivs(suite):
            yield row(suite, 'bits32', icv_len, SPI, 9, keymat, payload, 41,
                      seal(suite, keymat, 'bits32', 9, payload, 41, icv_len, iv))
    for suite in ('aes_256_gcm', 'chacha20_poly1305', 'aes_256_gmac', 'aes_256_cbc_hmac_sha256'):
        keymat, icv_len = keymat_of(suite), icv_lengths(suite)[0]
        for plain, payload_len in trailers(suite):
            payload, status = (b'', 'bad_padding') if payload_len is None else (plain[:payload_len], 'ok')
            yield row(suite, 'bits32', icv_len, SPI, 9, keymat, payload, 4,
                      seal(suite, keymat, 'bits32', 9, None, 4, icv_len, plain=plain), status)


# RFC 3602 section 4, cases 5 to 8: key, IV, plaintext with its trailer, ciphertext. The RFC's packets carry no ICV: it is
# added here.
RFC3602 = [
    ('90d382b410eeba7ad938c46cec1a82bf', 0x4321, 'e96e8c08ab465763fd098d45dd3ff893',
     'f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856'
     'a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874a'
     'a269add047ad2d5913ac19b7cfbad4a6'),
    ('0123456789abcdef0123456789abcdef', 0x8765, 'f4e765244f6407adf13dc1380f673f37',
     '773b5241a4c449225e4f3ce5ed611b0c237ca96cf74a9301'
     '3c1b0ea1a0cf70f8e4ecaec78ac53aad7a0f022b859243c6'
     '47752e94a859352b8a4d4d2decd136e5c177f132ad3fbfb2201ac9904c74ee0a109e0ca1e4dfe9d5'
     'a100b842f1c22f0d'),
]

# RFC 7634 appendix A.
RFC7634 = (bytes(range(0x80, 0xa4)), 0x01020304, 5, bytes(range(0x10, 0x18)),
           '45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10000736270809'
           '0a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637',
           '24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9'
           'befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e0'
           '76aaa8266b7fb0f7b11b369907e1ad43')


def rfc_vectors():
    key, spi, seq, iv, payload, sealed = RFC7634
    packet = struct.pack('>II', spi, seq) + iv + bytes.fromhex(sealed)
    made = seal('chacha20_poly1305', key, 'bits32', seq, bytes.fromhex(payload), 4, 16, iv, spi)
    assert made == packet, 'RFC 7634'
    yield row('chacha20_poly1305', 'bits32', 16, spi, seq, key, bytes.fromhex(payload), 4, packet)
    for key, spi, iv, sealed in RFC3602:
        key, iv, sealed = (bytes.fromhex(x) for x in (key, iv, sealed))
        decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
        plain = decryptor.update(sealed) + decryptor.finalize()
        padding, next_header = plain[-2], plain[-1]
        payload = plain[:-2 - padding]
        assert plain == payload + bytes(range(1, padding + 1)) + plain[-2:], (hex(spi), plain.hex())
        auth = bytes(range(20))
        packet = struct.pack('>II', spi, 1 if spi == 0x4321 else 2) + iv + sealed
        packet += hmac.new(auth, packet, hashlib.sha1).digest()[:12]
        yield row('aes_128_cbc_hmac_sha1', 'bits32', 12, spi, 1 if spi == 0x4321 else 2, key + auth, payload,
                  next_header, packet)


def known_answers():
    for suite in suites():
        keymat = bytes(range(sum(key_lengths(suite))))
        for width, seq in SEQUENCES.items():
            payload = bytes(range(0x45, 0x45 + 21))
            esp = seal(suite, keymat, width, seq, payload, 4, icv_lengths(suite)[0])
            yield f'{{Suite::{suite}, SequenceWidth::{width}, {seq:#x}, "{esp.hex()}"}},\n'


def main():
    head = '// Made by tests/vectors/esp.py with OpenSSL. clang-format off\n'
    Path('tests/vectors/esp.inc').write_text(head + ''.join(vectors()) + ''.join(edges()))
    Path('tests/vectors/esp_rfc.inc').write_text(head + ''.join(rfc_vectors()))
    Path('crypto/known_answers.inc').write_text(head + ''.join(known_answers()))


if __name__ == '__main__':
    main()
