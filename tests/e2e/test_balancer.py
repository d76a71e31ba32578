"""Two servers behind the real HAProxy, as docs/proxies.md has it: connections are spread, and one that is drained gets
none."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from kit.process import BackendProcess, EmbeddedServer
from kit.proxies import Balancer, Node, block, make_certificate, running
from kit.wait import wait_until

from voltlane.client import Connection
from voltlane.config.sources import tomllib
from voltlane.reasons import CloseReason

pytest.importorskip("h11")
pytest.importorskip("prometheus_client")


class Scene(NamedTuple):
    """Two servers, the balancer in front of them, and behind each a backend that sends everything back."""

    servers: tuple[EmbeddedServer, EmbeddedServer]
    nodes: tuple[Node, Node]
    balancer: Balancer
    certificate: Path
    exits: ExitStack

    def connect(self, scheme: str, protocol: int = 3) -> Connection:
        """A client that has had a packet up and down; it is there until the end."""
        port = self.balancer.tcp_port if scheme == "tls" else self.balancer.web_port
        client = Connection(f"{scheme}://127.0.0.1:{port}", ca_file=self.certificate, protocol=protocol)
        self.exits.enter_context(client)
        client.send(b"up and down")
        assert client.recv(10) == b"up and down"
        return client

    @property
    def counts(self) -> tuple[int, int]:
        """Clients of each."""
        a, b = (len(list(server.server.clients.connections)) for server in self.servers)
        return a, b

    def ask(self, node: Node, method: str, path: str) -> int:
        """The status of what its admin endpoint answers."""
        connection = http.client.HTTPConnection(node.admin, timeout=10)
        try:
            connection.request(method, path)
            return connection.getresponse().status
        finally:
            connection.close()


def settings(number: int) -> dict[str, object]:
    """Of one server, as they stand in the document, but for the ports."""
    found: dict[str, object] = {}
    for section, values in tomllib.loads(block("toml")).items():
        for name, value in values.items():
            found[f"{section}.{name}"] = ",".join(value) if isinstance(value, list) else str(value).lower()
    found["listener.address"] = "127.0.0.1:0,ws://127.0.0.1:0"
    return {**found, "general.node": number, "admin.address": "127.0.0.1:0"}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    certificate, key = make_certificate(tmp_path)
    with ExitStack() as exits:
        servers, nodes = [], []
        for number in (1, 2):
            backend = exits.enter_context(BackendProcess())
            server = exits.enter_context(EmbeddedServer(backend.address, settings(number)))
            server.wait_for_log("the admin endpoint is at ")
            tcp, web = re.findall(r"clients connect to (\S+)", server.log)
            (admin,) = re.findall(r"the admin endpoint is at (\S+)", server.log)
            servers.append(server)
            nodes.append(Node(web.partition("//")[2], tcp, admin))
        for server in servers:
            wait_until(lambda server=server: server.server.readiness.ready, "a server to be ready")
        balancer = exits.enter_context(running(Balancer(tmp_path, certificate, key, *nodes)))
        clients = exits.enter_context(ExitStack())
        yield Scene((servers[0], servers[1]), (nodes[0], nodes[1]), balancer, certificate, clients)


@pytest.mark.parametrize(("scheme", "protocol"), [("tls", 3), ("wss", 3), ("tls", 2)])
def test_new_clients_are_spread(scene: Scene, scheme: str, protocol: int) -> None:
    clients = [scene.connect(scheme, protocol) for _ in range(6)]
    assert scene.counts == (3, 3)
    assert len({client.client_id for client in clients}) == 6


@pytest.mark.parametrize("scheme", ["tls", "wss"])
def test_one_that_is_drained_gets_none_and_one_that_is_back_does(scene: Scene, scheme: str) -> None:
    backend = "tcp" if scheme == "tls" else "web"
    before = [scene.connect(scheme) for _ in range(4)]
    assert scene.ask(scene.nodes[0], "POST", "/drain?notice=600") == 200
    scene.balancer.wait_for(f"Server {backend}/a is DOWN", "code: 503")
    for _ in range(4):
        scene.connect(scheme)
    assert scene.counts == (2, 6)
    for client in before:
        client.send(b"who is here stays")
        assert client.recv(10) == b"who is here stays"
    assert scene.ask(scene.nodes[0], "DELETE", "/drain") == 200
    scene.balancer.wait_for(f"Server {backend}/a is UP")
    wait_until(lambda: scene.connect(scheme) and scene.counts[0] > 2, "a client to come to the one that is back")


def test_emptied_its_clients_are_told_to_go(scene: Scene) -> None:
    for _ in range(6):
        scene.connect("tls")
    assert scene.ask(scene.nodes[0], "POST", "/drain?notice=600") == 200
    scene.balancer.wait_for("Server tcp/a is DOWN", "code: 503")
    assert scene.ask(scene.nodes[0], "POST", "/drain?rate=100&notice=0") == 200
    wait_until(lambda: scene.counts[0] == 0, "the end of all connections to a")
    wait_until(lambda: scene.ask(scene.nodes[0], "GET", "/readyz") == 503, "the answer")
    assert scene.servers[0].counters.closed[CloseReason.DRAINED] == 3 and scene.counts[1] == 3
    scene.connect("tls")
    assert scene.counts == (0, 4)


def test_one_that_does_not_listen_is_left_out_at_once(scene: Scene) -> None:
    scene.servers[0].close()
    for _ in range(3):
        scene.connect("tls")
