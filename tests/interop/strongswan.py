"""strongSwan with its ESP in user space (plugin kernel-libipsec), one charon in a namespace."""

import os
import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from harness import Netns, end_with_the_tests, eventually

CHARON = Path("/usr/sbin/charon-systemd")
PLUGIN = next(iter(Path("/usr/lib/ipsec/plugins").glob("libstrongswan-kernel-libipsec.so")), None)

SETTINGS = """\
charon-systemd {{
    load = nonce random openssl hmac kdf kernel-libipsec kernel-netlink socket-default vici
    threads = 16
    filelog {{
        log {{
            path = {folder}/charon.log
            flush_line = yes
            default = 1
            chd = {chd}
        }}
    }}
    journal {{
        default = -1
    }}
    plugins {{
        vici {{
            socket = unix://{folder}/vici
        }}
        kernel-netlink {{
            roam_events = no
        }}
    }}
}}
swanctl {{
    load = openssl
}}
"""
# Nothing expires: the keys stay for as long as the tests run.
CONNECTION = """\
    {name} {{
        version = 2
        local_addrs = {ours}
        remote_addrs = {theirs}
        proposals = aes256gcm16-prfsha384-ecp384
        encap = yes
        mobike = no
        rekey_time = 0
        local {{
            auth = psk
            id = {our_id}
        }}
        remote {{
            auth = psk
            id = {their_id}
        }}
        children {{
{children}
        }}
    }}
"""
SECRETS = """\
secrets {
    ike {
        secret = for-a-test-in-a-namespace
    }
}
"""
CHILD = """\
            {name} {{
                local_ts = {local}
                remote_ts = {remote}
                esp_proposals = {proposal}
                rekey_time = 0
                life_time = 0
            }}
"""


def why_not() -> str | None:
    """What is missing for a strongSwan in user space."""
    if not CHARON.exists():
        return "charon-systemd is not installed (scripts/setup installs it)"
    if PLUGIN is None:
        return "libcharon-extra-plugins, which has kernel-libipsec, is not installed (scripts/setup installs it)"
    return None


@dataclass
class Child:
    """A CHILD_SA of a connection: the prefixes at both ends, and the ESP proposal."""
    name: str
    connection: str
    local: str
    remote: str
    proposal: str

    def mirrored(self) -> "Child":
        return replace(self, local=self.remote, remote=self.local)


class Charon:
    def __init__(self, namespace: Netns, folder: Path, with_keys: bool):
        """`folder` keeps the keys when `with_keys` has them logged: for the owner alone, and removed by whoever made it."""
        self._namespace, self._folder = namespace, folder
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "strongswan.conf").write_text(SETTINGS.format(folder=folder, chd=4 if with_keys else 1))
        self._environment = dict(os.environ, STRONGSWAN_CONF=str(folder / "strongswan.conf"), SWANCTL_DIR=str(folder))
        self._process: subprocess.Popen | None = None

    def start(self, our_id: str, their_id: str, connections: dict[str, tuple[str, str]], children: list[Child]) -> None:
        """`connections`: name -> our address and theirs."""
        blocks = (CONNECTION.format(name=name, ours=ours, theirs=theirs, our_id=our_id, their_id=their_id,
                                    children="".join(CHILD.format(**vars(child)) for child in children if child.connection == name))
                  for name, (ours, theirs) in connections.items())
        (self._folder / "swanctl.conf").write_text("connections {\n" + "".join(blocks) + "}\n" + SECRETS)
        with (self._folder / "charon.out").open("ab") as out:
            self._process = subprocess.Popen(["ip", "netns", "exec", self._namespace.name, CHARON], env=self._environment, stdin=subprocess.DEVNULL,
                                             stdout=out, stderr=out, preexec_fn=end_with_the_tests)
        eventually(lambda: (self._folder / "vici").exists() or self._process.poll() is not None, 10, "charon opens no socket")
        assert self._process.poll() is None, (self._folder / "charon.out").read_text()[-2000:]
        self.swanctl("--load-all", "--file", self._folder / "swanctl.conf")

    def swanctl(self, *arguments) -> str:
        done = subprocess.run(["swanctl", *map(str, arguments), "--uri", f"unix://{self._folder}/vici"], env=self._environment,
                              capture_output=True, text=True)
        assert done.returncode == 0, f"swanctl {arguments[0]}: {done.stderr[-500:]}"
        return done.stdout

    def log(self) -> str:
        return (self._folder / "charon.log").read_text()

    def initiate(self, child: str) -> dict:
        """The SPIs and keys of the CHILD_SA that this side has begun, as {"outbound": (SPI, key), ...}: AEAD's
        with its salt, else the cipher's and the integrity key behind it (RFC 7296 section 2.17)."""
        before = len(self.log())
        self.swanctl("--initiate", "--child", child, "--timeout", "10")
        said = self.log()[before:]
        spi = re.search(rf"CHILD_SA {child}\{{\d+\}} established with SPIs ([0-9a-f]{{8}})_i ([0-9a-f]{{8}})_o", said)
        return {way: (int(number, 16), _key(said, "encryption", side) + _key(said, "integrity", side))
                for way, number, side in (("inbound", spi[1], "responder"), ("outbound", spi[2], "initiator"))}

    def counters(self, child: str) -> dict[str, tuple[int, int]]:
        """Bytes and packets that it has opened ("in") and sealed ("out")."""
        text = self.swanctl("--list-sas", "--child", child)
        return {way: (int(size), int(count)) for way, size, count in
                re.findall(r"^    (in|out)\s.*?,\s+(\d+) bytes,\s+(\d+) packets", text, re.M)}

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()  # without a word to the other side
            self._process.wait()


def _key(said: str, kind: str, side: str) -> bytes:
    """A key that charon wrote as a dump: `encryption initiator key => 36 bytes @ 0x7f..`, and lines of bytes."""
    found = re.search(rf"{kind} {side} key => (\d+) bytes.*\n((?:.*?\[CHD\]\s+\d+: .*\n)+)", said)
    if found is None:
        return b""
    size, key = int(found[1]), ""
    for line in found[2].splitlines():
        key += "".join(re.findall(r"\b[0-9A-F]{2}\b", re.sub(r"^.*?\d+: ", "", line)[:48]))
    return bytes.fromhex(key)[:size]
