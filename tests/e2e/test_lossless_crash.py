"""A server that ends under a client of version 3. Killed: what the master got, and what the client is told, is all
there was. In order: it costs nothing."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest
from kit.process import ServerProcess

from voltlane.backend import Firehose
from voltlane.client import Connection
from voltlane.errors import Uncertain


def test_a_server_that_is_killed_costs_what_it_tells(tmp_path: Path) -> None:
    settings: dict[str, object] = {"general.state_dir": str(tmp_path / "state")}
    with Master() as master:
        server = ServerProcess(master.address, settings)
        settings["listener.address"] = server.address
        connection, sent = Connection(server.address, reconnect="auto", gaps="return"), 0
        told: set[bytes] = set()
        try:
            for _ in range(3):
                for _ in range(200):
                    connection.send(b"%d" % sent)
                    sent += 1
                server.kill()
                server.close()
                server = ServerProcess(master.address, settings)
                connection.send(b"%d" % sent)
                sent += 1
                connection.flush(20)
                with contextlib.suppress(TimeoutError):
                    while True:
                        item = connection.recv(0)
                        if isinstance(item, Uncertain):
                            told.update(item.packets)
            connection.close(timeout=20)
        finally:
            connection.close(goodbye=False)
            server.close()
    got = [int(data) for data in master.got]
    assert got == sorted(set(got)), "twice, or out of order"
    missing = {b"%d" % number for number in range(sent)} - set(master.got)
    assert missing <= told, "lost, and not told"


def test_a_server_that_ends_in_order_costs_nothing(tmp_path: Path) -> None:
    settings: dict[str, object] = {"general.state_dir": str(tmp_path / "state")}
    with Master() as master:
        server = ServerProcess(master.address, settings)
        settings["listener.address"] = server.address
        connection, sent = Connection(server.address, reconnect="auto"), 0
        try:
            for _ in range(3):
                for _ in range(200):
                    connection.send(b"%d" % sent)
                    sent += 1
                server.close()
                server = ServerProcess(master.address, settings)
                with pytest.raises(TimeoutError):
                    connection.recv(0.05)
            connection.close(timeout=20)
        finally:
            connection.close(goodbye=False)
            server.close()
    assert [int(data) for data in master.got] == list(range(sent))


class Master:
    """Takes what comes."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self._firehose = Firehose("127.0.0.1:0")
        self.address = str(self._firehose.address)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            self.got += [packet.data for packet in self._firehose.poll(0.01) if packet.is_data]

    def __enter__(self) -> Master:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)
        self._firehose.close()
