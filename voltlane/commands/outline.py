"""The command line as plain values, read off its argparse parser: what completion and the manual page are made from."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

Words = Mapping[str, Sequence[str]]
"""By a flag, or an argument's name: the values that there are. Argparse knows them only where it checks them itself."""


class Flag(NamedTuple):
    """One of a command's."""

    names: tuple[str, ...]
    """-h, --help: the last is the long one."""
    value: str
    """What stands for its value: "FILE"; "" for one that takes none."""
    help: str
    words: tuple[str, ...]
    """The values that there are, if these can be told."""


class Command(NamedTuple):
    """The program itself, or one of its commands."""

    name: str
    """"" for the program."""
    summary: str
    flags: tuple[Flag, ...]
    arguments: tuple[Flag, ...]
    """Those without a name of their own; `names` is empty, and `value` in brackets where it may be left out."""


class Outline(NamedTuple):
    """All of it."""

    program: Command
    commands: tuple[Command, ...]


def outline(parser: argparse.ArgumentParser, words: Words) -> Outline:
    """What a parser takes."""
    commands: list[Command] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            commands += [_command(name, helps[name], sub, words) for name, sub in action.choices.items()]
    return Outline(_command("", parser.description or "", parser, words), tuple(commands))


def _command(name: str, summary: str, parser: argparse.ArgumentParser, words: Words) -> Command:
    found = list(_flags(parser, words))
    return Command(
        name,
        summary,
        tuple([flag for flag in found if flag.names]),
        tuple([flag for flag in found if not flag.names]),
    )


def _flags(parser: argparse.ArgumentParser, words: Words) -> Iterator[Flag]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) or action.help is argparse.SUPPRESS:
            continue
        shown = str(action.metavar or action.dest)
        known = tuple(words.get(action.option_strings[-1] if action.option_strings else shown, ()))
        if not known and action.choices is not None:
            known = tuple(map(str, action.choices))
        if not action.option_strings and action.nargs == "?":
            shown = f"[{shown}]"
        value = "" if action.nargs == 0 else shown
        yield Flag(tuple(action.option_strings), value, action.help or "", known)
