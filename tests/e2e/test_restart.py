"""Sessions outlive the process (`general.state_dir`): the real server, stopped, killed and started again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from kit.process import ServerProcess
from kit.raw_client import RawClient
from kit.raw_master import DATA, RECONNECTION, RawMaster

GONE = b"Client disconnected"


class Home:
    """One place for servers that follow one another: its address, its state directory, its master."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.path = path
        self.state = path / "state"
        self.address = f"unix:{path}/clients"
        self._stack = stack
        self.master = stack.enter_context(RawMaster())
        self.server: ServerProcess

    def start(self, **settings: object) -> ServerProcess:
        """The next server, once it has connected to the master."""
        self.server = self.begin(**settings)
        self.master.accept()
        assert self.server.address == self.address
        return self.server

    def begin(self, **settings: object) -> ServerProcess:
        """The next server, as it is."""
        given = {
            "general.state_dir": self.state,
            "listener.address": self.address,
            **{name.replace("__", "."): value for name, value in settings.items()},
        }
        return self._stack.enter_context(ServerProcess(self.master.address, given))

    def stop(self) -> None:
        """In order. The master goes first, as far as it can hear of it: it has all there is for it."""
        self.master.no_more_to_say()
        assert self.server.stop() == 0
        self.master.drop()

    def new(self) -> RawClient:
        return self._keep(RawClient.new(self.address))

    def back(self, client: RawClient) -> RawClient:
        return self._keep(client.come_back())

    def _keep(self, client: RawClient) -> RawClient:
        self._stack.callback(client.close)
        return client


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with ExitStack() as stack:
        yield Home(tmp_path, stack)


def test_after_a_kill_clients_resume_as_themselves(home: Home) -> None:
    home.start()
    live, stale = home.new(), home.new()
    assert stale.leave() == []
    home.server.kill()
    home.start()
    for client in (live, stale):
        again = home.back(client)
        assert again.client_id == client.client_id and again.server_point == client.server_point
        assert home.master.recv() == (client.client_id, RECONNECTION, b"")
        again.send(b"up")
        assert home.master.recv() == (client.client_id, DATA, b"up")
        home.master.send(client.client_id, b"down")
        assert again.recv() == b"down"


def test_no_id_is_given_out_twice_however_often_it_is_killed(home: Home) -> None:
    ids: list[int] = []
    for _ in range(4):
        home.start()
        ids += [home.new().client_id for _ in range(3)]
        home.server.kill()
    assert len(set(ids)) == len(ids) and ids == sorted(ids)


def test_after_a_stop_nothing_is_lost_from_any_backlog(home: Home) -> None:
    home.start()
    away, slow = home.new(), home.new()
    assert away.leave() == []
    home.master.send(away.client_id, b"1", b"22", b"")
    missed = [b"%d" % number + b"." * 10_000 for number in range(200)]
    home.master.send(slow.client_id, *missed)  # who reads none of it: most of it is in the outbox when the server ends
    home.master.fence()
    home.server.process.terminate()
    home.master.await_end()
    assert home.server.wait() == 0
    assert (home.state / "backlogs").exists()
    home.start(general__shutdown_secs=0)
    assert not (home.state / "backlogs").exists()
    assert home.back(away).recv_many(3) == [b"1", b"22", b""]
    received = list(slow.rest())
    again = home.back(slow)
    received += again.recv_many(len(missed) - len(received))
    assert received == missed
