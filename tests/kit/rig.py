"""A server, the master it is connected to, and the clients a test makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Union

from kit.process import EmbeddedServer, ServerProcess, Settings
from kit.raw_client import RawClient
from kit.raw_master import RawMaster
from kit.raw_records import RawRecordClient
from kit.records import Session

Server = Union[ServerProcess, EmbeddedServer]


class Rig:
    """One of each. The clients it made are closed at the end, whatever became of them."""

    def __init__(self, server: Server, master: RawMaster) -> None:
        self.server = server
        self.master = master
        self._clients = ExitStack()

    def new(self, behind: bytes = b"", *, receive_buffer: int = 0) -> RawClient:
        """A client with a new session."""
        return self._keep(RawClient.new(self.server.address, behind, receive_buffer=receive_buffer))

    def stranger(self) -> RawClient:
        """A connection and no handshake."""
        return self._keep(RawClient(self.server.address))

    def back(self, client: RawClient, behind: bytes = b"", *, receive_buffer: int = 0) -> RawClient:
        """A second connection that resumes a client's session."""
        return self._keep(client.come_back(behind, receive_buffer=receive_buffer))

    def records(self, session: Session | None = None, **how: Any) -> RawRecordClient:
        """A connection of version 3, and nothing said on it."""
        client = RawRecordClient(self.server.address, session, **how)
        self._clients.callback(client.close)
        return client

    def stale(self) -> RawClient:
        """A client that has left, and whose session waits for it."""
        client = self.new()
        assert client.leave() == []
        return client

    def _keep(self, client: RawClient) -> RawClient:
        self._clients.callback(client.close)
        return client

    def close_clients(self) -> None:
        self._clients.close()


@contextmanager
def running(
    settings: Settings | None = None, *, embedded: bool = False, master_receive_buffer: int = 0
) -> Iterator[Rig]:
    """A server with a master, ready for clients."""
    with ExitStack() as stack:
        master = stack.enter_context(RawMaster(receive_buffer=master_receive_buffer))
        server = stack.enter_context((EmbeddedServer if embedded else ServerProcess)(master.address, settings))
        master.accept()
        assert server.address
        rig = Rig(server, master)
        stack.callback(master.close)  # first: a server that ends gives a master a moment to read what it sent
        stack.callback(rig.close_clients)
        yield rig
