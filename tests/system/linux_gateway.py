"""Linux in Twinspan's place: VLAN subinterfaces, XFRM interfaces and its own ESP, to compare with."""

import net
from testbed import LOCAL, REMOTE, TUNNELS, Testbed

LINKS = ("pri0", "sec0")


class LinuxGateway:
    def __init__(self, bed: Testbed):
        self._bed = bed

    def start(self) -> None:
        net.inside("nva", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        net.ip("nva", "address add 10.10.0.1/16 dev lan0")
        for number, (link, name) in enumerate(zip(LINKS, TUNNELS)):
            net.ip("nva", f"link add {link}.100 link {link} type vlan id 100", f"link set {link}.100 up", f"address add {LOCAL[number]}/30 dev {link}.100",
                   f"route add {REMOTE[number]} via {LOCAL[number][:-1]}{int(LOCAL[number][-1]) + 1}",
                   f"link add {name} type xfrm dev {link}.100 if_id {number + 1}", f"link set {name} mtu 1400 up", f"route add 10.20.{number + 1}.0/24 dev {name}")
        bed = self._bed
        bed.ike.start()
        bed.ike.load(bed.gateway("linux.conf", TUNNELS, LOCAL, REMOTE))
        for name in TUNNELS:
            bed.ike.swanctl("--initiate", "--child", name)

    def remove(self) -> None:
        """Nothing of it may help Twinspan afterwards."""
        for name in TUNNELS:
            self._bed.ike.swanctl("--terminate", "--ike", name)
        self._bed.ike.stop()
        net.inside("nva", "ip", "xfrm", "policy", "flush")
        net.inside("nva", "ip", "xfrm", "state", "flush")
        net.ip("nva", *(f"link delete {name}" for name in TUNNELS), *(f"link delete {link}.100" for link in LINKS), "address flush dev lan0")
        net.inside("nva", "sysctl", "-qw", "net.ipv4.ip_forward=0")
