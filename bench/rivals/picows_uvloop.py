"""picows on uvloop: each message to the backend, with an id in front, and back."""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import cast

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from .asyncio_streams import HEAD


class Backend(asyncio.Protocol):
    """The backend's connection, and the client that each of its packets is for."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.clients: dict[int, WSTransport] = {}
        self.ids = itertools.count()
        self.gone = asyncio.get_running_loop().create_future()
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        position, last = 0, len(data) - HEAD.size
        while position <= last:
            size, client_id, _ = HEAD.unpack_from(data, position)
            end = position + 4 + size
            if end > len(data):
                break
            client = self.clients.get(client_id)
            if client is not None:
                client.send(WSMsgType.BINARY, data[position + 13 : end])
            position = end
        self._rest = data[position:]

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set_result(None)


class Client(WSListener):  # type: ignore[misc]
    """One client."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.id = next(backend.ids)

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.backend.clients[self.id] = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.BINARY:
            message = frame.get_payload_as_bytes()
            self.backend.transport.write(HEAD.pack(len(message) + 9, self.id, 0) + message)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.backend.clients.pop(self.id, None)


async def main(listen: int, master: int) -> None:
    """Until the backend goes away."""
    _, backend = await asyncio.get_running_loop().create_connection(Backend, "127.0.0.1", master)

    def greet(request: WSUpgradeRequest) -> Client:
        return Client(backend)

    await ws_create_server(greet, "127.0.0.1", listen, backlog=4096)
    await backend.gone


if __name__ == "__main__":
    uvloop.new_event_loop().run_until_complete(main(int(sys.argv[1]), int(sys.argv[2])))
