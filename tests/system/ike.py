"""A strongSwan of its own in a namespace: its settings, its start, and what swanctl says."""

import os
import re
import subprocess
from pathlib import Path

import net

SETTINGS = """\
{rendered}
charon-systemd {{
    load = nonce openssl pem x509 pubkey constraints kernel-netlink socket-default vici
    install_routes = no
    filelog {{
        log {{
            path = {folder}/charon.log
            time_format = %H:%M:%S
            flush_line = yes
            default = 1
            knl = 2
        }}
    }}
    journal {{ default = -1 }}
    plugins {{
        vici {{ socket = unix://{socket} }}
    }}
}}
swanctl {{
    load = openssl pem x509
    socket = unix://{socket}
}}
"""


class Ike:
    def __init__(self, namespace: str, folder: Path):
        self.namespace, self.folder = namespace, folder
        self.socket = f"/run/{namespace}.vici"
        self.process: subprocess.Popen | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, rendered: Path | None = None) -> None:
        """With what Twinspan renders for strongswan.d, or without."""
        (self.folder / "strongswan.conf").write_text(SETTINGS.format(
            folder=self.folder, socket=self.socket, rendered=f"include {rendered}" if rendered else ""))
        environment = dict(os.environ, STRONGSWAN_CONF=str(self.folder / "strongswan.conf"))
        with open(self.folder / "charon.out", "ab") as log:
            self.process = subprocess.Popen(["ip", "netns", "exec", self.namespace, "/usr/sbin/charon-systemd"], env=environment,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        net.eventually(lambda: Path(self.socket).exists(), 30, "charon does not open its vici socket")

    def stop(self) -> None:
        """Ends it as a lost machine would: without a word to the other side."""
        self.process.kill()
        self.process.wait()
        Path(self.socket).unlink(missing_ok=True)

    def watch(self, unit: Path) -> None:
        """Does every 10 s what a rendered unit does, as systemd's timer would."""
        line = next(line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")).removeprefix("ExecStart=").replace("$$", "$")
        script = f"while sleep 10; do {line}; done"
        environment = dict(os.environ, STRONGSWAN_CONF=str(self.folder / "strongswan.conf"))
        with open(self.folder / "watch.out", "ab") as log:
            subprocess.Popen(["ip", "netns", "exec", self.namespace, "sh", "-c", script], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def swanctl(self, *arguments: str, **options) -> str:
        os.environ["STRONGSWAN_CONF"] = str(self.folder / "strongswan.conf")
        return net.run("swanctl", *arguments, "--uri", f"unix://{self.socket}", **options)

    def load(self, file: Path) -> str:
        return self.swanctl("--load-all", "--file", str(file))

    def sas(self) -> dict[str, dict]:
        """Installed CHILD_SAs by name: SPIs and, for each direction, bytes and packets. The newest of a name."""
        found = {}
        for name, body in re.findall(r"^  (\S+): #\d+, reqid \d+, INSTALLED(.*?)(?=^  \S|^\S|\Z)", self.swanctl("--list-sas"), re.M | re.S):
            ways = {way: (int(spi, 16), int(size), int(count)) for way, spi, size, count in
                    re.findall(r"^    (in|out)\s+([0-9a-f]{8}).*?,\s+(\d+) bytes,\s+(\d+) packets", body, re.M)}
            found[name] = ways
        return found
