"""WebSockets by a client that somebody else wrote (the package websockets), on the real process."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.process import ServerProcess
from kit.rig import Rig, running
from kit.vectors import CERTIFICATES

pytest.importorskip("h11", reason="the extra `web` is not installed")
client = pytest.importorskip("websockets.sync.client", reason="the package websockets is not installed")
exceptions = pytest.importorskip("websockets.exceptions")


@pytest.fixture
def rig() -> Iterator[Rig]:
    with running({"listener.address": "ws://127.0.0.1:0,127.0.0.1:0"}) as made:
        yield made


def connect(rig: Rig, *subprotocols: str, **options: Any) -> Any:
    assert rig.server.address.startswith("ws://")
    return client.connect(rig.server.address, subprotocols=subprotocols or None, **options)


def test_messages_are_packets(rig: Rig) -> None:
    with connect(rig) as one, connect(rig) as two:
        one.send("text")
        two.send(b"\xffbinary" * 20_000)
        first, second = rig.master.recv(), rig.master.recv()
        assert {first.data, second.data} == {b"text", b"\xffbinary" * 20_000}
        ids = {packet.data[:1]: packet.client_id for packet in (first, second)}
        rig.master.send(ids[b"t"], "zurück".encode(), b"\xff", b"")
        rig.master.send(ids[b"\xff"], b"back", bytes(300_000))
        assert [one.recv(5), one.recv(5), one.recv(5)] == ["zurück", b"\xff", ""]
        assert [two.recv(5), two.recv(5)] == [b"back", bytes(300_000)]


def test_its_pings_and_fragments_and_close(rig: Rig) -> None:
    with connect(rig) as one:
        assert one.ping().wait(5)
        one.send(["a", "b", "", "c"])
        packet = rig.master.recv()
        assert packet.data == b"abc"
        one.close(4500, "enough")
        assert one.close_code == 4500
    assert rig.master.recv_for(packet.client_id).data == b"Client disconnected"


def test_the_code_of_a_kick(rig: Rig) -> None:
    with connect(rig) as one:
        one.send("here")
        rig.master.kick(rig.master.recv().client_id)
        with pytest.raises(exceptions.ConnectionClosed) as caught:
            one.recv(5)
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (3506, "kicked by the master")


@pytest.mark.parametrize(
    ("how", "status"),
    [({"origin": "https://evil.test"}, 403), ({"subprotocols": ["mqtt"]}, 400)],
    ids=["origin", "subprotocol"],
)
def test_what_is_refused_is_told(rig: Rig, how: dict[str, Any], status: int) -> None:
    with pytest.raises(exceptions.InvalidStatus) as caught:
        client.connect(rig.server.address, **how)
    assert caught.value.response.status_code == status and b"error" in caught.value.response.body


def test_the_same_host_may(rig: Rig) -> None:
    origin = rig.server.address.replace("ws://", "http://")
    with client.connect(rig.server.address, origin=origin) as one:
        one.send("x")
        assert rig.master.recv().data == b"x"


def test_the_subprotocol_is_agreed_on(rig: Rig) -> None:
    with connect(rig, "voltlane.v3", "voltlane.v2") as one:
        assert one.subprotocol == "voltlane.v3"


def test_a_session_that_ends_with_its_connection_is_not_kept(tmp_path: Path) -> None:
    settings = {"listener.address": "ws://127.0.0.1:0", "general.state_dir": str(tmp_path / "state")}
    with running(settings) as rig, connect(rig) as one:
        one.send("x")
        rig.master.recv()
        assert isinstance(rig.server, ServerProcess)
        assert rig.server.stop() == 0
    with running(settings) as rig:
        assert isinstance(rig.server, ServerProcess)
        assert "sessions of an earlier process: 1" not in rig.server.log


def test_over_tls(tmp_path: Path) -> None:
    settings = {
        "listener.address": "wss://127.0.0.1:0",
        "tls.certificate": str(CERTIFICATES / "server.pem"),
        "tls.key": str(CERTIFICATES / "server.key"),
    }
    trusting = ssl.create_default_context(cafile=str(CERTIFICATES / "ca.pem"))
    with running(settings) as rig:
        url = rig.server.address.replace("127.0.0.1", "localhost")
        with client.connect(url, ssl=trusting) as one:
            one.send(b"x" * 100_000)
            packet = rig.master.recv()
            assert packet.data == b"x" * 100_000
            rig.master.send(packet.client_id, bytes(1_000_000))
            assert one.recv(5) == bytes(1_000_000)
