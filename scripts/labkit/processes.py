"""Starts the lab's long-running processes inside hosts, records them, and ends exactly those again."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from . import netns
from . import topology as topo

READY_SECONDS = 20
# Of the data plane and of routing. Elsewhere they have cores of their own (workers) or a service's priority (FRR); here they share
# theirs with the hosts that send and receive, and BFD calls a peer dead that has not run for 0.9 s.
NICE = -15
STOP_SECONDS = 10


def _start_time(pid: int) -> str | None:
    """Clock ticks after boot at which a process began: with its pid, this names it for good."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return None
    return None if fields[0] == "Z" else fields[19]


def spawn(directory: Path, host: str, name: str, *command: str, nice: int = 0) -> int:
    """Runs a command in a host; its output goes to NAME.log and its pid and start time to NAME.pid."""
    with open(directory / f"{name}.log", "ab") as log:
        process = subprocess.Popen(["nice", "-n", str(nice), "ip", "netns", "exec", topo.namespace(host), *command], stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    (directory / f"{name}.pid").write_text(f"{process.pid} {_start_time(process.pid)}\n")
    return process.pid


def pid_of(directory: Path, name: str) -> int | None:
    """The recorded process if it still runs, and None if it has gone or the number now belongs to another."""
    try:
        pid, started = (directory / f"{name}.pid").read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if _start_time(int(pid)) == started else None


def stop(directory: Path, name: str) -> None:
    pid = pid_of(directory, name)
    if pid is not None:
        _end(pid, name)
    (directory / f"{name}.pid").unlink(missing_ok=True)


def _end(pid: int, name: str) -> None:
    os.kill(pid, signal.SIGTERM)
    if not _gone(pid, STOP_SECONDS):
        print(f"{name} (pid {pid}) ignores SIGTERM: killed")
        os.kill(pid, signal.SIGKILL)
        _gone(pid, STOP_SECONDS)


def _gone(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _start_time(pid) is not None:
        if time.monotonic() > deadline:
            return False
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass
        time.sleep(0.02)
    return True


def recorded(directory: Path) -> list[str]:
    return sorted(path.stem for path in directory.glob("*.pid"))


def ask(name: str, request: dict) -> dict:
    """One request to a twinspand's control socket, and its reply."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        control.settimeout(5)
        control.connect(f"/run/twinspan/{name}.sock")
        control.sendall(json.dumps(request).encode() + b"\n")
        with control.makefile() as replies:
            return json.loads(replies.readline())


def wait_until_ready(directory: Path, daemon: topo.Twinspand) -> None:
    """Ready means: the socket answers and every TAP is up, so that routes can be put on it."""
    deadline = time.monotonic() + READY_SECONDS
    while not _is_ready(daemon):
        if pid_of(directory, daemon.name) is None or time.monotonic() > deadline:
            log = (directory / f"{daemon.name}.log").read_text().splitlines()[-15:]
            raise netns.LabError(f"twinspand {daemon.name} does not come up; the end of its log:\n" + "\n".join(log))
        time.sleep(0.05)


def _is_ready(daemon: topo.Twinspand) -> bool:
    try:
        if not ask(daemon.name, {"command": "ping"}).get("ok"):
            return False
    except (OSError, ValueError):
        return False
    links = json.loads(netns.run("ip", "-j", "-n", topo.namespace(daemon.name), "link", "show"))
    up = {link["ifname"] for link in links if "UP" in link["flags"]}
    return up.issuperset(daemon.taps)
