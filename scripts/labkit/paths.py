"""Where the lab keeps what a run leaves."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAB_DIR = ROOT / "build" / "lab"
