"""Signals at any moment, from the first line to the end: none is lost, and none ends it otherwise than documented."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kit.process import HAS_PROC, ROOT, ServerProcess, environment, usual
from kit.program import Program
from kit.raw_master import RawMaster
from kit.rig import running
from kit.wait import wait_until

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="needs /proc, to see what a process blocks")

CONSOLE_SCRIPT = "import sys; from voltlane.__main__ import main; sys.exit(main())"
"""What pip makes of the entry point."""
STARTS = {
    "launcher": [str(ROOT / "voltlane.py")],
    "module": ["-m", "voltlane"],
    "console script": ["-c", CONSOLE_SCRIPT],
}
SERVED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def mask(pid: int, name: str) -> set[int]:
    """A set of signals in the process's status: SigBlk, SigCgt, SigPnd."""
    text = Path(f"/proc/{pid}/status").read_text()
    bits = int(re.search(rf"^{name}:\s*([0-9a-f]+)$", text, re.MULTILINE)[1], 16)  # type: ignore[index]
    return {number for number in SERVED if bits >> (number - 1) & 1}


class Starting:
    """A process that has just been started; its output goes to a file."""

    def __init__(self, arguments: list[str], path: Path, blocked: tuple[int, ...] = ()) -> None:
        self.log_file = path / "log"
        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=path,
                env=environment(usual("127.0.0.1:1", {})),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, blocked),
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def wait_until_blocked(self) -> None:
        wait_until(lambda: mask(self.process.pid, "SigBlk") == set(SERVED), "the first line to have run")

    def wait_until_ready(self) -> None:
        wait_until(lambda: "clients connect to" in self.log, "the server to listen")


@contextmanager
def starting(arguments: list[str], path: Path, blocked: tuple[int, ...] = ()) -> Iterator[Starting]:
    made = Starting(arguments, path, blocked)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()


# ---- the start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("start", STARTS)
def test_a_signal_before_anything_is_imported_ends_it_as_documented(
    start: str, number: signal.Signals, tmp_path: Path
) -> None:
    with starting(STARTS[start], tmp_path) as made:
        made.wait_until_blocked()
        assert "clients connect to" not in made.log  # so early
        made.process.send_signal(number)
        assert made.process.wait(10) == 0, made.log
        assert "stopping" in made.log


@pytest.mark.parametrize("start", STARTS)
def test_signals_before_anything_is_imported_are_heeded_once_it_listens(start: str, tmp_path: Path) -> None:
    with starting(STARTS[start], tmp_path) as made:
        made.wait_until_blocked()
        made.process.send_signal(signal.SIGHUP)
        made.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: "reloaded: " in made.log and "state: " in made.log, "both to be heeded")
        assert mask(made.process.pid, "SigBlk") == set()
        made.process.terminate()
        assert made.process.wait(10) == 0


def test_signals_that_were_blocked_by_whoever_started_it_are_heeded(tmp_path: Path) -> None:
    with starting(["-m", "voltlane"], tmp_path, SERVED) as made:
        made.wait_until_ready()
        wait_until(lambda: mask(made.process.pid, "SigBlk") == set(), "its signals to be unblocked")
        made.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: "state: " in made.log, "the state")
        made.process.terminate()
        assert made.process.wait(10) == 0


def test_that_it_blocks_is_the_first_that_it_does() -> None:
    """Nothing of the package, and nothing that takes long, is imported before."""
    for name, allowed in (("voltlane.py", {"__future__", "signal"}), ("voltlane/__main__.py", {"__future__", "sys"})):
        text = (ROOT / name).read_text()
        before = text[: re.search(r"pthread_sigmask\(|^    block\(\)", text, re.MULTILINE).start()]  # type: ignore[union-attr]
        found = set(re.findall(r"^(?:from|import) (\w+)", before, re.MULTILINE))
        assert found <= allowed and ("signals" in before or "signal" in found)
    assert 'voltlane = "voltlane.__main__:main"' in (ROOT / "pyproject.toml").read_text()


def test_importing_the_package_blocks_nothing() -> None:
    code = (
        "import signal, voltlane.server, voltlane.client, voltlane.backend, voltlane.cli, voltlane.__main__\n"
        "assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=30)


# ---- other commands


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_echo_ends_with_0_however_early_and_however_often_the_signal_comes(
    number: signal.Signals, tmp_path: Path
) -> None:
    with starting(["-m", "voltlane", "echo", "--listen", "127.0.0.1:0"], tmp_path) as made:
        made.wait_until_blocked()
        while made.process.poll() is None:
            made.process.send_signal(number)
            time.sleep(0.001)
        assert made.process.returncode == 0 and "Traceback" not in made.log, made.log


@pytest.mark.parametrize("arguments", [["status", "unix:silent"], ["connect", "unix:silent"], ["top"]])
def test_commands_without_handlers_can_be_ended(arguments: list[str], tmp_path: Path) -> None:

    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        with starting(["-m", "voltlane", *arguments], tmp_path, SERVED) as made:
            if arguments == ["top"]:  # which has no terminal
                assert made.process.wait(10) == 2
                return
            made.wait_until_blocked()
            wait_until(lambda: not mask(made.process.pid, "SigBlk"), "its signals to be unblocked")
            made.process.send_signal(signal.SIGINT)
            assert made.process.wait(10) == (130 if "connect" in arguments else 0)


def test_the_demo_and_its_child_block_nothing(tmp_path: Path) -> None:
    with Program("demo", "--listen", "127.0.0.1:0", cwd=tmp_path) as program:
        program.wait_out(b"try it in a second terminal")
        pid = program.process.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for process in (pid, int(child)):
            wait_until(lambda process=process: not mask(process, "SigBlk"), "its signals to be unblocked")
        program.signal(signal.SIGTERM)
        assert program.finish() == 0


# ---- the end


@pytest.mark.parametrize("numbers", [(signal.SIGTERM,), (signal.SIGINT,), SERVED])
def test_signals_through_the_whole_end_change_nothing_of_the_exit_code(numbers: tuple[signal.Signals, ...]) -> None:
    """Until the interpreter is gone: the process is there to be signalled until it is waited for."""
    for _ in range(3):
        with RawMaster() as master, ServerProcess(master.address) as server:
            master.accept()
            assert server.address
            server.process.send_signal(signal.SIGTERM)
            master.close()
            while server.process.poll() is None:
                for number in numbers:
                    server.process.send_signal(number)
                time.sleep(0.0005)
            assert server.process.returncode == 0, server.log


def test_three_at_once(tmp_path: Path) -> None:
    with running() as rig:
        assert isinstance(rig.server, ServerProcess)
        for _ in range(3):
            rig.server.process.send_signal(signal.SIGTERM)
            time.sleep(0.005)
        assert rig.server.wait() == 0
