"""Connections to a listener of ws:// in a `World`: bytes as they are, and WebSockets of the open protocol."""

from __future__ import annotations

from kit.lanes import ws
from kit.lanes.ws import request
from kit.websocket_speaker import BINARY, CLOSE, PING, TEXT, client_frame, split_frames
from kit.world import Peer, World


class WebPeer(Peer):
    """A connection that has said nothing yet. What comes is kept as it is."""

    def __init__(self, world: World, address: object = "", send_buffer: int = 1 << 16) -> None:
        super().__init__(world, send_buffer)
        self.received = b""
        world.clients.append(self)  # type: ignore[arg-type] # it is pumped like one
        world.server.gate.accept(self.theirs, address, ws.LANE)

    def decode(self, data: bytes) -> list[bytes]:
        self.received += data
        return []

    @property
    def status(self) -> int:
        """Of the first answer."""
        return int(self.received.split(b" ", 2)[1])

    @property
    def statuses(self) -> list[int]:
        """Of all of them."""
        return [int(rest.split(b" ", 1)[0]) for rest in self.received.split(b"HTTP/1.1 ")[1:]]


class WebSocketPeer(WebPeer):
    """One that is open: a message is a packet."""

    def __init__(self, world: World, *headers: str, subprotocol: str = "", **options: object) -> None:
        super().__init__(world, **options)  # type: ignore[arg-type]
        self.write(request(*headers, subprotocol=subprotocol))
        world.settle()
        self.id = max(world.server.registry.sessions, default=0)

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        """All that has come behind the upgrade, as opcode and payload."""
        head, end, behind = self.received.partition(b"\r\n\r\n")
        assert end and head.startswith(b"HTTP/1.1 101 ")
        frames, rest = split_frames(behind)
        assert not rest
        return frames

    @property
    def messages(self) -> list[str | bytes]:
        """The messages among them, text as str."""
        return [
            payload.decode() if opcode == TEXT else payload
            for opcode, payload in self.frames
            if opcode in (TEXT, BINARY)
        ]

    @property
    def close_code(self) -> int:
        """What the server's close says; 0 for none."""
        return next((int.from_bytes(payload[:2], "big") for opcode, payload in self.frames if opcode == CLOSE), 0)

    @property
    def pings(self) -> int:
        """How many have come."""
        return sum(opcode == PING for opcode, _ in self.frames)

    def send(self, *messages: str | bytes) -> None:
        """Text or binary messages, in the types of Python."""
        for message in messages:
            opcode, payload = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
            self.write(client_frame(opcode, payload))
