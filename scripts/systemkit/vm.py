"""Runs QEMU, passes on what the tests inside print, and unpacks the logs that they leave."""

import ctypes
import re
import signal
import subprocess
import tarfile
import time
from pathlib import Path

from . import image
from .rootfs import SystemTestError

RESULTS_BYTES = 512 << 20
MEMORY_MIB = 3072
CONSOLE_LINES = 30  # shown when the VM ends early: as much as a panic has
STATUS = re.compile(r"^exit status (\d+)\n", re.MULTILINE)
PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _command(directory: Path, work: Path, results: Path) -> list[str]:
    command = [
        # One thread for both CPUs: with two, QEMU before 8.1 may run code that the other CPU is patching, and the kernel, which patches
        # itself whenever a ping asks for time stamps, dies of an int3 that is no longer there.
        "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=single", "-cpu", "max,-cx16", "-smp", "2",
        "-m", str(MEMORY_MIB), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-serial", f"file:{work / 'console.log'}", "-serial", f"file:{work / 'report.log'}",
        "-kernel", str(image.kernel(directory)),
        # rootwait: the disk's namespaces are scanned in the background, and on a busy machine that takes longer than the rest of the boot.
        "-append", "console=ttyS0 root=/dev/nvme0n1 rootwait rootfstype=ext4 rw init=/usr/sbin/twinspan-init panic=-1 mitigations=off quiet",
    ]
    # The kernel has NVMe built in, so it needs no initramfs; virtio disks have names that follow their order.
    drives = ((image.disk(directory), "nvme,serial=root", "on"), (work / "payload.tar", "virtio-blk-pci", "on"),
              (results, "virtio-blk-pci", "off"))
    for number, (path, device, snapshot) in enumerate(drives):
        command += ["-drive", f"if=none,id=disk{number},format=raw,file={path},snapshot={snapshot},cache=unsafe",
                    "-device", f"{device},drive=disk{number}"]
    return command


def _follow(process: subprocess.Popen, report: Path, deadline: float) -> str:
    """Prints the report as it grows, and returns all of it when QEMU has ended."""
    text = ""
    while True:
        ended = process.poll() is not None
        now = report.read_bytes().decode(errors="replace").replace("\r\n", "\n") if report.exists() else ""
        whole = now[:now.rfind("\n") + 1]
        print(STATUS.sub("", whole[len(text):]), end="", flush=True)
        text = whole
        if ended:
            return text
        if time.monotonic() > deadline:
            raise SystemTestError("the VM does not end by itself: stopped")
        time.sleep(0.3)


def _unpack(results: Path, into: Path) -> None:
    try:
        with tarfile.open(results) as tar:
            tar.extractall(into, filter="data") if hasattr(tarfile, "data_filter") else tar.extractall(into)
    except tarfile.TarError as error:
        raise SystemTestError(f"no logs came out of the VM ({error}), see console.log beside them") from error
    finally:
        results.unlink()


def run(directory: Path, work: Path, seconds: float) -> int:
    """Exit status of what ran inside; its logs are in `work`/results, the kernel's in `work`/console.log."""
    results = work / "results.raw"
    with open(results, "wb") as file:
        file.truncate(RESULTS_BYTES)
    (work / "report.log").unlink(missing_ok=True)
    with open(work / "qemu.log", "wb") as log:
        process = subprocess.Popen(_command(directory, work, results), stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_end_with_parent)
        try:
            report = _follow(process, work / "report.log", time.monotonic() + seconds)
        finally:
            process.kill()
            process.wait()
    _unpack(results, work / "results")
    status = STATUS.search(report)
    if status is None:
        last = (work / "console.log").read_bytes().decode(errors="replace").splitlines()[-CONSOLE_LINES:]
        raise SystemTestError("\n".join([f"the VM ended early, see {work}/console.log and qemu.log", *last]))
    return int(status[1])
