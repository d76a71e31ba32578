"""The lanes there are, and the data paths of their clients."""

from __future__ import annotations

from typing import Callable

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
TLS = Lane("tls", LengthPrefix, (TlsStage,))
WS = Lane("ws", WebSocket, (RequestStage,), require_extra, hears=True)
WSS = Lane("wss", WebSocket, (TlsStage, RequestStage), require_extra, hears=True)

FRAMINGS: dict[str, Callable[[], Framing]] = {LengthPrefix.name: LengthPrefix, WebSocket.name: WebSocket}
"""By name: those whose connections can go from one process to another."""

LANES: dict[str, Lane] = {lane.scheme: lane for lane in (TCP, TLS, WS, WSS)}
"""By scheme. Unix sockets are of the lane tcp: what is on them is the same."""

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
