"""The demo as its reader gets it: every figure is there, every expectation holds, and one that does not is seen."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from demokit.expect import Report  # noqa: E402

FIGURES = (
    "nat.microsoft.ok", "nat.microsoft.link_share_min", "nat.public.ok", "nat.public.link_share_min", "nat.unsolicited_dropped",
    "tunnel.tcp_gbps", "tunnel.link_share_min", "tunnel.cleartext_packets", "tunnel.fail_closed_leaks",
    "failover.detection_ms", "failover.outage_ms", "failover.bystander_lost", "failover.return_lost", "failover.sessions_moved",
    "silent.detection_ms", "silent.outage_ms", "silent.bystander_lost", "silent.return_lost",
    "reset.detection_ms", "reset.outage_ms", "reset.bystander_lost",
    "maintenance.detection_ms", "maintenance.outage_ms", "maintenance.lost", "maintenance.primary_share", "drain.detection_ms", "drain.lost",
    "fallback.detection_ms", "fallback.private_outage_ms", "fallback.tunnel_outage_ms", "fallback.back_outage_ms", "fallback.steady_lost",
    "fallback.return_lost", "fallback.cleartext_packets", "accounting.exact",
)


@pytest.fixture(scope="module")
def demo():
    if os.geteuid() != 0:
        pytest.fail("network namespaces need root")
    return subprocess.run(["/usr/bin/python3", str(ROOT / "scripts" / "demokit" / "main.py")], capture_output=True, text=True,
                          timeout=300)


def figure(report: dict, key: str):
    for name in key.split("."):
        report = report[name]
    return report


def test_every_expectation_holds(demo):
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "FAIL" not in demo.stdout


def test_the_report_has_every_figure(demo):
    report = json.loads((ROOT / "build" / "demo" / "report.json").read_text())
    values = {key: figure(report, key) for key in FIGURES}
    assert None not in values.values()
    assert values["nat.microsoft.ok"] == values["nat.public.ok"] == 200
    assert values["accounting.exact"] is True


def test_the_lab_is_gone(demo):
    namespaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert "tw-" not in namespaces


def test_an_expectation_that_does_not_hold_fails_the_report(tmp_path, capsys):
    report = Report()
    report.expect("a.good", "good", 1, "1", True)
    assert report.passed
    report.expect("a.bad", "bad", 7, "at most 5", False)
    assert not report.passed
    report.print_new(0)
    assert "FAIL  bad" in capsys.readouterr().out
    report.write(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == {"a": {"good": 1, "bad": 7}, "passed": False, "failed": ["bad"]}
