"""Command line options that the benchmark and the scaling run share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

from voltlane.numerals import parse_number

from .servers import RIVALS, ROOT, VOLTLANE

OUT = ROOT / "bench" / "out"


def parser(program: str, description: str, rivals: Sequence[str], seconds: float) -> argparse.ArgumentParser:
    """One with the shared options; `rivals` and `seconds` are defaults."""
    made = argparse.ArgumentParser(prog=program, description=description)
    made.add_argument("--seconds", type=at_least(0.1, float), default=seconds, help="measured, per run (%(default)g)")
    made.add_argument(
        "--voltlane",
        type=names_of(VOLTLANE),
        default=VOLTLANE,
        metavar="FORMS",
        help=f"which of {','.join(VOLTLANE)}, or none (all that there are)",
    )
    made.add_argument(
        "--rivals",
        type=names_of(RIVALS),
        default=rivals,
        metavar="NAMES",
        help=f"which of {','.join(RIVALS)}, or none ({','.join(rivals) or 'none'})",
    )
    made.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of Voltlane; may be repeated"
    )
    made.add_argument("--pypy", metavar="PATH", help="a PyPy that has the server's packages (pypy3, if it is there)")
    made.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="where results go (bench/out)")
    return made


def names_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """The type of a comma-separated list of known names."""

    def names(text: str) -> list[str]:
        given = [] if text == "none" else [name for name in text.split(",") if name]
        for name in given:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return given

    return names


def at_least(least: float, kind: type[int] | type[float]) -> Callable[[str], float]:
    """The type of a number with a bound."""

    def number(text: str) -> float:
        value = parse_number(text)
        if value is None or value < least or not isinstance(value, (int, kind)):
            raise argparse.ArgumentTypeError(f"{text!r} was given, a number, at least {least:g}, is needed")
        return kind(value)

    return number
