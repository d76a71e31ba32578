"""A redis, a HAProxy and some nodes, each a process that can be killed and started again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Callable

from ..servers import ROOT
from ..wires import Fault

START_SECS = 20.0
SECRET = "of-this-run-alone-and-of-no-use-to-anybody"
_BALANCER = """
defaults
    mode tcp
    timeout connect 1s
    timeout client 1h
    timeout server 1h
    option redispatch
    retries 3
"""
_LANE = """
listen {name}
    bind 127.0.0.1:{port}
    balance roundrobin
    option httpchk GET /readyz
    default-server inter 200ms fall 1 rise 1 on-marked-down shutdown-sessions
{servers}
"""


def free_ports(count: int) -> list[int]:
    """So many that nobody listens on."""
    with ExitStack() as stack:
        socks = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
        return [int(sock.getsockname()[1]) for sock in socks]


def wait_for(what: str, holds: Callable[[], bool], seconds: float = START_SECS) -> None:
    """Raises Fault when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise Fault(f"{what}: not after {seconds:g} s")
        time.sleep(0.02)


class Program:
    """A process, and its log."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None):
        self.name = name
        self.log = log
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, cwd=self.log.parent, env=self._environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output,
            )  # fmt: skip

    @property
    def runs(self) -> bool:
        """Whether it has been started, and has not ended."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, number: int) -> None:
        """Send it that."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self) -> None:
        """SIGTERM, and wait."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(START_SECS)
            except subprocess.TimeoutExpired:
                pass
            self.kill()

    @property
    def tail(self) -> str:
        """The end of what it has said."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]


class Node(Program):
    """A server."""

    def __init__(self, number: int, directory: Path, settings: Mapping[str, str]) -> None:
        self.tcp, self.web, self.admin = free_ports(3)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("VOLTLANE_")}
        given = {
            "LISTENER_ADDRESS": f"127.0.0.1:{self.tcp}, ws://127.0.0.1:{self.web}",
            "ADMIN_ADDRESS": f"127.0.0.1:{self.admin}",
            "GENERAL_NODE": str(number),
            **settings,
        }
        environment = {**clean, **{f"VOLTLANE_{name}": value for name, value in given.items()}}
        place = directory / f"node-{number}"
        place.mkdir()
        super().__init__(
            f"node {number}", [sys.executable, str(ROOT / "voltlane.py"), "serve"], place / "log", environment
        )

    @property
    def is_ready(self) -> bool:
        """Whether it says so to whoever looks after it."""
        try:
            return bool(self.ask("readyz", text=True))
        except (OSError, urllib.error.URLError):
            return False

    def wait(self) -> None:
        """Until it is ready. Raises Fault."""

        def ready() -> bool:
            if not self.runs:
                raise Fault(f"{self.name} has ended: {self.tail}")
            return self.is_ready

        try:
            wait_for(f"{self.name} is ready", ready)
        except Fault as fault:
            raise Fault(f"{fault}\n{self.tail}") from None

    def ask(self, path: str, text: bool = False) -> Any:
        """What its admin endpoint answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/{path}", timeout=5) as answer:
            body = answer.read()
        return body.decode() if text else json.loads(body)


class Cluster:
    """All of it."""

    def __init__(self, redis: Program, balancer: Program, nodes: Sequence[Node], tcp: int, web: int) -> None:
        self.redis = redis
        self.balancer = balancer
        self.nodes = nodes
        self.addresses = {"tcp": f"127.0.0.1:{tcp}", "ws": f"ws://127.0.0.1:{web}"}
        """Where clients come to, by lane."""


@contextmanager
def cluster(
    directory: Path, master: str, count: int = 3, settings: Mapping[str, str] | None = None
) -> Iterator[Cluster]:
    """So many nodes, ready. Raises Fault."""
    with ExitStack() as stack:
        tcp, web = free_ports(2)
        store = directory / "redis.sock"
        redis = Program(
            "redis",
            [program("redis-server"), "--port", "0", "--unixsocket", str(store), "--save", "", "--appendonly", "no"],
            directory / "redis.log",
        )
        stack.callback(redis.kill)
        redis.start()
        wait_for("redis listens", store.exists)
        given = {
            "MASTER_ADDRESS": master,
            "CLUSTER_URL": f"unix:{store}",
            "CLUSTER_SECRET": SECRET,
            "LIMITS_ADDRESS_CONNECTIONS": "0",
            "LIMITS_ADDRESS_RATE": "0",
            "LIMITS_FLAP_COUNT": "0",
            **(settings or {}),
        }
        nodes = [Node(number, directory, given) for number in range(1, count + 1)]
        for node in nodes:
            stack.callback(node.kill)
            node.start()
        for node in nodes:
            node.wait()
        balancer = _balancer(directory, nodes, tcp, web)
        stack.callback(balancer.kill)
        balancer.start()
        for port in (tcp, web):
            wait_for("the balancer listens", lambda port=port: _answers(port))  # type: ignore[misc]
        yield Cluster(redis, balancer, nodes, tcp, web)


def _balancer(directory: Path, nodes: Sequence[Node], tcp: int, web: int) -> Program:
    text = _BALANCER
    for name, port in (("tcp", tcp), ("ws", web)):
        servers = "\n".join(
            f"    server node{number} 127.0.0.1:{node.tcp if name == 'tcp' else node.web} check port {node.admin}"
            for number, node in enumerate(nodes, 1)
        )
        text += _LANE.format(name=name, port=port, servers=servers)
    file = directory / "haproxy.cfg"
    file.write_text(text, encoding="utf-8")
    return Program("haproxy", [program("haproxy"), "-db", "-f", str(file)], directory / "haproxy.log")


def _answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def program(name: str) -> str:
    """Where it is. Raises Fault."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise Fault(f"there is no {name}: apt-get install {name}")
    return path
