"""The URL of a Redis or Valkey server, as their own tools write it: redis://user:password@host:port/database.

`rediss://` is the same within TLS; a unix socket is `unix:/path?db=1&user=…&password=…`. What has to be escaped in a
name or a password is, as %2F. No message repeats a part of it: any could be a piece of the password.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..address import Address, parse_address
from ..errors import ConfigError
from ..percent import decoded, encoded

PORT = 6379
"""Where none is named."""
DATABASES = 1 << 16
"""More than anybody configures; a server has 16 if it is not told otherwise."""
FORMS = "redis://user:password@host:port/database (rediss:// for TLS) or unix:/path?db=1&user=…&password=…"

_AUTHORITY = re.compile(r"(?:([^@:]*)(?::([^@]*))?@)?(\[[^]]*\]|[^:@]*)(?::([^@]*))?")
_OPTIONS = ("db", "user", "password")


class RedisUrl(NamedTuple):
    """Where such a server is, and as whom to speak to it. Its text says nothing that is secret."""

    address: Address
    encrypted: bool
    """Whether it speaks TLS."""
    user: str
    """"" for the default one."""
    password: str
    """"" for none."""
    database: int

    def __str__(self) -> str:
        if self.address.kind == "unix":
            return f"unix:{encoded(self.address.path, b'/')}?db={self.database}"
        return f"redis{'s' if self.encrypted else ''}://{self.address}/{self.database}"

    def __repr__(self) -> str:
        return str(self)


def parse_redis_url(text: str) -> RedisUrl:
    """Raises ConfigError, which says what is wrong and shows nothing of it."""
    try:
        return _parse(text)
    except ValueError as error:
        raise ConfigError(f"that is no URL of a store: {error}. Write {FORMS}") from None


def _parse(text: str) -> RedisUrl:
    if not text.isprintable() or " " in text:
        raise ValueError("it has blanks or characters that cannot be printed; write them as %20")
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() == "unix":
        return _parse_unix(rest[2:] if rest.startswith("///") else rest)
    if scheme.lower() not in ("redis", "rediss") or not rest.startswith("//"):
        raise ValueError("it begins with none of redis://, rediss:// and unix:/")
    authority, slash, database = rest[2:].partition("/")
    found = _AUTHORITY.fullmatch(authority)
    if not found or any(mark in database for mark in "@?#/") or any(mark in authority for mark in "?#"):
        raise ValueError("/ ? # @ and : within a name or a password are written %2F %3F %23 %40 %3A, and % as %25")
    user, password, host, port = (part or "" for part in found.groups())
    if not host:
        raise ValueError("the host is missing")
    address = _address(host, port or str(PORT))
    return RedisUrl(
        address, scheme.lower() == "rediss", _plain(user), _plain(password), _database(database if slash else "")
    )


def _parse_unix(rest: str) -> RedisUrl:
    path, mark, query = rest.partition("?")
    options = dict.fromkeys(_OPTIONS, "")
    for option in filter(None, query.split("&")) if mark else ():
        key, _, value = option.partition("=")
        if key not in options:
            raise ValueError("behind the ? there are db, user and password, with & between them")
        options[key] = value
    if not path.startswith("/"):
        raise ValueError("the path of a unix socket begins with /")
    try:
        address = parse_address(f"unix:{_plain(path)}")
    except ConfigError:
        raise ValueError("the path is none that a unix socket can have") from None
    return RedisUrl(address, False, _plain(options["user"]), _plain(options["password"]), _database(options["db"]))


def _address(host: str, port: str) -> Address:
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 1 << 16:
        raise ValueError("the port is no number from 1 to 65535")
    try:
        address = parse_address(f"{host}:{port}")
    except ConfigError:
        raise ValueError("the host is no name and no IP address") from None
    if not address.host:
        raise ValueError("one cannot connect to every interface (*)")
    return address


def _plain(text: str) -> str:
    try:
        return decoded(text, "strict")
    except UnicodeError:
        raise ValueError("what is escaped with % is not UTF-8") from None


def _database(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) >= DATABASES:
        raise ValueError(f"the database is no number from 0 to {DATABASES - 1}")
    return int(text)
