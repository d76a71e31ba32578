"""When there are more connections than places: who goes, who stays, and that a probe is always answered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kit.admin import Answer, Asker, answers
from kit.world import World

from voltlane.admin.connection import AdminConnection
from voltlane.admin.events import MOST_VIEWERS
from voltlane.admin.places import FOR_METRICS, MOST_ANSWERS, MOST_CONNECTIONS, Stage
from voltlane.reasons import AdminEnd

PROBE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextmanager
def crowd(world: World, *said: bytes) -> Iterator[list[Asker]]:
    """One connection for each of these, which has said just that."""
    askers = []
    for data in said:
        askers.append(Asker(world))
        askers[-1].write(data)
    world.settle()
    yield askers
    for asker in askers:
        asker.sock.close()
    world.settle()


def asked(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def probe(world: World) -> Answer:
    asker = Asker(world)
    (answer,) = asker.raw(PROBE)
    asker.close()
    return answer


def ends(world: World) -> dict[AdminEnd, int]:
    return dict(world.server.counters.admin)


def test_who_has_waited_the_longest_makes_room(watched: World) -> None:
    with crowd(watched, *[b""] * MOST_CONNECTIONS) as askers:
        assert askers[0].get("/livez").status == 200, "so it has not waited for long"
        more = [Asker(watched) for _ in range(3)]
        for asker in askers:
            asker.settle()
        assert [asker.ended for asker in askers[:6]] == [False, True, True, True, False, False]
        assert not any(asker.received for asker in askers[1:])
        assert all(asker.get("/livez").status == 200 for asker in more)
        askers += more
    assert ends(watched) == {AdminEnd.CROWDED_OUT: 3}


def test_whose_request_is_incomplete_is_told(watched: World) -> None:
    head = b"POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc"
    for part in (PROBE[:1], PROBE[:-1], head):
        with crowd(watched, *[part] * MOST_CONNECTIONS) as askers:
            assert probe(watched).status == 200
            (answer,) = answers(askers[0].settle() or askers[0].received)
            assert (answer.status, answer.headers["retry-after"]) == (503, "5") and askers[0].ended
            askers[1].settle()
            assert not askers[1].ended
    assert ends(watched) == {AdminEnd.CROWDED_OUT: 3}
    assert watched.server.readiness.ready


def test_a_request_that_is_here_is_answered_before(watched: World) -> None:
    """However many come in one turn: none of them is thrown out with its request unread."""
    with crowd(watched) as askers:
        for _ in range(5 * MOST_CONNECTIONS):
            askers.append(Asker(watched))
            askers[-1].sock.send(PROBE)
        watched.settle()
        for asker in askers:
            asker.settle()
            assert [answer.status for answer in answers(asker.received)] == [200]
    assert ends(watched) == {}


def test_what_stands_behind_the_request_that_is_answered_is_not(watched: World) -> None:
    with crowd(watched) as askers:
        for _ in range(MOST_CONNECTIONS + 1):
            askers.append(Asker(watched))
            askers[-1].sock.send(PROBE * 10)
        askers[0].settle()
        (answer,) = answers(askers[0].received)
        assert answer.status == 200 and answer.headers["connection"] == "close" and askers[0].ended


def test_who_is_leaving_goes_first(watched: World) -> None:
    with crowd(watched, b"", b"GET /livez HTTP/1.0\r\n\r\n", *[b""] * (MOST_CONNECTIONS - 2)) as askers:
        assert len(stages(watched, Stage.LEAVING)) == 1
        assert probe(watched).status == 200
        for asker in askers:
            asker.settle()
        assert [asker.ended for asker in askers[:3]] == [False, True, False]
    assert ends(watched) == {}


def test_who_has_gone_already_is_no_loss(watched: World) -> None:
    with crowd(watched, *[b""] * MOST_CONNECTIONS) as askers:
        askers[0].sock.close()
        assert probe(watched).status == 200
    assert ends(watched) == {}


def test_nonsense_that_is_here_gets_its_answer_and_makes_room(watched: World) -> None:
    with crowd(watched) as askers:
        for _ in range(MOST_CONNECTIONS + 1):
            askers.append(Asker(watched))
            askers[-1].sock.send(b"nonsense\r\n\r\n")
        assert [answer.status for answer in answers(askers[0].settle())] == [400]
    assert ends(watched) == {AdminEnd.BAD_REQUEST: MOST_CONNECTIONS + 1}


def test_many_viewers_leave_room_for_probes(watched: World) -> None:
    with crowd(watched, *[asked("/events")] * 200) as askers:
        assert probe(watched).status == 200
        for asker in askers:
            asker.settle()
        watching = [asker for asker in askers if b"event-stream" in asker.received]
        assert len(watching) == MOST_VIEWERS and not any(asker.ended for asker in watching), "they keep their places"
        assert probe(watched).status == 200
    assert ends(watched)[AdminEnd.TOO_MANY_VIEWERS] == 200 - MOST_VIEWERS


def stalling(world: World, path: str = "/") -> Asker:
    """One that asks for much, and takes nothing of it."""
    asker = Asker(world)
    asker.sock.send(asked(path) * 30)
    world.settle()
    return asker


def stages(world: World, stage: Stage) -> list[AdminConnection]:
    assert world.server.admin is not None
    return [connection for connection in world.server.admin.places if connection.stage is stage]


def test_who_leaves_the_answer_lying_goes_for_another_answer(watched: World) -> None:
    with crowd(watched) as askers:
        askers += [stalling(watched) for _ in range(MOST_ANSWERS - FOR_METRICS)]
        assert len(stages(watched, Stage.ANSWERING)) == MOST_ANSWERS - FOR_METRICS
        oldest, second, *_ = stages(watched, Stage.ANSWERING)
        other = Asker(watched)
        assert other.get("/stats").status == 200 and oldest.closed and not second.closed
        other.close()
    assert ends(watched) == {AdminEnd.ANSWER_UNREAD: 1}


def test_probes_that_are_not_taken_are_no_way_round_the_limit(watched: World) -> None:
    with crowd(watched) as askers:
        for path in ("/livez", "/nothing", "/metrics", "/"):
            askers += [stalling_long(watched, path) for _ in range(MOST_CONNECTIONS // 2)]
            assert len(stages(watched, Stage.ANSWERING)) <= MOST_ANSWERS
            assert probe(watched).status == 200


def stalling_long(world: World, path: str) -> Asker:
    asker = stalling(world, path)
    for _ in range(20):
        try:
            asker.sock.send(asked(path) * 300)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            break
        world.settle()
    return asker


def test_answers_under_way_are_not_cut_off_for_more(watched: World) -> None:
    """Each takes its turns; more than so many are refused, but for /metrics a few are kept, and probes go on."""
    with crowd(watched) as askers:
        for _ in range(MOST_ANSWERS):
            askers.append(Asker(watched))
            askers[-1].sock.send(asked("/clients"))
        metrics, late, live = Asker(watched), Asker(watched), Asker(watched)
        metrics.sock.send(asked("/metrics"))
        late.sock.send(asked("/stats"))
        live.sock.send(PROBE)
        askers += [metrics, late, live]
        watched.settle()
        found = []
        for asker in askers:
            asker.settle()
            (answer,) = answers(asker.received)
            found.append(answer.status)
        most = MOST_ANSWERS - FOR_METRICS
        assert found == [200] * most + [503] * FOR_METRICS + [200, 503, 200]
    assert ends(watched) == {AdminEnd.TOO_MANY_ANSWERS: FOR_METRICS + 1}


def test_a_viewer_that_is_too_far_behind_is_counted(watched: World) -> None:
    with crowd(watched, asked("/events")):
        (viewer,) = stages(watched, Stage.WATCHING)
        for _ in range(2000):
            watched.pass_(1.1, step=1.1)
            if viewer.closed:
                break
    assert ends(watched) == {AdminEnd.VIEWER_BEHIND: 1}


def test_any_mix_of_them(watched: World) -> None:
    kinds = [
        b"",
        PROBE[:1],
        PROBE[:-1],
        PROBE,
        asked("/events"),
        asked("/") * 30,
        asked("/clients") * 5,
        b"\0",
        b"\r\n",
    ]
    with crowd(watched, *kinds * 30):
        for _ in range(20):
            assert probe(watched).status == 200
        assert len(stages(watched, Stage.WAITING)) >= MOST_CONNECTIONS - MOST_ANSWERS - MOST_VIEWERS - 1
