"""`voltlane man`: the manual page, in the language of man(7), made from the command line's parser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..config import SETTINGS
from ..version import RELEASED, __version__
from .console import show
from .outline import Command, Flag, Outline
from .serve import DEFAULT_FILE


def manual(outline: Outline, exit_codes: Mapping[int, str]) -> int:
    """Print it. The exit code."""
    show("\n".join(page(outline, exit_codes)))
    return 0


def page(outline: Outline, exit_codes: Mapping[int, str]) -> Iterator[str]:
    """The lines of its source."""
    yield f'.TH VOLTLANE 1 "{RELEASED}" "voltlane {__version__}" "User Commands"'
    yield ".SH NAME"
    yield "voltlane \\- a connection server: many clients in, one tagged stream to a backend out"
    yield ".SH SYNOPSIS"
    for command in (outline.program, *outline.commands):
        yield from _synopsis(command)
    yield ".SH DESCRIPTION"
    yield _text(outline.program.summary)
    yield ".SH OPTIONS"
    yield from _flags(outline.program)
    yield ".SH COMMANDS"
    for command in outline.commands:
        yield f".SS {_text(command.name)}"
        yield _text(command.summary[:1].upper() + command.summary[1:] + ".")
        yield from _flags(command)
    yield ".SH EXIT STATUS"
    for code, meaning in exit_codes.items():
        yield from _entry(f"\\fB{code}\\fR", meaning)
    yield ".SH ENVIRONMENT"
    yield "Weaker than flags, stronger than the file. Each is a setting, which"
    yield "\\fBvoltlane config\\fR \\fIKEY\\fR explains."
    for row in SETTINGS.values():
        yield from _entry(f"\\fB{_text(row.env)}\\fR", f"{row.name}; by default {row.default_text}")
    yield from _entry("\\fBNO_COLOR\\fR", "If it is set, no message has colour. Only terminals get any.")
    yield ".SH FILES"
    yield from _entry(f"\\fI{DEFAULT_FILE}\\fR", "The settings, in the working directory.")


def _synopsis(command: Command) -> Iterator[str]:
    """One line, which is not filled: how a command is called."""
    words = ["\\fBvoltlane\\fR", *([f"\\fB{command.name}\\fR"] if command.name else [])]
    for flag in command.flags:
        if flag.names != ("-h", "--help"):
            words.append(f"[{_form(flag, flag.names[-1:])}]")
    words += [_argument(argument) for argument in command.arguments]
    yield ".PP" if not command.name else ".br"
    yield " ".join(words)


def _flags(command: Command) -> Iterator[str]:
    for argument in command.arguments:
        yield from _entry(_argument(argument), argument.help)
    for flag in command.flags:
        yield from _entry(_form(flag, flag.names), flag.help)


def _form(flag: Flag, names: tuple[str, ...]) -> str:
    form = ", ".join([f"\\fB{_text(name)}\\fR" for name in names])
    return f"{form} \\fI{_text(flag.value)}\\fR" if flag.value else form


def _argument(argument: Flag) -> str:
    value = argument.value
    return f"[\\fI{_text(value[1:-1])}\\fR]" if value.startswith("[") else f"\\fI{_text(value)}\\fR"


def _entry(term: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield term
    yield _text(text)


def _text(text: str) -> str:
    """Words as they are: what roff would take for its own is escaped, at the beginning of lines as well."""
    plain = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain
