"""FRR in a host of the lab: its daemons under a path space of their own, started and ended by the lab, by pid."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

from . import netns, processes
from . import topology as topo

DAEMONS_DIR = Path("/usr/lib/frr")
RUN_DIR = Path("/run/frr")
# In the order they start. A daemon that does not find zebra's socket tries again after 10 s only, and bgpd's wishes reach no
# bfdd that is not with zebra yet. mgmtd is a part of FRR since version 9.
WAVES = (("mgmtd", "zebra"), ("bfdd", "staticd"), ("bgpd",))
START_SECONDS = 10


def _name(host: str, daemon: str) -> str:
    return f"frr-{host}-{daemon}"


def _present(daemons: tuple[str, ...]) -> list[str]:
    return [daemon for daemon in daemons if (DAEMONS_DIR / daemon).exists()]


def _daemons() -> list[str]:
    return [daemon for wave in WAVES for daemon in _present(wave)]


def is_of_frr(process: str) -> bool:
    return process.startswith("frr-")


def start(directory: Path, configurations: dict[str, str]) -> None:
    """Starts FRR in each host of the map, with that configuration, all at once."""
    for host, text in configurations.items():
        folder = directory / "frr" / topo.namespace(host)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vtysh.conf").write_text("")
        config = folder / "frr.conf"
        config.write_text(text)
        config.chmod(0o600)  # it may hold a session's password
    _run(directory, tuple(configurations))


def restart(directory: Path, host: str) -> None:
    """After kill(): the same daemons with the same configuration."""
    _run(directory, (host,))


def _run(directory: Path, hosts: tuple[str, ...]) -> None:
    RUN_DIR.mkdir(mode=0o755, exist_ok=True)  # FRR's own service makes it, where there is one
    shutil.chown(RUN_DIR, "frr", "frr")
    for wave in WAVES:
        for host in hosts:
            for daemon in _present(wave):
                _spawn(directory, host, daemon)
        for host in hosts:
            _wait(directory, host, wave)
    for host in hosts:
        netns.run("vtysh", "-N", topo.namespace(host), "--config_dir", str(directory / "frr"), "-b")


def _spawn(directory: Path, host: str, daemon: str) -> None:
    # -f: nothing is read here; vtysh gives all of them their parts of one file, as FRR's own start script does.
    extra = ["-s", "16777216"] if daemon == "zebra" else []
    processes.spawn(directory, host, _name(host, daemon), str(DAEMONS_DIR / daemon), "-N", topo.namespace(host),
                    "-f", "/dev/null", "-P", "0", "--log", "stdout", "--log-level", "info", *extra,
                    nice=processes.NICE)


def _wait(directory: Path, host: str, wave: tuple[str, ...]) -> None:
    """Until the daemons take commands, and zebra's clients have been heard by it."""
    sockets = [RUN_DIR / topo.namespace(host) / f"{daemon}.vty" for daemon in _present(wave)]
    if "zebra" in wave:
        sockets.append(RUN_DIR / topo.namespace(host) / "zserv.api")
    deadline = time.monotonic() + START_SECONDS
    while not all(socket.exists() for socket in sockets) or ("bfdd" in wave and not _zebra_hears(directory, host, "bfd")):
        if time.monotonic() > deadline:
            raise netns.LabError(f"FRR in {host} does not start: {', '.join(wave)}; see {directory}/frr-{host}-*.log")
        time.sleep(0.02)


def _zebra_hears(directory: Path, host: str, client: str) -> bool:
    clients = vtysh(directory, host, "show zebra client summary").splitlines()
    return any(line.split()[:1] == [client] for line in clients)


def vtysh(directory: Path, host: str, *commands: str) -> str:
    arguments = [part for command in commands for part in ("-c", command)]
    return netns.run("vtysh", "-N", topo.namespace(host), "--config_dir", str(directory / "frr"), *arguments)


def ask(directory: Path, host: str, command: str) -> dict:
    return json.loads(vtysh(directory, host, f"{command} json"))


def kill(directory: Path, host: str) -> None:
    """All daemons of a host at once, without a chance to say good-bye; what they put into the kernel stays."""
    names = [_name(host, daemon) for daemon in _daemons()]
    for name in names:
        pid = processes.pid_of(directory, name)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
    for name in names:
        processes.stop(directory, name)
    forget(host)


def forget(host: str) -> None:
    shutil.rmtree(RUN_DIR / topo.namespace(host), ignore_errors=True)


def established(directory: Path, host: str) -> dict[str, bool]:
    """peer address -> whether its session is established."""
    summary = ask(directory, host, "show bgp summary")
    peers: dict[str, bool] = {}
    for family in summary.values():
        for address, peer in (family.get("peers") or {}).items():
            peers[address] = peers.get(address, False) or peer["state"] == "Established"
    return peers


def wait_established(directory: Path, hosts: tuple[str, ...], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for host in hosts:
        while True:
            peers = established(directory, host)
            if peers and all(peers.values()):
                break
            if time.monotonic() > deadline:
                down = [address for address, up in peers.items() if not up]
                raise netns.LabError(f"BGP in {host}: no session with {', '.join(down) or 'anybody'} after {seconds:.0f} s")
            time.sleep(0.1)
