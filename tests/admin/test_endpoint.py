"""The endpoint of a real server: from its start to its end, and while others use it."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.admin import TOKEN
from kit.process import ServerProcess
from kit.program import Program, environment
from kit.raw_master import RawMaster
from kit.rig import Rig, running
from kit.wait import wait_until

MISSING = """
import sys
for name in ("h11", "prometheus_client"):
    sys.modules[name] = None
from voltlane.cli import main
sys.exit(main(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]))
"""


@contextlib.contextmanager
def asked(**settings: object) -> Iterator[tuple[Rig, str, int]]:
    given = {"admin.address": "127.0.0.1:0", **{name.replace("__", "."): value for name, value in settings.items()}}
    with running(given) as rig:
        assert isinstance(rig.server, ServerProcess)
        rig.server.wait_for_log("the admin endpoint is at ")
        found = re.search(r"the admin endpoint is at (\S+):(\d+)", rig.server.log)
        assert found
        yield rig, found[1], int(found[2])


def ask(host: str, port: int, method: str, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def refuses(host: str, port: int) -> bool:
    with socket.create_connection((host, port), timeout=20) as sock:
        try:
            return not sock.recv(1)
        except ConnectionResetError:
            return True


def test_drained_it_refuses_new_clients_and_serves_the_old() -> None:
    with asked() as (rig, host, port):
        client = rig.new()
        status, body = ask(host, port, "POST", "/drain?notice=0")
        assert status == 200 and json.loads(body)["state"] == "draining"
        listened_at = rig.server.address.rpartition(":")
        assert refuses(listened_at[0], int(listened_at[2]))
        client.send(b"still here")
        assert rig.master.recv_for(client.client_id).data == b"still here"
        assert ask(host, port, "GET", "/readyz") == (503, b"draining: 1 clients are left\n")
        assert ask(host, port, "DELETE", "/drain")[0] == 200
        rig.new()


def test_not_ready_before_there_is_a_master(tmp_path: Path) -> None:
    with RawMaster() as master:
        address = master.address
    with Program(
        "serve", "--listen", "127.0.0.1:0", "--master", address, "--admin", "127.0.0.1:0", cwd=tmp_path
    ) as program:
        found = program.wait_err(r"the admin endpoint is at (\S+):(\d+)")
        assert re.search(r" INFO +voltlane \S+, ", program.err[: found.start()]), "the log begins with the version"
        host, port = found[1], int(found[2])
        assert ask(host, port, "GET", "/readyz") == (503, b"no connection to the master\n")
        assert ask(host, port, "GET", "/livez") == (200, b"alive\n")
        program.signal(signal.SIGTERM)
        assert program.finish() == 0


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "*:0", "[::1]:0"])
@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_browser_can_open_what_is_printed(command: str, listen: str, tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    flags = ["--listen", "127.0.0.1:0", "--admin", listen]
    with Program(command, *flags, cwd=tmp_path, environ={"VOLTLANE_ADMIN_TOKEN": "x" * 16}) as program:
        url = program.wait_err(r"the live page is at (http://\S+/)\n")[1]
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert answer.status == 200 and b"<html" in answer.read()
        if command == "demo":
            program.wait_out(f"voltlane: the live page, for operators, is at  {url}\n".encode())
        program.signal(signal.SIGTERM)
        assert program.finish() == 0


def test_it_ends_with_the_server_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "admin"
    with running({"admin.address": f"unix:{path}"}) as rig:
        assert isinstance(rig.server, ServerProcess)
        rig.server.wait_for_log("the admin endpoint is at ")
        assert path.exists()
        with socket.socket(socket.AF_UNIX) as viewer:
            viewer.settimeout(20)
            viewer.connect(str(path))
            viewer.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"event-stream" in viewer.recv(65536)
            rig.server.stop()
            while viewer.recv(65536):
                pass
        assert not path.exists()


def test_the_token_is_in_no_log() -> None:
    with asked(admin__token=TOKEN) as (rig, host, port):
        assert ask(host, port, "GET", "/stats")[0] == 401
        assert ask(host, port, "GET", "/stats", Authorization="Bearer x" + TOKEN)[0] == 401
        assert ask(host, port, "GET", f"/nothing?token={TOKEN}", Authorization=f"Bearer {TOKEN}")[0] == 404
        assert isinstance(rig.server, ServerProcess) and TOKEN not in rig.server.log


def test_askers_at_once_do_not_stand_in_the_clients_way() -> None:
    """Several ask everything there is, over and over; meanwhile packets go round, and nobody's answer is wrong."""
    with asked() as (rig, host, port):
        clients = [rig.new() for _ in range(5)]
        done, statuses = threading.Event(), []

        def keep_asking() -> None:
            connection = http.client.HTTPConnection(host, port, timeout=20)
            while not done.is_set():
                for path in ("/stats", "/clients?sort=queue", "/metrics", "/closed", "/", "/nothing"):
                    connection.request("GET", path)
                    answer = connection.getresponse()
                    answer.read()
                    statuses.append((path, answer.status))
            connection.close()

        threads = [threading.Thread(target=keep_asking) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(100):
            for client in clients:
                client.send(b"%d" % number)
                assert rig.master.recv_for(client.client_id).data == b"%d" % number
        wait_until(lambda: len(statuses) > 100, "answers")
        done.set()
        for thread in threads:
            thread.join(20)
        assert set(statuses) == {
            (path, 404 if path == "/nothing" else 200)
            for path in ("/stats", "/clients?sort=queue", "/metrics", "/closed", "/", "/nothing")
        }


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ: dict[str, Any] = environment()
    return subprocess.run([sys.executable, *command], cwd=cwd, env=environ, capture_output=True, text=True, timeout=30)


def test_without_the_extra_the_server_says_what_to_install(tmp_path: Path) -> None:
    ran = run("-c", MISSING, cwd=tmp_path)
    assert ran.returncode == 1
    assert (
        "admin.address is set, which needs h11 and prometheus-client: pip install h11 prometheus-client" in ran.stderr
    )
    assert "Traceback" not in ran.stderr


def test_an_address_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ran = run("-m", "voltlane", "serve", "--listen", "127.0.0.1:0", "--admin", address, cwd=tmp_path)
    assert ran.returncode == 3 and f"cannot listen on {address}" in ran.stderr


def test_a_public_address_without_a_token(tmp_path: Path) -> None:
    ran = run("-m", "voltlane", "serve", "--admin", "*:42002", "--check-config", cwd=tmp_path)
    assert ran.returncode == 2 and "admin.token is needed" in ran.stderr
