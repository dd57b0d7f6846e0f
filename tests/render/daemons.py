"""Real daemons in network namespaces of their own: FRR with its sockets, charon with its."""

import json
import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path

FRR = Path("/usr/lib/frr")


def wait_for(what: str, condition, seconds: float = 20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {seconds} s")


class Namespace:
    count = 0

    def __init__(self):
        Namespace.count += 1
        self.name = f"twr-{os.getpid()}-{Namespace.count}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.netdevs = 0
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *arguments):
        return ["ip", "netns", "exec", self.name, *map(str, arguments)]

    def run(self, *arguments):
        return subprocess.run(self.command(*arguments), check=True, capture_output=True, text=True).stdout

    def netdev(self, name: str, *addresses: str):
        """Not of type dummy: that driver is a module, and not everywhere."""
        self.netdevs += 1
        self.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"far{self.netdevs}")
        self.run("ip", "link", "set", f"far{self.netdevs}", "up")
        self.run("ip", "link", "set", name, "up")
        for address in addresses:
            self.run("ip", "address", "add", address, "dev", name, *(["nodad"] if ":" in address else []))

    def remove(self):
        subprocess.run(["ip", "netns", "delete", self.name], check=False)


class Frr:
    """zebra, bgpd, bfdd and staticd of one router, reached by vtysh -N."""

    def __init__(self, namespace: Namespace):
        self.namespace = namespace
        self.run_folder = Path("/var/run/frr") / namespace.name
        self.run_folder.mkdir(parents=True)
        user = pwd.getpwnam("frr")
        os.chown(self.run_folder, user.pw_uid, user.pw_gid)
        self.daemons = []
        for daemon in ("mgmtd", "zebra", "staticd", "bfdd", "bgpd"):
            if (FRR / daemon).exists():
                self.start(daemon)
        wait_for("FRR's daemons", lambda: "FRR" in self.show("show version"))

    def start(self, daemon: str):
        command = [FRR / daemon, "-N", self.namespace.name, "-f", "/dev/null", "-A", "127.0.0.1"]
        process = subprocess.Popen(self.namespace.command(*command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.daemons.append(process)
        wait_for(daemon, lambda: (self.run_folder / f"{daemon}.vty").exists())

    def vtysh(self, *arguments):
        return subprocess.run(["vtysh", "-N", self.namespace.name, *map(str, arguments)], capture_output=True, text=True)

    def load(self, path: Path):
        done = self.vtysh("-f", path)
        complaints = [line for line in (done.stdout + done.stderr).splitlines() if "vtysh.conf" not in line
                      if "%" in line or "failed" in line.lower() or "unknown" in line.lower()]
        assert done.returncode == 0 and not complaints, done.stdout + done.stderr

    def show(self, command: str) -> str:
        return self.vtysh("-c", command).stdout

    def json(self, command: str):
        text = self.show(command + " json")
        return json.loads(text) if text.strip() else {}

    def stop(self):
        for process in reversed(self.daemons):
            process.terminate()
        for process in self.daemons:
            process.wait(20)
        shutil.rmtree(self.run_folder, ignore_errors=True)


class Charon:
    """charon-systemd alone in a namespace, with a vici socket of its own."""

    def __init__(self, namespace: Namespace, program: str, folder: Path, conf: Path):
        self.uri = f"unix://{folder}/charon.vici"
        settings = folder / "strongswan.conf"
        settings.write_text(f"include {conf}\n"
                            f"charon-systemd {{\n  plugins {{\n    vici {{\n      socket = {self.uri}\n    }}\n  }}\n}}\n")
        self.log = (folder / "charon.log").open("w+")
        self.process = subprocess.Popen(namespace.command(program), env={**os.environ, "STRONGSWAN_CONF": str(settings)},
                                        stdout=self.log, stderr=subprocess.STDOUT)
        try:
            wait_for("charon", lambda: (folder / "charon.vici").exists() or self.process.poll() is not None)
            assert self.process.poll() is None, self.said()
        except AssertionError:
            self.stop()
            raise

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def swanctl(self, folder: Path, *arguments):
        return subprocess.run(["swanctl", *arguments, "--uri", self.uri], capture_output=True, text=True,
                              env={**os.environ, "SWANCTL_DIR": str(folder)})

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
