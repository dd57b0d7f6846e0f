"""What the scenes ask of a twinspand through its control socket."""

from labkit import netns, processes


def show(name: str, what: str):
    reply = processes.ask(name, {"command": "show", "what": what})
    if not reply.get("ok"):
        raise netns.LabError(f"{name}: show {what}: {reply.get('error')}")
    return reply["data"]


def drops(name: str) -> dict[str, int]:
    return {row["reason"]: row["count"] for row in show(name, "drops")}


def packets(name: str, what: str) -> dict[str, dict[str, int]]:
    """Packet and byte counters of legs or tunnels, by name."""
    keys = ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes")
    return {row["name"]: {key: row[key] for key in keys} for row in show(name, what)}


class Shares:
    """How evenly two legs or tunnels carried what passed between begin and end, by packets."""

    def __init__(self, daemon: str, what: str, pair: tuple[str, str]):
        self._daemon, self._what, self._pair = daemon, what, pair
        self._before = packets(daemon, what)

    def smallest(self, directions: tuple[str, ...] = ("rx_packets", "tx_packets")) -> float:
        """The lesser one's share, in the direction where it is less."""
        now = packets(self._daemon, self._what)
        shares = []
        for key in directions:
            counts = [now[name][key] - self._before[name][key] for name in self._pair]
            shares.append(min(counts) / sum(counts) if sum(counts) else 0.0)
        return min(shares)
