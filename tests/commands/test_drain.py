"""`voltlane drain`, of a server that runs."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kit.process import ServerProcess
from kit.program import Program
from kit.rig import Rig, running


@contextmanager
def watched() -> Iterator[tuple[Rig, str]]:
    pytest.importorskip("h11", reason="the extra `web` is not installed")
    pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")
    with running({"admin.address": "127.0.0.1:0"}) as rig:
        assert isinstance(rig.server, ServerProcess)
        rig.server.wait_for_log("the admin endpoint is at ")
        yield rig, re.search(r"the admin endpoint is at (\S+)", rig.server.log)[1]  # type: ignore[index]


def stats(address: str) -> Any:
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request("GET", "/stats")
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def said(path: Path, *arguments: str, code: int = 0) -> str:
    """What it says in the end."""
    with Program("drain", *arguments, cwd=path) as program:
        assert program.finish(30) == code, program.err
        return program.out.decode() + program.err


def test_waits_until_nobody_is_left(tmp_path: Path) -> None:
    with watched() as (rig, address):
        clients = [rig.new() for _ in range(3)]
        with Program("drain", "--rate", "100", "--notice", "0.1", address, cwd=tmp_path) as program:
            for client in clients:
                for _ in client.rest():
                    pass
                client.close()
            assert program.finish(30) == 0
            assert re.match(rf"{re.escape(address)}: draining, clients left: \d", program.out.decode())
            assert program.out.endswith(b"drained; clients that were told to go elsewhere: 3\n")
        assert stats(address)["state"] == "drained"
        assert said(tmp_path, "--stop", address) == f"{address}: clients are taken again\n"
        assert stats(address)["state"] == "ready"
        rig.new()


def test_without_a_rate_it_says_who_stays(tmp_path: Path) -> None:
    with watched() as (rig, address):
        client = rig.new()
        assert said(tmp_path, address) == f"{address}: draining; the clients that are here stay: 1\n"
        assert stats(address)["draining"]["notice_secs"] > 0
        client.send(b"still here")
        assert rig.master.recv_for(client.client_id).data == b"still here"


def test_taken_back_by_somebody_else(tmp_path: Path) -> None:
    with watched() as (rig, address):
        rig.new()
        with Program("drain", "--rate", "0.001", "--notice", "600", address, cwd=tmp_path) as program:
            program.wait_out(b"clients left: 1, first of all 600 s of notice")
            said(tmp_path, "--stop", address)
            assert program.finish(30) == 1 and "does not drain any more: it is ready" in program.err


@pytest.mark.parametrize("rate", ["-1", "many", "10001"])
def test_a_wrong_rate(tmp_path: Path, rate: str) -> None:
    assert f"'{rate}' was given, a number from 0 to 10000 is needed" in said(tmp_path, f"--rate={rate}", "h:1", code=2)


def test_nobody_there(tmp_path: Path) -> None:
    assert "does not answer: Connection refused" in said(tmp_path, "127.0.0.1:1", code=1)
