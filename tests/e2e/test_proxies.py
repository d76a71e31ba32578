"""Behind the real nginx and the real HAProxy, with the configurations of docs/proxies.md."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import pytest
from kit.lanes.ws import request
from kit.process import BackendProcess, EmbeddedServer
from kit.proxies import HAProxy, Nginx, Proxy, block, make_certificate, started
from kit.wait import wait_until

from voltlane.client import Connection, line, link
from voltlane.config import SETTINGS
from voltlane.config.sources import tomllib
from voltlane.errors import Refused
from voltlane.lanes.entry import arrival
from voltlane.wire.v3 import Code

pytest.importorskip("h11")

CLIENT = "127.0.0.7"
"""Where clients come from: not where the proxies do."""


class Scene(NamedTuple):
    """A server, a proxy in front of it, and a backend that sends everything back."""

    server: EmbeddedServer
    proxy: Proxy
    certificate: Path

    def connect(self, scheme: str, **options: object) -> Connection:
        port = self.proxy.tcp_port if scheme == "tls" else self.proxy.web_port
        return Connection(f"{scheme}://127.0.0.1:{port}", ca_file=self.certificate, **options)  # type: ignore[arg-type]

    @property
    def peers(self) -> list[str]:
        """Whom the server takes its clients for."""
        return [connection.peer for connection in list(self.server.server.clients.connections)]


def documented(changes: dict[str, object]) -> dict[str, object]:
    """The server's settings as they stand in the document, but for the ports."""
    settings: dict[str, object] = {}
    for section, values in tomllib.loads(block("toml")).items():
        for name, value in values.items():
            settings[f"{section}.{name}"] = ",".join(value) if isinstance(value, list) else str(value).lower()
    assert settings["listener.address"] == "127.0.0.1:42000,ws://127.0.0.1:42080"
    settings["listener.address"] = "127.0.0.1:0,ws://127.0.0.1:0"
    return {**settings, **changes}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(autouse=True)
def from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients come from another address than proxies; and the server does not take either for this machine, so that
    what they may do follows from what the proxies say."""

    class Elsewhere(socket.socket):
        def connect_ex(self, address: object) -> int:  # type: ignore[override]
            self.bind((CLIENT, 0))
            return super().connect_ex(address)  # type: ignore[arg-type]

        def connect(self, address: object) -> None:  # type: ignore[override]
            self.bind((CLIENT, 0))
            super().connect(address)  # type: ignore[arg-type]

    class Sockets:
        socket = Elsewhere

        def __getattr__(self, name: str) -> object:
            return getattr(socket, name)

    for module in (line, link):
        monkeypatch.setattr(module, "socket", Sockets())
    monkeypatch.setattr(arrival, "is_local", lambda name: False)


@pytest.fixture
def changes(request: pytest.FixtureRequest) -> dict[str, object]:
    """Settings that are other than documented."""
    return dict(getattr(request, "param", {}))


@pytest.fixture(params=[Nginx, HAProxy])
def scene(
    request: pytest.FixtureRequest, tmp_path: Path, certificate: tuple[Path, Path], changes: dict[str, object]
) -> Iterator[Scene]:
    with BackendProcess() as backend, EmbeddedServer(backend.address, documented(changes)) as server:
        server.wait_for_log("clients connect to ", 2)
        tcp, web = re.findall(r"clients connect to (\S+)", server.log)
        with started(request.param, tmp_path, *certificate, web.partition("//")[2], tcp) as proxy:
            yield Scene(server, proxy, certificate[0])


def test_a_websocket_over_tls_that_ends_at_the_proxy(scene: Scene) -> None:
    with scene.connect("wss", encrypted=False) as client:
        client.send(b"up and down")
        assert client.recv(10) == b"up and down"
        assert scene.peers == [f"{CLIENT}:0"]
    wait_until(lambda: f"({CLIENT}:0)" in scene.server.log, "the client's address in the log")


@pytest.mark.parametrize("scheme", ["wss", "tls"])
def test_version_2(scene: Scene, scheme: str) -> None:
    with scene.connect(scheme, protocol=2) as client:
        for packet in (b"up and down", b"x" * 300_000):
            client.send(packet)
            assert client.recv(10) == packet
        known = client.client_id
        client.reconnect()
        client.send(b"again")
        assert client.recv(10) == b"again" and client.client_id == known
        assert scene.peers[0].startswith(CLIENT)


def test_tcp_over_tls_that_ends_at_the_proxy(scene: Scene) -> None:
    with scene.connect("tls") as client:
        client.send(b"x" * 300_000)
        assert client.recv(10) == b"x" * 300_000
        (peer,) = scene.peers
        ours = socket.socket(fileno=socket.dup(client.fileno()))
        with ours:
            assert peer == "{}:{}".format(*ours.getsockname())


def test_whether_tcp_may_do_without_encryption_depends_on_what_the_proxy_can_say(scene: Scene) -> None:
    if isinstance(scene.proxy, Nginx):  # it speaks version 1 of the PROXY protocol
        with pytest.raises(Refused) as told:
            scene.connect("tls", encrypted=False)
        assert told.value.code == Code.NO_SUITE
    else:
        with scene.connect("tls", encrypted=False) as client:
            client.send(b"x")
            assert client.recv(10) == b"x"


@pytest.mark.parametrize("changes", [{"listener.proxy_tls": "false"}], indirect=True, ids=["not said"])
def test_nobody_may_where_the_operator_has_not_said_that_proxies_end_tls(scene: Scene) -> None:
    with pytest.raises(Refused) as told:
        scene.connect("wss", encrypted=False)
    assert told.value.code == Code.NO_SUITE
    with scene.connect("wss") as client:
        client.send(b"x")
        assert client.recv(10) == b"x"


@pytest.mark.parametrize("scheme", ["wss", "tls"])
def test_a_proxy_that_dies_costs_nothing(scene: Scene, scheme: str) -> None:
    with scene.connect(scheme, reconnect="auto") as client:
        known = client.client_id
        for number in range(20):
            client.send(b"%d" % number)
        scene.proxy.kill()
        for number in range(20, 30):
            client.send(b"%d" % number)
        scene.proxy.start()
        assert [client.recv(15) for _ in range(30)] == [b"%d" % number for number in range(30)]
        assert client.client_id == known
        assert scene.peers[0].startswith(CLIENT)


def test_from_tcp_to_a_websocket(scene: Scene) -> None:
    first = scene.connect("tls")
    first.send(b"one")
    assert first.recv(10) == b"one"
    first.flush(10)
    state = first.state()
    first.close(goodbye=False)
    again = Connection.restore(state, f"wss://127.0.0.1:{scene.proxy.web_port}/", ca_file=scene.certificate)
    with again as second:
        second.send(b"two")
        assert second.recv(10) == b"two" and second.client_id == first.client_id


def test_pages_of_the_host_that_was_asked_may_connect(scene: Scene) -> None:
    with asked(scene, f"Origin: https://127.0.0.1:{scene.proxy.web_port}") as answer:
        assert b" 101 " in answer
    for other in ("https://example.org", "https://127.0.0.1:1"):
        with asked(scene, f"Origin: {other}", f"X-Forwarded-Host: {other[8:]}") as answer:
            assert b" 403 " in answer


def test_what_a_client_says_of_itself_is_not_believed(scene: Scene) -> None:
    """The proxies set the headers anew."""
    with asked(scene, "X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.2") as answer:
        assert b" 101 " in answer
        wait_until(lambda: scene.peers == ["127.0.0.1:0"], "the client")


@contextmanager
def asked(scene: Scene, *headers: str) -> Iterator[bytes]:
    """A request for a WebSocket, with more headers: the first line of what it is answered."""
    context = ssl.create_default_context(cafile=str(scene.certificate))
    port = scene.proxy.web_port
    plain = socket.create_connection(("127.0.0.1", port), 10)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as sock:
        sock.sendall(request(*headers, subprotocol="").replace(b"server.example.com", b"127.0.0.1:%d" % port))
        with sock.makefile("rb") as answer:
            yield answer.readline()


def test_a_proxy_without_a_server(scene: Scene) -> None:
    scene.server.close()
    with pytest.raises(Refused, match=r"refused with HTTP 50[234]: what stands in front of the server cannot reach it"):
        scene.connect("wss")


# ---- what else the document promises


@pytest.mark.parametrize("kind", [Nginx, HAProxy])
def test_an_answer_without_end_goes_out_as_it_comes(
    kind: type[Proxy], tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    """As events are: the second is not made before the first has arrived."""
    pieces = [b"data: %d\n\n" % number for number in range(3)]
    arrived = threading.Semaphore(0)

    def serve(listening: socket.socket) -> None:
        while True:  # looks whether the port answers come without a request
            sock, _ = listening.accept()
            with sock:
                sock.settimeout(10)
                if not sock.recv(4096):
                    continue
                sock.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                for piece in pieces:
                    sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
                    assert arrived.acquire(timeout=10)
                return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=serve, args=(listening,), daemon=True)
        server.start()
        here = "{}:{}".format(*listening.getsockname())
        with started(kind, tmp_path, *certificate, here, here) as proxy:
            context = ssl.create_default_context(cafile=str(certificate[0]))
            plain = socket.create_connection(("127.0.0.1", proxy.web_port), 10)
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as sock:
                sock.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n")
                received = b""
                for piece in pieces:
                    while piece not in received:
                        more = sock.recv(4096)
                        assert more, received
                        received += more
                    arrived.release()
        server.join(10)
        assert not server.is_alive()


def test_proxies_wait_for_longer_than_two_pings() -> None:
    longest = 2 * cast(float, SETTINGS["web.ping_secs"].default)
    names = "proxy_read_timeout|proxy_send_timeout|proxy_timeout|timeout tunnel|timeout client|timeout server"
    found = re.findall(rf"(?:{names}) +(\d+)([sh])", block("nginx") + block("haproxy") + block("haproxy", 1))
    assert len(found) == 15
    assert all(int(number) * {"s": 1, "h": 3600}[unit] > longest for number, unit in found)
