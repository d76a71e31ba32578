"""Percent-encoding: in paths, and in the fields of a query. RFC 3986 section 2.1, and of fields the URL standard's
application/x-www-form-urlencoded.

Of its own, for urllib is a package by itself on small systems, and brings another one.
"""

from __future__ import annotations

import re

_ESCAPES = re.compile("(?:%[0-9A-Fa-f]{2})+")


def decoded(text: str) -> str:
    """With the characters that its escapes mean, in UTF-8: U+FFFD where they mean none. A percent sign that begins no
    escape stays."""
    return _ESCAPES.sub(_characters, text)


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


def _characters(escapes: re.Match[str]) -> str:
    return bytes.fromhex(escapes[0].replace("%", "")).decode("utf-8", "replace")
