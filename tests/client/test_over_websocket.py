"""`Connection` and `voltlane connect` over WebSockets: to the real server, and to who is none."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from kit.process import EmbeddedServer
from kit.program import Program
from kit.raw_master import DATA, RECONNECTION, RawMaster
from kit.wait import wait_until

from voltlane.client import Connection
from voltlane.client import backoff as backoffs
from voltlane.errors import ConfigError, ConnectionLost, ProtocolError, Refused, SessionLost
from voltlane.wire.v3 import Code

pytest.importorskip("h11", reason="the extra `web` is not installed")


class Scene(NamedTuple):
    server: EmbeddedServer
    master: RawMaster
    tcp: str
    ws: str

    def echo(self, client: Connection, packet: bytes) -> bytes:
        """There and back. The client goes on with what it sends while it waits for that."""
        backend = threading.Thread(target=self._send_back, args=(client.client_id,), daemon=True)
        backend.start()
        client.send(packet)
        answer = client.recv(10)
        backend.join(10)
        return answer

    def _send_back(self, client_id: int) -> None:
        self.master.send(client_id, self.arrived(client_id))

    def arrived(self, client_id: int) -> bytes:
        """The next data at the master."""
        while (packet := self.master.recv_for(client_id)).flag != DATA:
            assert packet.flag == RECONNECTION
        return packet.data


@pytest.fixture
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    settings = {"listener.address": "127.0.0.1:0,ws://127.0.0.1:0", **getattr(request, "param", {})}
    with RawMaster() as master, EmbeddedServer(master.address, settings) as server:
        master.accept()
        server.wait_for_log("clients connect to ", 2)
        tcp, ws = re.findall(r"clients connect to (\S+)", server.log)
        yield Scene(server, master, tcp, ws)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoffs, "FIRST_SECS", 0.01)
    monkeypatch.setattr(backoffs, "LONGEST_SECS", 0.02)


OPTIONS = {"v3": {}, "v3, unencrypted": {"encrypted": False}, "v2": {"protocol": 2}}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_there_and_back(scene: Scene, options: dict[str, object]) -> None:
    with Connection(f"{scene.ws}/any/path?x", **options) as client:  # type: ignore[arg-type]
        for packet in (b"", b"x", b"y" * 126, b"z" * 70_000, b"a" * 1_000_000):
            assert scene.echo(client, packet) == packet
        known = client.client_id
        client.reconnect()
        assert client.client_id == known and scene.echo(client, b"again") == b"again"


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("scene", [{"web.ping_secs": 0.05}], indirect=True, ids=["often"])
def test_pings_are_answered_while_a_call_is_under_way(scene: Scene, options: dict[str, object]) -> None:
    with Connection(scene.ws, **options) as client:  # type: ignore[arg-type]
        with pytest.raises(TimeoutError):
            client.recv(0.5)
        assert scene.echo(client, b"still here") == b"still here"
    assert not [reason for reason in scene.server.counters.closed if reason.name == "PING_UNANSWERED"]


@pytest.mark.parametrize("scene", [{"web.ping_secs": 0.05}], indirect=True, ids=["often"])
def test_who_calls_nothing_for_long_is_lost_and_comes_back(scene: Scene) -> None:
    with Connection(scene.ws, reconnect="auto") as client:
        assert scene.echo(client, b"one") == b"one"
        wait_until(lambda: "ping not answered" in scene.server.log, "the server to give it up")
        scene.master.send(client.client_id, b"missed")
        assert client.recv(10) == b"missed"


def test_a_session_goes_from_one_lane_to_the_other(scene: Scene) -> None:
    client = Connection(scene.tcp)
    known = client.client_id
    for address in (scene.ws, scene.tcp, f"{scene.ws}/x"):
        client.send(b"on its way")
        state = client.state()
        client.close(goodbye=False)
        client = Connection.restore(state, address)
        assert client.client_id == known
        assert scene.arrived(known) == b"on its way"
    state = client.state()
    client.close(goodbye=False)
    with Connection.restore(state) as client:
        assert str(client.address) == f"{scene.ws}/x"


def test_kicked(scene: Scene) -> None:
    """Version 3 has a record for it, version 2 the close of the WebSocket."""
    for options in ({}, {"protocol": 2}):
        client = Connection(scene.ws, **options)  # type: ignore[arg-type]
        scene.master.kick(client.client_id)
        with pytest.raises(SessionLost) as told:
            client.recv(10)
        assert told.value.code == Code.KICKED
        client.close()


def test_a_resume_of_version_2_that_is_refused(scene: Scene) -> None:
    client = Connection(scene.ws, protocol=2)
    scene.master.kick(client.client_id)
    wait_until(lambda: not scene.server.server.registry.sessions, "the end of the session")
    with pytest.raises(SessionLost) as told:
        client.reconnect()
    assert told.value.code == Code.UNKNOWN_SESSION
    client.close()


def test_what_was_sent_when_the_server_closes_is_said_in_its_close(scene: Scene) -> None:
    client = Connection(scene.ws, protocol=2)
    scene.server.server.stop()
    with pytest.raises(ConnectionLost) as told:
        client.recv(10)
    assert not isinstance(told.value, SessionLost) and told.value.code == 1001
    client.close()


# ---- which suite


@pytest.mark.parametrize("address", ["ws://192.0.2.1:1", "192.0.2.1:1"])
def test_where_others_can_listen_it_is_encrypted(address: str) -> None:
    with pytest.raises(ConfigError, match=r"encrypted: others can listen on the way to .*192\.0\.2\.1:1"):
        Connection(address, encrypted=False)


def test_a_session_without_encryption_does_not_go_on_there(scene: Scene) -> None:
    client = Connection(scene.ws, encrypted=False)
    state = client.state()
    client.close(goodbye=False)
    with pytest.raises(ConfigError, match="encrypted"):
        Connection.restore(state, "ws://192.0.2.1:1")
    Connection.restore(state).close()


# ---- who is no server


@contextlib.contextmanager
def answering(words: bytes, *, reads: bool = True) -> Iterator[str]:
    """Somebody who says this to everybody; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listening.accept()
                    with sock:
                        if reads:
                            sock.recv(4096)
                        sock.sendall(words)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"ws://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)


NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
NONE = {
    "404": (NOT_FOUND, Refused, "refused with HTTP 404: there is nothing at this path"),
    "502": (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", Refused, "refused with HTTP 502: what stands in front"),
    "no HTTP": (b"SSH-2.0-x\r\n", ProtocolError, "what answers does not speak HTTP"),
    "nothing": (b"", ConnectionLost, "closed by the server"),
    "half an answer": (b"HTTP/1.1 101 Sw", ConnectionLost, "closed by the server"),
}


@pytest.mark.parametrize("name", NONE)
@pytest.mark.parametrize("protocol", [2, 3])
def test_who_is_no_server(name: str, protocol: int) -> None:
    words, error, message = NONE[name]
    with answering(words) as address, pytest.raises(error, match=message) as told:
        Connection(address, protocol=protocol)
    assert told.type is error or error is ProtocolError


@pytest.mark.parametrize("protocol", [2, 3])
def test_who_says_nothing(protocol: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"ws://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(ConnectionLost, match=r"did not finish the handshake in time|does not answer in time"):
            Connection(address, protocol=protocol, timeout=0.1)


def test_what_heals_by_itself_goes_on_trying_when_something_is_in_the_way(scene: Scene) -> None:
    """As a proxy answers while its server is away."""
    with Connection(scene.ws, reconnect="auto") as client:
        assert scene.echo(client, b"one") == b"one"
        right = client._session._driver._address  # type: ignore[union-attr]
        with answering(b"HTTP/1.1 502 Bad Gateway\r\n\r\n") as wrong:
            client._session._driver._address = right._replace(port=int(wrong.rpartition(":")[2]))  # type: ignore
            for connection in list(scene.server.server.clients.connections):
                connection.sock.shutdown(socket.SHUT_RDWR)

            def told() -> bool:
                with pytest.raises(TimeoutError) as caught:
                    client.recv(0.1)
                return "refused with HTTP 502" in str(caught.value)

            wait_until(told, "what is in the way")
        client._session._driver._address = right  # type: ignore[union-attr]
        assert scene.echo(client, b"two") == b"two"


# ---- the command


@pytest.mark.parametrize("protocol", ["2", "3"])
def test_connect(scene: Scene, tmp_path: Path, protocol: str) -> None:
    with Program("connect", "--protocol", protocol, scene.ws, cwd=tmp_path) as program:
        program.type(b"hello\n")
        program.wait_err(f"connected to {scene.ws} as client ")
        packet = scene.master.recv()
        assert packet.data == b"hello"
        scene.master.send(packet.client_id, b"world")
        program.wait_out(b"world\n")
        program.end_input()
        assert program.finish() == 0


def test_connect_to_what_is_no_address(tmp_path: Path) -> None:
    with Program("connect", "http://127.0.0.1:1", cwd=tmp_path) as program:
        assert program.finish() == 2
    assert "connect: 'http://127.0.0.1:1' is no address: there is no 'http'; there are tcp://" in program.err


def test_connect_to_who_refuses(tmp_path: Path) -> None:
    with answering(NOT_FOUND) as address, Program("connect", address, cwd=tmp_path) as program:
        assert program.finish() == 1
    assert "refused with HTTP 404: there is nothing at this path" in program.err
