"""`voltlane status` and what it has in common with `top`, against a real server."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kit.process import ServerProcess
from kit.program import environment
from kit.rig import Rig, running

from voltlane.address import parse_address
from voltlane.commands.inquiry import Inquiry
from voltlane.commands.report import _ways, span, summary, volume

TOKEN = "a-token-of-16-or-more"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Rig, str]]:
    pytest.importorskip("h11", reason="the extra `web` is not installed")
    pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")
    with running({"admin.address": "127.0.0.1:0", "admin.token": TOKEN}) as rig:
        assert isinstance(rig.server, ServerProcess)
        rig.server.wait_for_log("the admin endpoint is at ")
        found = re.search(r"the admin endpoint is at (\S+)", rig.server.log)
        assert found
        yield rig, found[1]


def ask(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "voltlane", "status", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(**environ), capture_output=True, text=True, timeout=30)


def test_says_how_the_server_is(server: tuple[Rig, str], tmp_path: Path) -> None:
    rig, address = server
    rig.new().leave()
    rig.new()
    ran = ask(address, "--token", TOKEN, cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.search(r"^voltlane \S+, ready, up ", ran.stdout)
    assert "1 live, 1 stale, 0 in the handshake" in ran.stdout
    assert re.search(r"master +127\.0\.0\.1:\d+: connected\n", ran.stdout)
    assert re.search(r"closed +1  peer closed\n", ran.stdout)


def test_says_all_of_it_as_json(server: tuple[Rig, str], tmp_path: Path) -> None:
    _, address = server
    ran = ask(address, "--json", cwd=tmp_path, VOLTLANE_ADMIN_TOKEN=TOKEN)
    figures = json.loads(ran.stdout)
    assert ran.returncode == 0 and figures["ready"] is True
    assert summary(figures)[0].startswith("voltlane ")


def test_finds_the_address_in_the_configuration(server: tuple[Rig, str], tmp_path: Path) -> None:
    _, address = server
    (tmp_path / "connserver.toml").write_text(f'[admin]\naddress = "{address}"\ntoken = "{TOKEN}"\n')
    assert ask(cwd=tmp_path).returncode == 0
    (tmp_path / "connserver.toml").rename(tmp_path / "other.toml")
    assert ask("--config", "other.toml", cwd=tmp_path).returncode == 0
    ran = ask(cwd=tmp_path)
    assert ran.returncode == 2 and "admin.address is not set" in ran.stderr


def test_the_wrong_token(server: tuple[Rig, str], tmp_path: Path) -> None:
    ran = ask(server[1], "--token", "x" * 16, cwd=tmp_path)
    assert ran.returncode == 1 and "asks for its token" in ran.stderr and not ran.stdout


def test_over_a_unix_socket(tmp_path: Path) -> None:
    pytest.importorskip("h11", reason="the extra `web` is not installed")
    pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")
    with running({"admin.address": f"unix:{tmp_path}/admin"}) as rig:
        assert isinstance(rig.server, ServerProcess)
        rig.server.wait_for_log("the admin endpoint is at ")
        ran = ask(f"unix:{tmp_path}/admin", cwd=tmp_path)
        assert ran.returncode == 0 and ran.stdout.startswith("voltlane ")
    ran = ask(f"unix:{tmp_path}/admin", cwd=tmp_path)
    assert ran.returncode == 1 and "does not answer: No such file or directory" in ran.stderr


def test_nobody_there(tmp_path: Path) -> None:
    ran = ask("127.0.0.1:1", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "voltlane: the admin endpoint at 127.0.0.1:1 does not answer: Connection refused\n"


def test_somebody_else_there(tmp_path: Path) -> None:
    with running() as rig:
        ran = ask(str(rig.server.address), cwd=tmp_path)
    assert ran.returncode == 1 and "does not answer" in ran.stderr and "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    "token", ["a\nb", "é" * 20, "☃" * 20, "\udcff" * 20, "with blanks in it all", "short", "a" * 300]
)
def test_a_token_that_can_be_none(token: str, tmp_path: Path) -> None:
    for ran, origin in (
        (ask("127.0.0.1:1", "--token", token, cwd=tmp_path), "--token"),
        (ask("127.0.0.1:1", cwd=tmp_path, VOLTLANE_ADMIN_TOKEN=token), "VOLTLANE_ADMIN_TOKEN"),
    ):
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr.startswith(f"voltlane: {origin}: admin.token: 16 to 256 printable characters")
        assert token not in ran.stderr, "it is a secret, also when it is wrong"


@pytest.mark.parametrize("name", ["a..b", "a" * 70, "\udcff.x", "\x01.x", "\u202e.x"])
def test_a_name_that_can_be_none(name: str, tmp_path: Path) -> None:
    ran = ask(f"{name}:1", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "") and "is no host name" in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["bücher.invalid", "😀.invalid", "a。invalid", "[fe80::1%.]"])
def test_a_name_that_nobody_has(name: str, tmp_path: Path) -> None:
    ran = ask(f"{name}:1", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "") and "does not answer" in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("localhost:1", "localhost:1"),
        ("😀.example:1", "xn--e28h.example:1"),
        ("[::1]:1", "[::1]:1"),
        ("[fe80::1%eth0]:1", "[fe80::1]:1"),
        ("*:1", "localhost"),
        ("unix:/a", "localhost"),
    ],
)
def test_the_host_is_named_as_http_has_it(address: str, host: str) -> None:
    inquiry = Inquiry(parse_address(address), "")
    assert inquiry._headers["Host"] == host


STRANGE = [b"{}", b"[]", b"null", b"7", b'{"version":1}', b"[" * 100000, b'{"a":' * 100000, b"\xff", b"1" * 5000, b""]


@pytest.mark.parametrize("body", STRANGE, ids=lambda body: body[:13].decode("latin-1"))
@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
def test_an_answer_that_is_no_admin_endpoints(body: bytes, flags: list[str], tmp_path: Path) -> None:
    with answering(body) as address:
        ran = ask(address, *flags, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == f"voltlane: who answers at {address} is no admin endpoint\n"


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """Somebody who answers one request with this, whatever it was."""

    def answer() -> None:
        peer, _ = listening.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        thread.join(20)


def test_who_came_before_an_upgrade_is_here() -> None:
    ways = {"tcp": {"live": 2, "accepted": 0}, "tls": {"live": 0, "accepted": 0}}
    assert _ways(ways, "by", "accepted") == ["2 by tcp (0 came)"]


def test_numbers_for_people() -> None:
    assert [volume(size) for size in (0, 999, 1000, 1 << 20, 150 << 20, 1 << 50)] == [
        "0 B", "999 B", "1.0 KiB", "1.0 MiB", "150 MiB", "1024.0 TiB",
    ]  # fmt: skip
    assert [span(seconds) for seconds in (0.0005, 0.05, 3, 600, 7200, 1e6)] == [
        "0.5 ms", "50 ms", "3 s", "10 min", "2 h", "12 d",
    ]  # fmt: skip
