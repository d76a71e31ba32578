"""What stands on the screens of `status` and `top`, at the widths that terminals have: nothing is cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kit.admin import watched_world
from kit.lanes import tls, ws
from kit.parties import PARTIES

from voltlane.admin.figures import client_figures, figures
from voltlane.commands.fleet import NODES, FleetView
from voltlane.commands.report import folded, reasons, summary
from voltlane.commands.top import COLUMNS, SORTS, View, check_page, columns_for, table
from voltlane.errors import ConnectionLost

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

    def __init__(self, found: dict[str, Any], address: str = "127.0.0.1:42002") -> None:
        self.found, self.address, self.asked, self.gone = found, address, list[str](), False

    def get(self, path: str, read: Any) -> Any:
        self.asked.append(path)
        if self.gone:
            raise ConnectionLost(f"the admin endpoint at {self.address} does not answer: Connection refused")
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
    missing = table(page["clients"], width - 1, "score", True, columns_for(COLUMNS, [full]))[1]
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
    assert table(rows, 119, "score", True, columns_for(COLUMNS, [full]))[1] == []
    assert {"STATE", "WAITING", "LANE", "PROTO"} <= set(table(rows, 69, "score", True)[0][0].split())


DATAGRAMS = {"packets_up": 300, "packets_down": 100, "bytes_up": 30_000, "bytes_down": 5_000}
DATAGRAMS |= {"channels": 2, "peers": 1, "roamed": 3, "challenges": 4}


def test_datagrams_are_told_where_there_are_any(full: dict[str, Any]) -> None:
    assert "datagrams" not in "\n".join(summary(full))
    later = {**full, "datagrams": DATAGRAMS, "uptime": full["uptime"] + 10}
    said = "datagrams 300 from clients (29.3 KiB), 100 to clients (4.9 KiB), 2 beside a stream, 1 without one, "
    assert f"{said}moved 3 times of 4 asked" in summary(later)
    before = {**full, "datagrams": {**DATAGRAMS, "packets_up": 100, "bytes_up": 10_000}}
    quiet = {**later, "datagrams": {**DATAGRAMS, "peers": 0, "challenges": 0, "roamed": 0}}
    assert "datagrams 20/s from clients (2.0 KiB/s), 0/s to clients (0 B/s), 2 beside a stream" in summary(
        quiet, before
    )
    later["reasons"] = {**full["reasons"], "dropped_datagrams": {"came before": 7, "shorter than its head": 9}}
    assert list(reasons(later))[-2:] == ["dropped          9  shorter than its head", "dropped          7  came before"]


def test_jitter_has_a_column_where_there_are_datagrams(full: dict[str, Any]) -> None:
    page = {"total": 1, "clients": [{**full["clients_page"]["clients"][0], "jitter": 0.0123}]}
    with_them = {**full, "datagrams": DATAGRAMS, "clients_page": page}
    for view, there in ((View(Answers({**full, "clients_page": page})), False), (View(Answers(with_them)), True)):
        screen, sorts = Screen(40, 200), set[str]()
        view.look()
        view._draw(screen)
        text = "\n".join(screen.lines.values())
        assert ("JITTER" in text) is ("12 ms" in text) is there
        for _ in SORTS:
            view._obey(ord("s"))
            sorts.add(view._sort)
        assert ("jitter" in sorts) is there
    fleet = FleetView([Answers(full, "a:1"), Answers(with_them, "b:1")])
    fleet.look()
    assert "JITTER" in [column.title for column in fleet._columns]
    view._sort, view._server.now = "jitter", full  # another one is at that address now
    view._obey(ord("s"))
    assert view._sort == SORTS[0]


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


# ---- several servers


def later(found: dict[str, Any], secs: float, packets: int) -> dict[str, Any]:
    """The same server some seconds later, with so many packets more each way, and half of the time busy."""
    counts = {**found["counts"]}
    for way in ("up", "down"):
        counts[f"packets_{way}"] += packets
        counts[f"bytes_{way}"] += 100 * packets
    loop = {**found["loop"], "busy_secs": found["loop"]["busy_secs"] + secs / 2}
    return {**found, "uptime": found["uptime"] + secs, "counts": counts, "loop": loop}


def some(full: dict[str, Any], state: str = "ready") -> dict[str, Any]:
    """Figures as they are, of a server with two live clients and one that is away."""
    counts = {name: 0 for name in full["counts"]}
    clients = {"live": 2, "stale": 1, "handshaking": 0}
    return {**full, "uptime": 100.0, "state": state, "counts": counts, "clients": clients}


def with_clients(found: dict[str, Any], *queues: int | None) -> dict[str, Any]:
    """With these clients: what waits for each, and its score, which may not be known."""
    row = found["clients_page"]["clients"][0]
    clients = [{**row, "id": 100 + at, "queue_bytes": queue or 0, "score": queue} for at, queue in enumerate(queues)]
    return {**found, "clients_page": {"total": len(clients), "clients": clients}}


def shown(view: View, width: int, height: int = 40) -> list[str]:
    screen = Screen(height, width)
    view._draw(screen)
    assert not screen.cut
    return [screen.lines.get(row, "") for row in range(height)]


@pytest.mark.parametrize("width", [70, 120])
def test_a_line_for_each_server_and_the_totals(full: dict[str, Any], width: int) -> None:
    nodes = [Answers(some(full)), Answers(some(full, "draining"), "[2001:db8::1]:42002"), Answers(some(full), "h:1")]
    nodes[2].gone = True
    view = FleetView(nodes)  # type: ignore[arg-type]
    view.look()
    for node in nodes:
        node.found = later(node.found, 2.0, 500)
    view.look()
    lines = shown(view, width)
    text = "\n".join(lines)
    assert "nodes     1 ready, 1 draining, 1 no answer" in text
    assert "clients   4 live, 2 stale, 0 in the handshake" in text
    assert "up        500 packets/s taken for the masters, 48.8 KiB/s" in text
    (heading,) = [line for line in lines if line.split()[:2] == ["NODE", "STATE"]]
    first, second, third = lines[lines.index(heading) + 1 :][:3]
    assert first.split()[:3] == ["1", "ready", "2"] and second.split()[:3] == ["2", "draining", "2"]
    assert third.split()[:5] == ["3", "no", "answer", "–", "–"] and {"50%", "250"} <= set(first.split())
    assert first.endswith("127.0.0.1:42002") and second.endswith("[2001:db8::1]:42002") and third.endswith("h:1")
    assert "at h:1 does not answer: Connection refused" in text
    titles = heading.split()
    told = " ".join(lines).partition("no room for")[2]
    assert all(column.title in titles or f"{column.title} of nodes" in told for column in NODES)
    if width == 120:
        assert len(titles) == len(NODES)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_of_several_servers_is_cut(full: dict[str, Any], width: int) -> None:
    view, screen = FleetView([Answers(full), Answers(full)]), Screen(60, width)  # type: ignore[list-item]
    view.look()
    for key in "s" * len(SORTS):
        view._obey(ord(key))
        view.look()
        view._draw(screen)
        assert not [text for text in screen.cut if width >= 70 or "2001:db8" not in text]


def test_the_clients_of_all_in_one_order(full: dict[str, Any]) -> None:
    nodes = [Answers(with_clients(some(full), 5, 900, None)), Answers(with_clients(some(full), 70, 5))]
    view = FleetView(nodes)  # type: ignore[arg-type]
    view._sort = "score"
    view.look()
    found = [(client["node"], client["id"], client["score"]) for client in view._page["clients"]]
    assert found == [(1, 101, 900), (2, 100, 70), (1, 100, 5), (2, 101, 5), (1, 102, None)]
    assert view._page["total"] == 5 and any("1 to 5 of 5" in line for line in shown(view, 120))
    view._obey(ord("r"))
    view.look()
    assert [client["id"] for client in view._page["clients"]] == [100, 101, 100, 101, 102]


def test_a_later_page_of_all(full: dict[str, Any]) -> None:
    nodes = [Answers(with_clients(some(full), *range(0, 40, 2))), Answers(with_clients(some(full), *range(1, 41, 2)))]
    view = FleetView(nodes)  # type: ignore[arg-type]
    view._sort, view._descending, view._rows = "queue", False, 8
    view.look()
    view._obey(ord(" "))
    view.look()
    assert [client["queue_bytes"] for client in view._page["clients"]] == [*range(8, 16)]
    assert nodes[0].asked[-1] == "/clients?sort=queue&order=asc&offset=0&limit=16"


def test_none_of_several_is_there(full: dict[str, Any]) -> None:
    nodes = [Answers(some(full), "a:1"), Answers(some(full), "b:1")]
    nodes[0].gone = nodes[1].gone = True
    with pytest.raises(ConnectionLost, match="a:1 does not answer"):
        FleetView(nodes).look()  # type: ignore[arg-type]


def test_a_drain_is_told(full: dict[str, Any]) -> None:
    draining = {"rate": 2.5, "notice_secs": 4.0, "told": 3, "left": 12}
    text = "\n".join(summary({**full, "draining": draining}))
    assert (
        "draining  clients are taken for another 4 s, 3 clients were told to go elsewhere, 12 are left, 2.5 a second"
        in text
    )
    text = "\n".join(summary({**full, "draining": {**draining, "rate": 0.0, "notice_secs": 0.0}}))
    assert "draining  3 clients were told to go elsewhere, 12 are left, who stay until they leave" in text
