"""What a backend's loop gets of clients over the loss of a connection server: the real server and the library."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from kit.process import ServerProcess
from kit.raw_client import RawClient
from kit.wait import wait_until

from voltlane.backend import LINK_LOST, Firehose, Packet


class Loop:
    """A loop that keeps what it knows by client id, and drops it at a failure."""

    def __init__(self, firehose: Firehose) -> None:
        self._firehose = firehose
        self.there: dict[int, list[bytes]] = {}
        self.said: list[tuple[int, str]] = []

    def until(self, *wanted: tuple[int, str]) -> None:
        """Go on until this was said; and nothing else."""
        self.said.clear()

        def turn() -> bool:
            for packet in self._firehose.poll(0.05):
                self._on_packet(packet)
            return len(self.said) >= len(wanted)

        wait_until(turn, f"{wanted}, and not only {self.said}")
        assert self.said == list(wanted)

    def _on_packet(self, packet: Packet) -> None:
        if packet.is_data:
            self.there.setdefault(packet.client_id, []).append(packet.data)
            self.said.append((packet.client_id, packet.data.decode()))
        elif packet.is_failure:
            del self.there[packet.client_id]
            self.said.append((packet.client_id, packet.reason))
        elif packet.is_reconnection:
            self.there.setdefault(packet.client_id, [])
            self.said.append((packet.client_id, "back"))


class Home:
    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._stack, self._path = stack, path
        self.firehose = stack.enter_context(Firehose(f"unix:{path}/master"))
        self.loop = Loop(self.firehose)
        self.server: ServerProcess

    def start(self, **settings: object) -> None:
        given = {"listener.address": f"unix:{self._path}/clients", **settings}
        self.server = self._stack.enter_context(ServerProcess(str(self.firehose.address), given))
        wait_until(lambda: self.firehose.poll(0.05) or self.firehose.links, "the link")

    def new(self, words: bytes) -> RawClient:
        client = self._stack.enter_context(RawClient.new(self.server.address))
        client.send(words)
        self.loop.until((client.client_id, words.decode()))
        return client

    def back(self, client: RawClient) -> RawClient:
        return self._stack.enter_context(client.come_back())


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with ExitStack() as stack:
        yield Home(tmp_path, stack)


def test_a_server_that_connects_again(home: Home) -> None:
    """The same process: who is live comes again at once, who is stale when it resumes, and both can be spoken to."""
    home.start()
    live, stale = home.new(b"live"), home.new(b"stale")
    assert stale.leave() == []
    home.firehose.links[0]._socket.shutdown(socket.SHUT_RDWR)
    home.loop.until((live.client_id, LINK_LOST), (stale.client_id, LINK_LOST), (live.client_id, "back"))
    assert home.loop.there == {live.client_id: []}
    assert home.firehose.send(live.client_id, b"still here")
    home.firehose.flush()
    assert live.recv() == b"still here"
    again = home.back(stale)
    home.loop.until((stale.client_id, "back"))
    again.send(b"as before")
    home.loop.until((stale.client_id, "as before"))


@pytest.mark.parametrize("kept", [False, True], ids=["nothing kept", "state_dir"])
def test_a_server_that_begins_again(home: Home, tmp_path: Path, kept: bool) -> None:
    """Killed, and started again: nobody is there until it comes back, and nobody gets what was another's."""
    settings: dict[str, object] = {"general.state_dir": tmp_path / "state"} if kept else {}
    home.start(**settings)
    clients = [home.new(b"client %d" % number) for number in range(3)]
    home.server.kill()
    home.loop.until(*[(client.client_id, LINK_LOST) for client in clients])
    assert home.loop.there == {}
    home.start(**settings)
    newcomer = home.new(b"new")
    assert home.loop.there == {newcomer.client_id: [b"new"]}
    if kept:
        home.back(clients[1])
        home.loop.until((clients[1].client_id, "back"))
        assert home.loop.there == {newcomer.client_id: [b"new"], clients[1].client_id: []}
