"""What a run needs, from the cache or made now: the tree, the disk, the programs, and a tar of what is tested."""

import fcntl
import hashlib
import shutil
from pathlib import Path

from . import build, image, rootfs


def _cached(cache: Path, name: str, make, *modules) -> Path:
    """A folder that `make` fills once for these versions of its recipe; those of other versions are removed."""
    recipe = hashlib.sha256(b"".join(Path(module.__file__).read_bytes() for module in modules)).hexdigest()[:16]
    directory = cache / f"{name}-{recipe}"
    if not directory.exists():
        for other in cache.glob(f"{name}-*"):
            shutil.rmtree(other)
        work = cache / f"new-{name}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        make(work)
        work.rename(directory)
    return directory


def prepare(source: Path, tests: Path, scenes: list[str], build_dir: Path, cache: Path, say) -> tuple[Path, Path]:
    """The folder of the disk, and a fresh one for this run with its tar."""
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        root = _cached(cache, "root", lambda path: rootfs.make(path, say), rootfs)
        disk = _cached(cache, "disk", lambda path: image.make(root, path, say), rootfs, image)
        say("building Twinspan for Debian 13")
        programs = build.build(root, source, build_dir / "tree", cache / "ccache")
    work = build_dir / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / "scenes").write_text("\n".join(scenes))
    image.pack(work / "payload.tar", {tests: "tests", work / "scenes": "scenes"} | {path: f"bin/{path.name}" for path in programs})
    return disk, work
