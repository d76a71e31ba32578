"""Several real servers with a real store and one backend, and a client that is led from one to another."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from pathlib import Path
from typing import TypeVar

from kit.fault_proxy import FaultProxy
from kit.process import ServerProcess
from kit.redis_server import RedisServer
from kit.upgrades import UpgradingServer
from kit.wait import wait_until

from voltlane.backend import Firehose, Packet

S = TypeVar("S", bound=ServerProcess)
SECRET = "0123456789abcdef0123456789abcdef"


class Backend:
    """Keeps what comes, in its order, by client; answers only when told to."""

    def __init__(self, echo: bool = False) -> None:
        self.echo = echo
        self.got: dict[int, list[bytes]] = defaultdict(list)
        self.failures: list[tuple[int, str]] = []
        self.back: list[int] = []
        """Clients that have resumed."""
        self.links = 0
        self._orders: list[tuple[int, bytes, object]] = []
        self.heard_on: dict[int, object] = {}
        """The link that each client was last heard of on."""
        self.firehose = Firehose("127.0.0.1:0")
        self.address = str(self.firehose.address)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            for packet in self.firehose.poll(0.01):
                self._take(packet)
            self.links = len(self.firehose.links)
            orders, self._orders = self._orders, []
            for client_id, data, link in orders:
                self.firehose.send(client_id, data, link)  # type: ignore[arg-type]

    def _take(self, packet: Packet) -> None:
        if packet.is_data:
            self.got[packet.client_id].append(packet.data)
            self.heard_on[packet.client_id] = packet.link
            if self.echo:
                packet.reply(packet.data)
        elif packet.reason:
            self.failures.append((packet.client_id, packet.reason))
        else:
            self.back.append(packet.client_id)
            self.heard_on[packet.client_id] = packet.link

    def send(self, client_id: int, data: bytes, link: object = None) -> None:
        self._orders.append((client_id, data, link))

    def close(self) -> None:
        self._over.set()
        self._thread.join(10)
        self.firehose.close()


class ClusterRig:
    """`servers` of them. Everything is closed at the end; what is killed is not there any more."""

    def __init__(self, servers: int = 2, settings: dict[str, object] | None = None, **store: object) -> None:
        self._stack = contextlib.ExitStack()
        self.store = RedisServer(**store)  # type: ignore[arg-type]
        self._stack.callback(self.store.close)
        self.backend = Backend()
        self._stack.callback(self.backend.close)
        self.settings: dict[str, object] = {
            "cluster.url": self.store.url,
            "cluster.secret": SECRET,
            "cluster.lease_secs": 2.0,
            "cluster.give_up_secs": 1.0,
            **(settings or {}),
        }
        self.servers: list[ServerProcess] = []
        try:
            for number in range(servers):
                self.add(number)
        except BaseException:
            self._stack.close()
            raise

    def add(self, number: int, **settings: object) -> ServerProcess:
        return self._meet(ServerProcess(self.backend.address, self._settings(number, settings)))

    def add_upgrading(
        self, number: int, fault: str = "", config: Path | None = None, **settings: object
    ) -> UpgradingServer:
        """One that can be followed by another process in place; `fault`: see `kit.heir`. A setting that is None stands
        in the file."""
        return self._meet(UpgradingServer(self.backend.address, self._settings(number, settings), fault, config))

    def _settings(self, number: int, settings: dict[str, object]) -> dict[str, object]:
        return {**self.settings, "general.node": number, **settings}

    def _meet(self, server: S) -> S:
        self._stack.callback(server.close)
        self.servers.append(server)
        wanted = self.backend.links + 1
        assert server.address
        wait_until(lambda: self.backend.links >= wanted, "the server to meet its backend")
        return server

    def proxy(self) -> FaultProxy:
        """In front of the first server, for now."""
        proxy = FaultProxy(self.servers[0].address.rpartition("/")[2])
        self._stack.callback(proxy.close)
        return proxy

    def row(self, client_id: int) -> dict[str, bytes]:
        """A session in the store."""
        words = self.store.ask("HGETALL", f"voltlane:session:{client_id}")
        assert isinstance(words, list)
        return dict(zip([word.decode() for word in words[::2]], words[1::2]))

    def __enter__(self) -> ClusterRig:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
