"""A real server whose admin endpoint is besieged: every probe gets its answer, and the clients theirs."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kit import crowd
from kit.process import ServerProcess
from kit.rig import Rig, running

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the crowd needs epoll")
ALL = sorted(crowd.KINDS)


@contextmanager
def besieged(number: int, kinds: list[str]) -> Iterator[tuple[Rig, int]]:
    with running({"admin.address": "127.0.0.1:0"}) as rig:
        assert isinstance(rig.server, ServerProcess)
        rig.server.wait_for_log("the admin endpoint is at ")
        found = re.search(r"the admin endpoint is at \S+:(\d+)", rig.server.log)
        assert found
        command = [sys.executable, str(Path(crowd.__file__)), found[1], str(number), *kinds]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as attackers:
            assert attackers.stdin is not None and attackers.stdout is not None
            assert attackers.stdout.readline() == b"ready\n"
            yield rig, int(found[1])
            assert attackers.poll() is None, "they gave up"
            attackers.stdin.close()


def ask(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


@pytest.mark.parametrize(
    "number, kinds",
    [(64, ["byte"]), (200, ["viewer"]), (200, ["deaf"]), (500, ["silent", "byte", "slow-body"]), (2000, ALL)],
    ids=lambda value: "+".join(value) if isinstance(value, list) else str(value),
)
def test_every_probe_is_answered(number: int, kinds: list[str]) -> None:
    with besieged(number, kinds) as (rig, port):
        client = rig.new()
        for path in ["/livez", "/readyz"] * 5:
            assert ask(port, path) == 200
        client.send(b"unharmed")
        assert rig.master.recv_for(client.client_id).data == b"unharmed"
