"""The lab as a whole: up, down, status."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from . import config, frr, links, netns, processes, routing
from . import topology as topo
from .paths import LAB_DIR, ROOT

WEB_SERVER = Path(__file__).with_name("webserver.py")
BACKLOG = Path("/proc/sys/net/core/netdev_max_backlog")
WANTED_BACKLOG = 20000
IPERF_PORT = "5201"
CONVERGENCE_SECONDS = 20


def up(build_dir: Path, with_twinspand: bool = True) -> None:
    down()
    shutil.rmtree(LAB_DIR, ignore_errors=True)
    LAB_DIR.mkdir(parents=True)
    _raise_backlog()
    netns.build(build_dir / "lab" / "vlan.bpf.o")
    config.render(LAB_DIR)
    _start_servers()
    if with_twinspand:
        _start_twinspands(build_dir / "bin" / "twinspand")
    _start_routing(build_dir / "bin" / "twinspanctl" if with_twinspand else None)


def down() -> None:
    """Ends what the lab started, FRR before the twinspands so that all leave cleanly, and removes its namespaces."""
    names = processes.recorded(LAB_DIR) if LAB_DIR.is_dir() else []
    for name in sorted(names, key=lambda name: (not frr.is_of_frr(name), name not in topo.TWINSPANDS)):
        processes.stop(LAB_DIR, name)
    for host in topo.FRR_HOSTS:
        frr.forget(host)
    for name in topo.TWINSPANDS:  # NAT sessions, which would go on in the next lab
        Path(f"/dev/shm/twinspan-{name}.nat").unlink(missing_ok=True)
    for name in netns.existing():
        left = netns.run("ip", "netns", "pids", name).split()
        if left:
            print(f"{name} goes, but processes not of the lab still run in it: {' '.join(left)}", file=sys.stderr)
    netns.remove()
    _restore_backlog()


def _start_routing(twinspanctl: Path | None) -> None:
    """Without twinspands, Microsoft's side alone. The NVA's configuration is what twinspanctl renders, as anywhere."""
    password = (LAB_DIR / config.PASSWORD_FILE).read_text().strip()
    configurations = {link.msee: routing.msee(link, password) for link in topo.LINKS.values()}
    configurations |= {"core": routing.core(), "spoke": routing.spoke()}
    if twinspanctl:
        configurations |= {"azgw": routing.azgw(), "nva": _rendered(twinspanctl)}
    frr.start(LAB_DIR, configurations)
    if twinspanctl:
        frr.wait_established(LAB_DIR, tuple(configurations), CONVERGENCE_SECONDS)
    routing.wait_for_routes(routing.WHOLE if twinspanctl else routing.MICROSOFT_ALONE, CONVERGENCE_SECONDS)


def _rendered(twinspanctl: Path) -> str:
    folder = LAB_DIR / "rendered"
    netns.run(str(twinspanctl), "render", "frr", "--config", str(LAB_DIR / "nva.yaml"), "--out", str(folder))
    text = (folder / "frr.conf").read_text()
    return text + routing.nva_additions()


def _raise_backlog() -> None:
    """All veth hops of a packet share one per-CPU queue, whose default length a burst of a few streams overruns."""
    (LAB_DIR / "netdev_max_backlog").write_text(BACKLOG.read_text())
    BACKLOG.write_text(str(max(WANTED_BACKLOG, int(BACKLOG.read_text()))))


def _restore_backlog() -> None:
    saved = LAB_DIR / "netdev_max_backlog"
    if saved.exists():
        BACKLOG.write_text(saved.read_text())
        saved.unlink()


def _start_servers() -> None:
    for host in topo.WEB_SERVERS:
        processes.spawn(LAB_DIR, host, f"web-{host}", "/usr/bin/python3", str(WEB_SERVER),
                        "--access-log", str(LAB_DIR / f"{host}.access.log"))
    for host in ("onprem", "vnet"):
        processes.spawn(LAB_DIR, host, f"iperf3-{host}", "iperf3", "--server", "--port", IPERF_PORT)
    for host in topo.WEB_SERVERS:
        _wait_for_listener(host, 80)


def _wait_for_listener(host: str, port: int) -> None:
    deadline = time.monotonic() + 5
    while not netns.in_host(host, "ss", "-Hltn", f"sport = :{port}"):
        if time.monotonic() > deadline:
            raise netns.LabError(f"nobody listens on port {port} of {host}; see {LAB_DIR}/web-{host}.log")
        time.sleep(0.05)


def _start_twinspands(binary: Path) -> None:
    if not binary.exists():
        raise netns.LabError(f"{binary} is missing: build it, or use --network-only")
    for daemon in topo.DAEMONS:
        processes.spawn(LAB_DIR, daemon.name, daemon.name, str(binary), "--config", str(LAB_DIR / f"{daemon.name}.yaml"),
                        nice=processes.NICE)
    for daemon in topo.DAEMONS:
        processes.wait_until_ready(LAB_DIR, daemon)
        netns.ip_batch(daemon.name, [*_tunnel_addresses(daemon), *netns.route_lines(daemon.routes)])


def _tunnel_addresses(daemon: topo.Twinspand) -> list[str]:
    ours = [(site, azure, *routing.TUNNEL_ADDRESSES[site]) for site, azure, *_ in config.TUNNELS]
    return [f"address replace {here if daemon is topo.NVA else there}/30 dev {site if daemon is topo.NVA else azure}"
            for site, azure, here, there in ours]


def execute(host: str, command: list[str]) -> int:
    return subprocess.run(["ip", "netns", "exec", topo.namespace(host), *command]).returncode


def vtysh(host: str, command: str) -> int:
    return subprocess.run(["vtysh", "-N", topo.namespace(host), "--config_dir", str(LAB_DIR / "frr"), *(["-c", command] if command else [])]).returncode


def status() -> int:
    """Prints one table; returns 0 if everything that belongs to the lab is there."""
    present = set(netns.existing())
    complete = True
    print(f"{'HOST':8} {'NAMESPACE':11} {'STATE':6} ADDRESSES")
    for host in topo.HOSTS:
        there = topo.namespace(host) in present
        complete &= there
        print(f"{host:8} {topo.namespace(host):11} {'up' if there else 'absent':6} {_addresses(host) if there else ''}")
    if not complete:
        return 1
    return 0 if _print_links_and_processes() else 1


def _print_links_and_processes() -> bool:
    complete = True
    print(f"\n{'LINK':10} STATE")
    for name in topo.LINKS:
        print(f"{name:10} {'up' if links.is_up(name) else 'cut'}")
    print(f"\n{'PROCESS':19} {'PID':>8} STATE")
    for name in processes.recorded(LAB_DIR):
        pid = processes.pid_of(LAB_DIR, name)
        complete &= pid is not None
        print(f"{name:19} {pid or '-':>8} {'running' if pid else 'gone'}")
    return complete


def _addresses(host: str) -> str:
    lines = netns.run("ip", "-n", topo.namespace(host), "-br", "-4", "address").splitlines()
    return " ".join(f"{fields[0].split('@')[0]}={fields[2]}" for fields in map(str.split, lines)
                    if len(fields) > 2 and fields[0] != "lo")
