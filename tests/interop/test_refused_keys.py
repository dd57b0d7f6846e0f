"""What an SA file may not say: suites that protect nothing, keys of a wrong length, and keys that are there twice."""

import subprocess

import pytest
from esp import NAMES, Suite
from harness import TWINSPAND, sa_files_of_peers, write_config

FILE = "azure-0.sa.yaml"


def told(folder, text: str) -> str:
    """What `--check` says of this SA file; it must refuse it, at the file and line, and quote no key."""
    path = write_config(folder, "keys", sa_files={**sa_files_of_peers(), "azure-0": text})
    done = subprocess.run([TWINSPAND, "--check", path], capture_output=True, text=True, timeout=5)
    said = done.stdout + done.stderr
    assert done.returncode == 2 and f"{folder / FILE}:" in said, said
    return said


def lines(suite: str, key: bytes, integrity: bytes = b"", more: str = "") -> str:
    parts = [f"suite: {suite}", f"key: {key.hex()}", *([f"integrity-key: {integrity.hex()}"] if integrity else []), *([more] if more else [])]
    good = ", ".join(["spi: 0x2001, suite: aes-256-gcm", f"key: {bytes(range(36)).hex()}"])
    return f"outbound: {{ spi: 0x1001, {', '.join(parts)} }}\ninbound: {{ {good} }}\n"


@pytest.mark.parametrize("suite", ["des-cbc-hmac-sha1", "3des-cbc-hmac-sha1", "3des", "DES3", "aes-256-cbc-hmac-md5", "null", "None", "null-hmac-sha256"])
def test_what_protects_nothing(tmp_path, suite):
    """RFC 8221: DES, 3DES, MD5 and null encryption; the message names what to use instead."""
    said = told(tmp_path, lines(f'"{suite}"', bytes(36)))
    assert f"found '{suite}'" in said and "use aes-256-gcm or aes-256-cbc-hmac-sha256" in said


@pytest.mark.parametrize("suite", ["aes-256-cbc", "aes-256-ctr", "aes-512-gcm", "AES-256-GCM", "aes-256-cbc-hmac-sha224"])
def test_what_is_no_suite(tmp_path, suite):
    assert f"found '{suite}'" in told(tmp_path, lines(suite, bytes(36)))


@pytest.mark.parametrize("name", NAMES)
def test_lengths_of_keys(tmp_path, name):
    suite = Suite(name)
    key = suite.make_key()
    at = suite.key_len + suite.salt_len
    for wrong in (key[:at - 1], key[:at] + b"x"):
        said = told(tmp_path, lines(name, wrong, key[at:]))
        assert f"expected {2 * at} hex digits" in said and key.hex()[:16] not in said
    if suite.auth_len:
        for wrong in (key[at:-1], key[at:] + b"x", b""):
            said = told(tmp_path, lines(name, key[:at], wrong))
            assert f"{2 * suite.auth_len} hex digits" in said and key.hex()[-16:] not in said
    else:
        assert "integrity" in told(tmp_path, lines(name, key, bytes(32)))


def test_a_key_for_both_directions(tmp_path):
    """RFC 4106 section 8.1: a pair of SAs with one key and salt would use each IV twice."""
    assert "repeats IVs" in told(tmp_path, lines("aes-256-gcm", bytes(range(36))))


@pytest.mark.parametrize("window", [0, 31, 65_537])
def test_replay_windows(tmp_path, window):
    text = lines("aes-256-gcm", bytes(range(1, 37))).rstrip("} \n") + f", replay-window: {window} }}\n"
    assert "replay-window" in told(tmp_path, text) or str(window) in told(tmp_path, text)
