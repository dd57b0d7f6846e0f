"""Makes the Debian 13 tree that Twinspan is built in and that the VM boots: debootstrap, then apt inside."""

import shutil
import subprocess
from pathlib import Path

SUITE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

BUILD_PACKAGES = (
    "bpftool", "ccache", "clang-19", "cmake", "g++", "ninja-build", "pkg-config",
    "libbpf-dev", "libcli11-dev", "libdpdk-dev", "libelf-dev", "libfmt-dev", "libipsec-mb-dev", "libmnl-dev",
    "libspdlog-dev", "libxdp-dev", "libyaml-cpp-dev", "nlohmann-json3-dev", "zlib1g-dev",
)
RUN_PACKAGES = (
    "charon-systemd", "ethtool", "frr", "iperf3", "iproute2", "iputils-ping", "kmod",
    "libcharon-extra-plugins", "libstrongswan-standard-plugins", "procps", "python3", "strongswan-swanctl", "tcpdump",
)
KERNEL_PACKAGE = "linux-image-cloud-amd64"


class SystemTestError(Exception):
    """Something the user should read without a traceback."""


def run(*command, **options) -> subprocess.CompletedProcess:
    done = subprocess.run([str(part) for part in command], text=True, capture_output=True, **options)
    if done.returncode != 0:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        raise SystemTestError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{end}")
    return done


def _mirror() -> str:
    """The main archive as this machine's own apt knows it."""
    targets = run("apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages").stdout
    for line in targets.splitlines():
        origin, label, uri = line.split("|")
        if (origin, label) == ("Debian", "Debian"):
            return uri
    raise SystemTestError("apt knows no Debian main archive on this machine: run apt-get update, or see its sources")


def _environment() -> dict[str, str]:
    """The proxy of this machine's apt, and nothing of the caller's locale."""
    proxy = run("apt-config", "shell", "proxy", "Acquire::http::Proxy").stdout.strip()
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"}
    if proxy:
        environment["http_proxy"] = proxy.removeprefix("proxy='").removesuffix("'")
    return environment


def inside(root: Path, *command, binds: dict[Path, str] | None = None) -> subprocess.CompletedProcess:
    """Runs a command in the tree. Its mounts live in a mount namespace of their own, so none outlives the command."""
    script = 'mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"; root=$1; shift; '
    for number, target in enumerate((binds or {}).values(), start=1):
        script += f'mkdir -p "$root{target}"; mount --bind "$1" "$root{target}"; shift; '
    script += 'exec chroot "$root" "$@"'
    return run("unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", root, *(binds or {}), *command,
               env=_environment())


def _configure_apt(root: Path) -> None:
    """Nothing is started, nothing is synced, no document or translation is unpacked."""
    service_policy = root / "usr/sbin/policy-rc.d"
    service_policy.write_text("#!/bin/sh\nexit 101\n")
    service_policy.chmod(0o755)
    (root / "etc/apt/apt.conf.d/twinspan").write_text(
        'APT::Install-Recommends "false";\nAcquire::Languages "none";\nDPkg::Options:: "--force-unsafe-io";\n'
        'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n')
    (root / "etc/dpkg/dpkg.cfg.d/twinspan").write_text(
        "path-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\n")
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", root / "etc" / name)


def make(root: Path, say) -> None:
    """Fills an empty folder with the tree."""
    say(f"debootstrap of Debian 13 ({SUITE})")
    run("debootstrap", "--variant=minbase", f"--keyring={KEYRING}", SUITE, root, _mirror(), env=_environment())
    _configure_apt(root)
    say("installing compiler, libraries, FRR and strongSwan in it")
    inside(root, "apt-get", "update", "-qq")
    inside(root, "apt-get", "install", "-qq", "-y", *BUILD_PACKAGES, *RUN_PACKAGES)
    say("adding the kernel")
    # Only its files: its dependencies would make an initramfs that nothing needs.
    script = ("cd /var/cache/apt/archives && rm -f *.deb && kernel=$(apt-cache depends --important $0 | sed -n 's/.*Depends: //p') && "
              "apt-get download -qq $kernel && dpkg-deb --extract linux-image-*.deb / && depmod $(ls /usr/lib/modules) && rm *.deb")
    inside(root, "sh", "-ec", script, KERNEL_PACKAGE)
