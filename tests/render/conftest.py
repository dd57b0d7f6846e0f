"""Renders a configuration with the real twinspanctl; skips, and says so, where a daemon to check it with is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("daemons")

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("TWINSPAN_BUILD", ROOT / "build" / "release"))
TWINSPANCTL = Path(os.environ.get("TWINSPANCTL", BUILD / "bin" / "twinspanctl"))
TWINSPAND = BUILD / "bin" / "twinspand"
VECTORS = ROOT / "tests" / "vectors" / "config"

PASSWORD = "s3cret!of#the%session"
PSK = 'a "pre-shared" key\\ {with} all # sorts = of; things'


def pytest_collection_modifyitems(items):
    for item in items:
        if os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="network namespaces and the owner of secrets need root"))


def certificates(folder: Path):
    """One authority, our certificate and its key, as one-file.yaml names them."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key",
            "-out", "azure.pem", "-subj", "/CN=authority", "-days", "2")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "nva.key",
            "-out", "nva.csr", "-subj", "/CN=nva.example.com")
    (folder / "san").write_text("subjectAltName=DNS:nva.example.com\n")
    openssl("x509", "-req", "-in", "nva.csr", "-CA", "azure.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", "nva.pem", "-days", "2", "-extfile", "san")


def secret(path: Path, text: str):
    path.touch(0o600)
    path.chmod(0o600)
    path.write_text(text)


class Site:
    """A folder with a configuration and the files that it names."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.config = folder / "nva.yaml"
        self.config.write_text((VECTORS / "one-file.yaml").read_text())
        secret(folder / "msee.md5", PASSWORD + "\n")
        secret(folder / "azure.psk", PSK + "\n")
        certificates(folder)

    def change(self, *pairs):
        text = self.config.read_text()
        for before, after in pairs:
            assert before in text, before
            text = text.replace(before, after)
        self.config.write_text(text)
        return self

    def run(self, what: str, out: Path):
        return subprocess.run([TWINSPANCTL, "render", what, "--config", self.config, "--out", out],
                              capture_output=True, text=True)

    def render(self, what: str) -> Path:
        out = self.folder / f"out-{what}"
        done = self.run(what, out)
        assert done.returncode == 0, done.stderr
        for word in (PASSWORD, PSK):
            assert word not in done.stdout + done.stderr
        return out


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.fixture
def need():
    def look(program: str) -> str:
        found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/lib/frr:/usr/lib/ipsec")
        if not found:
            pytest.skip(f"NOT CHECKED: {program} is not installed (scripts/setup --dev installs it)")
        return found
    return look
