"""Three nodes behind a HAProxy, killed one after the other under numbered traffic: what CI runs for two minutes
(`make cluster`), shorter."""

from __future__ import annotations

import re

import pytest
from kit.proxies import program

from bench.cluster.__main__ import main

pytest.importorskip("hiredis", reason="the extra `cluster` is not installed")


def test_nothing_is_lost_that_was_acknowledged(capsys: pytest.CaptureFixture[str]) -> None:
    program("haproxy")
    program("redis-server")
    code = main(["--seconds", "20", "--every", "5", "--clients", "12", "--seed", "3"])
    told = capsys.readouterr().out
    assert code == 0, told
    assert re.search(r"^[2-9] nodes were killed$", told, re.MULTILINE)
    rows = re.findall(r"^v(\d) (tcp|ws) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+)$", told, re.MULTILINE)
    assert [row[:2] for row in rows] == [("3", "tcp"), ("3", "ws"), ("2", "tcp"), ("2", "ws")]
    assert sum(int(row[7]) for row in rows) > 3, "clients have gone from one node to another"


def test_it_notices_what_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The accounts of a client that has sent three packets, of which the backend has two."""
    from bench.cluster.__main__ import tell
    from bench.cluster.backend import Account, Backend
    from bench.cluster.clients import Client

    backend = Backend()
    backend.close()
    account = backend.accounts[7] = Account()
    account.numbers.update((1, 3))
    client = Client(0, 3, "tcp", "127.0.0.1:1", 0)
    client.id, client.sent = 7, 3
    assert tell([client], backend, 0) == 1
    client.uncertain.append((2, 2))
    assert tell([client], backend, 0) == 0
    client.silent = 1
    assert tell([client], backend, 0) == 1
