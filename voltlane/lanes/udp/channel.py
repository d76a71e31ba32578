"""One client's sealed datagrams: its keys and numbers, and where it is."""

from __future__ import annotations

from ...core.datagrams.path import Candidate
from ...core.timers import Timer
from ...net.udp.loops import Channel
from ...quality import DatagramQuality
from ...wire.datagram import server_keys
from .port import Port


class ClientChannel(Channel):
    """What is received and sent under one pair of keys. Its way down is `path`, by `port`."""

    __slots__ = (
        "asks_due",
        "candidate",
        "ending",
        "former",
        "keepalive",
        "port",
        "quality",
        "refused",
        "root",
        "since",
    )

    def __init__(self, root: bytes, client_id: int, port: Port, now: float, keepalive: int) -> None:
        super().__init__(server_keys(root), client_id, now)
        self.root = root
        """What its keys come of, in a fifth of their size: for another process."""
        self.port = port
        self.keepalive = keepalive
        """What its client was told, in seconds."""
        self.refused = False
        """Whether it was told since that there are none."""
        self.candidate: Candidate | None = None
        self.former: ClientChannel | None = None
        """The one before: it receives for a little while yet."""
        self.ending: Timer | None = None
        """Ends it."""
        self.asks_due = now
        """When as many asks as there were are within their rate."""
        self.since = now
        self.quality: DatagramQuality | None = None
