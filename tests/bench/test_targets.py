"""bench/targets.py: what was measured is held against the limits, and the report says which were missed."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import render  # noqa: E402
import targets  # noqa: E402

MACHINE = {"cpu": "a CPU", "tsc_hz": 2_600_000_000, "cipher_code": "avx512"}


def row(**fields):
    cycles = fields.pop("cycles_per_packet", 100.0)
    return {
        "cycles_per_packet": cycles, "loop_cycles_per_packet": cycles + 20, "empty_loop_cycles_per_packet": 20.0,
        "spread": 0.01, "gbps_per_core": 50.0, "raw_cycles_per_packet": 50.0, "ratio_to_raw": cycles / 50, **fields,
    }  # fmt: skip


def paths(**changed):
    """Rows of every path; `changed` are the cycles of some, as esp_out_64=..., in setting `one`."""
    changed = {"forward_64": 45.0} | changed
    return [
        row(name=name, setting=setting, size=size, cycles_per_packet=changed.get(f"{name}_{size}", 60.0) if setting == "one" else 66.0)
        for setting in ("one", "many")
        for name in ("forward", "nat_out", "nat_in", "esp_out", "esp_in")
        for size in ("64", "512", "1420", "imix")
    ]


BURSTS = {"median_us": 2.0, "p99_us": 3.0, "p999_us": 4.0, "longest_us": 9_000.0, "typical_longest_us": 50.0}


def ageing(longest_us):
    ending = BURSTS | {"typical_longest_us": longest_us}
    return BURSTS | {"sessions": 100_000, "most_ended": 8, "ending": ending, "empty": BURSTS}


def missed(report, peers=None):
    return [t.what for t in targets.of_report(report, peers) if not t.met]


def test_a_good_run_misses_nothing():
    report = {
        "results": paths(),
        "suites": [row(name="esp_out", suite="aes-256-cbc-hmac-sha256", size="1420", ratio_to_raw=1.1)],
        "scale": [row(name="esp_in", size="64", tunnels=n) for n in (1, 10_000)],
        "memory": [{"suite": "aes-256-gcm", "window": 1024, "outbound_bytes": 2048, "inbound_bytes": 100}],
        "churn": [{"name": "esp_out", "lost": 0, "packets": 5, "changes_per_second": 9_990.0}],
        "nat": [row(name="nat_in", size="64", sessions=n, cycles_per_packet=95.0) for n in (1_000, 10_000_000)],
        "nat_memory": [
            {"mapping": mapping, "sessions_of_a_port": 1, "sessions": 9, "bytes": each}
            for mapping, each in (("endpoint-dependent", 128.0), ("endpoint-independent", 243.0))
        ],
        "nat_opening": [BURSTS | {"sessions": 10_000_000, "per_second": 500_000.0}],
        "nat_ageing": [ageing(20.0)],
        "nat_workers": [{"workers": n, "over_one": over, "cycles_per_packet": 70.0, "mpps": 37.0} for n, over in ((1, 1.0), (2, 1.8))],
    }
    assert len(targets.of_report(report)) == 1 + 6 + 6 + 6 + 2 + 1 + 1 + 2 + 2 + 2 + 1 + 1 + 1 + 1
    assert missed(report) == []


@pytest.mark.parametrize(
    ("report", "what"),
    [
        ({"results": paths(esp_out_64=141.0)}, "esp_out 64 B, over the bare call"),
        ({"results": paths(esp_in_512=222.0)}, "esp_in 512 B, against VPP"),
        ({"results": [r | {"gbps_per_core": 44.9} if r["size"] == "imix" else r for r in paths()]}, "esp_in imix"),
        ({"results": paths(esp_out_1420=57.0)}, "esp_out 1420 B, `many` over `one`"),
        (
            {"scale": [row(name="esp_in", size="64", tunnels=n, cycles_per_packet=c) for n, c in ((1, 100), (10_000, 112))]},
            "esp_in 64 B, 10,000 tunnels, packets lost per second over one",
        ),
        (
            {"suites": [row(name="esp_in", suite="aes-256-cbc-hmac-sha256", size="1420", ratio_to_raw=1.13)]},
            "esp_in aes-256-cbc-hmac-sha256 1420 B, over the bare call",
        ),
        ({"results": paths(forward_64=45.1)}, "forward 64 B"),
        ({"nat": [row(name="nat_out", size="64", sessions=1_000, cycles_per_packet=95.1)]}, "nat_out 64 B, 1,000 sessions"),
        ({"nat_memory": [{"mapping": "endpoint-dependent", "bytes": 128.1}]}, "memory of a NAT session"),
        ({"nat_opening": [{"sessions": 100_000, "per_second": 499_999.0}]}, "NAT sessions that begin, up to 100,000"),
        ({"nat_ageing": [ageing(20.1)]}, "longest burst while 100,000 NAT sessions end"),
        ({"nat_workers": [{"workers": 2, "over_one": 1.79}]}, "NAT on two workers, each with the other's replies, over one"),
        ({"memory": [{"suite": "s", "outbound_bytes": 2049, "inbound_bytes": 1}]}, "memory of an SA, outbound, s"),
        ({"churn": [{"name": "esp_out", "lost": 1, "changes_per_second": 10_000}]}, "esp_out, packets lost while SAs change"),
        ({"churn": [{"name": "esp_out", "lost": 0, "changes_per_second": 9_000}]}, "esp_out, changes of SAs"),
    ],
)
def test_what_is_over_its_limit_is_missed(report, what):
    assert what in missed(report)


def test_a_peer_is_compared_in_its_cheapest_mode():
    peers = {
        "results": [
            {"peer": "ipsec-secgw", "direction": "encrypt", "size": "64", "mode": mode, "cycles_per_packet": cycles}
            for mode, cycles in (("a", 90.0), ("b", 59.0))
        ]
    }
    assert missed({"results": paths()}, peers) == ["esp_out 64 B, against ipsec-secgw in this run"]
    peers["results"][1]["cycles_per_packet"] = 61.0
    assert missed({"results": paths()}, peers) == []


def test_what_memory_did_not_allow_is_named_and_judged_by_nothing():
    rows = [row(name="nat_in", size="64", sessions=1_000), {"sessions": 10_000_000, "skipped": "too few hugepages"}]
    report = {"machine": MACHINE, "burst": 64, "suite": "aes-256-gcm", "quick": True, "nat": rows}
    assert "10,000,000 sessions were not measured: too few hugepages." in render.markdown(report, None)
    assert [t.what for t in targets.of_report(report)] == ["nat_in 64 B, 1,000 sessions"]


def test_linux_stands_beside_ours():
    linux = {"peer": "Linux", "name": "nat_out", "sessions": 1_000, "size": "64", "ns_per_packet": 1_000.0, "loop_ns_per_packet": 1_500.0}
    report = {
        "machine": MACHINE, "burst": 64, "suite": "aes-256-gcm", "quick": True,
        "nat": [row(name="nat_out", size="64", sessions=1_000, cycles_per_packet=65.0)],
    }  # fmt: skip
    peers = {"results": [], "nat": [linux]}
    assert "| nat_out | 1,000 | 2600 | 3900 | 1.00 | 65 | 40 |" in render.markdown(report, peers)
    assert missed(report, peers) == []
    assert missed(report, {"results": [], "nat": [linux | {"ns_per_packet": 24.0}]}) == ["nat_out 64 B, 1,000 sessions, against nftables in this run"]


def test_bursts_stand_beside_those_of_an_empty_loop():
    report = {"machine": MACHINE, "burst": 64, "suite": "aes-256-gcm", "quick": True, "nat_ageing": [ageing(12.0)]}
    text = render.markdown(report, None)
    assert "| those that end sessions, up to 8 | 2.0 | 3.0 | 4.0 | 9000.0 | 12.0 |" in text
    assert "| empty loops of that length | 2.0 | 3.0 | 4.0 | 9000.0 | 50.0 |" in text


def test_the_text_names_what_was_missed():
    report = {"machine": MACHINE, "burst": 64, "suite": "aes-256-gcm", "quick": True, "results": paths(esp_out_64=141.0)}
    text = render.markdown(report, None)
    assert "| esp_out 64 B, over the bare call | 2.82 | at most 2.80 | **missed** |" in text
    assert "| esp_out 512 B, over the bare call | 1.20 | at most 1.70 | met |" in text
