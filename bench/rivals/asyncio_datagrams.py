"""asyncio datagrams: each address is a client; tagged packets on the backend's side."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import Any

HEAD = struct.Struct("<IQB")
BUFFER = 4 << 20


class Clients(asyncio.DatagramProtocol):
    """Everybody's datagrams, to the backend."""

    def __init__(self) -> None:
        self.ids: dict[tuple[str, int], int] = {}
        self.addresses: list[tuple[str, int]] = []
        self.backend: Any = None
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        client_id = self.ids.get(addr)
        if client_id is None:
            client_id = self.ids[addr] = len(self.addresses)
            self.addresses.append(addr)
        self.backend.write(HEAD.pack(len(data) + 9, client_id, 0) + data)


class Backend(asyncio.Protocol):
    """The backend's packets, each to the address that it is for."""

    def __init__(self, clients: Clients, ended: asyncio.Future[None]) -> None:
        self.clients = clients
        self.ended = ended
        self.held = b""

    def data_received(self, data: bytes) -> None:
        if self.held:
            data = self.held + data
        position, last, addresses, sendto = (
            0,
            len(data) - HEAD.size,
            self.clients.addresses,
            self.clients.transport.sendto,
        )
        while position <= last:
            size, client_id, _ = HEAD.unpack_from(data, position)
            end = position + 4 + size
            if end > len(data):
                break
            if client_id < len(addresses):
                sendto(data[position + HEAD.size : end], addresses[client_id])
            position = end
        self.held = data[position:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(None)


async def main(listen: int, master: int) -> None:
    """Until the backend goes away."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    clients = Clients()
    clients.backend, _ = await loop.create_connection(lambda: Backend(clients, ended), "127.0.0.1", master)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    sock.bind(("127.0.0.1", listen))
    sock.setblocking(False)
    await loop.create_datagram_endpoint(lambda: clients, sock=sock)
    await ended


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
