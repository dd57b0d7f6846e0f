#!/usr/bin/python3
"""Draws a benchmark report: report.json -> report.md (tables) and report.svg (cycles and Gbit/s over packet size)."""

import json
import pathlib
import sys

SIZES = ("64", "512", "1420")
COLOURS = {"forward": "#1b6ca8", "nat_out": "#2a9d5c", "nat_in": "#8ab833", "esp_out": "#d1495b", "esp_in": "#edae49"}
PANEL_WIDTH, PANEL_HEIGHT, MARGIN = 420, 300, 60


def table(report, setting):
    rows = [r for r in report["results"] if r["setting"] == setting]
    lines = [
        "| path | size | cycles/packet, path only | with the loop | Gbit/s per core | bare cipher | ratio |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for r in rows:
        raw = f"{r['raw_cycles_per_packet']:.0f}" if "raw_cycles_per_packet" in r else ""
        ratio = f"{r['ratio_to_raw']:.2f}" if "ratio_to_raw" in r else ""
        lines.append(
            f"| {r['name']} | {r['size']} | {r['cycles_per_packet']:.1f} | {r['loop_cycles_per_packet']:.1f} "
            f"| {r['gbps_per_core']:.1f} | {raw} | {ratio} |"
        )
    return "\n".join(lines)


def markdown(report):
    machine = report["machine"]
    return f"""# Benchmark

{machine['cpu']}, TSC {machine['tsc_hz'] / 1e9:.3f} GHz, IPsec-MB code for {machine['cipher_code']}; one worker, bursts of {report['burst']},
2 MiB hugepages, AES-256-GCM. TSC cycles; sizes are bytes of the Ethernet frame without FCS; imix is 7:4:1 of 64, 570 and 1420 bytes.
"Path only" is the loop less the same loop with an empty graph, which the generator and the null port make up. First quartiles of short samples.
Gbit/s are derived from the path's cycles.

## one: 1 route, 1 tunnel, 1,000 flows and sessions

{table(report, 'one')}

## many: 1,000 routes, 64 tunnels, 100,000 flows and sessions in random order

{table(report, 'many')}
"""


# What of ours does a peer's work.
OURS = {"encrypt": "esp_out", "decrypt": "esp_in"}


def peers_table(report, peers):
    """Each peer's cheapest mode beside our path, setting `one`."""
    ours = {(r["name"], r["size"]): r for r in report["results"] if r["setting"] == "one"}
    lines = [
        "| peer | | size | its cycles/packet, path only | its mode | ours | the peer's, over ours |",
        "|---|---|---:|---:|---|---:|---:|",
    ]
    cheapest = {}
    for r in peers["results"]:
        at = (r["peer"], r["direction"], r["size"])
        if at not in cheapest or r["cycles_per_packet"] < cheapest[at]["cycles_per_packet"]:
            cheapest[at] = r
    for (peer, direction, size), r in cheapest.items():
        mine = ours[OURS[direction], size]["cycles_per_packet"]
        lines.append(
            f"| {peer} | {direction} | {size} | {r['cycles_per_packet']:.0f} | {r['mode']} | {mine:.0f} "
            f"| {r['cycles_per_packet'] / mine:.2f} |"
        )
    return "\n".join(lines)


class Panel:
    """One chart: `field` of each path over the packet size."""

    def __init__(self, left, title, field, rows):
        self.left, self.title, self.field, self.rows = left, title, field, rows
        self.top_value = max(r[field] for r in rows) * 1.08

    def x(self, size):
        return self.left + PANEL_WIDTH * int(size) / 1500

    def y(self, value):
        return MARGIN + PANEL_HEIGHT * (1 - value / self.top_value)

    def axes(self):
        bottom = MARGIN + PANEL_HEIGHT
        parts = [f'<text x="{self.left}" y="{MARGIN - 22}" class="title">{self.title}</text>']
        for step in range(6):
            value = self.top_value * step / 5
            y = self.y(value)
            parts.append(f'<line x1="{self.left}" y1="{y:.1f}" x2="{self.left + PANEL_WIDTH}" y2="{y:.1f}" class="grid"/>')
            parts.append(f'<text x="{self.left - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.0f}</text>')
        for size in SIZES:
            parts.append(f'<text x="{self.x(size):.1f}" y="{bottom + 20}" text-anchor="middle">{size} B</text>')
        return parts

    def lines(self):
        parts = []
        for name, colour in COLOURS.items():
            points = sorted((self.x(r["size"]), self.y(r[self.field])) for r in self.rows if r["name"] == name)
            if points:
                path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
                parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
                parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
        return parts


def legend():
    parts = []
    for i, (name, colour) in enumerate(COLOURS.items()):
        x = MARGIN + i * 110
        parts.append(f'<rect x="{x}" y="{MARGIN + PANEL_HEIGHT + 42}" width="14" height="14" fill="{colour}"/>')
        parts.append(f'<text x="{x + 20}" y="{MARGIN + PANEL_HEIGHT + 54}">{name}</text>')
    return parts


def svg(report):
    rows = [r for r in report["results"] if r["setting"] == "one" and r["size"] in SIZES]
    width = 2 * PANEL_WIDTH + 4 * MARGIN
    height = PANEL_HEIGHT + 2 * MARGIN + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        "<style>.title{font-size:15px;font-weight:bold}.grid{stroke:#ddd}</style>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for panel in (
        Panel(MARGIN, "TSC cycles per packet, path only", "cycles_per_packet", rows),
        Panel(PANEL_WIDTH + 2.5 * MARGIN, "Gbit/s per core", "gbps_per_core", rows),
    ):
        parts += panel.axes() + panel.lines()
    return "\n".join(parts + legend() + ["</svg>"]) + "\n"


def main():
    source, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    report = json.loads(source.read_text())
    text = markdown(report)
    peers = folder / "peers.json"
    if peers.exists():
        text += f"\n## Peers, measured in the same run (bench/peers/README.md)\n\n{peers_table(report, json.loads(peers.read_text()))}\n"
    (folder / "report.md").write_text(text)
    (folder / "report.svg").write_text(svg(report))
    print(f"wrote {source}, {folder / 'report.md'}, {folder / 'report.svg'}")


if __name__ == "__main__":
    main()
