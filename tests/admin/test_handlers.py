"""What each path answers, of a server with a master and clients."""

from __future__ import annotations

import pytest
from kit.admin import Asker, answers
from kit.world import World

from voltlane.reasons import CloseReason, EndReason
from voltlane.wire.tagged import Flag


def test_the_loop_lives(asker: Asker) -> None:
    answer = asker.get("/livez")
    assert (answer.status, answer.body) == (200, b"alive\n")
    assert answer.headers["cache-control"] == "no-store" and answer.headers["x-content-type-options"] == "nosniff"


def test_ready_while_there_is_a_master(watched: World, asker: Asker) -> None:
    assert asker.get("/readyz").body == b"ready\n"
    watched.master.cut()
    watched.settle()
    answer = asker.get("/readyz")
    assert (answer.status, answer.body) == (503, b"no connection to the master\n")
    watched.connect_master()
    assert asker.get("/readyz").status == 200


def test_draining_accepts_nobody_and_loses_nobody(watched: World, asker: Asker) -> None:
    client = watched.new()
    progress = {"rate": 0.0, "notice_secs": 0.0, "told": 0, "left": 1}
    assert asker.post("/drain?notice=0").json == {"state": "draining", "draining": progress}
    assert asker.post("/drain").status == 200
    assert asker.get("/readyz").body == b"draining: 1 clients are left\n"
    newcomer = watched.start_new()
    watched.settle()
    assert newcomer.ended
    client.send(b"still here")
    watched.settle()
    assert watched.master.data[client.id] == [b"still here"]
    watched.master.cut()
    watched.settle()
    watched.connect_master()
    assert asker.get("/readyz").status == 503


def test_draining_so_many_a_second_until_nobody_is_left(watched: World, asker: Asker) -> None:
    clients = [watched.new() for _ in range(4)]
    told = asker.post("/drain?rate=2.5&notice=3").json
    assert told == {"state": "draining", "draining": {"rate": 2.5, "notice_secs": 3.0, "told": 0, "left": 4}}
    watched.pass_(3.1, 0.1)
    assert asker.get("/stats").json["draining"] == {"rate": 2.5, "notice_secs": 0.0, "told": 1, "left": 3}
    watched.pass_(2, 0.1)
    for client in clients:
        client.cut()
    watched.pass_(1, 0.1)
    answer = asker.get("/readyz")
    assert (answer.status, answer.body) == (503, b"drained\n")
    assert asker.get("/stats").json["reasons"]["closed"] == {CloseReason.DRAINED.value: 4}


def test_a_drain_is_taken_back(watched: World, asker: Asker) -> None:
    asker.post("/drain?rate=1")
    assert asker.ask("DELETE", "/drain").json == {"state": "ready", "draining": None}
    assert asker.ask("DELETE", "/drain").json == {"state": "ready", "draining": None}
    assert asker.get("/readyz").body == b"ready\n" and asker.get("/stats").json["draining"] is None


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("rate=-1", "rate is a number from 0 to 10000"),
        ("rate=10001", "rate is a number from 0 to 10000"),
        ("rate=many", "rate is a number from 0 to 10000"),
        ("rate=", "rate is a number from 0 to 10000"),
        ("notice=1e3", "notice is a number from 0 to 3600"),
        ("speed=3", "no such field; there are rate, notice"),
    ],
)
def test_a_wrong_drain_changes_nothing(watched: World, asker: Asker, query: str, error: str) -> None:
    answer = asker.post(f"/drain?{query}")
    assert (answer.status, answer.json["error"]) == (400, error)
    assert asker.get("/readyz").body == b"ready\n"


def test_the_figures(watched: World, asker: Asker) -> None:
    client = watched.new()
    client.send(b"one", b"two")
    watched.new().cut()
    watched.settle()
    stats = asker.get("/stats").json
    assert stats["clients"] == {"live": 1, "stale": 1, "handshaking": 0}
    assert stats["counts"]["packets_up"] == 2 and stats["counts"]["sessions"] == 2
    assert stats["reasons"]["closed"] == {"peer closed": 1}
    assert stats["master"]["connected"] is True and stats["ready"] is True and stats["state"] == "ready"


def test_the_last_quarter_of_an_hour(watched: World, asker: Asker) -> None:
    client = watched.new()
    watched.pass_(1)
    client.send(b"one", b"two")
    watched.settle()
    watched.pass_(13)
    history = asker.get("/history").json
    assert set(history) == {"bounds", "tens", "seconds"}
    seconds, tens = history["seconds"], history["tens"]
    assert seconds["at"] == list(range(len(seconds["at"]))) and len(seconds["at"]) >= 14
    assert sum(seconds["packets_up"]) == 2 and sum(tens["packets_up"]) == 0.2 and tens["at"] == [0]
    assert {len(column) for column in seconds.values()} == {len(seconds["at"])}
    assert seconds["clients"][-1] == 1 and seconds["turn_p50"][-1] == history["bounds"]["turn"][0]


def test_a_snapshot_has_the_last_seconds_and_the_last_minute(watched: World, asker: Asker) -> None:
    watched.new().cut()
    watched.settle()
    watched.pass_(10)
    recent = asker.get("/stats").json["recent"]
    assert recent["seconds"]["at"] == asker.get("/history").json["seconds"]["at"][-5:]
    assert recent["minute"]["closed"] == {"peer closed": 1}
    watched.pass_(61)
    later = Asker(watched)
    stats = later.get("/stats").json
    assert stats["recent"]["minute"]["closed"] == {} and stats["reasons"]["closed"] == {"peer closed": 1}
    later.close()


def test_what_clients_speak(watched: World, asker: Asker) -> None:
    client = watched.new()
    protocols = asker.get("/stats").json["protocols"]
    assert {name: figures["live"] for name, figures in protocols.items()} == {"v2": 1, "v3": 0, "open": 0, "events": 0}
    assert asker.get(f"/clients/{client.id}").json["protocol"] == "v2"


def test_one_client(watched: World, asker: Asker) -> None:
    client = watched.new()
    row = asker.get(f"/clients/{client.id}").json
    assert (row["id"], row["state"]) == (client.id, "live")
    assert row["rtt"] is None, "not known is not 0"
    assert asker.get("/clients/999").status == asker.get(f"/clients/{1 << 70}").status == 404
    assert asker.get("/clients/0x1").status == asker.get("/clients/-1").status == 404


def test_kicking_ends_the_session_and_tells_the_master(watched: World, asker: Asker) -> None:
    client, other = watched.new(), watched.new()
    assert asker.post(f"/clients/{client.id}/kick").json == {"kicked": client.id}
    watched.settle()
    assert client.ended and not other.ended
    assert watched.master.notices(Flag.FAILURE) == [(client.id, b"Client disconnected")]
    assert watched.server.counters.ended[EndReason.EXPELLED] == 1
    assert watched.server.counters.closed[CloseReason.EXPELLED] == 1
    assert asker.post(f"/clients/{client.id}/kick").status == 404


def test_a_stale_client_can_be_kicked(watched: World, asker: Asker) -> None:
    client = watched.new()
    client.cut()
    watched.settle()
    assert asker.get(f"/clients/{client.id}").json["state"] == "stale"
    assert asker.post(f"/clients/{client.id}/kick").status == 200
    assert watched.server.registry.sessions == {}


def test_the_last_closed_ones_with_their_reasons(watched: World, asker: Asker) -> None:
    first, second = watched.new(), watched.new()
    first.cut()
    watched.settle()
    asker.post(f"/clients/{second.id}/kick")
    stranger = watched.start_new()
    stranger.write(b"\xff" * 4)
    watched.settle()
    rows = asker.get("/closed").json
    assert rows["total"] == 3
    assert [(row["id"], row["reason"]) for row in rows["closed"]] == [
        (stranger.id or 3, "frame over the size limit"),
        (second.id, "kicked by the operator"),
        (first.id, "peer closed"),
    ]
    assert len(asker.get("/closed?limit=1&offset=1").json["closed"]) == 1


@pytest.mark.parametrize(
    "target",
    [
        "/clients?sort=luck",
        "/clients?order=up",
        "/clients?limit=-1",
        "/clients?limit=501",
        "/clients?limit=",
        "/clients?offset=1e3",
        "/clients?offset=99999999999",
        "/clients?colour=red",
        "/closed?limit=x",
        "/closed?sort=id",
    ],
)
def test_a_wrong_question_is_told_what_is_right(asker: Asker, target: str) -> None:
    answer = asker.get(target)
    assert answer.status == 400 and len(answer.json["error"]) > 20
    assert not asker.ended


@pytest.mark.parametrize(
    "method, target, status, allow",
    [
        ("POST", "/stats", 405, "GET, HEAD, OPTIONS"),
        ("GET", "/drain", 405, "DELETE, OPTIONS, POST"),
        ("HEAD", "/drain", 405, "DELETE, OPTIONS, POST"),
        ("DELETE", "/clients/1", 405, "GET, HEAD, OPTIONS"),
        ("TRACE", "/", 405, "GET, HEAD, OPTIONS"),
        ("OPTIONS", "/nothing", 404, None),
        ("BREW", "/stats", 501, None),
        ("GET", "/../etc/passwd", 404, None),
        ("GET", "/clients/1/kick/2", 404, None),
        ("GET", "/%2e%2e/x", 404, None),
        ("GET", "/page.html", 404, None),
        ("GET", "//", 404, None),
        ("GET", "/clients/{id}", 404, None),
    ],
)
def test_what_there_is_not(asker: Asker, method: str, target: str, status: int, allow: str | None) -> None:
    answer = asker.ask(method, target)
    assert (answer.status, answer.headers.get("allow")) == (status, allow)
    assert not asker.ended


@pytest.mark.parametrize(
    "target, allow",
    [
        ("*", "DELETE, GET, HEAD, OPTIONS, POST"),
        ("http://localhost", "DELETE, GET, HEAD, OPTIONS, POST"),
        ("/", "GET, HEAD, OPTIONS"),
        ("/events", "GET, HEAD, OPTIONS"),
        ("/clients/1/kick", "OPTIONS, POST"),
    ],
)
def test_what_may_be_done_is_told(asker: Asker, target: str, allow: str) -> None:
    answer = asker.ask("OPTIONS", target)
    assert (answer.status, answer.headers["allow"], answer.headers["content-length"]) == (200, allow, "0")
    assert "content-type" not in answer.headers


PATHS = [
    "/",
    "/livez",
    "/readyz",
    "/metrics",
    "/stats",
    "/history",
    "/clients",
    "/clients/{id}",
    "/closed",
    "/events",
    "/nothing",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_head_is_the_head_of_a_get(watched: World, asker: Asker, path: str) -> None:
    target = path.format(id=watched.new().id)
    head = asker.ask("HEAD", target)
    assert asker.get("/livez").body == b"alive\n", "it said nothing more"
    asker.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    (get,) = answers(asker.settle().partition(b"\r\n\r\n")[0] + b"\r\n\r\n", "HEAD")
    changing = {"content-length": "", "date": ""} if path in ("/metrics", "/stats", "/clients/{id}", "/clients") else {}
    assert (head.status, {**head.headers, **changing}) == (get.status, {**get.headers, **changing})
    assert not asker.ended and ("content-length" in head.headers) is (path != "/events")


def test_what_is_no_slash_parts_nothing(watched: World, asker: Asker) -> None:
    client = watched.new()
    for target in ("/clients%2F{}", "/clients/{}%2fkick", "/clients%2f{}%2Fkick", "/%2Fclients/{}/kick", "/%64rain%2f"):
        assert asker.post(target.format(client.id)).status == 404, target
    assert not client.ended and watched.server.readiness.ready
    assert asker.get(f"/%63lients/%3{client.id}").json["id"] == client.id, "what stands for itself may be encoded"


def test_an_id_past_the_last_is_nobodys(watched: World, asker: Asker) -> None:
    assert asker.post(f"/clients/{1 << 64}/kick").json["error"] == "there is nothing at this path"
    assert asker.post(f"/clients/{(1 << 64) - 1}/kick").json["error"] == "there is no client with this id"


def test_the_page_is_strict_about_what_it_runs(asker: Asker) -> None:
    answer = asker.get("/")
    policy = answer.headers["content-security-policy"]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy
    text = answer.body.decode()
    assert "://" not in text and " style=" not in text and " onclick=" not in text and "innerHTML" not in text
