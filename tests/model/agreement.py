"""Sends random packets through the graph and the model, and stops at the first one that they do not agree about."""

import time
from collections import deque
from dataclasses import dataclass

from allocation import Disagreement
from configurations import Configuration
from ipv4 import Packet, dotted
from nat_model import Model
from replay import Replay
from traffic import Traffic

BATCH = 500
CHECKED_EVERY = 5000
LAST = 12


@dataclass
class Tally:
    packets: int
    seconds: float
    sent: int
    drops: dict[str, int]
    usage: dict[str, int]


class Agreement:
    def __init__(self, program: str, configuration: Configuration, seed: int):
        self.configuration, self.seed = configuration, seed
        self.replay = Replay(program, configuration.arguments(seed), len(configuration.pool.addresses))
        self.model = Model(configuration.pool)
        self.traffic = Traffic(seed, configuration.pool, configuration.mix)
        self.last = deque(maxlen=4000)
        self.done = 0
        self.sent, self.drops = 0, {}

    def run(self, packets: int) -> Tally:
        """Raises AssertionError where graph and model differ."""
        begun = time.monotonic()
        while self.done < packets:
            self._batch(min(BATCH, packets - self.done))
            if self.done % CHECKED_EVERY == 0 or self.done == packets:
                try:
                    self.model.check(self.replay.state())
                except Disagreement as error:
                    raise AssertionError(self._told(error, None)) from None
        self.replay.close()
        return Tally(packets, time.monotonic() - begun, self.sent, self.drops, self.model.usage)

    def _batch(self, count: int) -> None:
        packets = [self.traffic.next() for _ in range(count)]
        self.replay.send([(ms, [(side, data)]) for ms, side, data in packets])
        for ms, side, data in packets:
            seen = self.replay.take()
            sent = list(seen.sent)
            self.done += 1
            self.last.append((self.done, ms, side, data, sent, seen.drops))
            self.sent += len(sent)
            for reason, n in seen.drops.items():
                self.drops[reason] = self.drops.get(reason, 0) + n
            try:
                self.model.walk(ms, side, data, seen)
            except Disagreement as error:
                raise AssertionError(self._told(error, data)) from None
            self.traffic.note(self.model.touched)

    def _told(self, error: Disagreement, data: bytes | None) -> str:
        """All that a person needs to find it."""
        out = [f"{self.configuration.name}, seed {self.seed}, packet {self.done}: {error}",
               "graph: " + " ".join(self.replay.command)]
        if data is not None and len(data) >= 20:
            p = Packet(data)
            out += [f"session: {s}" for s in self.model.sessions.inside.values()
                    if {p.source, p.destination} & {s.host, s.outside} and {p.source, p.destination} & {s.remote}][:8]
            ends = {p.source, p.destination}
            same = [e for e in self.last if len(e[3]) >= 20 and {Packet(e[3]).source, Packet(e[3]).destination} & ends]
        else:
            same = list(self.last)
        out += ["the last packets of these ends:"] + [shown(*e) for e in same[-LAST:]]
        return "\n".join(out)


def shown(number, ms, side, data, sent, drops) -> str:
    head = f"{number:>8} {ms / 1000:.3f}s from {('lan', 'primary', 'secondary')[side]}: {described(data)}"
    for port, _, got in sent:
        head += f"\n{'':>10}-> {('lan', 'primary', 'secondary', 'linux')[port]}: {described(got)}"
    return head + "".join(f"\n{'':>10}-> dropped: {reason} {n}" for reason, n in drops.items())


def described(data: bytes) -> str:
    if len(data) < 20:
        return data.hex()
    p = Packet(data)
    text = f"{dotted(p.source)} > {dotted(p.destination)} protocol {p.protocol} ttl {p.ttl} id {p.ident}"
    if p.is_fragment:
        text += f" fragment {p.fragment:#06x}"
    if p.offset == 0 and p.has_header() and p.protocol in (6, 17):
        text += " ports {} {}".format(*p.ports())
        if p.protocol == 6:
            text += f" flags {p.tcp_flags():#x}"
    elif p.offset == 0 and p.has_header() and p.protocol == 1:
        text += f" type {p.kind()} identifier {p.identifier()}"
    return f"{text}\n{'':>12}{data[:120].hex()}"
