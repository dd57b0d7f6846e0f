"""Collectors of IPFIX inside a namespace: scapy as a second decoder, and nfdump's nfcapd."""

import json
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from harness import Netns, end_with_the_tests, eventually, run
from scapy.layers.inet import IP, UDP
from scapy.layers.netflow import NetflowDataflowsetV9, NetflowFlowsetV9, NetflowHeader, NetflowHeaderV10, ipfix_defragment
from wire import SO_RCVBUFFORCE, inside


def number(value) -> int:
    return int.from_bytes(value, "big") if isinstance(value, bytes) else value


def values(record) -> dict:
    """What scapy makes of a record: addresses as text, all else as numbers."""
    return {name: value if isinstance(value, str) else number(value) for name, value in record.fields.items()}


class Decoded:
    """Messages of one exporter. Data without a template is an error, as is a gap in the sequence."""

    def __init__(self):
        self._frames, self.sequences, self.templates = [], [], []
        self.records: list[dict] = []

    def add(self, message: bytes) -> None:
        frame = IP(src="127.0.0.1", dst="127.0.0.1") / UDP(sport=1, dport=4739) / NetflowHeader(message)
        assert frame[NetflowHeaderV10].length == len(message)
        has_templates = NetflowFlowsetV9 in frame
        if has_templates:
            self._frames = [frame]
        assert self._frames, "data before templates"
        self.sequences.append(frame[NetflowHeaderV10].flowSequence)
        self._before = self.sequences[0]  # what was sent before anybody listened
        self.templates.append(has_templates)
        assert self.sequences[-1] == self._before + len(self.records), "records are missing"
        decoded = ipfix_defragment(self._frames if has_templates else [*self._frames, frame])[-1]
        data = decoded.getlayer(NetflowDataflowsetV9)
        while data:
            self.records += [values(record) for record in data.records]
            data = data.payload.getlayer(NetflowDataflowsetV9)


class Collector:
    """Bound to the loopback of a namespace."""

    def __init__(self, namespace: Netns, port: int, kind: socket.SocketKind):
        with inside(namespace.name):
            self.socket = socket.socket(socket.AF_INET, kind)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)  # a burst waits here while scapy decodes
        self.socket.bind(("127.0.0.1", port))
        self.socket.settimeout(10)
        self.decoded = Decoded()

    def until(self, enough, seconds: float = 15) -> list[dict]:
        """The records so far, as soon as enough(records)."""
        deadline = time.monotonic() + seconds
        while not enough(self.decoded.records):
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            self.decoded.add(self.socket.recv(65536))
        return self.decoded.records

    def close(self) -> None:
        self.socket.close()


class Stream:
    """One TCP connection of an exporter."""

    def __init__(self, listener: socket.socket):
        self.socket, _ = listener.accept()
        self.socket.settimeout(10)
        self.decoded = Decoded()
        self.messages: list[bytes] = []

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            assert part, "the stream ended"
            data += part
        return data

    def until(self, enough) -> list[dict]:
        while not enough(self.decoded.records):
            head = self._exactly(4)
            message = head + self._exactly(int.from_bytes(head[2:], "big") - 4)
            self.messages.append(message)
            self.decoded.add(message)
        return self.decoded.records

    def close(self) -> None:
        self.socket.close()


class Nfcapd:
    """nfdump's collector. It takes UDP alone."""

    def __init__(self, namespace: Netns, port: int):
        self._folder = Path(tempfile.mkdtemp(prefix="nfcapd-"))
        self._namespace = namespace
        self.log = self._folder / "log"
        (self._folder / "flows").mkdir()
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", namespace.name, "nfcapd", "-b", "127.0.0.1", "-p", str(port), "-t", "3600", "-w", self._folder / "flows"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, preexec_fn=end_with_the_tests)
        eventually(lambda: f"127.0.0.1:{port}" in namespace.run("ss", "-lun"), message="nfcapd does not listen")

    def end(self) -> list[dict]:
        """What nfdump reads out of what nfcapd wrote."""
        self.process.terminate()
        self.process.wait(10)
        assert "Sequence Errors: 0, Bad Packets: 0" in self.log.read_text(), self.log.read_text()
        text = run("nfdump", "-R", self._folder / "flows", "-o", "json")
        rows = json.loads(text)
        run("rm", "-r", self._folder)
        return rows
