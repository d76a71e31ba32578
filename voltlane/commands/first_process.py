"""What is left of a server's first process when another one follows it and whoever started it knows no other: the first
process of a container, or one under a manager that cannot be told of another one (`general.stay`).

It waits for its children, passes signals on to them, and ends with the exit code of the last. It is run from its source
in a Python of its own, with the standard library alone, in the place of the server that it was, whose memory and
descriptors are gone then.
"""

from __future__ import annotations

import os
import signal
import sys

_PASSED_ON = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT")
_ADOPT = 36
"""PR_SET_CHILD_SUBREAPER (man 2 prctl): who follows a child of ours is ours, too."""
_PROC = "/proc"


def main() -> int:
    """Wait for the last child. Its exit code; 128 and the number of the signal that has killed it."""
    _adopt()
    numbers = [getattr(signal, name) for name in _PASSED_ON]
    for number in numbers:
        signal.signal(number, _pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    code = 0
    while True:
        try:
            _, status = os.wait()
        except ChildProcessError:
            return code
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _pass_on(number: int, frame: object) -> None:
    for child in children(os.getpid()):
        try:
            os.kill(child, number)
        except ProcessLookupError:
            pass


def children(process: int) -> list[int]:
    """The processes whose parent that one is; none where the system does not tell."""
    found: list[int] = []
    if not os.path.isdir(_PROC):
        return found
    for name in os.listdir(_PROC):
        try:
            with open(f"{_PROC}/{name}/stat", encoding="utf-8", errors="replace") as file:
                parent = file.read().rpartition(")")[2].split()[1]
        except (OSError, IndexError):
            continue
        if name.isdigit() and parent == str(process):
            found.append(int(name))
    return found


def _adopt() -> None:
    if os.getpid() == 1:
        return
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_ADOPT, 1, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass  # with the second upgrade there is nothing left to wait for


if __name__ == "__main__":
    sys.exit(main())
