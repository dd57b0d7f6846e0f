"""Makes what QEMU is given: a root file system without the tools of the build, and a tar with what this run tests."""

import shutil
import tarfile
from pathlib import Path

from .rootfs import run

# What only the compiler needs stays out: the file system is made and read faster.
LEFT_OUT = (
    "boot/*", "dev/*", "proc/*", "run/*", "sys/*", "tmp/*", "src", "build", "ccache", "opt/*", "usr/include", "usr/lib/llvm-*", "usr/lib/gcc",
    "usr/lib/clang", "usr/libexec/gcc", "usr/share/cmake*", "usr/share/icons", "usr/share/perl*", "usr/lib/x86_64-linux-gnu/*.a",
    "usr/lib/x86_64-linux-gnu/libLLVM*", "usr/lib/x86_64-linux-gnu/libclang*", "usr/lib/x86_64-linux-gnu/perl*",
    "var/cache/apt/*", "var/lib/apt/lists/*", "usr/lib/modules/*/kernel/drivers/gpu", "usr/lib/modules/*/kernel/sound",
)
INIT = """\
#!/bin/sh
# The VM's first process: unpacks the second disk, runs what is in it, and leaves its logs on the third.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 NO_COLOR=1
mount -t devtmpfs dev /dev; mkdir -p /dev/shm /dev/pts
mount -t proc proc /proc; mount -t sysfs sys /sys
for directory in /run /tmp /dev/shm; do mount -t tmpfs tmpfs $directory; done
mount -t cgroup2 cgroup2 /sys/fs/cgroup; mount -t devpts devpts /dev/pts
hostname twinspan
modprobe -a tun virtio_blk
until [ -e /dev/vdb ]; do sleep 0.1; done
mkdir -p /run/results /run/netns /opt/twinspan
tar -x -f /dev/vda -C /opt/twinspan
sh /opt/twinspan/tests/run >/dev/ttyS1 2>&1 </dev/null
echo "exit status $?" >/dev/ttyS1
dmesg >/run/results/dmesg.log
tar -c -f /dev/vdb -C /run/results .
sync
echo o >/proc/sysrq-trigger
sleep 60
"""


def kernel(directory: Path) -> Path:
    return directory / "vmlinuz"


def disk(directory: Path) -> Path:
    return directory / "root.ext4"


def make(root: Path, directory: Path, say) -> None:
    """Writes kernel and root file system into an empty folder."""
    say("making the disk")
    tree = directory / "tree"
    run("cp", "--archive", "--link", root, tree)
    shutil.copy(next((tree / "boot").glob("vmlinuz-*")), kernel(directory))
    for pattern in LEFT_OUT:
        for path in tree.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    init = tree / "usr/sbin/twinspan-init"
    init.write_text(INIT)
    init.chmod(0o755)
    run("mknod", "-m", "600", tree / "dev/console", "c", "5", "1")
    kibibytes = int(run("du", "--summarize", "--block-size=1K", tree).stdout.split()[0])
    run("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=1", "-d", tree, disk(directory),
        f"{kibibytes * 5 // 4 + 65536}k")
    shutil.rmtree(tree)


def pack(archive: Path, files: dict[Path, str]) -> None:
    """A tar of files and folders under the names they have in the VM."""
    with tarfile.open(archive, "w") as tar:
        for path, name in files.items():
            tar.add(path, name, filter=lambda entry: None if "__pycache__" in entry.name else entry)
    # Disks are whole sectors, and QEMU wants more than none.
    size = archive.stat().st_size
    with open(archive, "ab") as file:
        file.truncate((size + (1 << 20)) >> 20 << 20)
