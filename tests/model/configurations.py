"""Pools and traffic that are compared. They are small, so that everything collides."""

from dataclasses import dataclass

from ipv4 import DCCP, ICMP, TCP, UDP, UDP_LITE, address, dotted
from sessions import Pool, Static, Timeouts
from traffic import REMOTES, Mix

FIRST = address("198.51.100.1")
SHORT = Timeouts(udp=30, tcp_established=100, tcp_transitory=20, tcp_closing=12, icmp=10, other=25)
LONG = Timeouts(udp=3000, tcp_established=3000, tcp_transitory=2000, tcp_closing=1000, icmp=10)
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
        for r in sorted(p.reserved, key=lambda r: r[0]):
            out += ["--reserved", f"{r[0]}-{r[-1]}"]
        for s in p.statics:
            ends = [dotted(s.outside), dotted(s.inside)]
            port = [str(s.protocol), str(s.port), str(s.inside_port)] if s.protocol else []
            out += ["--static", ",".join(ends + port)]
        for a in p.from_microsoft:
            out += ["--from-microsoft", dotted(a)]
        out += ["--any-protocol"] * p.any_protocol
        out += ["--endpoint-independent"] * p.independent + ["--open-filter"] * p.open_filter
        out += ["--no-inbound-refresh"] * (not p.inbound_refresh)
        for name, value in (("host-limit", p.host_limit), ("host-rate", p.host_rate), ("block-size", p.block_size),
                            ("blocks-per-host", p.blocks_per_host), ("udp", t.udp), ("icmp", t.icmp),
                            ("tcp-established", t.tcp_established), ("tcp-transitory", t.tcp_transitory),
                            ("tcp-closing", t.tcp_closing), ("other", t.other)):
            out += [f"--{name}", str(value)]
        return out


def addresses(count: int) -> list[int]:
    return [FIRST + i for i in range(count)]


INSIDE = address("10.10.1.10")
STAND_INS = address("10.10.255.1")
STATICS = [Static(FIRST, INSIDE), Static(FIRST + 1, INSIDE + 1, TCP, 443, 2003),
           Static(FIRST + 1, INSIDE + 1, UDP, 2005, 2005), Static(FIRST + 2, INSIDE + 2, TCP, 2006, 2001)]
OTHERS = (47, DCCP, UDP_LITE)

CONFIGURATIONS = [
    Configuration("endpoint_dependent", Pool(addresses(3), range(2000, 2016), timeouts=SHORT),
                  Mix(hosts=5, ports=range(1996, 2020)), share=2),
    Configuration("few_ports", Pool(addresses(2), range(2000, 2004), timeouts=SHORT),
                  Mix(hosts=8, ports=range(1998, 2008), remotes=REMOTES[:2]), share=2,
                  reached=ALWAYS + ("nat_ports_exhausted", "evicted")),
    Configuration("one_port_for_many",
                  Pool(addresses(1), range(2000, 2002), timeouts=LONG),
                  Mix(hosts=3, ports=range(1999, 2003), remote_ports=tuple(range(1, 400)), protocols=(UDP,),
                      longest_wait=500, jumps=0.02),
                  reached=tuple(r for r in ALWAYS if r != "fragment_duplicate") + ("nat_ports_exhausted",)),
    Configuration("as_it_comes", Pool(addresses(14), range(1024, 65536), reserved=[range(2000, 2010)]),
                  Mix(hosts=100, ports=range(1020, 2050), longest_wait=2000)),
    Configuration("endpoint_independent",
                  Pool(addresses(3), range(2000, 2016), independent=True, open_filter=True, timeouts=SHORT),
                  Mix(hosts=6, ports=range(1996, 2020), remote_ports=(53, 443, 8080)), share=2,
                  reached=ALWAYS + ("nat_ports_exhausted", "evicted")),
    Configuration("closed_filter",
                  Pool(addresses(1), range(2000, 2064), independent=True, inbound_refresh=False, timeouts=SHORT),
                  Mix(hosts=3, ports=range(2000, 2030))),
    Configuration("limits",
                  Pool(addresses(2), range(2000, 2032), host_limit=6, host_rate=3, timeouts=SHORT),
                  Mix(hosts=6, ports=range(1996, 2020)), reached=ALWAYS + ("nat_host_limit", "nat_host_rate")),
    Configuration("blocks",
                  Pool(addresses(2), range(2000, 2066), reserved=[range(2008, 2018)], block_size=8, blocks_per_host=2,
                       timeouts=SHORT),
                  Mix(hosts=24, ports=range(1996, 2030), remotes=REMOTES[:2]), share=2,
                  reached=ALWAYS + ("nat_blocks_exhausted",)),
    Configuration("spare_blocks",
                  Pool(addresses(2), range(2000, 2066), reserved=[range(2008, 2018)], block_size=8, blocks_per_host=2,
                       timeouts=SHORT),
                  Mix(hosts=4, ports=range(1996, 2030), remotes=REMOTES[:1], remote_ports=(53,), protocols=(UDP,)), share=2,
                  reached=ALWAYS + ("nat_host_limit", "evicted")),
    Configuration("full_blocks",
                  Pool(addresses(2), range(2000, 2066), reserved=[range(2008, 2018)], block_size=8, blocks_per_host=2,
                       timeouts=LONG),
                  Mix(hosts=8, ports=range(1996, 2030), remotes=REMOTES[:1], remote_ports=(53,), longest_wait=1000),
                  reached=ALWAYS + ("nat_blocks_exhausted", "evicted")),
    Configuration("few_mappings",
                  Pool(addresses(1), range(2000, 2006), independent=True, open_filter=True, timeouts=SHORT),
                  Mix(hosts=4, ports=range(1999, 2005), remotes=REMOTES[:1]),
                  reached=ALWAYS + ("nat_ports_exhausted", "evicted")),
    Configuration("blocks_of_mappings",
                  Pool(addresses(2), range(2000, 2064), independent=True, open_filter=True, block_size=8,
                       blocks_per_host=2, host_limit=40, timeouts=SHORT),
                  Mix(hosts=10, ports=range(1996, 2024), remotes=REMOTES[:2]), share=2,
                  reached=ALWAYS + ("nat_blocks_exhausted", "nat_host_limit")),
    Configuration("other_protocols",
                  Pool(addresses(3), range(2000, 2032), any_protocol=True, timeouts=SHORT),
                  Mix(hosts=6, ports=range(2000, 2016), protocols=(TCP, UDP, ICMP) + OTHERS),
                  reached=ALWAYS + ("nat_ports_exhausted", "evicted")),
    Configuration("static",
                  Pool(addresses(3), range(2000, 2016), statics=STATICS, any_protocol=True, timeouts=SHORT),
                  Mix(hosts=5, ports=range(1998, 2010), protocols=(TCP, UDP, ICMP, DCCP), begins=15),
                  reached=ALWAYS),
    Configuration("from_microsoft",
                  Pool(addresses(3), range(2000, 2016), statics=STATICS, any_protocol=True,
                       from_microsoft=[STAND_INS, STAND_INS + 1], timeouts=SHORT),
                  Mix(hosts=4, ports=range(1998, 2010), protocols=(TCP, UDP, ICMP, UDP_LITE), begins=25), share=2,
                  reached=ALWAYS + ("nat_endpoint_taken",)),
]
