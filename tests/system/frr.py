"""FRR in a namespace, with a path space of its own."""

import json
import subprocess
from pathlib import Path

import net

DAEMONS = Path("/usr/lib/frr")
FOLDER = Path("/run/site/frr")
WAVES = (("mgmtd", "zebra"), ("bfdd", "staticd"), ("bgpd",))  # a daemon that finds no zebra tries again only after 10 s

# Microsoft's routers on both links, and Azure's gateway in both tunnels, in one process.
PEER = """\
frr defaults traditional
no zebra nexthop kernel enable
ip prefix-list gateway-0 permit 10.30.0.4/32
ip prefix-list gateway-1 permit 10.30.0.5/32
ip prefix-list vnet-0 permit 10.20.1.0/24
ip prefix-list vnet-1 permit 10.20.2.0/24
{maps}
router bgp 12076
 bgp router-id 172.16.0.2
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 no bgp network import-check
{neighbors}
 address-family ipv4 unicast
  network 10.30.0.4/32
  network 10.30.0.5/32
  network 10.20.1.0/24
  network 10.20.2.0/24
{families}
 exit-address-family
exit
"""


def peer_config() -> str:
    sessions = (("172.16.0.1", "gateway-0", False), ("172.16.0.5", "gateway-1", False), ("169.254.21.1", "vnet-0", True), ("169.254.21.5", "vnet-1", True))
    maps = "".join(f"route-map {name} permit 10\n match ip address prefix-list {name}\nexit\n" for _, name, _ in sessions)
    neighbors = "".join(f" neighbor {address} remote-as 65010\n neighbor {address} timers connect 1\n"
                        + (f" neighbor {address} local-as 65515 no-prepend replace-as\n" if tunnel else "") for address, _, tunnel in sessions)
    families = "".join(f"  neighbor {address} activate\n  neighbor {address} route-map {name} out\n" for address, name, _ in sessions)
    return PEER.format(maps=maps, neighbors=neighbors, families=families)


class Frr:
    def __init__(self, namespace: str, results: Path):
        self.namespace, self._results = namespace, results
        self._processes: list[subprocess.Popen] = []

    def start(self, config: str) -> None:
        folder = FOLDER / self.namespace
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vtysh.conf").touch()
        (folder / "frr.conf").write_text(config)
        run = Path("/run/frr")
        for directory in (run, run / self.namespace):
            directory.mkdir(exist_ok=True)
            net.run("chown", "frr:frr", directory)
        for wave in WAVES:
            for daemon in wave:
                self._spawn(daemon)
            for daemon in wave:
                net.eventually((run / self.namespace / f"{daemon}.vty").exists, 30, f"FRR's {daemon} does not start in {self.namespace}")
        net.run("vtysh", "-N", self.namespace, "--config_dir", FOLDER, "-b")

    def _spawn(self, daemon: str) -> None:
        """It reads no file: vtysh gives all of them their parts of one."""
        unread = [] if daemon in ("mgmtd", "staticd") else ["-f", "/dev/null"]
        command = ["ip", "netns", "exec", self.namespace, DAEMONS / daemon, "-N", self.namespace, *unread, "-P", "0", "--log", "stdout"]
        with open(self._results / f"frr-{self.namespace}-{daemon}.log", "ab") as log:
            self._processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def vtysh(self, command: str) -> str:
        return net.run("vtysh", "-N", self.namespace, "--config_dir", FOLDER, "-c", command, check=False)

    def established(self) -> set[str]:
        peers = json.loads(self.vtysh("show bgp ipv4 unicast summary json") or "{}").get("peers", {})
        return {address for address, peer in peers.items() if peer["state"] == "Established"}

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            process.wait()
        self._processes.clear()
