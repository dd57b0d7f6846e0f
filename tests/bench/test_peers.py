"""bench/peers: the packets that a peer is fed are what they say, and what it made of them is judged rightly."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.layers.l2 import Ether

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "peers"))
import frames  # noqa: E402
import nftables  # noqa: E402
import run  # noqa: E402


def blocks(direction: str):
    data, at, out = frames.feed(direction), 0, []
    while at < len(data):
        length, copied, sent, count = struct.unpack_from("<4H", data, at)
        at += 8
        out.append((length, copied, sent, [data[at + i * copied : at + (i + 1) * copied] for i in range(count)]))
        at += copied * count
    return out


def sealed_by_a_peer(size: int, flow: int) -> bytes:
    """Scapy in the place of the peer."""
    sa = SecurityAssociation(
        ESP, spi=frames.SPI["encrypt"], crypt_algo="AES-GCM", crypt_key=frames.KEY + frames.SALT,
        tunnel_header=IP(src=frames.OUR_END, dst=frames.FAR_END),
    )
    return frames.plain(size, flow)[: frames.ETHERNET] + bytes(sa.encrypt(IP(frames.plain(size, flow)[frames.ETHERNET :])))


def test_the_feed_has_every_size_and_valid_headers():
    for direction in run.DIRECTIONS:
        assert len(blocks(direction)) == len(frames.SIZES)
        for size, (length, copied, sent, packets) in zip(frames.SIZES, blocks(direction), strict=True):
            assert (length if direction == "encrypt" else sent) == size
            assert len(packets) > 1 and len(set(packets)) == len(packets)
            for packet in packets:
                ip = Ether(packet)[IP]
                checksum = ip.chksum
                del ip.chksum
                assert IP(bytes(ip)).chksum == checksum
                assert ip.len == length - frames.ETHERNET and copied == len(packet)


@pytest.mark.parametrize("size", frames.SIZES)
def test_what_is_sealed_opens_in_scapy(size):
    sa = SecurityAssociation(
        ESP, spi=frames.SPI["decrypt"], crypt_algo="AES-GCM", crypt_key=frames.KEY + frames.SALT,
        tunnel_header=IP(src=frames.FAR_END, dst=frames.OUR_END),
    )
    for frame in blocks("decrypt")[frames.SIZES.index(size)][3]:
        inner = sa.decrypt(Ether(frame)[IP])
        assert len(inner) == size - frames.ETHERNET and UDP in inner


@pytest.mark.parametrize("size", frames.SIZES)
def test_good_work_is_accepted(size):
    frames.check("encrypt", size, sealed_by_a_peer(size, 7))
    frames.check("decrypt", size, frames.turned(size, 7))


@pytest.mark.parametrize(
    ("direction", "sent"),
    [
        ("encrypt", b""),
        ("encrypt", frames.plain(512, 7)),  # in clear
        ("encrypt", frames.seal(frames.plain(512, 7), 1)),  # the other SA's
        ("encrypt", sealed_by_a_peer(512, 7)[:-1]),
        ("encrypt", sealed_by_a_peer(508, 7)),
        ("decrypt", b""),
        ("decrypt", frames.seal(frames.turned(512, 7), 1)),
        ("decrypt", frames.plain(512, 7)),
    ],
)
def test_bad_work_is_refused(direction, sent):
    with pytest.raises(ValueError):
        frames.check(direction, 512, sent)


def test_a_packet_that_does_not_authenticate_is_refused():
    sent = bytearray(sealed_by_a_peer(512, 7))
    sent[-1] ^= 1
    with pytest.raises(Exception, match="^$"):  # cryptography's InvalidTag has no text
        frames.check("encrypt", 512, bytes(sent))


LOOP, EMPTY = [300, 310, 9_000, 320, 330, 9_100, 9_200], [20, 30, 25, 70, 80, 90, 100]  # first quartiles 310 and 25


def test_figures_are_the_difference_of_the_first_quartiles():
    measured = {
        "sizes": [
            {"frame": s, "sent": frames.turned(s, 3).hex(), "loop": LOOP, "empty": EMPTY} for s in frames.SIZES
        ]
    }
    rows = run.figures(measured, "decrypt")
    assert set(rows) == set(frames.SIZES)
    for row in rows.values():
        assert row["loop_cycles_per_packet"] == 310
        assert row["cycles_per_packet"] == 310 - 25


def test_every_mode_configures_both_directions():
    for kind, _ in run.MODES.values():
        text = run.configuration(kind)
        assert text.count("aes-256-gcm") == 2 and text.count("sp ipv4") == 2
        assert ("type cpu-crypto" in text) == (kind == "cpu-crypto")


@pytest.mark.parametrize("way", nftables.WAYS)
def test_what_linux_is_fed_is_valid_and_one_flow_each(way):
    ends = set()
    for i in range(0, 100_000, 997):
        sent = nftables.packet(way, i)
        assert len(sent) == nftables.SIZE
        again = Ether(sent)
        del again[IP].chksum, again[UDP].chksum
        assert bytes(again) == sent
        ends.add((again[IP].src, again[UDP].sport, again[IP].dst, again[UDP].dport))
    assert len(ends) == 101


def test_flows_keep_their_ports_through_one_address():
    assert len({nftables.flow(i)[1:] for i in range(100_000)}) == 100_000


def came_out(**changed) -> bytes:
    """The first packet of nat_out, as scapy translates it."""
    frame = Ether(nftables.packet("nat_out", 0))
    frame[IP].src, frame[IP].ttl = nftables.OUTSIDE, 63
    for field, value in changed.items():
        setattr(frame[IP], field, value)
    del frame[IP].chksum, frame[UDP].chksum
    return bytes(frame)


def test_a_translated_packet_is_accepted_and_others_are_not():
    nftables.check("nat_out", came_out())
    for wrong in (came_out(src="198.51.100.2"), came_out(ttl=64), nftables.packet("nat_out", 0), nftables.packet("forward", 1)):
        with pytest.raises(ValueError):
            nftables.check("nat_out", wrong)
    spoiled = bytearray(came_out())
    spoiled[-1] ^= 1
    with pytest.raises(ValueError):
        nftables.check("nat_out", bytes(spoiled))


def test_linux_forwards_and_translates(tmp_path):
    if os.geteuid() != 0:
        pytest.fail("network namespaces need root")
    out = tmp_path / "peers.json"
    out.write_text(json.dumps({"results": [{"peer": "another"}]}))
    program = str(Path(nftables.__file__))
    done = subprocess.run([sys.executable, program, str(out), "--quick", "--sessions", "1000"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    peers = json.loads(out.read_text())
    assert peers["results"] == [{"peer": "another"}]
    assert [r["name"] for r in peers["nat"]] == ["forward", "nat_out", "nat_in"]
    assert all(0 < r["ns_per_packet"] < r["loop_ns_per_packet"] for r in peers["nat"])
    left = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert "twinspan-peer" not in left
