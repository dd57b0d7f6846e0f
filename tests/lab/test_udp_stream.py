"""udp_stream's account of a stream with known faults, sent by hand over the loopback."""

import json
import os
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("TWINSPAN_BUILD", ROOT / "build" / "release")) / "bin" / "udp_stream"
MAGIC = 0x54535553
PORT = 39127

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="udp_stream is not built")


def payload(flow: int, sequence: int, total: int = 0) -> bytes:
    return struct.pack("=IIQQQ", MAGIC, flow, sequence, 1000 + sequence, total)


def receiver(*arguments: str) -> subprocess.Popen:
    process = subprocess.Popen([PROGRAM, "receive", "--bind", "127.0.0.1", "--port", str(PORT), *arguments],
                               stdout=subprocess.PIPE, text=True)
    wanted = f"0100007F:{PORT:04X}"
    while wanted not in Path("/proc/net/udp").read_text():
        time.sleep(0.01)
    return process


def test_every_fault_is_named():
    process = receiver("--flows", "2", "--seconds", "10")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", PORT))
        for sequence in (0, 1, 3, 3, 6, 5, 7):
            sender.send(payload(0, sequence))
        sender.send(payload(1, 0))
        sender.send(b"not ours" * 8)
        sender.send(payload(0, 10, total=10))
        sender.send(payload(1, 1, total=1))
    faulty, clean = json.loads(process.communicate(timeout=10)[0])["flows"]
    assert (faulty["expected"], faulty["received"], faulty["lost"]) == (10, 6, 4)
    assert (faulty["duplicates"], faulty["reordered"], faulty["source_changes"]) == (1, 1, 0)
    assert faulty["losses"] == [
        {"first": 2, "packets": 1, "after_ns": 1001, "before_ns": 1003},
        {"first": 4, "packets": 1, "after_ns": 1003, "before_ns": 1005},
        {"first": 8, "packets": 2, "after_ns": 1007, "before_ns": 0},
    ]
    assert (clean["received"], clean["lost"], clean["losses"]) == (1, 0, [])


def test_a_new_source_is_noticed():
    process = receiver("--seconds", "10")
    for sequence, total in ((0, 0), (1, 0), (2, 2)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(payload(0, sequence, total), ("127.0.0.1", PORT))
    assert json.loads(process.communicate(timeout=10)[0])["flows"][0]["source_changes"] == 1


def test_sender_keeps_its_rate():
    process = receiver("--flows", "7", "--seconds", "20")
    sent = json.loads(subprocess.run(
        [PROGRAM, "send", "--to", "127.0.0.1", "--port", str(PORT), "--flows", "7", "--rate", "5000", "--seconds", "2"],
        check=True, capture_output=True, text=True).stdout)
    report = json.loads(process.communicate(timeout=10)[0])
    assert sum(sent["sent"]) == 10_000 and sent["refused"] == 0
    assert max(sent["sent"]) - min(sent["sent"]) <= 1
    assert 1.9e9 < sent["finished_ns"] - sent["started_ns"] < 2.5e9
    assert (report["received"], report["lost"]) == (10_000, 0)
