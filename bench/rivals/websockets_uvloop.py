"""The websockets package on uvloop: each message to the backend, with an id in front, and back."""

from __future__ import annotations

import asyncio
import itertools
import sys
from asyncio import StreamReader, StreamWriter

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from .asyncio_streams import HEAD


class Multiplexer:
    """Every client's messages to the backend, and the backend's to the client they are for."""

    def __init__(self, backend: StreamWriter) -> None:
        self.backend = backend
        self.clients: dict[int, ServerConnection] = {}
        self.ids = itertools.count()

    async def serve_client(self, client: ServerConnection) -> None:
        client_id = next(self.ids)
        self.clients[client_id] = client
        try:
            async for message in client:
                assert isinstance(message, bytes)
                self.backend.write(HEAD.pack(len(message) + 9, client_id, 0) + message)
                await self.backend.drain()
        except ConnectionClosed:
            pass
        finally:
            del self.clients[client_id]

    async def serve_backend(self, reader: StreamReader) -> None:
        while True:
            size, client_id, _ = HEAD.unpack(await reader.readexactly(13))
            data = await reader.readexactly(size - 9)
            client = self.clients.get(client_id)
            if client is not None:
                broadcast([client], data)  # which does not wait: one slow client must not hold up the others


async def main(listen: int, master: int) -> None:
    """Until the backend goes away."""
    reader, writer = await asyncio.open_connection("127.0.0.1", master)
    multiplexer = Multiplexer(writer)
    options = {"compression": None, "ping_interval": None, "backlog": 4096}
    async with serve(multiplexer.serve_client, "127.0.0.1", listen, **options):  # type: ignore[arg-type]
        try:
            await multiplexer.serve_backend(reader)
        except asyncio.IncompleteReadError:
            pass


if __name__ == "__main__":
    uvloop.new_event_loop().run_until_complete(main(int(sys.argv[1]), int(sys.argv[2])))
