from __future__ import annotations

import pytest

from voltlane.numerals import parse_count, parse_number


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("7", 7), ("007", 7), ("-1", -1), ("1.50", 1.5), ("-0.5", -0.5), (str(2**64 - 1), 2**64 - 1)],
)
def test_decimal_digits_are_a_number(text: str, number: float) -> None:
    assert parse_number(text) == number
    assert type(parse_number(text)) is type(number)


@pytest.mark.parametrize(
    "text",
    ["", " ", "x", " 1", "1 ", "1\n", "+1", "1_000", "1,5", "0x10", "0o7", "1e3", ".5", "5.", "1.2.3", "--1", "- 1",
     "nan", "inf", "-inf", "\u0661\u0662", "\u00b2", "\uff11", "1\0", "9" * 21, "9" * 5000],
)  # fmt: skip
def test_nothing_else_is(text: str) -> None:
    assert parse_number(text) is None
    assert parse_count(text) is None


@pytest.mark.parametrize(("text", "count"), [("0", 0), ("12", 12), ("-1", None), ("-0", None), ("1.0", None)])
def test_a_count_is_whole_and_not_below_zero(text: str, count: int | None) -> None:
    assert parse_count(text) == count
