"""Percent-encoding: in paths, in names, and in the fields of a query. RFC 3986 section 2.1, and of fields the URL
standard's application/x-www-form-urlencoded.

Of its own, for urllib is a package by itself on small systems, and brings another one.
"""

from __future__ import annotations

import re

_UNRESERVED = re.compile(rb"[A-Za-z0-9._~-]")
_ESCAPES = re.compile("(?:%[0-9A-Fa-f]{2})+")


def encoded(text: str, safe: bytes = b"") -> str:
    """With all characters escaped but those that need not be (section 2.3), and those that are safe here. A byte of a
    file's name that is no UTF-8 is that byte."""
    characters = [bytes([byte]) for byte in text.encode("utf-8", "surrogateescape")]
    return "".join([
        one.decode() if one in safe or _UNRESERVED.match(one) else f"%{one[0]:02X}" for one in characters
    ])  # fmt: skip


def decoded(text: str, errors: str = "replace") -> str:
    """With the characters that its escapes mean, in UTF-8. Where they mean none: U+FFFD; with "strict" UnicodeError is
    raised. A percent sign that begins no escape stays."""
    return _ESCAPES.sub(lambda escapes: _characters(escapes, errors), text)


def fields_of(query: str, most: int) -> dict[str, str]:
    """The fields of a query; of those with one name the last. Raises ValueError when there are more than `most`."""
    pairs = query.split("&")
    if len(pairs) > most:
        raise ValueError(f"more than {most} fields")
    fields = {}
    for pair in filter(None, pairs):
        name, _, value = pair.replace("+", " ").partition("=")
        fields[decoded(name)] = decoded(value)
    return fields


def _characters(escapes: re.Match[str], errors: str) -> str:
    return bytes.fromhex(escapes[0].replace("%", "")).decode("utf-8", errors)
