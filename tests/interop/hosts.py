"""Linux hosts at both ends of tunnels: namespaces with their own addresses, an echo server, and a client that checks what returns."""

import os
import selectors
import socket
import threading

from harness import Netns, run
from wire import inside

ECHO = 7
SECONDS = 10


def join(near: Netns, device: str, far: Netns, far_device: str, *addresses: str) -> None:
    """A wire from a twinspand's port, where Linux itself is silent, to a Linux with these addresses."""
    run("ip", "link", "add", device, "netns", near.name, "type", "veth", "peer", far_device, "netns", far.name)
    near.run("sysctl", "-qw", f"net.ipv4.conf.{device}.rp_filter=1", f"net.ipv6.conf.{device}.disable_ipv6=1")
    for namespace, end in ((near, device), (far, far_device)):
        namespace.run("ethtool", "-K", end, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
    near.ip("link set lo up", f"link set {device} arp off up")
    far.ip("link set lo up", f"link set {far_device} up",
           *(f"address add {address} dev {far_device}{' nodad' if ':' in address else ''}" for address in addresses))


class Echo:
    """Sends back what comes to port 7 of these addresses, over TCP and UDP."""

    def __init__(self, namespace: str, *addresses: str):
        self._ends, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        with inside(namespace):
            for address in addresses:
                udp = socket.socket(_family(address), socket.SOCK_DGRAM)
                udp.bind((address, ECHO))
                self._selector.register(udp, selectors.EVENT_READ, self._echo_datagram)
                tcp = socket.create_server((address, ECHO), family=_family(address))
                self._selector.register(tcp, selectors.EVENT_READ, self._accept)
        self._selector.register(self._ends, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                key.data(key.fileobj)

    def _echo_datagram(self, udp: socket.socket) -> None:
        data, whence = udp.recvfrom(65536)
        udp.sendto(data, whence)

    def _accept(self, tcp: socket.socket) -> None:
        self._selector.register(tcp.accept()[0], selectors.EVENT_READ, self._echo_stream)

    def _echo_stream(self, stream: socket.socket) -> None:
        stream.settimeout(SECONDS)
        try:
            data = stream.recv(65536)
            if data:
                stream.sendall(data)
                return
        except OSError:
            pass
        self._selector.unregister(stream)
        stream.close()

    def end(self) -> None:
        self._waker.send(b".")
        self._thread.join(2 * SECONDS)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()
        self._waker.close()


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def datagrams(namespace: str, address: str, sizes, source: str | None = None) -> None:
    """One datagram of each size to the echo server there and back, unchanged."""
    with inside(namespace):
        udp = socket.socket(_family(address), socket.SOCK_DGRAM)
    with udp:
        udp.settimeout(SECONDS)
        if source is not None:
            udp.bind((source, 0))
        udp.connect((address, ECHO))
        for size in sizes:
            sent = os.urandom(size)
            udp.send(sent)
            assert udp.recv(65536) == sent, f"a datagram of {size} bytes came back changed"


def stream(namespace: str, address: str, size: int, source: str | None = None) -> None:
    """`size` bytes over TCP to the echo server there and back, unchanged."""
    with inside(namespace):
        tcp = socket.socket(_family(address), socket.SOCK_STREAM)
    with tcp:
        tcp.settimeout(SECONDS)
        if source is not None:
            tcp.bind((source, 0))
        tcp.connect((address, ECHO))
        sent, received = os.urandom(size), bytearray()
        writer = threading.Thread(target=tcp.sendall, args=(sent,), daemon=True)
        writer.start()
        while len(received) < size:
            data = tcp.recv(65536)
            assert data, f"the stream ended after {len(received)} of {size} bytes"
            received += data
        writer.join(SECONDS)
        assert bytes(received) == sent
