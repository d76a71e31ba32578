"""What commands write: results to standard output, messages for people to standard error, so that output holds nothing
but data.

Both belong to whoever called us, and may be closed, full, slow, non-blocking or gone. They are written to by their
descriptors: Python's own streams lose what a non-blocking one does not take at once, and complain at the exit.
"""

from __future__ import annotations

import errno
import os
import select
import shlex
import shutil
import stat
import sys
from typing import TextIO

from .. import colour
from ..net.deadlines import deadline_after, remaining

PATIENCE = 1.0
"""Seconds that a message waits for a reader who takes nothing. What was asked for waits as long as it takes."""
_PIECE = 65536
_USUAL_COLUMNS = 80
"""Of a terminal that does not say how many it has."""
_NAME = "voltlane:"
_WHOLE_LINE = "\r\x1b[K"
"""To the beginning of the line, of which nothing is left (ECMA-48, EL)."""


class OutputError(Exception):
    """Standard output does not take what was asked for."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {reason(error)}")
        self.reader_left = isinstance(error, ConnectionError) or (error.errno == errno.EIO and _is_device(sys.stdout))
        """Nobody wants the rest, which is no error: `voltlane … | head`, or the terminal is gone."""


def settle() -> None:
    """See to it that there are standard input, output and error: a closed one becomes /dev/null.

    Else the next file or socket would get its number, and be written to as if it were the terminal.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", closefd=False))


def say(message: str, patience: float = PATIENCE, tone: str = "name") -> None:
    """One line for the person at the terminal. Where it cannot be written there is nobody to tell. `tone`: one of
    `colour.TONES`, for the name in front."""
    _try(sys.stderr, _signed(sys.stderr, message, tone) + "\n", patience)


def complain(message: str) -> None:
    """The same, of what went wrong and ends the command."""
    say(message, tone="error")


def note(message: str) -> None:
    """The same on standard output, from a command that has other things to do than to wait for its reader."""
    _try(sys.stdout, _signed(sys.stdout, message, "name") + "\n", 0.0)


class Progress:
    """What is said to the person at the terminal again and again, while it goes on: one line, which is rewritten. Where
    standard error is no terminal, or one that cannot do that, it is said once."""

    def __init__(self) -> None:
        self.rewrites = sys.stderr.isatty() and not colour.is_plain_terminal()
        """Whether it does."""
        self._under_way = False
        """Whether there is a line that has no end yet."""
        self._said = ""

    def say(self, message: str, count: str = "") -> None:
        """That this is how it is, still. `count`: what is different each time, and said where the line is rewritten."""
        if self.rewrites:
            room = columns(sys.stderr) - 1 - len(_NAME) - 1 - len(count)  # a full line would go on in the next one
            shown = message if len(message) <= room else message[: max(0, room - 1)] + "…"
            self._under_way = True  # first: Ctrl-C may come while it is written
            _try(sys.stderr, _WHOLE_LINE + _signed(sys.stderr, shown + count, "warning"), PATIENCE)
        elif message != self._said:
            say(message, tone="warning")
        self._said = message

    def over(self) -> None:
        """It is over: what comes next takes the line's place."""
        if self._under_way:
            _try(sys.stderr, _WHOLE_LINE, PATIENCE)
        self._under_way, self._said = False, ""

    def leave(self) -> None:
        """It ends, and so does the command: the line stays."""
        if self._under_way:
            _try(sys.stderr, "\n", PATIENCE)
        self._under_way, self._said = False, ""


def columns(stream: TextIO) -> int:
    """How many a line of it may have: those of the terminal that it is, else as many as there are."""
    if not stream.isatty():
        return sys.maxsize
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS
    except OSError:
        return _USUAL_COLUMNS


def show(text: str) -> None:
    """A result that was asked for, all of it, to standard output. Raises OutputError."""
    put(_encoded(sys.stdout, text + "\n"))


def put(data: bytes) -> None:
    """Bytes for standard output. Raises OutputError."""
    try:
        _write(sys.stdout, data, None)
    except OSError as error:
        raise OutputError(error) from None


def _signed(stream: TextIO, message: str, tone: str) -> str:
    """With our name in front."""
    return f"{colour.painted_for(stream, _NAME, tone)} {message}"


def _try(stream: TextIO, text: str, patience: float) -> None:
    try:
        _write(stream, _encoded(stream, text), patience)
    except OSError:
        pass


def _is_device(stream: TextIO) -> bool:
    return stat.S_ISCHR(os.fstat(stream.fileno()).st_mode)


def _encoded(stream: TextIO, text: str) -> bytes:
    return text.encode(stream.encoding or "utf-8", "backslashreplace")


def _write(stream: TextIO, data: bytes, patience: float | None) -> None:
    """All of it, in one piece where that is possible. Raises OSError; TimeoutError when the patience is at its end."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # something of Python's in its place
        stream.write(data.decode(stream.encoding or "utf-8", "replace"))
        stream.flush()
        return
    stream.flush()
    deadline = deadline_after(patience)
    room = select.poll()
    room.register(descriptor, select.POLLOUT)
    piece = _PIECE if patience is None else select.PIPE_BUF  # so much fits without waiting where there is room
    rest = memoryview(data)
    while rest:
        left = remaining(deadline)
        if not room.poll(None if left is None else 1000 * left):
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        try:
            rest = rest[os.write(descriptor, rest[:piece]) :]
        except BlockingIOError:
            pass  # somebody else was faster


def reason(error: OSError) -> str:
    """What the system says went wrong, without the number."""
    return error.strerror or str(error)


def command_line(*arguments: str) -> str:
    """How to call Voltlane from the same directory the way it was called now, for a message that says what to type."""
    program = sys.argv[0] if sys.argv else ""
    name = os.path.basename(program)
    if name == "voltlane.py":
        words = [_interpreter(program), program]
    elif name == "__main__.py":
        words = [_interpreter(), "-m", (__package__ or "voltlane").rpartition(".")[0] or "voltlane"]
    elif program in sys.path:  # which begins with a zip file that is run
        words = [_interpreter(), program]
    else:
        words = [name or "voltlane"]
    return " ".join(map(shlex.quote, [*words, *arguments]))


def _interpreter(launcher: str = "") -> str:
    """`python` where that is enough, else the interpreter's path."""
    # The launcher changes to the virtual environment beside it by itself.
    own_environment = launcher and os.path.dirname(os.path.abspath(launcher)) == os.path.dirname(sys.prefix)
    for name in ("python", "python3"):
        found = shutil.which(name)
        if found and (own_environment or os.path.abspath(found) == sys.executable):
            return name
    return sys.executable or "python3"
