"""What a run is to reach, and whether it did. A target that a run did not measure is not in its list."""

from typing import NamedTuple

# The path's multiple of the bare cipher call over as many bytes, AES-256-GCM, setting `one`.
RATIOS = {
    "esp_out": {"64": 2.8, "512": 1.7, "1420": 1.33},
    "esp_in": {"64": 3.1, "512": 1.9, "1420": 1.42},
}
# Setting `many` over `one`; 10,000 tunnels over one, in packets per second; the bare multi-buffer call with AES-CBC.
MANY_OVER_ONE = 1.15
SCALE_LOSS = 0.10
CBC_RATIO = 1.12
IMIX_GBPS = 45.0
BYTES_PER_SA = 2048
CHURN_PER_SECOND = 10_000
# FD.io VPP with its own cipher code, measured on a machine of this kind, TSC cycles per packet, path only.
VPP = {
    "esp_out": {"64": 154, "512": 210, "1420": 330},
    "esp_in": {"64": 172, "512": 221, "1420": 336},
}
# TSC cycles per packet of 64 B, by sessions; bytes of a session, endpoint-dependent, everything counted.
FORWARD_CYCLES = 45
NAT_CYCLES = {1_000: 95, 100_000: 170, 1_000_000: 230, 10_000_000: 300}
BYTES_PER_SESSION = 128
SESSIONS_PER_SECOND = 500_000
AGEING_US = 20
TWO_WORKERS = 1.8
ESP = ("esp_out", "esp_in")
DIRECTION = {"esp_out": "encrypt", "esp_in": "decrypt"}


class Target(NamedTuple):
    what: str
    measured: float
    limit: float
    unit: str
    at_least: bool = False  # else: at most

    @property
    def met(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


def rows(report: dict, part: str) -> list[dict]:
    return report.get(part) or []


def of_paths(report: dict, peers: dict | None) -> list[Target]:
    found = {(r["name"], r["setting"], r["size"]): r for r in rows(report, "results")}
    targets = []
    if row := found.get(("forward", "one", "64")):
        targets.append(Target("forward 64 B", row["cycles_per_packet"], FORWARD_CYCLES, "cycles"))
    for name in ESP:
        for size, limit in RATIOS[name].items():
            if row := found.get((name, "one", size)):
                targets.append(Target(f"{name} {size} B, over the bare call", row["ratio_to_raw"], limit, ""))
                targets.append(Target(f"{name} {size} B, against VPP", row["cycles_per_packet"], VPP[name][size], "cycles"))
                if peer := cheapest(peers, DIRECTION[name], size):
                    targets.append(Target(f"{name} {size} B, against ipsec-secgw in this run", row["cycles_per_packet"], peer, "cycles"))
    for name in ESP:
        for size in RATIOS[name]:
            one, many = found.get((name, "one", size)), found.get((name, "many", size))
            if one and many:
                ratio = many["cycles_per_packet"] / one["cycles_per_packet"]
                targets.append(Target(f"{name} {size} B, `many` over `one`", ratio, MANY_OVER_ONE, ""))
        if row := found.get((name, "one", "imix")):
            targets.append(Target(f"{name} imix", row["gbps_per_core"], IMIX_GBPS, "Gbit/s", at_least=True))
    return targets


def cheapest(peers: dict | None, direction: str, size: str) -> float | None:
    costs = [r["cycles_per_packet"] for r in (peers or {}).get("results", []) if (r["direction"], r["size"]) == (direction, size)]
    return min(costs, default=None)


def of_scale(report: dict) -> list[Target]:
    found = {(r["name"], r["size"], r["tunnels"]): r for r in rows(report, "scale")}
    targets = []
    for (name, size, tunnels), row in found.items():
        if tunnels > 1 and (alone := found.get((name, size, 1))):
            loss = 1 - alone["cycles_per_packet"] / row["cycles_per_packet"]
            targets.append(Target(f"{name} {size} B, {tunnels:,} tunnels, packets lost per second over one", loss, SCALE_LOSS, ""))
    return targets


def of_the_rest(report: dict) -> list[Target]:
    targets = [
        Target(f"{r['name']} {r['suite']} {r['size']} B, over the bare call", r["ratio_to_raw"], CBC_RATIO, "")
        for r in rows(report, "suites")
        if "cbc" in r["suite"] and r["size"] == "1420"
    ]
    for r in rows(report, "memory"):
        for direction in ("outbound", "inbound"):
            targets.append(Target(f"memory of an SA, {direction}, {r['suite']}", r[f"{direction}_bytes"], BYTES_PER_SA, "bytes"))
    for r in rows(report, "churn"):
        targets.append(Target(f"{r['name']}, packets lost while SAs change", r["lost"], 0, "packets"))
        # A tick's worth may still be due at the end.
        targets.append(
            Target(f"{r['name']}, changes of SAs", r["changes_per_second"], 0.98 * CHURN_PER_SECOND, "per second", at_least=True)
        )
    return targets


def of_nat(report: dict) -> list[Target]:
    targets = [
        Target(f"{r['name']} 64 B, {r['sessions']:,} sessions", r["cycles_per_packet"], NAT_CYCLES[r["sessions"]], "cycles")
        for r in rows(report, "nat")
        if "skipped" not in r
    ]
    targets += [
        Target("memory of a NAT session", r["bytes"], BYTES_PER_SESSION, "bytes")
        for r in rows(report, "nat_memory")
        if r["mapping"] == "endpoint-dependent"
    ]
    targets += [
        Target(f"NAT sessions that begin, up to {r['sessions']:,}", r["per_second"], SESSIONS_PER_SECOND, "per second", at_least=True)
        for r in rows(report, "nat_opening")
        if "skipped" not in r
    ]
    # What the machine takes from a burst now and then, it takes from an empty loop as well: what recurs counts.
    targets += [
        Target(f"longest burst while {r['sessions']:,} NAT sessions end", r["ending"]["typical_longest_us"], AGEING_US, "us")
        for r in rows(report, "nat_ageing")
    ]
    targets += [
        Target("NAT on two workers, each with the other's replies, over one", r["over_one"], TWO_WORKERS, "", at_least=True)
        for r in rows(report, "nat_workers")
        if r["workers"] == 2
    ]
    return targets


def of_nat_peers(report: dict, peers: dict | None) -> list[Target]:
    ours = {(r["name"], r["sessions"]): r["cycles_per_packet"] for r in rows(report, "nat") if "skipped" not in r}
    hz = report.get("machine", {}).get("tsc_hz", 0)
    return [
        Target(f"{r['name']} 64 B, {r['sessions']:,} sessions, against nftables in this run", mine, r["ns_per_packet"] * hz / 1e9, "cycles")
        for r in (peers or {}).get("nat", [])
        if (mine := ours.get((r["name"], r["sessions"])))
    ]


def of_report(report: dict, peers: dict | None = None) -> list[Target]:
    return of_paths(report, peers) + of_scale(report) + of_the_rest(report) + of_nat(report) + of_nat_peers(report, peers)
