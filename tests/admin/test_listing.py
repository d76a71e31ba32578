"""Sorting and paging, and that no turn does more than its share of it."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from kit.admin import Asker
from kit.world import World

from voltlane.admin.choice import SLICE, Choice, Chosen, choose
from voltlane.admin.listing import MOST, ROWS, listing
from voltlane.admin.steps import Steps, at_once
from voltlane.statistics import SORT_KEYS, ClientRow
from voltlane.wire.http1.conversation import Request


class Crowd:
    """Many clients, and how often they are looked at."""

    def __init__(self, count: int) -> None:
        self.values = {number: random.Random(number).choice([None, 1.0, 2.0, 3.5]) for number in range(1, count + 1)}
        self.looks = 0

    def ids(self) -> list[int]:
        return list(self.values)

    def sort_value(self, client_id: int, key: str) -> float | None:
        self.looks += 1
        return self.values.get(client_id) if key == "score" else float(client_id)

    def is_called(self, client_id: int, text: str) -> bool:
        return text in str(client_id)

    def client(self, client_id: int) -> ClientRow | None:
        self.looks += 1
        if client_id not in self.values:
            return None
        return ClientRow(client_id, "live", None, 0.0, 0, 0, score=self.values[client_id])  # type: ignore[arg-type]

    def choosing(self, choice: Choice) -> Steps[Chosen]:
        return choose(self, choice)

    def rows(self, ids: list[int]) -> Steps[list[ClientRow]]:
        return at_once([row for client_id in ids if (row := self.client(client_id)) is not None])


def page(crowd: Any, **query: object) -> tuple[dict[str, Any], list[int]]:
    """The answer, and the looks of each turn."""
    given = {name: str(value) for name, value in query.items()}
    work = listing(crowd, Request("GET", ("clients",), given, "localhost", {}, b""))
    turns = []
    while True:
        before = crowd.looks
        try:
            next(work)
        except StopIteration as done:
            turns.append(crowd.looks - before)
            return json.loads(done.value.body), turns
        turns.append(crowd.looks - before)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("key", ["id", "score"])
def test_pages_together_are_the_whole_list(key: str, order: str) -> None:
    crowd = Crowd(1000)
    found: list[int] = []
    while True:
        answer, _ = page(crowd, sort=key, order=order, offset=len(found), limit=170)
        assert answer["total"] == 1000
        if not answer["clients"]:
            break
        found += [row["id"] for row in answer["clients"]]
    sign = -1 if order == "desc" else 1

    def rank(number: int) -> tuple[bool, float, int]:
        value = crowd.values[number] if key == "score" else float(number)
        return value is None, sign * (value or 0.0), number

    assert found == sorted(crowd.values, key=rank), "who has no value comes last, and equals by their ids"


def test_no_turn_looks_at_more_than_a_slice() -> None:
    assert ROWS <= 64 and SLICE <= 512, "a turn of this takes a millisecond or two"
    crowd = Crowd(10_000)
    for query in [{}, {"sort": "score", "order": "desc", "offset": 9_000, "limit": MOST}]:
        _, turns = page(crowd, **query)
        assert max(turns) <= SLICE
        assert sum(turns) <= 10_000 + MOST
        assert len(turns) >= 10_000 // SLICE


def test_others_are_served_between_the_slices(watched: World, asker: Asker) -> None:
    client = watched.new()
    crowd = Crowd(SLICE * 20)
    asker.endpoint._handlers._subject = crowd  # type: ignore[assignment]
    asker.write(b"GET /clients HTTP/1.1\r\nHost: localhost\r\n\r\n")
    client.send(b"meanwhile")
    for turns in range(1, 15):
        watched.loop.turn(0)
        watched.pump()
        assert crowd.looks <= turns * SLICE
    assert watched.master.data[client.id] == [b"meanwhile"] and asker.received == b""
    assert b'"total":%d' % (SLICE * 20) in asker.settle()


def test_who_goes_while_the_list_is_made_is_left_out() -> None:
    crowd = Crowd(600)
    work = listing(crowd, Request("GET", ("clients",), {}, "localhost", {}, b""))  # type: ignore[arg-type]
    next(work)
    for number in range(2, 600):
        del crowd.values[number]
    try:
        while True:
            next(work)
    except StopIteration as done:
        assert [row["id"] for row in json.loads(done.value.body)["clients"]] == [1]


def test_rows_are_in_the_order_of_the_numbers_that_they_show() -> None:
    """What they were chosen by is of the sample before."""
    crowd = Crowd(100)
    shown = {number: random.Random(-number).randrange(1000) for number in crowd.values}
    crowd.client = lambda number: ClientRow(number, "live", None, 0.0, 0, 0, score=shown[number])  # type: ignore[method-assign]
    answer, _ = page(crowd, sort="score", order="desc", limit=40)
    scores = [row["score"] for row in answer["clients"]]
    assert len(scores) == 40 and scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("key", SORT_KEYS)
def test_every_key_has_its_number_in_the_row(key: str) -> None:
    row = ClientRow(1, "live", None, 2.0, 3, 4, bytes_in=5.0, bytes_out=6.0, rtt=0.5, loss=7, score=8, jitter=0.25)
    numbers = {"score": 8, "id": 1, "age": 2.0, "queue": 3, "in": 5.0, "out": 6.0, "bandwidth": 11.0}
    numbers |= {"rtt": 0.5, "loss": 7, "jitter": 0.25}
    assert row.sort_value(key) == numbers[key]


def test_those_are_found_whose_id_or_address_has_it(watched: World, asker: Asker) -> None:
    ids = [watched.new().id for _ in range(12)]
    for text, found in (("2", [2, 12]), ("1", [1, 10, 11, 12]), ("LOCAL", ids), (" local client ", ids), ("9.9.9", [])):
        answer = asker.get(f"/clients?limit=20&find={text.replace(' ', '%20')}").json
        assert [row["id"] for row in answer["clients"]] == found and answer["total"] == len(found)
    assert asker.get("/clients?find=1&limit=2&offset=2").json["clients"][0]["id"] == 11
    refused = asker.get("/clients?find=" + "x" * 65)
    assert refused.status == 400 and "64 characters" in refused.json["error"]


@pytest.mark.parametrize("key", SORT_KEYS)
def test_real_clients_by_every_key(watched: World, asker: Asker, key: str) -> None:
    ids = [watched.new().id for _ in range(3)]
    answer = asker.get(f"/clients?sort={key}&limit=2").json
    assert answer["total"] == 3 and len(answer["clients"]) == 2
    assert {row["id"] for row in answer["clients"]} <= set(ids)
