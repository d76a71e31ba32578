"""Standard output and standard error that are closed, full, broken, slow or non-blocking, for every command: no
traceback, nothing cut off, and the exit code that docs/operations.md promises."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.fake_server import FakeServer
from kit.process import ServerProcess
from kit.program import environment
from kit.raw_client import RawClient
from kit.raw_master import RawMaster
from kit.wait import wait_until

from voltlane import config

VOLTLANE = f"'{sys.executable}' -m voltlane"
TIMEOUT = 30
OUTPUTS = {
    "closed": (">&-", 0),
    "full": (">/dev/full", 1),
    "error full, too": (">/dev/full 2>/dev/full", 1),
    "error closed": (">/dev/null 2>&-", 0),
    "error full": (">/dev/null 2>/dev/full", 0),
    "all closed": ("<&- >&- 2>&-", 0),
    "no reader": ("| true", 0),
}
"""Where it goes to, and how a command ends that had a result to write there."""
RESULTS = ["--help", "--version", "--print-config", "--check-config", "config", "man", "completion bash"]


def shell(command: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run by a shell that opens and closes descriptors as it is told; the command's own exit code, not its pipe's."""
    script = ["bash", "-c", f"set -o pipefail; {command}"]
    return subprocess.run(script, cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=TIMEOUT)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("arguments", RESULTS)
def test_a_result(arguments: str, output: str, tmp_path: Path) -> None:
    redirection, code = OUTPUTS[output]
    ran = shell(f"{VOLTLANE} {arguments} {redirection}", tmp_path)
    assert ran.returncode == code
    told = "voltlane: standard output cannot be written: No space left on device\n"
    assert ran.stderr == (told if output == "full" else "")


@pytest.mark.parametrize("output", ["closed", "error full, too", "all closed"])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("--listen nowhere", 2),
        ("--no-such-flag", 2),
        ("echo --listen nowhere", 2),
        ("demo --listen nowhere", 2),
        ("top", 2),
        ("connect 127.0.0.1:1", 1),
        ("status 127.0.0.1:1", 1),
        ("top 127.0.0.1:1", 2),
        ("--listen unix:/no/such/directory/socket", 3),
        ("echo --listen unix:/no/such/directory/socket", 3),
        ("demo --listen unix:/no/such/directory/socket", 3),
    ],
)
def test_a_refusal_keeps_its_exit_code(arguments: str, code: int, output: str, tmp_path: Path) -> None:
    ran = shell(f"{VOLTLANE} {arguments} {OUTPUTS[output][0]}", tmp_path)
    assert ran.returncode == code
    assert "Traceback" not in ran.stderr + ran.stdout
    if "error" not in output and "all" not in output:
        assert ran.stderr.startswith("voltlane: ")


@pytest.mark.parametrize("output", OUTPUTS)
def test_connect_and_status(output: str, tmp_path: Path) -> None:
    redirection, code = OUTPUTS[output]
    settings = {"admin.address": f"unix:{tmp_path}/admin"}
    with RawMaster() as master, ServerProcess(master.address, settings) as server:
        echo = threading.Thread(target=send_back, args=(master,), daemon=True)
        echo.start()
        ran = shell(f"{VOLTLANE} connect --protocol 2 {server.address} <<<hello {redirection}", tmp_path)
        assert ran.returncode == code
        assert "Traceback" not in ran.stderr
        ran = shell(f"{VOLTLANE} status --json unix:{tmp_path}/admin {redirection}", tmp_path)
        assert ran.returncode == code
        assert "Traceback" not in ran.stderr


def send_back(master: RawMaster) -> None:
    master.accept()
    with contextlib.suppress(EOFError, OSError):
        while True:
            packet = master.recv()
            if packet.flag == 0:
                master.send(packet.client_id, packet.data)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_slow_reader_gets_all_of_it(blocking: bool, tmp_path: Path) -> None:
    """In a pipe that is far smaller than what is written, and also where somebody else has made it non-blocking."""
    lines = [b"%d %s" % (number, b"x" * 1000) for number in range(2000)]
    wanted = b"".join([line + b"\n" for line in lines])
    with FakeServer() as server, small_pipe(blocking) as (reading, writing):
        process = start(
            "connect", "--protocol", "2", server.address, cwd=tmp_path, stdin=subprocess.PIPE, stdout=writing
        )
        peer = server.accept()
        talking = threading.Thread(target=peer.send, args=lines, daemon=True)
        talking.start()
        assert read(reading, len(wanted)) == wanted
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(TIMEOUT) == 0
    with small_pipe(blocking) as (reading, writing):
        process = start("--print-config", cwd=tmp_path, stdout=writing)
        assert read(reading) == config.to_toml(config.defaults()).encode()
        assert process.wait(TIMEOUT) == 0


def start(*arguments: str, cwd: Path, stdout: int, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """With what is ours of the output closed."""
    command = [sys.executable, "-m", "voltlane", *arguments]
    process = subprocess.Popen(command, cwd=cwd, env=environment(), stdin=stdin, stdout=stdout)
    os.close(stdout)
    return process


def read(descriptor: int, most: int = sys.maxsize) -> bytes:
    """So much, or all of it, in small bites."""
    got = bytearray()
    while len(got) < most:
        assert select.select([descriptor], [], [], TIMEOUT)[0], f"nothing more came behind {len(got)} bytes"
        data = os.read(descriptor, min(3000, most - len(got)))
        if not data:
            break
        got += data
    return bytes(got)


@contextlib.contextmanager
def small_pipe(blocking: bool) -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, blocking)
    yield reading, writing
    os.close(reading)


def test_head_ends_what_it_has_had_enough_of() -> None:
    with FakeServer() as server:

        def chatter() -> None:
            peer = server.accept()
            with contextlib.suppress(OSError):
                while True:
                    peer.send(b"x" * 1000)

        talking = threading.Thread(target=chatter, daemon=True)
        talking.start()
        pipe = subprocess.PIPE
        command = ["bash", "-c", f"set -o pipefail; {VOLTLANE} connect --protocol 2 {server.address} | head -n 3"]
        with subprocess.Popen(command, env=environment(), stdin=pipe, stdout=pipe, stderr=pipe) as process:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.read() == (b"x" * 1000 + b"\n") * 3
            assert process.wait(TIMEOUT) == 0, "though its input has not ended"
            said = process.stderr.read()
        assert said.count(b"\n") == 1 and b"as client" in said


@pytest.mark.parametrize("output", [name for name in OUTPUTS if name != "no reader"])
@pytest.mark.parametrize("command", ["serve", "demo", "echo"])
def test_what_runs_goes_on_without_its_output(command: str, output: str, tmp_path: Path) -> None:
    where = f"unix:{tmp_path}/socket"
    script = f"exec {VOLTLANE} {command} --listen {where} {OUTPUTS[output][0]}"
    process = subprocess.Popen(["bash", "-c", script], cwd=tmp_path, env=environment())
    try:
        wait_until(lambda: process.poll() is not None or accepts(tmp_path / "socket"), "it to listen")
        if command == "demo":
            with RawClient.new(where) as client:
                client.send(b"hello")
                assert client.recv() == b"hello"
        wait_until(lambda: process.poll() is not None or heeds_sigterm(process.pid), "it to heed SIGTERM")
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
        process.wait()


def heeds_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def test_a_closed_descriptor_is_nobody_elses(tmp_path: Path) -> None:
    """The next socket would get the number, and its peer what is meant for the person at the terminal."""
    where = f"unix:{tmp_path}/socket"
    command = f"exec {VOLTLANE} demo --log-level Debug --listen {where} <&- >&- 2>&-"
    process = subprocess.Popen(["bash", "-c", command], cwd=tmp_path, env=environment())
    try:
        wait_until(lambda: accepts(tmp_path / "socket"), "it to listen")
        for number in range(3):
            assert os.readlink(f"/proc/{process.pid}/fd/{number}") == "/dev/null"
        wait_until(lambda: heeds_sigterm(process.pid), "it to heed SIGTERM")
    finally:
        process.terminate()
        assert process.wait(TIMEOUT) == 0


def test_a_message_does_not_wait_for_ever_for_its_reader(tmp_path: Path) -> None:
    """A supervisor that hangs must see the process end, and how."""
    with small_pipe(True) as (_, writing):
        os.set_blocking(writing, False)
        os.write(writing, bytes(4096))
        os.set_blocking(writing, True)
        command = [sys.executable, "-m", "voltlane", "--no-such-flag"]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=writing)
        assert process.wait(TIMEOUT) == 2
        os.close(writing)
