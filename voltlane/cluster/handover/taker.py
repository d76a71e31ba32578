"""The side that gets everything: a process that has just been started for that. It waits for every word, each with a
deadline, and touches nothing of what it is given before the last one, `go`."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Callable, NoReturn

from ...errors import StartupError
from ...numerals import parse_count
from ...store.records import Damaged
from ...version import __version__
from .goods import Goods, Intake
from .heritage import Heritage, decode_heritage
from .notes import FORMAT, GO, Greeting, Kind, note
from .wire import Ended, Wire

VARIABLE = "_VOLTLANE_HANDOVER"
"""The environment's variable with the number of the socket that is inherited."""
ANSWER_SECS = 30.0
"""For every step of the other side."""


def handed_over(environ: MutableMapping[str, str]) -> Taker | None:
    """The way to the process that this one is to follow, if there is one. The variable is taken away."""
    number = parse_count(environ.pop(VARIABLE, ""))
    if number is None:
        return None
    try:
        return Taker(socket.socket(fileno=number))
    except OSError as error:
        raise StartupError(f"{VARIABLE}={number} is no socket: {error.strerror}") from None


class Taker:
    """This side. Whatever goes wrong is a StartupError, and the other side goes on."""

    def __init__(self, sock: socket.socket) -> None:
        sock.set_inheritable(False)
        self._wire = Wire(sock)

    def greet(self) -> Heritage:
        """What this process has to be. Raises StartupError."""
        wire = self._wire
        wire.allow(ANSWER_SECS)
        try:
            wire.greet(Greeting(FORMAT, __version__))
            theirs = wire.greeting()
            if theirs.format != FORMAT:
                raise Damaged(f"its version {theirs.version} has format {theirs.format} for that, this one {FORMAT}")
            found = wire.note()
            if found.kind is not Kind.SERVER:
                raise Damaged(f"a note {found.kind.name} in front of all others")
            heritage, locked = decode_heritage(found.data)
            return heritage._replace(lock=wire.descriptor()) if locked else heritage
        except (Ended, Damaged) as error:
            self._end(error)

    def take(self, goods: Goods, now: Callable[[], float]) -> Intake:
        """Say that this process is ready, and take everything in. Raises StartupError."""
        wire = self._wire
        wire.allow(ANSWER_SECS)
        gc.disable()  # there is nothing to be collected, but much to be looked at
        try:
            wire.say(note(Kind.READY))
            wire.flush()
            wire.wait()
            intake = Intake(goods, now())
            while intake.take(wire):
                wire.allow(ANSWER_SECS)
            return intake
        except (Ended, Damaged) as error:
            self._end(error)
        except StartupError:
            raise
        except Exception as error:
            self.refuse(repr(error))
            raise
        finally:
            if hasattr(gc, "freeze"):
                gc.freeze()  # what came stays: no pass over all of it is due now
            gc.enable()

    def go(self) -> None:
        """Say that everything is here, and wait for the word. Raises StartupError."""
        wire = self._wire
        wire.allow(ANSWER_SECS)
        try:
            wire.say(note(Kind.TAKEN))
            wire.flush()
            if wire.byte() != GO:
                raise Damaged("another word than go")
        except (Ended, Damaged) as error:
            self._end(error)
        wire.close()

    def refuse(self, why: str) -> None:
        """Say why this process cannot take over, unless that was said. It is of no more use then."""
        with suppress(Ended):
            self._wire.allow(1.0)
            self._wire.say(note(Kind.REFUSED, 0, why.encode(errors="replace")))
            self._wire.flush()
        self._wire.close()

    def _end(self, error: Exception) -> NoReturn:
        if isinstance(error, Damaged):
            self.refuse(str(error))
        raise StartupError(f"process {os.getppid()} cannot be followed: {error}") from None
