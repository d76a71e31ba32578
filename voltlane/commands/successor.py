"""Starting the program that is to follow this one in place: the same command, from the files as they are now; and what
is left of this one then."""

from __future__ import annotations

import os
import pkgutil
import socket
import subprocess
import sys
from collections.abc import MutableMapping
from typing import NoReturn

from ..cluster.handover.taker import VARIABLE
from ..signals import block, unblock

STAYS = "waits for the server"
"""What the command line of who stays ends with, for whoever looks at it."""
STAYED = "_VOLTLANE_STAYED"
"""The environment's variable that says that the first process is still there, and waits for the others."""


class Successor:
    """How it is started. To be made before the environment is changed."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._stayed = bool(environ.pop(STAYED, ""))
        self._kept = {name: environ[name] for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC") if name in environ}
        self._command = command_line()
        self.is_asked_to_stay = False
        """Whether the settings say so."""

    @property
    def stays(self) -> bool:
        """Whether this process has to be there for as long as the server is."""
        return not self._stayed and (self.is_asked_to_stay or os.getpid() == 1)

    def launch(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        """Start it, with that socket: all other descriptors close with the start, by themselves, which ten thousand of
        them would take a while for otherwise. Signals for it wait until it has handlers. Raises OSError."""
        number = theirs.fileno()
        stays = {STAYED: "1"} if self._stayed or self.stays else {}
        block()
        theirs.set_inheritable(True)
        try:
            return subprocess.Popen(
                self._command,
                env={**os.environ, **self._kept, **stays, VARIABLE: str(number)},
                close_fds=False,
            )
        finally:
            unblock()


def stay() -> NoReturn:
    """Wait for the process that goes on, as little as possible, in the place of this program: see `first_process`."""
    block()  # until its handlers are there
    source = pkgutil.get_data(__package__, "first_process.py")
    assert source is not None
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", source.decode(), STAYS])


def command_line() -> list[str]:
    """That of this process, with the interpreter by its whole name."""
    given = list(getattr(sys, "orig_argv", ())) or _of_the_system()
    return [sys.executable, *given[1:]]


def _of_the_system() -> list[str]:
    """Before Python 3.10."""
    try:
        with open("/proc/self/cmdline", "rb") as file:
            data = file.read()
    except OSError:
        return [sys.executable, "-m", __package__.partition(".")[0], *sys.argv[1:]]
    return [os.fsdecode(argument) for argument in data.split(b"\0")[:-1]]
