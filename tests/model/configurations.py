"""Pools and traffic that are compared. They are small, so that everything collides."""

from dataclasses import dataclass

from ipv4 import address, dotted
from sessions import Pool, Timeouts
from traffic import REMOTES, Mix

FIRST = address("198.51.100.1")
SHORT = Timeouts(udp=30, tcp_established=100, tcp_transitory=20, tcp_closing=12, icmp=10)
ALWAYS = ("nat_no_session", "nat_bad_error", "nat_unsupported", "hop_limit_expired", "fragment_timeout",
          "fragment_overlap", "fragment_duplicate", "malformed_frame", "bad_ip_header", "too_big", "opened", "expired")


@dataclass
class Configuration:
    name: str
    pool: Pool
    mix: Mix
    sessions: int = 4096
    share: int = 1  # of the packets
    reached: tuple[str, ...] = ALWAYS  # drops and counters that the traffic brings about

    def arguments(self, seed: int) -> list[str]:
        p, t = self.pool, self.pool.timeouts
        out = ["--sessions", str(self.sessions), "--seed", str(seed), "--ports", f"{p.ports[0]}-{p.ports[-1]}"]
        for a in p.addresses:
            out += ["--pool", dotted(a)]
        for r in p.reserved:
            out += ["--reserved", f"{r[0]}-{r[-1]}"]
        out += ["--endpoint-independent"] * p.independent + ["--open-filter"] * p.open_filter
        out += ["--no-inbound-refresh"] * (not p.inbound_refresh)
        for name, value in (("host-limit", p.host_limit), ("host-rate", p.host_rate), ("block-size", p.block_size),
                            ("blocks-per-host", p.blocks_per_host), ("udp", t.udp), ("icmp", t.icmp),
                            ("tcp-established", t.tcp_established), ("tcp-transitory", t.tcp_transitory),
                            ("tcp-closing", t.tcp_closing)):
            out += [f"--{name}", str(value)]
        return out


def addresses(count: int) -> list[int]:
    return [FIRST + i for i in range(count)]


CONFIGURATIONS = [
    Configuration("endpoint_dependent", Pool(addresses(3), range(2000, 2016), timeouts=SHORT),
                  Mix(hosts=5, ports=range(1996, 2020)), share=2),
    Configuration("few_ports", Pool(addresses(2), range(2000, 2004), timeouts=SHORT),
                  Mix(hosts=8, ports=range(1998, 2008), remotes=REMOTES[:2]), share=2,
                  reached=ALWAYS + ("nat_ports_exhausted", "evicted")),
    Configuration("one_port_for_many",
                  Pool(addresses(1), range(2000, 2002),
                       timeouts=Timeouts(udp=3000, tcp_established=3000, tcp_transitory=2000, tcp_closing=1000, icmp=10)),
                  Mix(hosts=3, ports=range(1999, 2003), remote_ports=tuple(range(1, 300)), longest_wait=1000),
                  reached=ALWAYS + ("nat_ports_exhausted",)),
    Configuration("as_it_comes", Pool(addresses(14), range(1024, 65536), reserved=[range(2000, 2010)]),
                  Mix(hosts=100, ports=range(1020, 2050), longest_wait=2000)),
]
