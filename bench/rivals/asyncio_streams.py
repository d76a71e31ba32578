"""asyncio streams: Voltlane's framing on both sides; the handshake is an id handed out."""

from __future__ import annotations

import asyncio
import itertools
import struct
import sys
from asyncio import StreamReader, StreamWriter

SIZE = struct.Struct("<I")
HEAD = struct.Struct("<IQB")


class Multiplexer:
    """Every client's packets to the backend, and the backend's to the client they are for."""

    def __init__(self, backend: StreamWriter) -> None:
        self.backend = backend
        self.clients: dict[int, StreamWriter] = {}
        self.ids = itertools.count()

    async def serve_client(self, reader: StreamReader, writer: StreamWriter) -> None:
        client_id = next(self.ids)
        self.clients[client_id] = writer
        writer.write(struct.pack("<IQ", 8, client_id))
        try:
            while True:
                (size,) = SIZE.unpack(await reader.readexactly(4))
                data = await reader.readexactly(size)
                self.backend.write(HEAD.pack(size + 9, client_id, 0) + data)
                await self.backend.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            del self.clients[client_id]
            writer.close()

    async def serve_backend(self, reader: StreamReader) -> None:
        while True:
            size, client_id, _ = HEAD.unpack(await reader.readexactly(13))
            data = await reader.readexactly(size - 9)
            writer = self.clients.get(client_id)
            if writer is not None:  # not drained: one slow client must not hold up the others
                writer.write(SIZE.pack(len(data)) + data)


async def main(listen: int, master: int) -> None:
    """Until the backend goes away."""
    reader, writer = await asyncio.open_connection("127.0.0.1", master)
    multiplexer = Multiplexer(writer)
    server = await asyncio.start_server(multiplexer.serve_client, "127.0.0.1", listen, backlog=4096)
    try:
        await multiplexer.serve_backend(reader)
    except asyncio.IncompleteReadError:
        server.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
