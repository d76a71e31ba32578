"""Messages for people. They go to standard error, so that standard output holds nothing but data."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from typing import TextIO


def say(message: str) -> None:
    """One line for the person at the terminal."""
    _line(sys.stderr, f"voltlane: {message}")


def show(text: str) -> None:
    """A result that was asked for, to standard output, at once also where that is a pipe."""
    _line(sys.stdout, text)


def _line(stream: TextIO, text: str) -> None:
    """In one write, as `print` does not: a Ctrl-C that comes in between would leave the line without its end."""
    stream.write(text + "\n")
    stream.flush()


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
