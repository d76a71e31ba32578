"""A server that goes in the middle of resumes: no client takes that for a refusal, and all come back (SPEC 5.3)."""

from __future__ import annotations

import random
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from kit.process import ServerProcess
from kit.raw_client import PING, VERSION, RawClient, client_id, response
from kit.raw_master import RawMaster

from voltlane.client import Connection
from voltlane.errors import ConnectionLost, SessionLost

CLIENTS = 100
ROUNDS = 4


class Place:
    """Where one server follows another, at one TCP address, with the sessions of the one before."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._stack = stack
        self._settings = {"general.state_dir": path / "state", "clients.handshake_secs": 60}
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.address = f"127.0.0.1:{taken.getsockname()[1]}"
        self._settings["listener.address"] = self.address
        self.master = stack.enter_context(RawMaster())
        self.server: ServerProcess

    def start(self, **settings: object) -> None:
        given = {**self._settings, **{name.replace("__", "."): value for name, value in settings.items()}}
        self.server = self._stack.enter_context(ServerProcess(self.master.address, given))
        self.master.accept()
        assert self.server.address == self.address


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(tmp_path, stack)


def end_of(client: RawClient) -> str:
    """How its connection has ended: "reset" or "in order"; "resumed" if the server's Ping was there before."""
    try:
        while True:
            while (payload := client.pop()) is not None:
                if payload == b"\x00":
                    return "resumed"
            received = client.sock.recv(1 << 16)
            if not received:
                return "in order"
            client._data += received
    except (ConnectionResetError, BrokenPipeError):
        return "reset"


def resume_as_far(client: RawClient, step: int) -> RawClient:
    """Resume on a new connection, up to this step; the answers before it have come."""
    again = RawClient(client.address, keys=client.keys)
    again.send_raw(VERSION)
    again.server_point = again.recv_packet(2)
    if step > 0:
        again.send_raw(client_id(client.client_id))
    if step > 1:
        answer = response(again.answer(again.recv_packet(4)))
        again.send_raw(answer if step == 2 else answer + PING)
    return again


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
def test_a_server_that_goes_in_the_middle_of_many_resumes(place: Place, how: signal.Signals) -> None:
    """At a random moment, while a hundred clients are at any step of it. Four times."""
    place.start(general__shutdown_secs=0)
    chance, clients = random.Random(how), [RawClient.new(place.address) for _ in range(CLIENTS)]
    for client in clients:
        client.leave()
    ends: list[str] = []
    for _ in range(ROUNDS):
        moment, under_way = chance.randrange(CLIENTS), []
        for number, client in enumerate(clients):
            if number == moment:
                place.server.process.send_signal(how)
            try:
                under_way.append(resume_as_far(client, chance.randrange(4)))
            except (ConnectionError, EOFError):
                assert number >= moment  # nobody is there, or it went before it had said who it is
        place.server.process.wait()
        ends += [end_of(again) for again in under_way]
        for again in under_way:
            again.close()
        place.start(general__shutdown_secs=0)
    assert "in order" not in ends and "reset" in ends
    for client in clients:
        with client.come_back() as again:
            assert again.client_id == client.client_id


def test_the_deadline_is_no_refusal(place: Place) -> None:
    """A link that stalls within a resume."""
    place.start(clients__handshake_secs=0.5)
    client = RawClient.new(place.address)
    client.leave()
    under_way = [resume_as_far(client, step) for step in range(3)]
    assert [end_of(again) for again in under_way] == ["reset"] * 3
    with client.come_back() as again:
        assert again.client_id == client.client_id


def test_a_session_that_is_gone_is_refused_in_order(place: Place) -> None:
    place.start(clients__stale_timeout_secs=0)
    client = RawClient.new(place.address)
    client.leave()
    with resume_as_far(client, 1) as again:
        assert end_of(again) == "in order"


def test_the_library_gives_no_session_up_that_is_there(place: Place) -> None:
    place.start()
    connections = [Connection(place.address, protocol=2) for _ in range(20)]
    ids = [connection.client_id for connection in connections]
    for number in (3, 11):
        for index, connection in enumerate(connections):
            if index == number:
                place.server.kill()
            try:
                connection.reconnect()
            except ConnectionLost as error:
                assert not isinstance(error, SessionLost)
        place.start()
    for connection in connections:
        connection.reconnect()
        connection.close()
    assert [connection.client_id for connection in connections] == ids
