from __future__ import annotations

from urllib.parse import parse_qsl, quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltlane.percent import decoded, encoded, fields_of

PIECES = st.sampled_from([*"%=&+a2Ff/;é ", "%C3%A9", "%C3", "%A9", "%f0%9f%98%80", "%2B", "%26", "%00", "%zz"])
TEXTS = st.lists(PIECES, max_size=12).map("".join)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", ""),
        ("a%2Fb", "a/b"),
        ("%c3%A9", "é"),
        ("%C3x", "\ufffdx"),
        ("100%", "100%"),
        ("%2", "%2"),
        ("%zz%20", "%zz "),
        ("a+b", "a+b"),
        ("%2541", "%41"),
    ],
)
def test_escapes_are_bytes_of_utf8(text: str, meant: str) -> None:
    assert decoded(text) == meant


@given(TEXTS)
def test_it_is_as_in_the_standard_library(text: str) -> None:
    assert decoded(text) == unquote(text)
    assert fields_of(text, 100) == dict(parse_qsl(text, keep_blank_values=True))


def test_fields_have_names_and_values() -> None:
    assert fields_of("a=1&b&=c&&d=x=y&a=+2%2B", 6) == {"a": " 2+", "b": "", "": "c", "d": "x=y"}
    assert fields_of("", 1) == {}


def test_there_may_be_only_so_many() -> None:
    assert len(fields_of("a&b&c", 3)) == 3
    with pytest.raises(ValueError, match="more than 2 fields"):
        fields_of("a&b&c", 2)


@given(st.text(max_size=30))
def test_what_is_encoded_comes_back(text: str) -> None:
    try:
        assert encoded(text, b"/") == quote(text, safe="/")
    except UnicodeEncodeError:
        return  # half of a pair, which is no character
    assert decoded(encoded(text), "strict") == text


def test_a_name_that_is_no_utf8_comes_back() -> None:
    name = "/run/a\udcff:é"
    assert encoded(name, b"/") == "/run/a%FF%3A%C3%A9" and decoded(encoded(name), "surrogateescape") == name
    with pytest.raises(UnicodeError):
        decoded("%FF", "strict")
