"""Paced UDP flows between two hosts of the lab, each packet accounted for."""

import json
import subprocess
import time
from pathlib import Path

from labkit import lab, netns
from labkit import topology as topo

MAGIC = (0x54535553).to_bytes(4, "little")


class Stream:
    """Sends while the block runs; `wait` returns when the receiver knows the fate of every packet."""

    def __init__(self, source: str, target: str, address: str, flows: int, rate: int, seconds: float, port: int = 9000):
        self._binary = lab.ROOT / "build" / "release" / "bin" / "udp_stream"
        self._output = lab.ROOT / "build" / "demo" / f"stream-{source}-{target}-{port}.json"
        self._receive = [topo.namespace(target), str(self._binary), "receive", "--flows", str(flows), "--port", str(port),
                         "--seconds", str(seconds + 10), "--output", str(self._output)]
        self._send = [topo.namespace(source), str(self._binary), "send", "--to", address, "--flows", str(flows), "--rate", str(rate),
                      "--port", str(port), "--seconds", str(seconds), "--source-port", str(20000 + port % 10 * 1024)]
        self._target, self._port = target, port
        self.report: dict = {}

    def __enter__(self):
        self._output.parent.mkdir(parents=True, exist_ok=True)
        self._receiver = _start(self._receive)
        deadline = time.monotonic() + 5
        while not netns.in_host(self._target, "ss", "-Hlun", f"sport = :{self._port}"):
            if time.monotonic() > deadline:
                raise netns.LabError(f"the receiver in {self._target} does not start")
            time.sleep(0.02)
        self._sender = _start(self._send)
        return self

    def wait(self) -> None:
        for process in (self._sender, self._receiver):
            _, text = process.communicate(timeout=60)
            if process.returncode != 0:
                raise netns.LabError(f"udp_stream: {text}")
        self.report = json.loads(Path(self._output).read_text())

    def stop(self) -> None:
        """Sends no more, and waits."""
        self._sender.terminate()
        self.wait()

    def __exit__(self, *_):
        for process in (self._sender, self._receiver):
            if process.poll() is None:
                process.terminate()
                process.communicate()

    @property
    def received(self) -> int:
        return self.report["received"]

    @property
    def lost(self) -> int:
        return self.report["lost"]


def _start(command: list[str]) -> subprocess.Popen:
    return subprocess.Popen(["ip", "netns", "exec", *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
