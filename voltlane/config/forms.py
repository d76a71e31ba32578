"""The texts that settings are made of: what each kind may look like, and its canonical form."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Callable, NamedTuple

from ..address import parse_address, parse_listener
from ..errors import ConfigError

PATH_MAX = 4095
"""Bytes of the longest path that Linux takes, its closing NUL not counted."""


class Form(NamedTuple):
    """One kind of text."""

    allowed: str
    """What may be given, in words."""
    metavar: str
    """What stands for it in the command line's help."""
    canonical: Callable[[str], str]
    """The text as it is kept. Raises ConfigError, whose message says what is wrong with it."""
    secret: bool = False
    """Whether no message may show it, even when it is wrong."""


def one_of(*words: str, metavar: str = "WORD") -> Form:
    """One of these words, in any case."""
    allowed = "one of " + ", ".join(words)

    def canonical(text: str) -> str:
        for word in words:
            if word.lower() == text.lower():
                return word
        raise ConfigError(f"{shown(text)} was given, {allowed} is needed")

    return Form(allowed, metavar, canonical)


def _dial(text: str) -> str:
    address = parse_address(text)
    if address.kind == "tcp" and not (address.host and address.port):
        nowhere = "port 0" if address.host else "every interface (*)"
        raise ConfigError(f"{shown(text)} was given, but one cannot connect to {nowhere}")
    return str(address)


def _token(text: str) -> str:
    if text and not re.fullmatch(r"[!-~]{16,256}", text):
        raise ConfigError(f"{TOKEN.allowed} is needed")  # it is a secret, also when it is wrong
    return text


def _mode(text: str) -> str:
    if not re.fullmatch("(0?[0-7]{3})?", text):
        raise ConfigError(f"{shown(text)} was given, {MODE.allowed} is needed")
    return text and text.zfill(4)


def _path(text: str) -> str:
    if "\0" in text or len(text.encode("utf-8", "surrogatepass")) > PATH_MAX:
        raise ConfigError(f"{shown(text)} was given, {PATH.allowed} is needed")
    return text


def _file(text: str) -> str:
    if not text:
        raise ConfigError(f"{shown(text)} was given, {FILE.allowed} is needed")
    return _path(text)


def _network(text: str) -> str:
    try:
        if "%" in text:
            raise ValueError("which names an interface")
        if re.search(r"(^|\.)0[0-9]", text):  # some Pythons take it, as decimal; some other programs, as octal
            raise ValueError("which has leading zeros")
        return str(ip_network(text))
    except ValueError as error:
        raise ConfigError(f"{shown(text)} was given, {str(error)[:120]}; {NETWORK.allowed} is needed") from None


_LISTEN = "host:port, [IPv6]:port, *:port (every interface) or unix:/path"
LISTEN = Form(
    f"{_LISTEN}, with its lane in front (tcp://, tls://, udp://) or without",
    "ADDRESS",
    lambda text: str(parse_listener(text)),
)
LISTEN_OR_NOT = Form(f'{_LISTEN}, or "" for nowhere', "ADDRESS", lambda text: text and str(parse_address(text)))
TOKEN = Form('16 to 256 printable characters of ASCII without blanks, or "" for none', "TOKEN", _token, secret=True)
MODE = Form('the mode of a file in octal digits, like "0660", or "" for what the umask leaves', "MODE", _mode)
DIAL = Form("host:port, [IPv6]:port or unix:/path", "ADDRESS", _dial)
NETWORK = Form("an IP address or a network like 10.0.0.0/8 or 2001:db8::/32", "NETWORK", _network)
FILE = Form(f"the path of a file, of at most {PATH_MAX} bytes and without NUL", "FILE", _file)
PATH = Form(f'a path of at most {PATH_MAX} bytes and without NUL, or "" for none', "PATH", _path)


def _protocol(text: str) -> str:
    if not re.fullmatch(r"[!-+\--~]{1,255}", text):
        raise ConfigError(f"{shown(text)} was given, {ALPN.allowed} is needed")
    return text


ALPN = Form("a name of 1 to 255 printable characters of ASCII without blanks and commas", "NAME", _protocol)


def shown(value: object) -> str:
    """A value as a message shows it: never longer than a line."""
    try:
        text = str(value).lower() if isinstance(value, bool) else repr(value)
    except ValueError:  # Python refuses to write out an integer of thousands of digits
        return "a number of thousands of digits"
    except RecursionError:
        return "a table of thousands of tables, each in another,"
    return text if len(text) <= 80 else text[:80] + "…"
