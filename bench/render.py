#!/usr/bin/python3
"""Draws a benchmark report: report.json -> report.md (tables) and report.svg (cycles and Gbit/s over packet size)."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import targets  # noqa: E402

SIZES = ("64", "512", "1420")
COLOURS = {"forward": "#1b6ca8", "nat_out": "#2a9d5c", "nat_in": "#8ab833", "esp_out": "#d1495b", "esp_in": "#edae49"}
PANEL_WIDTH, PANEL_HEIGHT, MARGIN = 420, 300, 60


def cells(*values):
    return "| " + " | ".join(str(v) for v in values) + " |"


def rows_table(rows, *columns):
    """Rows of a part of the report; `columns` are the fields that tell them apart."""
    lines = [
        cells(*columns, "size", "cycles/packet, path only", "with the loop", "Gbit/s per core", "bare cipher", "ratio"),
        "|" + "---|" * len(columns) + "---:|" * 6,
    ]
    for r in rows:
        raw = f"{r['raw_cycles_per_packet']:.0f}" if "raw_cycles_per_packet" in r else ""
        ratio = f"{r['ratio_to_raw']:.2f}" if "ratio_to_raw" in r else ""
        path, loop, gbps = (f"{r[f]:.1f}" for f in ("cycles_per_packet", "loop_cycles_per_packet", "gbps_per_core"))
        lines.append(cells(*(r[c] for c in columns), r["size"], path, loop, gbps, raw, ratio))
    return "\n".join(lines)


def targets_table(report, peers):
    lines = [cells("target", "measured", "limit", ""), "|---|---:|---:|---|"]
    for t in targets.of_report(report, peers):
        digits = 0 if t.unit and t.unit != "Gbit/s" else 2
        limit = f"{'at least' if t.at_least else 'at most'} {t.limit:.{digits}f} {t.unit}".strip()
        lines.append(cells(t.what, f"{t.measured:.{digits}f}", limit, "met" if t.met else "**missed**"))
    return "\n".join(lines)


def stages_table(rows):
    lines = [cells("path", "size", "TSC cycles per packet of each stage, in order"), "|---|---:|---|"]
    for r in rows:
        costs = ", ".join(f"{s['stage']} {s['cycles_per_packet']:.1f}" for s in r["stages"])
        lines.append(cells(r["name"], r["size"], costs))
    return "\n".join(lines)


def plain_table(rows, columns):
    """`columns`: heading -> field."""
    lines = [cells(*columns), "|" + "---|" * len(columns)]
    for r in rows:
        lines.append(cells(*(f"{r[f]:.1f}" if isinstance(r[f], float) else r[f] for f in columns.values())))
    return "\n".join(lines)


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


def nat_peers_table(report, peers):
    """Linux's cycles beyond an empty loop, ours with as many sessions, and how many packets a second of one core that is."""
    hz = report["machine"]["tsc_hz"]
    ours = {(r["name"], r["sessions"]): r["cycles_per_packet"] for r in report.get("nat") or [] if "skipped" not in r}
    ours |= {("forward", 1_000 if r["setting"] == "one" else 100_000): r["cycles_per_packet"]
             for r in report.get("results") or [] if (r["name"], r["size"]) == ("forward", "64")}  # fmt: skip
    lines = [
        cells("", "flows", "Linux, cycles/packet, path only", "with the loop", "its million packets a second", "ours, cycles/packet", "Linux, over ours"),
        "|---|" + "---:|" * 6,
    ]
    for r in peers["nat"]:
        cycles, loop = (r[f] * hz / 1e9 for f in ("ns_per_packet", "loop_ns_per_packet"))
        mine = ours.get((r["name"], r["sessions"]))
        beside = (f"{mine:.0f}", f"{cycles / mine:.0f}") if mine else ("", "")
        lines.append(cells(r["name"], f"{r['sessions']:,}", f"{cycles:.0f}", f"{loop:.0f}", f"{1e3 / r['ns_per_packet']:.2f}", *beside))
    return "\n".join(lines)


SETTINGS = {
    "one": "1 route, 1 tunnel, 1,000 flows and sessions",
    "many": "1,000 routes, 64 tunnels, 100,000 flows and sessions in random order",
}
MEMORY = {"suite": "suite", "outbound, bytes": "outbound_bytes", "inbound, bytes": "inbound_bytes", "window": "window"}
WORKERS = {
    "path": "name",
    "size": "size",
    "workers": "workers",
    "cycles/packet of each, path only": "cycles_per_packet",
    "Mpps together": "mpps",
    "came behind the window": "behind_the_window",
}
NAT_MEMORY = {"mapping": "mapping", "sessions of a port": "sessions_of_a_port", "bytes": "bytes", "sessions in all": "sessions"}
BURSTS = {"median, us": "median_us", "p99": "p99_us", "p99.9": "p999_us", "longest": "longest_us", "longest of a typical 10 ms": "typical_longest_us"}
NAT_OPENING = {"sessions": "sessions", "a second": "per_second"} | BURSTS
NAT_WORKERS = {
    "workers": "workers",
    "cycles/packet of each, path only": "cycles_per_packet",
    "Mpps together": "mpps",
    "over one": "over_one",
}
CHURN = {
    "path": "name",
    "changes a second": "changes_per_second",
    "us each, control": "control_us_per_change",
    "packets": "packets",
    "lost": "lost",
    "loop, cycles/packet": "loop_cycles_per_packet",
    "without changes": "loop_cycles_per_packet_without",
}


def sections(report, peers):
    """Heading and text of each part."""

    def part(name):
        return report.get(name) or []

    yield "Targets", targets_table(report, peers)
    for setting, what in SETTINGS.items():
        yield f"{setting}: {what}", rows_table([r for r in part("results") if r["setting"] == setting], "name")
    if peers and peers["results"]:
        yield "Peers, measured in the same run (bench/peers/README.md)", peers_table(report, peers)
    nat = [r for r in part("nat") if "skipped" not in r]
    skipped = [f"\n\n{r['sessions']:,} sessions were not measured: {r['skipped']}." for r in part("nat") if "skipped" in r]
    if peers and peers.get("nat"):
        yield "Linux's forwarding and nftables' NAT, measured in the same run", nat_peers_table(report, peers)
    yield "NAT sessions, in random order", rows_table(nat, "name", "sessions") + "".join(skipped)
    yield "Memory of a NAT session, all that it takes", plain_table(part("nat_memory"), NAT_MEMORY)
    yield "Bursts in which every packet opens a NAT session", plain_table([r for r in part("nat_opening") if "skipped" not in r], NAT_OPENING)
    ageing = [
        {"what": what} | bursts
        for r in part("nat_ageing")
        for what, bursts in (
            (f"all, while {r['sessions']:,} end", r),
            (f"those that end sessions, up to {r['most_ended']}", r["ending"]),
            ("empty loops of that length", r["empty"]),
        )
    ]
    yield "Bursts of 64 packets while NAT sessions end", plain_table(ageing, {"bursts": "what"} | BURSTS)
    yield "NAT both ways, each worker sees the other's replies", plain_table(part("nat_workers"), NAT_WORKERS)
    yield "Stages, setting `one`", stages_table(part("stages"))
    yield "Other suites, setting `one`", rows_table(part("suites"), "name", "suite")
    yield "Other outer headers, setting `one`", rows_table(part("outers"), "name", "outer")
    yield "More tunnels, in random order", rows_table(part("scale"), "name", "tunnels")
    yield "Memory of an SA, all that it takes", plain_table(part("memory"), MEMORY)
    yield "One tunnel on several workers", plain_table(part("workers"), WORKERS)
    yield "SAs that change while others carry traffic", plain_table(part("churn"), CHURN)


def markdown(report, peers):
    machine = report["machine"]
    head = f"""# Benchmark

{machine['cpu']}, TSC {machine['tsc_hz'] / 1e9:.3f} GHz, IPsec-MB code for {machine['cipher_code']}; one worker, bursts of {report['burst']},
2 MiB hugepages, AES-256-GCM where no other suite is named. TSC cycles; sizes are bytes of the Ethernet frame without FCS; imix is 7:4:1
of 64, 570 and 1420 bytes. "Path only" is the loop less the same loop with an empty graph, which the generator and the null port make up.
First quartiles of short samples. Gbit/s are derived from the path's cycles.
"""
    # A table without rows belongs to a part that was not measured.
    return head + "".join(f"\n## {title}\n\n{text}\n" for title, text in sections(report, peers) if text.count("\n") > 1)


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
    peers_file = folder / "peers.json"
    peers = json.loads(peers_file.read_text()) if peers_file.exists() else None
    (folder / "report.md").write_text(markdown(report, peers))
    (folder / "report.svg").write_text(svg(report))
    for t in targets.of_report(report, peers):
        if not t.met:
            print(f"missed: {t.what}: {t.measured:.2f}, limit {t.limit}")
    print(f"wrote {source}, {folder / 'report.md'}, {folder / 'report.svg'}")


if __name__ == "__main__":
    main()
