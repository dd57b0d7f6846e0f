"""The graph and a model of NAT agree, packet by packet, about 1,000,000 random packets.

TWINSPAN_MODEL_PACKETS: how many, over all configurations; TWINSPAN_MODEL_SEED: another seed. What a failure prints is
enough to run it again.
"""

import os
from pathlib import Path

import pytest

from agreement import Agreement
from configurations import CONFIGURATIONS

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / os.environ.get("TWINSPAN_BUILD", "build/release") / "bin" / "nat_replay"
PACKETS = int(os.environ.get("TWINSPAN_MODEL_PACKETS", 1_000_000))
SEED = int(os.environ.get("TWINSPAN_MODEL_SEED", 1))
SHARES = sum(c.share for c in CONFIGURATIONS)


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda c: c.name)
def test_graph_and_model_agree(configuration):
    packets = -(-PACKETS * configuration.share // SHARES)
    tally = Agreement(str(PROGRAM), configuration, SEED).run(packets)
    print(f"{tally.packets} packets in {tally.seconds:.1f} s, {tally.sent} sent, {tally.usage}, {tally.drops}")
    if packets >= 20_000:  # what the traffic is meant to bring about has happened
        assert tally.sent > packets // 4
        assert [name for name in configuration.reached if not tally.drops.get(name) and not tally.usage.get(name)] == []
