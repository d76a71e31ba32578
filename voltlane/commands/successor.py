"""Starting the program that is to follow this one in place: the same command, from the files as they are now."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ..cluster.handover.taker import VARIABLE
from ..signals import block, unblock


class Successor:
    """How it is started. To be made before the environment is changed."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._kept = {name: environ[name] for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC") if name in environ}
        self._command = command_line()

    def launch(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        """Start it, with that socket. Signals for it wait until it has handlers. Raises OSError."""
        number = theirs.fileno()
        block()
        try:
            return subprocess.Popen(
                self._command,
                env={**os.environ, **self._kept, VARIABLE: str(number)},
                pass_fds=(number,),
            )
        finally:
            unblock()


def command_line() -> list[str]:
    """That of this process, with the interpreter by its whole name."""
    given = list(getattr(sys, "orig_argv", ())) or _of_the_system()
    return [sys.executable, *given[1:]]


def _of_the_system() -> list[str]:
    """Before Python 3.10."""
    try:
        data = Path("/proc/self/cmdline").read_bytes()
    except OSError:
        return [sys.executable, "-m", __package__.partition(".")[0], *sys.argv[1:]]
    return [os.fsdecode(argument) for argument in data.split(b"\0")[:-1]]
