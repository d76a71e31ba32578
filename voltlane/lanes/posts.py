"""Packets of clients that come in requests, beside the connections of their sessions: see `web.uplink`."""

from __future__ import annotations

from ..core.budget import Budget
from ..core.protocols.events import find_session
from ..core.session import Session
from ..wire.event_stream import Token
from ..wire.tagged import Flag, frame_tagged
from .shared import Shared


class Posts:
    """One server's."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    @property
    def budget(self) -> Budget:
        """See Uplink."""
        return self._shared.budget

    @property
    def packet_size_limit(self) -> int:
        """See Uplink."""
        return self._shared.packet_size_limit

    @property
    def has_room(self) -> bool:
        """See Uplink: no more often than clients are read."""
        return not self._shared.trunk.full

    def find(self, token: Token | None) -> Session:
        """See Uplink."""
        return find_session(self._shared.hub.registry, token, beside=True)

    def look_for(self, token: Token) -> None:
        """See Uplink."""
        self._shared.hub.registry.find(token.client_id)

    def send(self, session: Session, packet: bytes) -> float:
        """See Uplink."""
        wait, hub = self._shared.meters.admit(session, len(packet)), self._shared.hub
        if not wait:
            if session.id not in hub.registry.sessions:
                hub.note_elsewhere(session.id)
            self._shared.trunk.push(frame_tagged(session.id, Flag.DATA, packet), 1)
        return wait
