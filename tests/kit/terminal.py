"""The command line in a terminal of its own: what is shown there, of how many columns it may be."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

from kit.program import environment

PATIENCE = 20.0
"""Seconds for anything that is waited for."""
SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A running `python -m voltlane …` whose input, output and error are a terminal."""

    def __init__(self, *arguments: str, cwd: Path, columns: int = 80, **environ: str) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "voltlane", *arguments],
            cwd=cwd,
            env=environment(**{"TERM": "xterm", "LC_ALL": "C.UTF-8", "NO_COLOR": "", **environ}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.shown = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a read may end within a character
        self._found = 0  # where what was waited for last ends

    def wait_for(self, pattern: str) -> None:
        """Read until it was shown, behind what was waited for before."""
        wanted, deadline = re.compile(pattern), time.monotonic() + PATIENCE
        while not (found := wanted.search(self.shown, self._found)):
            assert self.read() and time.monotonic() < deadline, f"{pattern!r} in vain: {self.shown[self._found :]!r}"
        self._found = found.end()

    def read(self) -> bool:
        """What is shown next; False at the end."""
        assert select.select([self.ours], [], [], PATIENCE)[0], f"nothing more was shown: {self.shown!r}"
        try:
            data = os.read(self.ours, 65536)
        except OSError:  # nobody has the other end any more
            return False
        self.shown += self._decoder.decode(data).replace("\r\n", "\n")
        return bool(data)

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def finish(self) -> int:
        """Read to the end; the exit code."""
        while self.read():
            pass
        return self.process.wait(PATIENCE)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self.ours)


def shown_on_a_terminal(*arguments: str, cwd: Path, columns: int = 80, **environ: str) -> str:
    """All that a command shows that ends by itself, without its sequences of colour."""
    with Terminal(*arguments, cwd=cwd, columns=columns, **environ) as terminal:
        terminal.finish()
        return SEQUENCE.sub("", terminal.shown)
