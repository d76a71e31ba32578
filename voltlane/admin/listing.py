"""Many clients, sorted and paged, a slice a turn: however many there are, nobody waits for the list.

Who comes or goes meanwhile may be missing or doubled on neighbouring pages, but every row is true when it is written.
"""

from __future__ import annotations

from http import HTTPStatus

from ..numerals import parse_number
from ..statistics import SORT_KEYS, ClientRow, in_order
from ..wire.http1.answers import JSON, Refusal, Response, encode_json
from ..wire.http1.conversation import Request
from .choice import Choice
from .figures import client_figures
from .router import Work
from .subject import Subject

ROWS = 32
"""Rows written in one turn: each takes as long as ten looks."""
MOST = 500
"""Rows of one page."""
_DIRECTIONS = ("asc", "desc")
_FIELDS = ("sort", "order", "offset", "limit", "find")
MOST_FOUND = 64
"""Characters of what is looked for: an address has less."""
_LARGEST = 10**9


def listing(subject: Subject, request: Request) -> Work:
    """`/clients?sort=…&order=…&offset=…&limit=…&find=…`. Raises Refusal."""
    query = request.query
    check_fields(query, _FIELDS)
    key = choice(query, "sort", SORT_KEYS, "id")
    descending = choice(query, "order", _DIRECTIONS, "asc") == "desc"
    offset, limit = number(query, "offset", 0, _LARGEST), number(query, "limit", 50, MOST)
    text = query.get("find", "").strip().lower()
    if len(text) > MOST_FOUND:
        raise Refusal(
            HTTPStatus.BAD_REQUEST, f"find is a part of an id or an address, of {MOST_FOUND} characters at most"
        )
    return _listing(subject, Choice(key, descending, text, offset + limit), offset, limit)


def _listing(subject: Subject, choice: Choice, offset: int, limit: int) -> Work:
    chosen = yield from subject.choosing(choice)
    ids = [client_id for _, _, client_id in chosen.entries[offset:]]
    page: list[ClientRow] = []
    for start in range(0, len(ids), ROWS):
        page += yield from subject.rows(ids[start : start + ROWS])
        yield None
    # They are asked about anew for being shown, and so they may have changed places among themselves.
    page = in_order(page, choice.key, choice.descending)
    rows: list[bytes] = []
    for start in range(0, len(page), ROWS):
        rows += [encode_json(client_figures(row)) for row in page[start : start + ROWS]]
        yield None
    head = encode_json({"total": chosen.total, "offset": offset, "limit": limit, "sort": choice.key})
    return Response(HTTPStatus.OK, b'%s,"clients":[%s]}\n' % (head[:-1], b",".join(rows)), JSON)


# ---- reading a query


def check_fields(query: dict[str, str], known: tuple[str, ...]) -> None:
    """No field that means nothing here. Raises Refusal."""
    for name in query:
        if name not in known:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"no such field; there are {', '.join(known)}")


def choice(query: dict[str, str], name: str, words: tuple[str, ...], default: str) -> str:
    """One of some words. Raises Refusal."""
    word = query.get(name, default)
    if word not in words:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"{name} is one of {', '.join(words)}")
    return word


def number(query: dict[str, str], name: str, default: int, most: int) -> int:
    """A whole number from 0. Raises Refusal."""
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= most):
        raise Refusal(HTTPStatus.BAD_REQUEST, f"{name} is a whole number from 0 to {most}")
    return int(text)


def amount(query: dict[str, str], name: str, default: float, most: float) -> float:
    """A number from 0, whole or not. Raises Refusal."""
    value = parse_number(query[name]) if name in query else default
    if value is None or not 0 <= value <= most:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"{name} is a number from 0 to {most:g}")
    return float(value)
