"""A client that is an address: what it sends from there are its packets, and what is sent to it goes there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from ...core.admission import Source
from ...core.outbox import Chunk
from ...core.session import Session
from ...net.peers import name_of
from ...net.udp.loops import Peer, host_port
from ...net.udp.names import Name
from ...quality import LinkQuality
from ...reasons import CloseReason
from .port import Port


class Relay(Protocol):
    """What it belongs to."""

    def too_large(self, packets: int) -> None:
        """So many packets for it do not fit into datagrams."""

    def leave(self, peer: OpenPeer, reason: CloseReason) -> None:
        """It is known no more."""


class OpenPeer(Peer):
    """One of them, and the `Link` of its session, for as long as that lasts."""

    __slots__ = ("port", "quality", "relay", "session", "since", "source")

    is_stream: ClassVar[bool] = False
    lane = "udp"
    outbox = None
    """Nothing of its own waits."""
    sock = None
    """Nor has it one of its own."""

    shown: ClassVar[bool] = False
    """Whether it has shown a cookie: that it is there."""

    def __init__(self, relay: Relay, port: Port, name: Name, client_id: int, source: Source, now: float) -> None:
        super().__init__(name, client_id, now)
        self.relay = relay
        self.port = port
        self.source = source
        self.since = now
        self.session: Session | None = None
        self.quality: LinkQuality | None = None

    @property
    def peer(self) -> str:
        """Its address, for people."""
        return name_of(host_port(self.name))

    # ---- the session's link

    def try_send(self, chunk: Chunk, packets: int = -1) -> bool:
        """See Link."""
        port = self.port  # what `Port.send` does, here, for there is one of these for each client and bite
        if port.blocked or not port.queue:
            port.wake()
        port.queue.append((self, chunk))
        return True

    def try_send_views(self, views: Sequence[memoryview], packets: int) -> bool:
        """See Link: these are for streams."""
        self.relay.too_large(packets)
        return True

    def replay(self, chunks: list[tuple[Chunk, int]], counted: int = 0) -> int:
        """See Link. Nobody resumes a session like that."""
        return 0

    @property
    def can_hand_over(self) -> bool:
        """See Link."""
        return True

    def hand_over(self) -> tuple[list[tuple[Chunk, int]], int]:
        """See Link."""
        self.detach(CloseReason.TAKEN_OVER)
        return [], 0

    def detach(self, reason: CloseReason) -> None:
        """See Link."""
        self.session = None
        self.relay.leave(self, reason)

    def retire(self, reason: CloseReason) -> None:
        """See Link: it cannot be told, and is nobody from now on."""
        self.relay.leave(self, reason)


class ShownPeer(OpenPeer):
    """One that has: a class of its own, since a field would be memory of each of a million."""

    __slots__ = ()

    shown = True
