"""Numbers as texts: decimal digits of ASCII, a minus sign in front, a point among them, and nothing else.

Python's own `int` and `float` take far more: `1_000`, `١٢`, `1e400`, `nan`, blanks around them. What is written that
way means something else, or nothing, to every other program that reads it.
"""

from __future__ import annotations

import re

_NUMBER = re.compile(r"(-?[0-9]{1,20})(\.[0-9]{1,20})?")
"""Of as many digits as the largest number of 64 bits has: more are beyond every bound there is."""


def parse_number(text: str) -> int | float | None:
    """The number that a text is: a whole one without a point; None where it is none."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    return float(text) if found[2] else int(text)


def parse_count(text: str) -> int | None:
    """The whole number from 0 that a text is, or None."""
    number = parse_number(text)
    return number if isinstance(number, int) and not text.startswith("-") else None
