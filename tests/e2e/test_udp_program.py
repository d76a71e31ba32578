"""Programs for UDP that know nothing of Voltlane, through the plain relay to the bundled echo: each one a process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kit.program import Program

LINES = ["one", "two", "and a long one " + "x" * 1000]
# The socket is all that it knows of: what it sent is what it must have back, a line at a time.
PYTHON = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(10)
for line in sys.stdin:
    sock.sendto(line.encode(), (sys.argv[1], int(sys.argv[2])))
    print(sock.recv(2048).decode(), end="", flush=True)
"""
COMMANDS = {
    "a socket": [sys.executable, "-I", "-S", "-c", PYTHON, "{host}", "{port}"],
    "nc": ["nc", "-u", "{host}", "{port}"],
    "socat": ["socat", "-", "UDP:{host}:{port}"],
}
OPEN = {"VOLTLANE_UDP_MODE": "open", "VOLTLANE_LISTENER_ADDRESS": "udp://127.0.0.1:0"}


@contextmanager
def relay(command: str, cwd: Path) -> Iterator[tuple[str, str]]:
    """Where datagrams are received: by a server with an echo of its own, or by one with a backend beside it."""
    if command == "demo":
        with Program("demo", cwd=cwd, environ=OPEN) as server:
            found = server.wait_err(r"clients connect to udp://(\S+):(\d+)")
            server.wait_err("connected to the master")
            yield found[1], found[2]
        return
    with Program("echo", "--listen", "127.0.0.1:0", cwd=cwd) as backend:
        master = backend.wait_err(r"connection servers connect to (\S+);")[1]
        with Program("serve", "--master", master, cwd=cwd, environ=OPEN) as server:
            found = server.wait_err(r"clients connect to udp://([\d.]+):(\d+)")
            server.wait_err("connected to the master")
            yield found[1], found[2]


@pytest.mark.parametrize("program", COMMANDS)
@pytest.mark.parametrize("command", ["serve", "demo"])
def test_an_unmodified_program_has_back_what_it_sent(command: str, program: str, tmp_path: Path) -> None:
    if not shutil.which(COMMANDS[program][0]):
        pytest.skip(f"no {program} here")
    with relay(command, tmp_path) as (host, port):
        arguments = [part.format(host=host, port=port) if "{" in part and "\n" not in part else part
                     for part in COMMANDS[program]]  # fmt: skip
        with subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        ) as process:
            assert process.stdin is not None and process.stdout is not None
            try:
                for line in LINES:
                    process.stdin.write(line + "\n")
                    process.stdin.flush()
                    assert process.stdout.readline() == line + "\n"
            finally:
                process.kill()


def test_two_of_them_are_two_clients(tmp_path: Path) -> None:
    with relay("serve", tmp_path) as (host, port):
        arguments = [*COMMANDS["a socket"][:-2], host, port]
        said = [subprocess.run(arguments, input=text, capture_output=True, text=True, timeout=20, check=True).stdout
                for text in ("mine\n", "yours\n")]  # fmt: skip
        assert said == ["mine\n", "yours\n"]
