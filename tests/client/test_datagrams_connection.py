"""`Connection.datagram` and `recv_datagram` over real sockets, against the model of a server."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from kit.fake_datagrams import FakeDatagrams
from kit.fake_server_v3 import FakeServerV3
from kit.wait import wait_until

from voltlane.address import Address
from voltlane.client import Connection, ConnectionLost, NoDatagrams, SessionLost
from voltlane.client.link import look_up
from voltlane.errors import ConfigError
from voltlane.wire import v3
from voltlane.wire.datagram import Kind
from voltlane.wire.v3 import NO_DATAGRAMS, Code

SECS = 10.0


@pytest.fixture
def server() -> Iterator[FakeServerV3]:
    with FakeServerV3() as server:
        yield server


@pytest.fixture
def datagrams(server: FakeServerV3) -> Iterator[FakeDatagrams]:
    with FakeDatagrams(server) as datagrams:
        yield datagrams


def test_both_ways(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    with Connection(server.address) as connection:
        assert connection.datagram_fileno() == -1 and not connection.datagram_link.working
        assert connection.datagram(b"up") is True
        wait_until(lambda: datagrams.taken == [b"up"], "the datagram at the master")
        datagrams.push(b"down", b"")
        assert [connection.recv_datagram(SECS), connection.recv_datagram(SECS)] == [b"down", b""]
        assert connection.datagram_link.working and connection.datagram_link.round_trip is not None
        assert connection.datagram_link.sent == 1 and connection.datagram_fileno() >= 0
    assert connection.datagram_fileno() == -1


def test_the_stream_goes_on_beside_them(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    with Connection(server.address) as connection:
        connection.datagram(b"x")
        connection.send(b"up")
        server.wait_for(b"up")
        server.push(b"down")
        assert connection.recv(SECS) == b"down"


def test_who_only_listens_is_found(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    with Connection(server.address) as connection:
        with pytest.raises(TimeoutError):
            connection.recv_datagram(0)
        wait_until(lambda: connection_turns(connection) and datagrams.models and datagrams.model.keyed.path, "a path")
        datagrams.push(b"here")
        assert connection.recv_datagram(SECS) == b"here"


def connection_turns(connection: Connection) -> bool:
    """A call, so that what comes is handled."""
    with pytest.raises(TimeoutError):
        connection.recv(0)
    return True


def test_a_server_without_datagrams(server: FakeServerV3) -> None:
    with Connection(server.address) as connection:
        for _ in range(2):
            with pytest.raises(NoDatagrams, match="has no datagrams"):
                connection.datagram(b"x", SECS)
        with pytest.raises(NoDatagrams):
            connection.recv_datagram(SECS)
        connection.send(b"but a stream")
        server.wait_for(b"but a stream")


def test_a_way_on_which_nothing_passes(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    datagrams.deaf = True
    with Connection(server.address) as connection:
        with pytest.raises(TimeoutError, match="no datagram has come through"):
            connection.datagram(b"x", 0.3)
        datagrams.deaf = False
        assert connection.datagram(b"y", SECS)
        wait_until(lambda: datagrams.taken == [b"y"], "the datagram at the master")


def test_a_server_that_does_not_answer(server: FakeServerV3) -> None:
    connection = Connection(server.address)
    server.mute = True
    with pytest.raises(TimeoutError, match="not answered in time"):
        connection.datagram(b"x", 0.1)
    connection.close(goodbye=False)


def test_too_large(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    with Connection(server.address) as connection:
        connection.datagram(b"x")
        most = connection.datagram_link.most
        assert connection.datagram(memoryview(bytes(most)))
        with pytest.raises(ValueError, match="at most"):
            connection.datagram(bytes(most + 1))


def test_version_2_has_none(server: FakeServerV3) -> None:
    from kit.fake_server import FakeServer

    with FakeServer() as old, Connection(old.address, protocol=2) as connection:
        for call in (lambda: connection.datagram(b"x"), connection.recv_datagram, connection.datagram_fileno):
            with pytest.raises(ConfigError, match="version 3"):
                call()


@pytest.mark.parametrize("how", ["manual", "auto"])
def test_after_a_cut_there_are_new_keys(server: FakeServerV3, datagrams: FakeDatagrams, how: str) -> None:
    with Connection(server.address, reconnect=how) as connection:
        connection.datagram(b"before")
        server.cut()
        if how == "manual":
            with pytest.raises(ConnectionLost):
                connection.recv(SECS)
            assert connection.datagram(b"without a connection")
            wait_until(lambda: b"without a connection" in datagrams.taken, "the datagram at the master")
            datagrams.push(b"as well")
            assert connection.recv_datagram(SECS) == b"as well"
            connection.reconnect(SECS)
        wait_until(lambda: connection_turns(connection) and datagrams.asked == 2, "another ask")
        wait_until(lambda: connection_turns(connection) and datagrams.model.keyed.path, "a path for the new keys")
        connection.datagram(b"behind")
        wait_until(lambda: b"behind" in datagrams.taken, "the datagram at the master")
        datagrams.push(b"welcome back")
        assert connection.recv_datagram(SECS) == b"welcome back"
        assert Kind.DATA in datagrams.model.keyed.kinds


def test_who_had_none_asks_for_none(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    with Connection(server.address) as connection:
        server.cut()
        with pytest.raises(ConnectionLost):
            connection.recv(SECS)
        connection.reconnect(SECS)
        connection.send(b"x")
        server.wait_for(b"x")
    assert not datagrams.asked


def test_an_end_of_the_session_ends_them(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    with Connection(server.address) as connection:
        connection.datagram(b"x")
        server.end(Code.KICKED)
        with pytest.raises(SessionLost):
            connection.recv(SECS)
        assert connection.datagram_fileno() == -1
        for call in (lambda: connection.datagram(b"x"), lambda: connection.recv_datagram(SECS)):
            with pytest.raises(SessionLost):
                call()
        connection.close(goodbye=False)


def test_closing_wakes_who_waits_for_one(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    connection = Connection(server.address)
    connection.datagram(b"x")
    ended: list[BaseException] = []

    def listen() -> None:
        try:
            connection.recv_datagram()
        except ConnectionLost as error:
            ended.append(error)

    thread = threading.Thread(target=listen)
    thread.start()
    wait_until(lambda: connection._session._driver._waiting, "the thread waits")  # type: ignore[union-attr]
    connection.close()
    thread.join(SECS)
    assert not thread.is_alive() and len(ended) == 1


def test_one_thread_reads_the_stream_and_another_one_datagrams(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    count, got = 200, {"stream": [], "datagrams": []}  # type: tuple[int, dict[str, list[bytes]]]
    with Connection(server.address) as connection:
        connection.datagram(b"x")
        calls = {"stream": connection.recv, "datagrams": connection.recv_datagram}

        def listen(name: str) -> None:
            while len(got[name]) < count:
                got[name].append(calls[name](SECS))

        threads = [threading.Thread(target=listen, args=(name,)) for name in calls]
        for thread in threads:
            thread.start()
        for number in range(count):
            server.push(b"%d" % number)
            datagrams.push(b"%d" % number)
            connection.datagram(b"%d" % number)
        for thread in threads:
            thread.join(SECS)
        expected = [b"%d" % number for number in range(count)]
        assert got == {"stream": expected, "datagrams": expected}
        wait_until(lambda: datagrams.taken == [b"x", *expected], "all datagrams at the master")


def test_pings_are_answered_while_the_stream_is_read(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    with Connection(server.address) as connection:
        connection.datagram(b"x")
        datagrams.raw(datagrams.model.seal(Kind.PING))
        wait_until(lambda: connection_turns(connection) and Kind.PONG in datagrams.model.keyed.kinds, "a pong")


def test_what_nobody_takes_is_bounded(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    with Connection(server.address) as connection:
        connection.datagram(b"x")
        for start in range(0, 1100, 50):
            datagrams.push(*(b"%d" % number for number in range(start, start + 50)))
            wait_until(
                lambda start=start: connection_turns(connection) and connection.datagram_link.received >= start + 50,
                "these have come",
            )
        assert connection.datagram_link.overflowed == 76
        assert connection.recv_datagram(0) == b"76"


def test_forgeries_change_nothing(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    with Connection(server.address) as connection:
        connection.datagram(b"x")
        good = datagrams.model.send(b"good")[0]
        for at in range(len(good)):
            datagrams.raw(good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :])
        datagrams.raw(b"")
        datagrams.raw(good)
        datagrams.raw(good)
        assert connection.recv_datagram(SECS) == b"good"
        wait_until(lambda: connection_turns(connection) and connection.datagram_link.dropped == len(good) + 2, "drops")
        with pytest.raises(TimeoutError):
            connection.recv_datagram(0)


def test_a_socket_of_no_use_is_replaced(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    """The network of this machine has changed under it."""
    with Connection(server.address) as connection:
        connection.datagram(b"x")
        sock = connection._session._driver._socket  # type: ignore[union-attr]
        sock._try_another(99)  # EADDRNOTAVAIL
        assert connection.datagram(b"from elsewhere")
        wait_until(lambda: b"from elsewhere" in datagrams.taken, "the datagram at the master")
        wait_until(
            lambda: connection_turns(connection) and datagrams.model.keyed.path == datagrams.sources[-1], "a path"
        )
        assert len(set(datagrams.sources)) == 2
        datagrams.push(b"found")
        assert connection.recv_datagram(SECS) == b"found"


def test_where_the_server_says(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    datagrams.tells_host = "localhost"
    with Connection(server.address) as connection:
        assert connection.datagram(b"x", SECS)


def test_a_name_that_there_is_not(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    datagrams.tells_host = "nowhere.invalid"
    with Connection(server.address) as connection:
        with pytest.raises(TimeoutError):
            connection.datagram(b"x", 0.2)
        assert connection.datagram_fileno() == -1


def test_beside_a_unix_socket(tmp_path) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(FakeServerV3(str(tmp_path / "server")))
        datagrams = stack.enter_context(FakeDatagrams(server))
        connection = stack.enter_context(Connection(server.address, encrypted=False))
        assert connection.datagram(b"x", SECS)
        wait_until(lambda: datagrams.taken == [b"x"], "the datagram at the master")


def test_the_descriptor_can_be_waited_for(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    with Connection(server.address) as connection:
        connection.datagram(b"x")
        datagrams.push(b"x")
        assert select.select([connection.datagram_fileno()], [], [], SECS)[0]
        assert connection.recv_datagram(0) == b"x"


def test_a_state_knows_nothing_of_them(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    connection = Connection(server.address)
    connection.datagram(b"x")
    connection.close(goodbye=False)
    with Connection.restore(connection.state()) as restored:
        assert restored.datagram_fileno() == -1
        assert restored.datagram(b"again", SECS)
        wait_until(lambda: b"again" in datagrams.taken, "the datagram at the master")


def test_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with FakeServerV3() as server:
        try:
            datagrams = FakeDatagrams(server, "::1")
        except OSError:
            pytest.skip("no IPv6 here")
        with datagrams, Connection(server.address) as connection:
            datagrams.tells_host = "::1"
            assert connection.datagram(b"x", SECS)


# ---- when the server has none any longer, or nobody knows where it is


def told_none(server: FakeServerV3, connection: Connection) -> None:
    """There are none any longer, and the client knows."""
    server.do(lambda: server.session.link.say(v3.Kind.DATAGRAMS, NO_DATAGRAMS))
    wait_until(lambda: connection_turns(connection) and connection.datagram_fileno() < 0, "it to know")


def test_who_is_told_that_there_are_none_has_no_socket_for_them(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    """What nobody reads would wake whoever waits, without end."""
    with Connection(server.address) as connection:
        assert connection.datagram(b"up") and connection.datagram_fileno() >= 0
        told_none(server, connection)
        assert connection.datagram(b"now") is False


def test_who_only_sends_datagrams_asks_again(
    server: FakeServerV3, datagrams: FakeDatagrams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voltlane.client.datagrams.AGAIN_SECS", 0.05)
    with Connection(server.address) as connection:
        assert connection.datagram(b"up")
        told_none(server, connection)
        wait_until(lambda: connection.datagram(b"again"), "new keys")
        wait_until(lambda: connection.datagram(b"again") and b"again" in datagrams.taken, "it to arrive")


def test_who_waits_for_one_asks_again(
    server: FakeServerV3, datagrams: FakeDatagrams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voltlane.client.datagrams.AGAIN_SECS", 0.05)
    with Connection(server.address) as connection:
        assert connection.datagram(b"up")
        got: list[bytes] = []
        reader = threading.Thread(target=lambda: got.append(connection.recv_datagram(20)))
        reader.start()
        asked = datagrams.asked
        server.do(lambda: server.session.link.say(v3.Kind.DATAGRAMS, NO_DATAGRAMS))
        wait_until(lambda: datagrams.asked > asked, "it to ask")
        datagrams.push(b"down")
        reader.join(20)
        assert got == [b"down"]


def test_who_only_sends_datagrams_comes_back(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    with Connection(server.address, reconnect="auto") as connection:
        assert connection.datagram(b"up")
        before = len(server.links)
        server.cut()
        wait_until(lambda: (connection.datagram(b"on"), len(server.links) > before)[1], "another connection")


def test_a_name_that_nobody_knows_at_that_moment(server: FakeServerV3, datagrams: FakeDatagrams) -> None:
    """They go on to where they went before."""
    datagrams.tells_host = "localhost"
    with Connection(server.address, reconnect="auto") as connection:
        assert connection.datagram(b"up")
        datagrams.tells_host, asked = "nowhere.invalid", datagrams.asked
        server.cut()
        wait_until(lambda: connection_turns(connection) and datagrams.asked > asked, "it to ask there")
        wait_until(lambda: connection.datagram(b"after") and b"after" in datagrams.taken, "it to arrive")


def test_the_next_address_of_a_name_is_tried(
    server: FakeServerV3, datagrams: FakeDatagrams, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        there = look_up(Address("tcp", "127.0.0.1", datagrams.port, ""))
        deaf = [(socket.AF_INET, nobody.getsockname())]
        datagrams.tells_host = "both.test"
        with Connection(server.address) as connection:
            connection.ping(10)
            monkeypatch.setattr("voltlane.client.driver.look_up", lambda address: deaf + there)
            assert connection.datagram(b"up", 10)
            wait_until(lambda: datagrams.taken == [b"up"], "it to arrive")
