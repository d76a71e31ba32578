"""The command line: reads the arguments, calls the command (`commands/`), turns errors into messages and exit codes."""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Callable, NoReturn

from .address import Address, parse_address, parse_server
from .commands.check import check_config
from .commands.console import OutputError, complain, settle, show
from .commands.serve import DEFAULT_FILE, print_config, serve
from .config import LOG_LEVELS, PROFILES, SETTINGS, Setting, defaults, nearest
from .errors import ConfigError, ConnectionLost, ProtocolError, StartupError
from .numerals import parse_number
from .signals import unblock
from .version import __version__

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CANNOT_LISTEN = 3
EXIT_INTERRUPTED = 130
EXITS = {
    0: "It ended as it should, or whoever read the output had enough of it.",
    EXIT_FAILED: "It failed while running, or standard output cannot be written.",
    EXIT_USAGE: "Wrong usage, a wrong setting, or a state directory that cannot be used.",
    EXIT_CANNOT_LISTEN: "It cannot listen on the address, or another server has its state directory.",
    4: "The master could not be reached for master.give_up_secs.",
    5: "At the end not all of the state could be written.",
    EXIT_INTERRUPTED: "connect was ended by Ctrl-C.",
}
"""What each says. 4 and 5 are the server's, which is not loaded for most commands (`server/parts.py`)."""

_DISTRIBUTIONS = {"nacl": "pynacl", "ecdsa": "ecdsa", "tomli_w": "tomli-w"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, by default the process's own. The exit code; `--help` and wrong usage raise SystemExit."""
    settle()
    try:
        return _run(_parse(sys.argv[1:] if argv is None else argv))
    except OutputError as error:
        if error.reader_left:
            return 0
        complain(str(error))
        return EXIT_FAILED


def _run(arguments: argparse.Namespace) -> int:
    try:
        return _dispatch(arguments)
    except ConfigError as error:
        for mistake in error.mistakes:
            complain(mistake)
        return EXIT_USAGE
    except StartupError as error:
        complain(str(error))
        if error.hint:
            complain(error.hint)
        return error.exit_code
    except (ConnectionLost, ProtocolError) as error:
        complain(str(error))
        return EXIT_FAILED
    except ModuleNotFoundError as error:
        distribution = _DISTRIBUTIONS.get(error.name or "")
        if distribution is None:
            raise
        complain(f"the package {distribution} is needed: pip install {distribution}, or make run, which installs it")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED if arguments.command == "connect" else 0


def _dispatch(arguments: argparse.Namespace) -> int:
    given = vars(arguments)
    if not _waits_for_handlers(given):
        unblock()
    flags = {row.name: given[row.flag] for row in SETTINGS.values() if row.flag in given}
    file = given.get("--config")
    # Imported where called, so that no command waits for what only another one needs.
    if arguments.command == "connect":
        from .commands.connect import connect

        where = _address(arguments.address, "connect", parse_server)
        trust = {name: given[flag] for flag, name in _TRUST.items() if flag in given}
        with _named_by_flag():
            return connect(
                where, given.get("--wait", _WAIT), given.get("--protocol", 3), given.get("--server-key"), trust
            )
    if arguments.command == "echo":
        from .commands.echo import echo

        return echo(_address(given.get("--listen", defaults().master.address[0]), "--listen"))
    if arguments.command == "key":
        from .commands.key import key

        return key(flags, file, given.get("--state-dir"), _change(given))
    if arguments.command == "upgrade":
        from .commands.upgrade import upgrade

        return upgrade(flags, file, given.get("--pid"), given.get("--pid-file"))
    if arguments.command in ("status", "top", "drain"):
        from .commands.inquiry import whom

        if arguments.command == "top":
            from .commands.fleet import FleetView
            from .commands.top import View, top

            addresses = arguments.address or [None]
            inquiries = [whom(address, given.get("--token"), file, os.environ) for address in addresses]
            return top(View(inquiries[0]) if len(inquiries) == 1 else FleetView(inquiries))
        inquiry = whom(arguments.address, given.get("--token"), file, os.environ)
        if arguments.command == "status":
            from .commands.status import status

            return status(inquiry, "--json" in given)
        from .commands.drain import drain

        return drain(inquiry, given.get("--rate", 0.0), given.get("--notice"), "--stop" in given)
    if arguments.command == "demo":
        from .commands.demo import demo

        return demo(flags, file)
    if arguments.command == "init":
        from .commands.init import init

        return init(given.get("--profile"), file, "--force" in given)
    if arguments.command == "config":
        from .commands.explain import explain

        return explain(arguments.flag or arguments.key)
    if arguments.command in ("completion", "man"):
        return _describe(arguments)
    if "--version" in given:
        return _version()
    if "--check-config" in given:
        return check_config(flags, file)
    if "--print-config" in given:
        return print_config(flags, file)
    return serve(flags, file)


def _describe(arguments: argparse.Namespace) -> int:
    """The command line itself, for a shell or a reader."""
    from .commands.outline import outline

    described = outline(_parser(), _WORDS)
    if arguments.command == "completion":
        from .commands.completion import completion

        return completion(arguments.shell, described)
    from .commands.manual import manual

    return manual(described, EXITS)


def _waits_for_handlers(given: dict[str, Any]) -> bool:
    """Whether the command has handlers for signals, which are unblocked when these are there."""
    return given["command"] in ("serve", "demo", "echo") and not given.keys() & _ONCE


def _version() -> int:
    from .wire import batch, curve

    show(f"voltlane {__version__}")
    show(f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.machine()}")
    show(f"wire loops: {batch.BACKEND}")
    show(f"curve: {curve.BACKEND}")
    return 0


def _change(given: dict[str, Any]) -> str:
    changes = [flag for flag in ("--next", "--switch") if flag in given]
    if len(changes) > 1:
        raise ConfigError("--next and --switch: only one of them at a time, with time for the clients in between")
    return changes[0].lstrip("-") if changes else ""


@contextmanager
def _named_by_flag() -> Iterator[None]:
    """What is wrong with an argument of `Connection` is told of the flag that it comes from."""
    flags = {name: flag for flag, name in _TRUST.items()}
    try:
        yield
    except ConfigError as error:
        parts = [mistake.partition(": ") for mistake in error.mistakes]
        raise ConfigError(*[flags.get(name, name) + colon + why for name, colon, why in parts]) from None


def _address(text: str, origin: str, parse: Callable[[str], Address] = parse_address) -> Address:
    try:
        return parse(text)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from None


# ---- arguments

_WAIT = 2.0
_ONCE = {"--version", "--check-config", "--print-config"}
"""Flags of the server that make it say something and end."""
_WAIT_MAX = 365 * 86400
_RATE_MAX = 10_000
"""Clients a second, as the admin endpoint has it."""
_TRUST = {"--ca": "ca_file", "--server-name": "server_name"}
"""Flags of connect that are arguments of `Connection`."""


def _seconds(text: str) -> float:
    value = parse_number(text)
    if value is None or not 0 <= value <= _WAIT_MAX:
        raise argparse.ArgumentTypeError(
            f"{text!r} was given, a number of seconds, at least 0, at most {_WAIT_MAX}, is needed"
        )
    return float(value)


def _amount(text: str) -> float:
    value = parse_number(text)
    if value is None or not 0 <= value <= _RATE_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} was given, a number from 0 to {_RATE_MAX} is needed")
    return float(value)


def _file(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("the file's name is empty")
    return text


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise argparse.ArgumentTypeError("that is no key in hexadecimal digits") from None


class _Gather(argparse.Action):
    """A flag that may be given several times, for a setting with several values: all of them, as one text."""

    def __call__(
        self, parser: object, namespace: argparse.Namespace, values: Any, option_string: object = None
    ) -> None:
        before = getattr(namespace, self.dest, "")
        setattr(namespace, self.dest, f"{before},{values}" if before else values)


def _row_of(setting: Setting) -> dict[str, Any]:
    row: dict[str, Any] = {"metavar": setting.form.metavar if setting.form else "NUMBER", "help": setting.help}
    if isinstance(setting.default, tuple):
        row = {**row, "help": f"{setting.help} May be given several times.", "action": _Gather}
    return {**row, "help": f"{row['help']} Default: {setting.default_text}."}


_FLAGS: dict[str, dict[str, Any]] = {
    **{setting.flag: _row_of(setting) for setting in SETTINGS.values() if setting.flag},
    "--config": {"metavar": "FILE", "type": _file, "help": f"The configuration file, instead of ./{DEFAULT_FILE}."},
    "--check-config": {
        "action": "store_true",
        "help": "Say whether configuration and certificates are right, and end.",
    },
    "--print-config": {"action": "store_true", "help": "Print the settings that all sources together give, and end."},
    "--version": {"action": "store_true", "help": "Print the versions of what is used here, and end."},
    "--token": {
        "metavar": "TOKEN",
        "help": "The admin endpoint's token. Others on this machine can see it here; VOLTLANE_ADMIN_TOKEN hides it.",
    },
    "--state-dir": {
        "metavar": "DIR",
        "help": "The server's state directory. Default: general.state_dir of the configuration.",
    },
    "--pid": {"metavar": "PID", "help": "The process of the server. Default: as general.state_dir says."},
    "--pid-file": {"metavar": "FILE", "type": _file, "help": "A file with the number of that process."},
    "--next": {
        "action": "store_true",
        "help": "Prepare the key that is to follow, and print it: from the server's next start on, clients are told.",
    },
    "--switch": {
        "action": "store_true",
        "help": "Let the key that is prepared be the server's from its next start on, and print it.",
    },
    "--profile": {
        "metavar": "NAME",
        "help": f"What the file is for: {', '.join(PROFILES)}. Default: all settings, with their defaults.",
    },
    "--force": {"action": "store_true", "help": "Put the new file in the place of one that is there."},
    "--rate": {
        "metavar": "NUMBER",
        "type": _amount,
        "help": "How many clients a second are told to go elsewhere. Default: none, who is here stays.",
    },
    "--notice": {
        "metavar": "SECS",
        "type": _seconds,
        "help": "For how long clients are still taken, so that balancers notice that it is not ready. Default: 10.",
    },
    "--stop": {"action": "store_true", "help": "Take clients again, and tell nobody any more."},
    "--json": {"action": "store_true", "help": "All figures, as JSON."},
    "--wait": {
        "metavar": "SECS",
        "type": _seconds,
        "help": f"How long to wait for another answer when the input has ended. Default: {_WAIT:g}.",
    },
    "--protocol": {
        "metavar": "VERSION",
        "type": int,
        "choices": (2, 3),
        "help": "The version of the protocol, 2 or 3. Default: 3.",
    },
    "--server-key": {
        "metavar": "HEX",
        "type": _hex,
        "help": "The server's public key; who has another one is not talked to. Default: the first one that is met.",
    },
    "--ca": {
        "metavar": "FILE",
        "help": "With TLS: who may have signed the server's certificate, in PEM. Default: whom the system trusts.",
    },
    "--server-name": {
        "metavar": "NAME",
        "help": "With TLS: what the server's certificate has to be for. Default: the host of the address.",
    },
}
_WORDS = {
    "--log-level": LOG_LEVELS,
    "--profile": tuple(PROFILES),
    "KEY": tuple(SETTINGS),
}
"""What a shell may complete that argparse does not check."""
_SHELLS = ("bash", "zsh", "fish")
_ECHO_LISTEN = f"Where connection servers connect to. Default: {defaults().master.address[0]}."
_COMMANDS = {
    "serve": (
        "run the connection server; the default",
        ("--listen", "--master", "--admin", "--config", "--log-level", "--check-config", "--print-config", "--version"),
    ),
    "demo": (
        "run the server together with a backend, which echoes, and a page to chat, to try it out",
        ("--listen", "--admin", "--config", "--log-level"),
    ),
    "echo": ("run the echo backend alone: it sends every packet back", ("--listen",)),
    "connect": (
        "talk to a server: each line becomes a packet, each packet a line",
        ("--wait", "--protocol", "--server-key", "--ca", "--server-name"),
    ),
    "upgrade": (
        "let a running server hand over to the program as it is now, with all clients",
        ("--pid", "--pid-file", "--config"),
    ),
    "status": ("say how a running server is, by its admin endpoint", ("--token", "--config", "--json")),
    "top": ("the same, each second, in a terminal; also of several servers", ("--token", "--config")),
    "drain": (
        "have a running server's clients go elsewhere, by its admin endpoint",
        ("--rate", "--notice", "--stop", "--token", "--config"),
    ),
    "key": (
        "print the server's public key of protocol version 3, which clients can be given",
        ("--state-dir", "--config", "--next", "--switch"),
    ),
    "init": ("write a configuration file to begin with, for one use", ("--profile", "--config", "--force")),
    "config": ("list all settings, or explain one", ()),
    "completion": ("print a script with which a shell completes the command line", ()),
    "man": ("print the manual page: voltlane man | man -l -", ()),
}
"""What each is for, and the flags it takes."""


class _Parser(argparse.ArgumentParser):
    def print_help(self, file: object = None) -> None:
        show(self.format_help().rstrip("\n"))

    def error(self, message: str) -> NoReturn:
        unknown = re.search(r"COMMAND: invalid choice: '(.*?)'", message)
        if unknown:
            message = f"unknown command {unknown[1]}{nearest(unknown[1], _COMMANDS)}"
        complain(f"{message} ({self.prog} --help tells more)")
        raise SystemExit(EXIT_USAGE)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """What was given: each flag's value under the flag itself, beside `command`, and `address` for connect."""
    parser = _parser()
    _refuse_unknown_flags(parser, argv)
    arguments, unexpected = parser.parse_known_args(argv)
    command = arguments.command = arguments.command or "serve"
    # Flags before the command's name are the server's, so it is told only now whether they were right.
    unexpected += [name for name in vars(arguments) if name in _FLAGS and name not in _COMMANDS[command][1]]
    if unexpected:
        parser.error(f"{command} takes no {unexpected[0]}")
    return arguments


def _refuse_unknown_flags(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """With a suggestion, which argparse has none of; and it would take an unknown flag's value for a command."""
    known = [*_FLAGS, "--help"]
    for argument in argv:
        flag = argument.partition("=")[0]
        if flag == "--":
            break
        if flag.startswith("--") and flag not in known:
            parser.error(f"unknown flag {flag}{nearest(flag, known)}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="voltlane",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="A connection server: many TCP clients on one side, one tagged stream to a backend (the master)\n"
        "on the other. Without a command it serves.",
        epilog=f"Every setting of {DEFAULT_FILE} has an environment variable, VOLTLANE_<SECTION>_<KEY>. Flags are\n"
        "stronger than the environment, which is stronger than the file.",
    )
    _add_flags(parser, "serve")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for command, (summary, _) in _COMMANDS.items():
        sub = commands.add_parser(command, help=summary, description=f"Voltlane: {summary}.", allow_abbrev=False)
        if command == "connect":
            where = "Where the server listens; unix:/path, tls://host:port, ws:// and wss:// URLs work as well."
            sub.add_argument("address", metavar="HOST:PORT", help=where)
        if command in ("status", "top", "drain"):
            what = "The admin endpoint's address. Default: admin.address of the configuration."
            if command == "top":
                what += " Of several servers all clients are shown together."
            sub.add_argument("address", metavar="ADDRESS", nargs="*" if command == "top" else "?", help=what)
        if command == "config":
            what = "A setting, as section.key; a section, a variable or a flag do as well. Default: all of them."
            either = sub.add_mutually_exclusive_group()
            either.add_argument("key", metavar="KEY", nargs="?", help=what)
            for flag in filter(None, [row.flag for row in SETTINGS.values()]):
                either.add_argument(flag, dest="flag", action="store_const", const=flag, help=argparse.SUPPRESS)
        if command == "completion":
            sub.add_argument("shell", metavar="SHELL", choices=_SHELLS, help=f"One of {', '.join(_SHELLS)}.")
        _add_flags(sub, command)
    return parser


def _add_flags(parser: argparse.ArgumentParser, command: str) -> None:
    for flag in _COMMANDS[command][1]:
        row = {"metavar": _FLAGS[flag]["metavar"], "help": _ECHO_LISTEN} if command == "echo" else _FLAGS[flag]
        parser.add_argument(flag, dest=flag, default=argparse.SUPPRESS, **row)
