"""What stands on the screens of `status` and `top`, at the widths that terminals have: nothing is cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kit.admin import watched_world
from kit.lanes import tls, ws
from kit.parties import PARTIES

from voltlane.admin.figures import client_figures, figures
from voltlane.commands.report import folded, summary
from voltlane.commands.top import COLUMNS, SORTS, View, check_page, table

pytest.importorskip("h11", reason="the extra `web` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")
curses = pytest.importorskip("curses", reason="this Python has no curses")

WIDTHS = [60, 70, 80, 100, 120, 200]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The figures of a server that has a little of everything, with numbers as large as they get."""
    path = tmp_path_factory.mktemp("full")
    with watched_world({"admin.address": f"unix:{path}/admin"}) as made:
        made.new()
        made.new(lane=tls)
        for protocol in ("v3", "open", "events"):
            PARTIES[protocol](made, ws)
        found = figures(made.server.statistics(), True, "ready")
        rows = [client_figures(row) for row in made.server.clients_page("id").rows]
    found["uptime"] = 86400.0 * 999
    found["counts"].update(gaps=123456, uncertain=123456, packets_up=10**15, bytes_up=10**18)
    found["queues"] = {name: 10**12 for name in found["queues"]}
    found["master"] = {**found["master"], "address": "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:42001", "reconnects": 99}
    found["master"].update(full=True, stalled_secs=86400.0)
    for each in (*found["lanes"].values(), *found["protocols"].values()):
        for name in each:
            each[name] = 12345678
    widest = {"id": 1 << 53, "bytes_in": 999.4 * 1024**3, "bytes_out": 999.4 * 1024**3, "age": 7199.0, "rtt": 0.99951}
    widest.update(loss=1000, score=1000, queue_bytes=999 << 20, peer="[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535")
    found["clients_page"] = {"total": 12345, "clients": [*rows, {**rows[0], **widest}]}
    return found


class Screen:
    """What curses is told to put where."""

    def __init__(self, height: int, width: int) -> None:
        self.size, self.lines, self.cut = (height, width), dict[int, str](), list[str]()

    def getmaxyx(self) -> tuple[int, int]:
        return self.size

    def erase(self) -> None:
        self.lines, self.cut = {}, []

    def addnstr(self, row: int, column: int, text: str, most: int, attribute: int) -> None:
        self.lines[row] = self.lines.get(row, "")[:column] + text
        if len(text) > most:
            self.cut.append(self.lines[row])

    def refresh(self) -> None: ...


class Answers:
    """An endpoint that always says the same."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found

    def get(self, path: str, read: Any) -> Any:
        answer = self.found["clients_page"] if path.startswith("/clients") else self.found
        read(answer)
        return answer


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("height", [16, 30, 60])
def test_nothing_on_the_screen_is_cut(full: dict[str, Any], width: int, height: int) -> None:
    view, screen = View(Answers(full)), Screen(height, width)
    view.look()
    for key in "s" * len(SORTS):
        view._obey(ord(key))
        view._draw(screen)
        cut = [text for text in screen.cut if width >= 70 or "2001:db8" not in text]
        assert not cut
    if height == 60:
        assert any(text.startswith("1 to 6 of 12345") for text in screen.lines.values())


@pytest.mark.parametrize("width", [45, 60, 70])
def test_columns_without_room_are_told_below_a_full_page(full: dict[str, Any], width: int) -> None:
    page = {"total": 300, "clients": full["clients_page"]["clients"] * 50}
    view, screen = View(Answers({**full, "clients_page": page})), Screen(40, width)
    view.look()
    view._draw(screen)
    text = " ".join(screen.lines.values())
    missing = table(page["clients"], width - 1, "score", True)[1]
    assert len(missing) > 3 and all(title in text.partition("no room for")[2] for title in missing)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_column_that_is_sorted_by_is_always_there(full: dict[str, Any], width: int) -> None:
    for sort in SORTS:
        (heading, *rows), missing = table(full["clients_page"]["clients"], width, sort, True)
        (column,) = [column for column in COLUMNS if column.sort == sort]
        assert f"{column.title}▼" in heading.split() and column.title not in missing
        assert {len(row) for row in rows} == {len(heading)} and len(heading) <= width
        assert sorted([*missing, *heading.replace("▼", "").split()]) == sorted(column.title for column in COLUMNS)


def test_all_columns_are_there_where_there_is_room(full: dict[str, Any]) -> None:
    rows = full["clients_page"]["clients"][:-1]
    assert table(rows, 119, "score", True)[1] == []
    assert {"STATE", "WAITING", "LANE", "PROTO"} <= set(table(rows, 69, "score", True)[0][0].split())


def test_lanes_protocols_losses_and_certificates_are_told(full: dict[str, Any]) -> None:
    text = "\n".join(summary(full))
    assert "lanes     12345678 by tcp (12345678 came), 12345678 by tls" in text
    assert "protocols 12345678 of v2 (12345678 came)" in text and "of open" in text and "of events" in text
    assert "told      123456 gaps, 123456 packets uncertain" in text
    assert f"TLS       localhost: {full['certificates'][0]['days_left']:.0f} days left" in text


def test_who_has_not_come_is_not_told_of(full: dict[str, Any]) -> None:
    idle = {name: dict.fromkeys(figures, 0) for name, figures in full["lanes"].items()}
    text = "\n".join(summary({**full, "lanes": idle, "certificates": []}))
    assert "lanes     nobody has come yet" in text and "TLS" not in text


def test_the_certificates_that_end_first_are_told(full: dict[str, Any]) -> None:
    left = {"c": 80.4, "a": -1.0, "d": 90.0, "b": 0.5, "e": 99.0}
    certificates = [{"names": [name, "more"], "expires": 0.0, "days_left": days} for name, days in left.items()]
    assert "TLS       a: expired, b: 12 h left, c: 80 days left, 2 more" in summary(
        {**full, "certificates": certificates}
    )


def test_figures_of_a_server_of_before_are_shown(full: dict[str, Any]) -> None:
    """A server is not always of the same version as the command."""
    older = {name: value for name, value in full.items() if name not in ("lanes", "protocols", "certificates")}
    assert summary(older)[0].startswith("voltlane ")
    clients = [
        {name: value for name, value in row.items() if name != "protocol"} for row in full["clients_page"]["clients"]
    ]
    check_page({"total": 6, "clients": clients})


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (99, ["who  one, two, three"]),
        (20, ["who  one, two, three"]),
        (19, ["who  one, two,", "     three"]),
        (13, ["who  one,", "     two,", "     three"]),
        (1, ["who  one,", "     two,", "     three"]),
    ],
)
def test_lines_are_broken_between_items(width: int, lines: list[str]) -> None:
    assert folded("who  ", ["one", "two", "three"], width) == lines


def test_a_line_of_nothing() -> None:
    assert folded("who  ", [], 9) == ["who  "]


def test_pages_are_seen_to_be_ones(tmp_path: Path) -> None:
    for page in ({}, {"clients": [{}], "total": 1}, {"clients": [], "total": None}, {"clients": 7, "total": 1}):
        with pytest.raises((LookupError, TypeError, ValueError)):
            check_page(page)


def test_what_is_taken_for_the_master_and_by_it(full: dict[str, Any]) -> None:
    text = "\n".join(summary({**full, "master": {**full["master"], "connected": True}}))
    assert "takes nothing for 24 h" in text and "packets taken for the master" in text
    assert "931 GiB of at most 931 GiB for all queues" in text
    text = "\n".join(summary({**full, "master": {**full["master"], "stalled_secs": None}}))
    assert "takes nothing" not in text
