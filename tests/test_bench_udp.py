"""The benchmark of datagrams: a very small run of it, and that it notices what goes wrong."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.process import HAS_PROC

from bench.udp.servers import Programs, compiled

ROOT = Path(__file__).parent.parent
pytestmark = [
    pytest.mark.skipif(not HAS_PROC, reason="the system has no /proc"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler"),
]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return compiled(tmp_path_factory.mktemp("udp"))


def test_a_small_run(tmp_path: Path):
    command = [sys.executable, "-m", "bench.udp", "--clients", "8", "--seconds", "0.1", "--rounds", "1"]
    command += ["--only", "up-64,echo-1,idle", "--voltlane", "none", "--rivals", "c,asyncio", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "udp.json").read_text(encoding="utf-8"))
    assert found["faults"] == []
    assert {(one["workload"], one["server"]) for one in found["results"]} == {
        (name, key) for name in ("up-64", "echo-1", "idle") for key in ("c", "asyncio")
    }
    for one in found["results"]:
        assert one["workload"] == "idle" or one["rounds"][0]["packets"] > 0


@pytest.fixture
def relayed(programs: Programs) -> Iterator[tuple[subprocess.Popen[str], socket.socket, socket.socket]]:
    """The load of one client, with us in the place of the server: its socket, and the stream to the backend."""
    command = [str(programs.load), "up", "1", "16", "4", "4", "1", "tcp"]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as load,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        try:
            assert load.stdout is not None and load.stdin is not None
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(10)
            with socket.create_connection(("127.0.0.1", int(load.stdout.readline()))) as master:
                load.stdin.write(f"meet {sock.getsockname()[1]}\n")
                load.stdin.flush()
                yield load, sock, master
        finally:
            load.kill()


def frame(data: bytes, client_id: int = 7, flag: int = 0) -> bytes:
    return (9 + len(data)).to_bytes(4, "little") + client_id.to_bytes(8, "little") + bytes([flag]) + data


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda data: frame(data[:-1] + b"?"), "what nobody has sent"),
        (lambda data: frame(data + b"?"), "17 bytes instead of 16"),
        (lambda data: frame(data) + frame(data, 8), "two ids"),
        (lambda data: frame(b"Client disconnected", flag=1), "flag 1: Client disconnected"),
        (lambda data: b"\xff" * 13, "a frame of 4294967295 bytes"),
    ],
)
def test_what_goes_wrong_is_told(relayed, wrong, said: str):
    load, sock, master = relayed
    master.sendall(wrong(sock.recv(100)))
    assert load.wait(10) == 1
    assert said in load.stderr.read()


def test_what_comes_twice_is_told(relayed):
    load, sock, master = relayed
    master.sendall(frame(sock.recv(100)))
    load.stdout.readline()
    load.stdin.write("go\n")
    load.stdin.flush()
    data = sock.recv(100)
    while data[4:8] == b"\xff\xff\xff\x0f":  # a hello that was repeated
        data = sock.recv(100)
    master.sendall(2 * frame(data))
    assert load.wait(10) == 1
    assert "number 0 behind 0 of client 0" in load.stderr.read()
