"""The settings of several servers that are one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import ConfigError
from .forms import PATH, Form, shown
from .redis_url import FORMS, parse_redis_url
from .setting import Section, seconds, setting

SECRET_LEAST, SECRET_MOST = 32, 1024
"""Characters of `cluster.secret`."""


def _url(text: str) -> str:
    if text:
        parse_redis_url(text)
    return text


def _secret(text: str) -> str:
    if text and not is_secret(text):
        raise ConfigError(f"{SECRET.allowed} is needed")  # it is a secret, also when it is wrong
    return text


def is_secret(text: str) -> bool:
    """Whether a text can be `cluster.secret`, or the one line of `cluster.secret_file`."""
    return bool(re.fullmatch(f"[!-~]{{{SECRET_LEAST},{SECRET_MOST}}}", text))


def _prefix(text: str) -> str:
    if not re.fullmatch(r"[!-~]{1,64}", text):
        raise ConfigError(f"{shown(text)} was given, {PREFIX.allowed} is needed")
    return text


URL = Form(f'{FORMS}, or "" for none', "URL", _url, secret=True)
SECRET = Form(
    f'{SECRET_LEAST} to {SECRET_MOST} printable characters of ASCII without blanks, or "" for none',
    "SECRET",
    _secret,
    secret=True,
)
PREFIX = Form("1 to 64 printable characters of ASCII without blanks", "PREFIX", _prefix)


@dataclass(frozen=True)
class Cluster(Section):
    """Several servers that are one: a client comes back to any of them. Needs the extra `cluster`."""

    url: str = setting(
        "",
        "The store that they have in common, a Redis or Valkey server. A password in it is shown nowhere. "
        '"" = this server is alone.',
        form=URL,
    )
    prefix: str = setting(
        "voltlane:",
        "What the names of all keys and channels in the store begin with: one for each cluster.",
        form=PREFIX,
    )
    ca_file: str = setting(
        "",
        'The file of those who sign the certificate of the store, in PEM, for rediss://. "" = whom the system trusts.',
        form=PATH,
    )
    secret: str = setting(
        "",
        "What seals the servers' keys and the credentials of clients in the store: the same for all servers, and the "
        "store does not have it.",
        form=SECRET,
    )
    secret_file: str = setting("", "The file of it, one line, instead of secret.", form=PATH)
    lease_secs: float = seconds(
        15.0,
        "How long a server's number is its own, if it cannot renew that. A server that died is known to be dead by "
        "then, and its clients resume elsewhere.",
        at_least=1,
        at_most=3600,
    )
    give_up_secs: float = seconds(
        5.0,
        "How long another server that has a client's session may take to give it up. Then it is taken from it.",
        at_least=0.1,
        at_most=600,
    )
    retained_bytes: int = setting(
        1 << 20,
        "What may be kept in the store of what a client that lost its connection has missed, when it comes back to "
        "another server. Of more a client of version 3 is told that it is lost; one of version 2 fails, unless "
        "clients.missed_packets_policy is drop-oldest.",
        unit="bytes",
        at_least=0,
        at_most=64 << 20,
    )
