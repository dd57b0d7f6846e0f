"""Builds Twinspan for Debian 13 in the tree that rootfs.py made."""

import os
from pathlib import Path

from . import rootfs

PROGRAMS = ("twinspand", "twinspanctl")
CONFIGURE = ("cmake", "-G", "Ninja", "-S", "/src", "-B", "/build", "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF")


def build(root: Path, source: Path, build_dir: Path, ccache: Path) -> list[Path]:
    """Compiles what has changed since the last call; returns the programs."""
    build_dir.mkdir(parents=True, exist_ok=True)
    ccache.mkdir(parents=True, exist_ok=True)
    binds = {source: "/src", build_dir: "/build", ccache: "/ccache"}
    rootfs.inside(root, "env", "CCACHE_DIR=/ccache", *CONFIGURE, binds=binds)
    rootfs.inside(root, "env", "CCACHE_DIR=/ccache", "nice", "ninja", "-C", "/build", f"-j{os.cpu_count()}", *PROGRAMS, binds=binds)
    return [build_dir / "bin" / program for program in PROGRAMS]
