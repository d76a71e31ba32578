"""Fuzz targets: what has to do with the store of several servers."""

from __future__ import annotations

import importlib.util

from fuzz.engine import Target
from fuzz.parsers import SHORT

from voltlane.cluster.redis.resp import Answers
from voltlane.config import parse_redis_url
from voltlane.errors import ConfigError

SECRET = "hunter2"


def redis_url(data: bytes) -> None:
    """A URL around a password: the password is in no message and no repr, and the text says the same again."""
    before, _, behind = data.decode("utf-8", "replace").partition("\0")
    text = f"{before}:{SECRET}@{behind}"
    try:
        found = parse_redis_url(text)
    except ConfigError as error:
        assert SECRET not in str(error)
        return
    if found.password == SECRET:
        assert SECRET not in repr(found).replace(found.address.path, "").replace(found.address.host, "")
    again = parse_redis_url(str(found))
    assert again == found._replace(user="", password="")


def answers(data: bytes) -> None:
    """The same answers whole and byte by byte, up to where they are none."""
    found, error = _read([data])
    if len(data) <= SHORT:
        slowly, other_error = _read([data[n : n + 1] for n in range(len(data))])
        assert error == other_error
        assert error or repr(found) == repr(slowly)


def _read(pieces: list[bytes]) -> tuple[list[object], bool]:
    reader, found = Answers(), []
    try:
        for piece in pieces:
            found += reader.feed(piece)
    except ValueError:
        return found, True
    return found, False


URLS = [
    b"redis://\0host",
    b"rediss://user\0[::1]:7000/3",
    b"redis://\0host:1/",
    b"unix:/run/redis?password=\0&db=1",
    b"redis://\x00127.0.0.1:6379/15",
]
WIRE = b"+OK\r\n:-7\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n*2\r\n$0\r\n\r\n*1\r\n:1\r\n-OOM no room\r\n"

TARGETS = [Target("redis_url", redis_url, URLS, [b"%2F", b"//", b"?db=", b"&password=", b"@", b"unix:"])]
if importlib.util.find_spec("hiredis"):
    TARGETS.append(Target("answers", answers, [WIRE, b"*2\r\n$1\r\na\r\n+b\r\n", b"-NOSCRIPT x\r\n"], [b"\r\n", b"*1"]))
