"""One of several servers is followed by another program in place: to the store and to the others it stays who it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from kit.cluster import SECRET, ClusterRig
from kit.process import HAS_PROC, ServerProcess
from kit.raw_client import RawClient
from kit.upgrades import OfVersion2, OfVersion3, Streamer, UpgradingServer, drive, finish
from kit.wait import wait_until

from voltlane.client import Connection
from voltlane.errors import ConnectionLost

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="the system has no /proc")


FAULTS = ("cannot_be_built", "refuses_a_note", "dies_in_the_pause", "dies_before_it_has_taken")
"""Before it rests toward the store, and while it does: see `kit.heir`."""


class Pair:
    """Two servers, of which the first can be followed, and clients of it."""

    def __init__(self, stack: ExitStack, fault: str = "") -> None:
        self.rig = stack.enter_context(ClusterRig(0))
        self.rig.backend.echo = True
        self.one: UpgradingServer = self.rig.add_upgrading(0, fault)
        self.two: ServerProcess = self.rig.add(1)
        self.proxy = self.rig.proxy()
        self.traveller = stack.enter_context(Connection(self.proxy.address))
        self.old = RawClient.new(self.one.address)
        stack.callback(lambda: self.old.close())
        self.streams: list[Streamer] = [kind(self.one.address) for kind in (OfVersion2, OfVersion3) for _ in range(5)]
        for stream in self.streams:
            stack.callback(stream.close)
        self._said: dict[int, list[bytes]] = {self.traveller.client_id: [], self.old.client_id: []}

    def go_on(self) -> None:
        """Everybody has some more back."""
        goals = [(stream, stream.received + 50) for stream in self.streams]
        drive(self.streams, lambda: all(stream.received >= goal for stream, goal in goals))
        self.speak()

    def speak(self) -> None:
        """Who travels sends something, and has it back."""
        for client in (self.traveller, self.old):
            self._speak(client)

    def _speak(self, client: Connection | RawClient) -> None:
        said = self._said[client.client_id]
        said.append(b"%d" % len(said))
        client.send(said[-1])
        assert client.recv() == said[-1]

    def upgrade(self) -> None:
        """Under their load."""
        self.one.ask()
        drive(self.streams, lambda: self.one.upgraded or self.one.failures)
        assert not self.one.failures, self.one.log[-3000:]

    def travel(self) -> None:
        """From the first to the second and back."""
        for server in (self.two, self.one):
            self.lead_to(server)
            self.old.address = server.address
            again = self.old.come_back()
            self.old.close()
            self.old = again
            self.speak()

    def lead_to(self, server: ServerProcess) -> None:
        """Only who can try again, of version 3."""

        def back() -> bool:
            try:
                self.traveller.reconnect(10)
            except ConnectionLost:
                return False
            return True

        self.proxy.point_to(server.address)
        wait_until(back, "the client to be back", 20.0)
        self._speak(self.traveller)

    def check(self, *gone: int) -> None:
        """Nothing was lost or doubled, and the backend has heard of no end but of these."""
        finish(self.streams)
        for client_id, words in self._said.items():
            assert self.rig.backend.got[client_id] == words
        for stream in self.streams:
            expected = [stream.payload(number) for number in range(stream.sent)]
            assert self.rig.backend.got[stream.client_id] == expected
        assert [client_id for client_id, _ in self.rig.backend.failures] == list(gone)

    @property
    def token(self) -> object:
        """What stands in the store at the first one's number."""
        return self.rig.store.ask("GET", "voltlane:node:0")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_under_traffic_and_then_clients_go_to_the_other_and_back(stack: ExitStack) -> None:
    pair = Pair(stack)
    token = pair.token
    for _ in range(2):
        pair.go_on()
        pair.upgrade()
        pair.go_on()
        assert token and pair.token == token
        pair.travel()
    newcomer = RawClient.new(pair.one.address)
    known = {pair.traveller.client_id, *[stream.client_id for stream in pair.streams]}
    assert newcomer.client_id > max(known) and newcomer.client_id >> 45 == 0
    newcomer.close()
    pair.check()
    for server in (pair.one, pair.two):
        assert "ours no longer" not in server.log and "gone" not in server.log


def test_who_is_wanted_elsewhere_meanwhile_is_given_up_with_all_that_is_known(stack: ExitStack) -> None:
    """Whether the old process is asked or the new one, or nobody hears of it at first. One client goes back and forth
    all the time; another one is wanted just when one process has followed the other."""
    pair = Pair(stack)
    pair.go_on()
    for _ in range(3):
        pair.one.ask()
        while not (pair.one.upgraded or pair.one.failures):
            pair.lead_to(pair.two)
            pair.lead_to(pair.one)
        assert not pair.one.failures, pair.one.log[-3000:]
        pair.travel()
    pair.check()


@pytest.mark.parametrize("fault", FAULTS)
def test_where_it_fails_the_old_process_goes_on_with_the_store(stack: ExitStack, fault: str) -> None:
    pair = Pair(stack, fault)
    token = pair.token
    pair.go_on()
    pair.one.ask()
    drive(pair.streams, lambda: pair.one.failures)
    assert pair.one.process.poll() is None
    pair.go_on()
    newcomer = RawClient.new(pair.one.address)
    wait_until(lambda: pair.rig.row(newcomer.client_id).get("state") == b"live", "the store to be told of a new one")
    newcomer.close()
    wait_until(lambda: pair.rig.row(newcomer.client_id).get("state") == b"stale", "the store to be told of its loss")
    pair.travel()
    assert pair.token == token
    pair.check()


def test_what_the_store_was_not_told_of_goes_along(stack: ExitStack) -> None:
    """It does not answer: that holds nobody up, and it hears from the new process of an end and of a loss."""
    pair = Pair(stack)
    leaving, losing = Connection(pair.one.address), RawClient.new(pair.one.address)
    losing.send(b"hello")
    assert losing.recv() == b"hello"
    pair.go_on()
    pair.rig.store.pause()
    try:
        gone = leaving.client_id
        losing.close()
        pair.one.wait_for_log("trying again until it is of use")
        leaving.close()  # so nobody has said that to it
        pair.upgrade()
        pair.go_on()
    finally:
        pair.rig.store.go_on()
    wait_until(lambda: pair.rig.row(gone).get("state") == b"ended", "the end to be told of", 20.0)
    wait_until(lambda: pair.rig.row(losing.client_id).get("state") == b"stale", "the loss to be told of", 20.0)
    pair.go_on()
    pair.check(gone)


def test_who_has_moved_is_remembered(stack: ExitStack) -> None:
    pair = Pair(stack)
    pair.speak()
    link = pair.rig.backend.heard_on[pair.traveller.client_id]
    pair.lead_to(pair.two)
    pair.one.upgrade()
    pair.rig.backend.send(pair.traveller.client_id, b"by the old way", link)
    moved = (pair.traveller.client_id, "Client moved")
    wait_until(lambda: moved in pair.rig.backend.failures, "the backend to be told")


def test_the_cluster_has_to_be_the_same(stack: ExitStack, tmp_path: Path) -> None:
    config = tmp_path / "connserver.toml"
    rig = stack.enter_context(ClusterRig(0))
    same = f'[cluster]\nurl = "{rig.store.url}"\nsecret = "{SECRET}"\n'
    config.write_text(same)
    server = rig.add_upgrading(0, config=config, **{"cluster.url": None, "cluster.secret": None})
    client = RawClient.new(server.address)
    stack.callback(client.close)
    changes = (
        (same.replace(SECRET, SECRET[::-1]), "cluster.secret is another one"),
        (same.replace(rig.store.url, "redis://127.0.0.1:1/2"), "is redis://127.0.0.1:1/2 voltlane:, and was redis://"),
        (same + 'prefix = "other:"\n', "other:, and was"),
        ("", "is not set, and was redis://"),
    )
    for failures, (text, why) in enumerate(changes, 1):
        config.write_text(text)
        server.ask()
        server.wait_for_log("handing over has failed", failures)
        assert why in server.log and SECRET not in server.log
        client.send(b"still here")
        got = rig.backend.got[client.client_id]
        wait_until(partial(lambda got, count: len(got) == count, got, failures), "it to arrive")
    config.write_text(same)
    server.upgrade(failures=len(changes))
