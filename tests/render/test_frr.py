"""FRR takes what is rendered, and does with it what the configuration says."""

import re
import subprocess

import pytest
from conftest import PASSWORD
from daemons import Frr, Namespace, wait_for

LEGS = {
    "lan": ("10.10.0.1/24", "fd10:10::1/64"),
    "prv-pri": ("172.16.0.1/30", "2001:db8:1::1/126"),
    "prv-sec": ("172.16.0.5/30", "2001:db8:1::5/126"),
    "pub-pri": ("192.0.2.1/30",),
    "pub-sec": ("192.0.2.5/30",),
    "msft-sec": ("203.0.113.5/30",),
    "azure-0": ("169.254.21.1/30",),
    "azure-1": ("10.10.250.1/32",),
    "inet-0": ("169.254.22.1/30",),
}

MSEE = """\
frr defaults traditional
hostname msee
bfd
 profile fast
  receive-interval 300
  transmit-interval 300
 exit
exit
ip prefix-list marked seq 5 permit 13.107.6.0/24
ip prefix-list marked seq 10 permit 10.66.0.0/16
ip prefix-list marked seq 15 permit 0.0.0.0/0
ip prefix-list marked seq 20 permit 20.51.0.0/29
ip prefix-list marked seq 25 permit 40.1.0.0/16
ip prefix-list marked seq 30 permit 198.51.100.0/30
route-map out permit 10
 match ip address prefix-list marked
 set community 12076:51026
exit
route-map out permit 20
 set community 12076:59999
exit
route-map in permit 10
exit
router bgp 12076
 bgp router-id 203.0.113.2
 no bgp default ipv4-unicast
 no bgp network import-check
 neighbor 203.0.113.1 remote-as 65010
 neighbor 203.0.113.1 timers 3 10
 neighbor 203.0.113.1 timers connect 1
 neighbor 203.0.113.1 bfd
 neighbor 203.0.113.1 bfd profile fast
 address-family ipv4 unicast
  network 13.107.6.0/24
  network 13.107.7.0/24
  network 10.66.0.0/16
  network 0.0.0.0/0
  network 20.51.0.0/29
  network 20.51.0.0/30
  network 40.1.0.0/16
  network 198.51.100.0/30
  neighbor 203.0.113.1 activate
  neighbor 203.0.113.1 route-map in in
  neighbor 203.0.113.1 route-map out out
 exit-address-family
exit
"""


@pytest.fixture
def router(need):
    for daemon in ("zebra", "bgpd", "bfdd", "staticd"):
        need(daemon)
    made = []

    def make(legs=()):
        namespace = Namespace()
        for leg, addresses in dict(legs).items():
            namespace.netdev(leg, *addresses)
        made.append(Frr(namespace))
        return made[-1]

    yield make
    for frr in made:
        frr.stop()
        frr.namespace.remove()


VARIANTS = {
    "as it is": (),
    "without BFD": (("bgp: { prepend: 1, bfd-interval: 750ms }", "bgp: { bfd: false }"),),
    "tunnels over private peering": (("    local: 203.0.113.1\n", "    local: 172.16.0.1\n"),),
    "premium, own ASN public": (("bandwidth: 1Gbps", "bandwidth: 1Gbps, sku: premium"), ("asn: 65010", "asn: 3320")),
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_vtysh_accepts(site, need, changes):
    need("vtysh")
    out = site.change(*changes).render("frr")
    done = subprocess.run(["vtysh", "-C", "-f", out / "frr.conf"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_checker_would_have_refused(site, need):
    """vtysh -C is worth something: one wrong word, and it fails."""
    need("vtysh")
    conf = site.render("frr") / "frr.conf"
    conf.write_text(conf.read_text().replace("maximum-prefix-out", "maximum-prefixes-out", 1))
    assert subprocess.run(["vtysh", "-C", "-f", conf], capture_output=True).returncode != 0


def test_secrets_and_the_rest(site):
    out = site.render("frr")
    assert (out / "frr.conf").stat().st_mode & 0o777 == 0o600
    assert (out / "daemons").stat().st_mode & 0o777 == 0o644
    assert {path.name for path in out.iterdir()} == {"frr.conf", "daemons", "vtysh.conf"}
    daemons = (out / "daemons").read_text()
    assert re.search("^bgpd=yes$", daemons, re.M) and re.search("^bfdd=yes$", daemons, re.M)
    first = (out / "frr.conf").read_text()
    assert site.render("frr") == out and (out / "frr.conf").read_text() == first


def test_refuses_a_password_that_others_may_read(site):
    (site.folder / "msee.md5").chmod(0o644)
    done = site.run("frr", site.folder / "out")
    assert done.returncode == 1 and "msee.md5" in done.stderr and "chmod 0600" in done.stderr
    assert not (site.folder / "out").exists()


def test_running_daemons_take_every_line(site, router):
    conf = site.render("frr") / "frr.conf"
    frr = router(LEGS | {"msft-pri": ("203.0.113.1/30",), "inet": ("192.0.2.130/25",)})
    frr.load(conf)
    running = {line.strip() for line in frr.show("show running-config").splitlines()}
    defaults = {"bgp log-neighbor-changes", "service integrated-vtysh-config", "log syslog informational",
                "receive-interval 300", "transmit-interval 300", "detect-multiplier 3", "exit-address-family", "exit"}
    lost = [line for line in conf.read_text().splitlines()
            if line.strip() and not line.startswith("!") and not line.strip().startswith("!")
            and line.strip() not in running | defaults]
    # FRR says some things in other words, and some not at all where they are its defaults.
    lost = [line for line in lost if not re.search(r"frr defaults|hostname|activate|timers connect 10$|^ *bfd$|"
                                                   r"neighbor \S+ bfd$|set local-preference 100$", line)]
    assert lost == []
    neighbours = frr.json("show bgp neighbors")
    assert len(neighbours) == 11  # 2 legs with both versions, 4 with IPv4, 3 tunnels
    primary = neighbours["172.16.0.2"]
    assert primary["remoteAs"] == 12076
    assert neighbours["169.254.21.2"]["remoteAs"] == 65515
    assert neighbours["169.254.21.2"]["bgpTimerConfiguredHoldTimeMsecs"] == 180000
    assert neighbours["10.20.255.5"]["externalBgpNbrMaxHopsAway"] == 5
    assert "azure-1" in str(frr.json("show ip route 10.20.255.5/32"))


def test_policies_against_a_real_neighbour(site, router):
    """A router of Microsoft that announces what it must not, and one NAT pool that it may hear of."""
    site.change(("bgp: { communities", "bgp: { keepalive: 3s, hold: 10s, communities"),
                ("encrypt: [10.20.0.0/16]", "encrypt: [10.20.0.0/16, 40.1.0.0/16]"),
                ("accept: [13.107.6.0/24,", "accept: [40.1.0.0/16, 198.51.100.0/24, 13.107.6.0/24,"))
    nva = router(LEGS)
    msee = router()
    nva.namespace.run("ip", "link", "add", "msft-pri", "type", "veth", "peer", "name", "to-nva", "netns",
                      msee.namespace.name)
    for side, link, address in ((nva, "msft-pri", "203.0.113.1/30"), (msee, "to-nva", "203.0.113.2/30")):
        side.namespace.run("ip", "address", "add", address, "dev", link)
        side.namespace.run("ip", "link", "set", link, "up")
    (site.folder / "msee.conf").write_text(MSEE)
    msee.load(site.folder / "msee.conf")
    nva.load(site.render("frr") / "frr.conf")

    def learned():
        routes = nva.json("show bgp ipv4 unicast neighbors 203.0.113.2 routes").get("routes", {})
        return set(routes) or None

    wait_for("the session and its routes", learned, 45)
    # Not: the default, our own pool, what must be encrypted, what is not under `accept`, what lacks the community.
    assert learned() == {"13.107.6.0/24", "20.51.0.0/29"}

    def heard():
        return set(msee.json("show bgp ipv4 unicast neighbors 203.0.113.1 routes").get("routes", {})) or None

    assert wait_for("our announcements", heard) == {"198.51.100.0/29", "198.51.100.9/32", "198.51.100.10/31"}
    peer = nva.json("show bgp neighbors 203.0.113.2")["203.0.113.2"]
    assert peer["bgpTimerHoldTimeMsecs"] == 10000

    def bfd_is_up():
        peers = nva.json("show bfd peers")
        return [p for p in peers if p["peer"] == "203.0.113.2" and p["status"] == "up"]

    bfd = wait_for("BFD", bfd_is_up, 20)[0]
    assert (bfd["receive-interval"], bfd["transmit-interval"], bfd["detect-multiplier"]) == (300, 300, 3)
    assert PASSWORD not in nva.show("show bgp neighbors")
