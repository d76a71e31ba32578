"""Writing lines to every kind of descriptor that somebody else has the other end of, and never waiting for them."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import socket
import termios
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from voltlane.ops import outlet
from voltlane.ops.outlet import Outlet

LINE = "a line of some length, as there are many: %04d\n"
PIPE_SIZE = 4096
"""As small as a pipe can be."""


@contextlib.contextmanager
def outlet_to(descriptor: int) -> Iterator[Outlet]:
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        made = Outlet(stream)
        yield made
        made.close()


@pytest.fixture(params=["own", "guarded"])
def pipe(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, Outlet, int]]:
    """The reading end, the outlet, and the descriptor that it shares with others; with /proc and without."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    if request.param == "guarded":
        without_proc(monkeypatch)
    with outlet_to(writing) as made:
        assert (made._own is None) == (request.param == "guarded")
        yield reading, made, writing
    os.close(reading)


def without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refused(path: str, flags: int) -> int:
        if path.startswith("/proc/"):
            raise PermissionError
        return real(path, flags)

    monkeypatch.setattr(outlet.os, "open", refused)


def fill(made: Outlet) -> list[str]:
    """Lines until one is refused; those that were taken."""
    taken: list[str] = []
    while len(taken) < 100_000:
        line = LINE % len(taken)
        try:
            made.write(line)
        except BlockingIOError:
            return taken
        taken.append(line)
    raise AssertionError("it takes everything")


def read_all(reading: int) -> str:
    os.set_blocking(reading, False)
    data = b""
    with contextlib.suppress(BlockingIOError):
        while more := os.read(reading, 65536):
            data += more
    return data.decode()


def test_a_pipe_that_nobody_reads_takes_what_it_holds_and_then_nothing(pipe: tuple[int, Outlet, int]) -> None:
    reading, made, writing = pipe
    taken = fill(made)
    assert os.get_blocking(writing), "the description is shared: its flags are others' as well"
    with pytest.raises(BlockingIOError):
        made.write(LINE % 0)
    assert read_all(reading) == "".join(taken)
    made.write("again\n")
    assert read_all(reading) == "again\n"


def test_a_line_that_is_taken_in_part_is_finished_before_the_next(pipe: tuple[int, Outlet, int]) -> None:
    reading, made, _ = pipe
    long = "x" * (2 * PIPE_SIZE) + "\n"
    made.write(long)
    assert made.unfinished
    with pytest.raises(BlockingIOError):
        made.write("too early\n")
    got = ""
    while made.unfinished:
        got += read_all(reading)
        with contextlib.suppress(BlockingIOError):
            made.flush()
    got += read_all(reading)
    made.write("the next\n")
    assert got + read_all(reading) == long + "the next\n"


def test_a_pipe_whose_reader_is_gone(pipe: tuple[int, Outlet, int]) -> None:
    reading, made, _ = pipe
    spare = os.dup(reading)
    os.close(reading)
    os.dup2(os.open(os.devnull, os.O_RDONLY), reading)
    os.close(spare)
    with pytest.raises(BrokenPipeError):
        made.write("to nobody\n")


def test_a_pipe_whose_reader_was_gone_before_and_one_that_does_not_block() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with outlet_to(writing) as made, pytest.raises(BrokenPipeError):
        made.write("to nobody\n")
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with outlet_to(writing) as made:
        taken = fill(made)
        assert read_all(reading) == "".join(taken)
    os.close(reading)


def test_a_socket_as_of_a_service_manager() -> None:
    ours, theirs = socket.socketpair()
    with theirs, outlet_to(os.dup(ours.fileno())) as made:
        taken = fill(made)
        assert os.get_blocking(ours.fileno())
        got = read_all(theirs.fileno())
        assert got == "".join(taken)
        theirs.close()
        with pytest.raises(OSError):
            made.write("to nobody\n")
    ours.close()


@pytest.mark.parametrize("guarded", [False, True])
def test_a_terminal_that_was_stopped(guarded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if guarded:
        without_proc(monkeypatch)
    master, slave = pty.openpty()
    tty.setraw(slave)
    with outlet_to(slave) as made:
        termios.tcflow(slave, termios.TCOOFF)
        with pytest.raises(BlockingIOError):
            made.write("while stopped\n")
        assert os.get_blocking(slave)
        termios.tcflow(slave, termios.TCOON)
        made.write("and then\n")
        assert os.read(master, 100) == b"and then\n"
    os.close(master)


def test_a_file_on_a_disk_that_fills_up_within_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    room = [10]

    def write(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        taken, room[0] = data[: room[0]], max(0, room[0] - len(data))
        return real(descriptor, taken)

    real = os.write
    with outlet_to(os.open(path, os.O_WRONLY | os.O_CREAT)) as made:
        monkeypatch.setattr(outlet.os, "write", write)
        made.write("in two pieces\n")
        with pytest.raises(OSError, match="No space left"):
            made.write("not at all\n")
        room[0] = 1000
        made.write("the next\n")
    assert path.read_text() == "in two pieces\nthe next\n"


def test_a_device_that_is_full() -> None:
    with outlet_to(os.open("/dev/full", os.O_WRONLY)) as made, pytest.raises(OSError, match="No space left"):
        made.write("a line\n")


def test_what_cannot_be_encoded_and_what_has_no_descriptor() -> None:
    stream = io.StringIO()
    Outlet(stream).write("a \udce9 b\n")
    assert stream.getvalue() == "a \\udce9 b\n"
    reading, writing = os.pipe()
    ascii_only: TextIO = os.fdopen(writing, "w", encoding="ascii")
    with ascii_only:
        made = Outlet(ascii_only)
        made.write("é\n")
        made.close()
    assert read_all(reading) == "\\xe9\n"
    os.close(reading)
