"""The lanes there are, and the data paths of their clients."""

from __future__ import annotations

from typing import Callable

from ..address import Address
from .coded import CodedConnection
from .connection import ClientConnection
from .entry.tls import TlsStage
from .framing import Framing
from .lane import Lane
from .prefix import LengthPrefix, PrefixConnection
from .records import RecordConnection
from .web.event_connection import EventConnection
from .web.request_stage import RequestStage
from .web.site import require_extra
from .websocket import WebSocket
from .websocket_path import WebSocketConnection

TCP = Lane("tcp", LengthPrefix)
UNIX = Lane("unix", LengthPrefix)
"""TCP's on unix sockets, and the same but for its name. No scheme names it: the address says it."""
TLS = Lane("tls", LengthPrefix, (TlsStage,))
WS = Lane("ws", WebSocket, (RequestStage,), require_extra, hears=True)
WSS = Lane("wss", WebSocket, (TlsStage, RequestStage), require_extra, hears=True)

FRAMINGS: dict[str, Callable[[], Framing]] = {LengthPrefix.name: LengthPrefix, WebSocket.name: WebSocket}
"""By name: those whose connections can go from one process to another."""

LANES: dict[str, Lane] = {lane.name: lane for lane in (TCP, TLS, WS, WSS, UNIX)}
"""By name."""


def lane_of(address: Address) -> Lane:
    """The lane of those who connect there."""
    if address.scheme:
        return LANES[address.scheme]
    return UNIX if address.kind == "unix" else TCP


DATA_PATHS: dict[tuple[str, str], type[ClientConnection]] = {
    (LengthPrefix.name, "v2"): PrefixConnection,
    (WebSocket.name, "v2"): WebSocketConnection,
    (WebSocket.name, "open"): WebSocketConnection,
}
"""By the names of framing and protocol: where both are one pass over the bytes."""
CODED: dict[str, type[ClientConnection]] = {
    "v2": CodedConnection,
    "open": CodedConnection,
    "v3": RecordConnection,
    "events": EventConnection,
}
"""All others, by the name of the protocol: over any framing."""
