#!/usr/bin/python3
"""Measures DPDK's ipsec-secgw on net_null ports and writes peers.json: run.py SECGW FEED.so OUT.json [--quick]."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import frames  # noqa: E402

# The ways in which ipsec-secgw can do the same work. Each is measured; the report names the cheapest.
MODES = {
    "cpu-crypto, one SA": ("cpu-crypto", ["-l", "--single-sa", "0"]),
    "cpu-crypto": ("cpu-crypto", ["-l"]),
    "lookaside, librte_ipsec": (None, ["-l"]),
    "lookaside": (None, []),
}
DIRECTIONS = ("encrypt", "decrypt")
ROUNDS = 3


def configuration(kind: str | None) -> str:
    """ipsec-secgw's own syntax. It wants a policy and an SA of both directions, whichever is used."""
    key = ":".join(f"{b:02x}" for b in frames.KEY + frames.SALT)
    how = f"type {kind}" if kind else ""
    lines = []
    for way, direction, inner, source, to in (
        ("out", "encrypt", "13.0.0.0/8", frames.OUR_END, frames.FAR_END),
        ("in", "decrypt", "10.10.0.0/16", frames.FAR_END, frames.OUR_END),
    ):
        spi = frames.SPI[direction]
        lines.append(f"sp ipv4 {way} esp protect {spi} pri 1 dst {inner} sport 0:65535 dport 0:65535")
        lines.append(f"sa {way} {spi} aead_algo aes-256-gcm aead_key {key} mode ipv4-tunnel src {source} dst {to} {how}")
    lines += [f"rt ipv4 dst {to} port 1" for to in (f"{frames.FAR_END}/32", "10.10.0.0/16")]
    return "\n".join([*lines, "neigh port 1 02:00:00:00:01:02", ""])


def command(program: str, core: int, direction: str, config: str, options: list[str]) -> list[str]:
    eal = ["-l", str(core), "--in-memory", "--no-pci", "--no-telemetry", "-m", "256", "--log-level", "error"]
    eal += ["--vdev", "net_null0,size=64", "--vdev", "net_null1,size=64,no-rx=1", "--vdev", "crypto_aesni_gcm0"]
    unprotected = "0x2" if direction == "encrypt" else "0x1"
    app = ["-p", "0x3", "-P", "-u", unprotected, "--config", f"(0,0,{core}),(1,0,{core})", "-s", "8191", "-f", config]
    return [program, *eal, "--", *app, *options]


def quartile(samples: list[float]) -> float:
    """The first one, as bench/measure.cpp reports: what disturbs the machine only adds."""
    return statistics.quantiles(samples, n=4)[0]


def figures(result: dict, direction: str) -> dict:
    """The figures of one run, by size of the packet inside; raises ValueError when what came out is wrong."""
    rows = {}
    for size, measured in zip(frames.SIZES, result["sizes"], strict=True):
        frames.check(direction, size, bytes.fromhex(measured["sent"]))
        loop, empty = quartile(measured["loop"]), quartile(measured["empty"])
        rows[size] = {"cycles_per_packet": loop - empty, "loop_cycles_per_packet": loop, "empty_loop_cycles_per_packet": empty}
    return rows


def measure(arguments, direction: str, mode: str, folder: pathlib.Path) -> dict:
    kind, options = MODES[mode]
    config, feed, result = folder / "secgw.cfg", folder / "frames", folder / "result.json"
    config.write_text(configuration(kind))
    feed.write_bytes(frames.feed(direction))
    result.unlink(missing_ok=True)
    environment = os.environ | {
        "LD_PRELOAD": os.path.abspath(arguments.feed),
        "TWINSPAN_FEED_FRAMES": str(feed),
        "TWINSPAN_FEED_RESULT": str(result),
        "TWINSPAN_FEED_SAMPLES": "51" if arguments.quick else "301",
    }
    line = command(os.path.abspath(arguments.secgw), (os.cpu_count() or 1) - 1, direction, str(config), options)
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, cwd=folder)
    if done.returncode != 0 or not result.exists():
        raise RuntimeError(f"{' '.join(line)}\nended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return figures(json.loads(result.read_text()), direction)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("secgw")
    parser.add_argument("feed")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    best: dict = {}
    with tempfile.TemporaryDirectory(prefix="twinspan-peers.") as folder:
        for _ in range(1 if arguments.quick else ROUNDS):
            for direction in DIRECTIONS:
                for mode in MODES:
                    for size, row in measure(arguments, direction, mode, pathlib.Path(folder)).items():
                        at = (direction, mode, size)
                        if at not in best or row["cycles_per_packet"] < best[at]["cycles_per_packet"]:
                            best[at] = row
    rows = [{"peer": "ipsec-secgw", "direction": d, "mode": m, "size": str(s)} | row for (d, m, s), row in best.items()]
    arguments.out.write_text(json.dumps({"results": rows}, indent=2) + "\n")
    for row in rows:
        print(f"{row['peer']} {row['direction']} {row['mode']:24} {row['size']:>5}  path {row['cycles_per_packet']:7.1f}"
              f"  loop {row['loop_cycles_per_packet']:7.1f}  empty {row['empty_loop_cycles_per_packet']:7.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
