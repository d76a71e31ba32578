"""`voltlane upgrade`: ask a running server to hand over to the program as it is now, and say what came of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping

from .. import config
from ..cluster.workers.parent import VARIABLE
from ..errors import ConfigError, ConnectionLost
from ..numerals import parse_count
from ..store.directory import LOCK
from .console import show
from .first_process import children
from .serve import find_file
from .successor import STAYS

WAIT_SECS = 90.0
"""More than a server gives the program that is to follow it."""
IDLE_SECS = 3.0
"""So long nothing is between one worker's handing over and the next one's."""
STARTS_SECS = 5.0
"""By then a server that hands over has started the program that is to follow it."""
_LOOK_SECS = 0.05
_PROC = "/proc"


def upgrade(flags: Mapping[str, str], file: str | None, pid: str | None, pid_file: str | None) -> int:
    """Ask, and wait until another process serves. The exit code. Raises ConfigError, ConnectionLost."""
    process = _serving(_process(flags, file, pid, pid_file))
    _require_server(process)
    before, workers = _program(process), _workers(process)
    try:
        os.kill(process, signal.SIGUSR2)
    except ProcessLookupError:
        raise ConnectionLost(f"there is no process {process}") from None
    except PermissionError:
        raise ConnectionLost(
            f"process {process} is another user's: this has to be run as that one, or as root"
        ) from None
    if workers:
        _wait_for_workers(process, workers)
        show(f"the {len(workers)} workers of process {process} have handed over")
    else:
        _wait(process, before)
        show(f"process {process} has handed over")
    return 0


def _require_server(process: int) -> None:
    """Raises ConnectionLost where that cannot hand over: the signal would end it, or nobody would act on it."""
    if _is_worker(process):
        raise ConnectionLost(f"process {process} is a worker: ask its parent, which is process {_parent(process)}")
    if not _awaits(process, signal.SIGUSR2):
        raise ConnectionLost(f"process {process} hands nothing over: it is no server, or one that cannot (`demo`)")


def _workers(process: int) -> set[int]:
    """Its workers, where it has some."""
    return {child for child in children(process) if _is_worker(child)}


def _wait_for_workers(process: int, before: set[int]) -> None:
    """Until all of them are others. Raises ConnectionLost where some go on."""
    deadline, alone_since = time.monotonic() + WAIT_SECS * len(before), time.monotonic()
    while before & (now := {child for child in children(process) if _is_there(child)}):
        if len(now) > len(before):  # one is starting
            alone_since = time.monotonic()
        if time.monotonic() > min(deadline, alone_since + IDLE_SECS) or not _is_there(process):
            raise ConnectionLost(f"workers of process {process} go on: its log says why")
        time.sleep(_LOOK_SECS)
    if not _is_there(process):
        raise ConnectionLost(f"process {process} has ended meanwhile: its log says why")


def _wait(process: int, before: bytes) -> None:
    """Until it is another program's, or none. Raises ConnectionLost where it goes on."""
    began, had_child = time.monotonic(), False
    while _goes_on(process, before):
        has_child = bool(children(process))
        patience = WAIT_SECS if had_child or has_child or not before else STARTS_SECS
        given_up = (had_child and not has_child) or time.monotonic() > began + patience
        if given_up and _goes_on(process, before):  # it has not just ended, and left its child
            raise ConnectionLost(f"process {process} goes on: its log says why")
        had_child = had_child or has_child
        time.sleep(_LOOK_SECS)


def _goes_on(process: int, before: bytes) -> bool:
    return _is_there(process) and _program(process) == before


def _process(flags: Mapping[str, str], file: str | None, pid: str | None, pid_file: str | None) -> int:
    if pid is not None:
        return _number(pid, "--pid")
    if pid_file is not None:
        return _number_in(pid_file)
    directory = config.load(file or find_file(), os.environ, flags).general.state_dir
    if not directory:
        raise ConfigError("which process? Name it with --pid or --pid-file; with general.state_dir set it is known")
    return _number_in(os.path.join(directory, LOCK))


def _number_in(path: str) -> int:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return _number(file.read().strip(), path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def _number(text: str, origin: str) -> int:
    number = parse_count(text)
    if not number:
        raise ConfigError(f"{origin}: {text!r} was given, the number of a process is needed")
    return number


def _serving(process: int) -> int:
    """The one that serves, where that one only waits for it."""
    if _program(process).endswith(STAYS.encode() + b"\0"):
        return next(iter(children(process)), process)
    return process


# ---- what the system says of it


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:  # one that has ended, and that nobody has waited for
        return _said_of(process, "stat").rpartition(b")")[2].split()[0] != b"Z"
    except (OSError, IndexError):
        return True


def _is_worker(process: int) -> bool:
    """Whether a parent has started it as one of its workers."""
    try:
        return any(each.startswith(f"{VARIABLE}=".encode()) for each in _said_of(process, "environ").split(b"\0"))
    except OSError:
        return False


def _parent(process: int) -> int:
    return int(_said_of(process, "stat").rpartition(b")")[2].split()[1])


def _awaits(process: int, number: int) -> bool:
    """Whether it has a handler for that signal, or is about to have one; True where nobody tells."""
    try:
        lines = _said_of(process, "status").splitlines()
    except OSError:
        return True
    masks = [int(line.split()[1], 16) for line in lines if line.startswith((b"SigCgt:", b"SigBlk:"))]
    return not masks or any(mask >> (number - 1) & 1 for mask in masks)


def _program(process: int) -> bytes:
    """What it runs: another program, where it stays and waits for the one that serves. b"" where nobody tells."""
    try:
        return _said_of(process, "cmdline")
    except OSError:
        return b""


def _said_of(process: int, what: str) -> bytes:
    with open(f"{_PROC}/{process}/{what}", "rb") as file:
        return file.read()
