"""The live stream: what viewers are sent, and that none of them is waited for."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.admin import Asker, watched_world
from kit.world import World

from voltlane.admin.events import MOST_GATHERED, MOST_VIEWERS, VIEWER_BYTES
from voltlane.core.admission import Source
from voltlane.core.session import Session
from voltlane.reasons import CloseReason
from voltlane.server.gauges import Survey


def viewer(world: World) -> Asker:
    asker = Asker(world)
    asker.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    asker.settle()
    return asker


def test_a_snapshot_at_once_and_one_a_second(watched: World) -> None:
    asker = viewer(watched)
    assert [name for name, _ in asker.events()] == ["snapshot"]
    for seconds in range(2, 5):
        watched.pass_(1.1)
        asker.settle()
        assert len(asker.events()) == seconds
    assert asker.events()[0][1]["state"] == "ready"
    asker.close()


def test_a_snapshot_of_very_many_is_made_a_slice_a_turn(watched: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voltlane.server.gauges.SLICE", 4)
    clients = [watched.new() for _ in range(20)]
    looks: list[int] = []
    look = Survey._look

    def counted(survey: Survey, session: Session) -> None:
        looks.append(session.id)
        look(survey, session)

    monkeypatch.setattr(Survey, "_look", counted)
    asker = Asker(watched)
    asker.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    before = len(looks)
    while len(looks) < len(clients):
        watched.loop.turn(0)
        assert len(looks) - before <= 4
        before = len(looks)
    asker.settle()
    ((_, snapshot),) = asker.events()
    assert snapshot["clients"]["live"] == snapshot["protocols"]["v2"]["live"] == 20
    assert looks == [one.id for one in clients]
    late = viewer(watched)
    assert len(late.events()) == 1 and len(looks) == 20, "who comes before the next one gets the last one"
    asker.close()
    late.close()


def test_a_snapshot_that_nobody_waits_for_any_more_is_not_made(watched: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voltlane.server.gauges.SLICE", 1)
    for _ in range(20):
        watched.new()
    asker = Asker(watched)
    asker.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for _ in range(5):
        watched.loop.turn(0)
    events = watched.server.admin._events  # type: ignore[union-attr]
    assert events._making is not None
    asker.close()
    assert events._making is None and not watched.loop._tasks


def test_who_comes_and_goes_is_told_as_it_happens(watched: World) -> None:
    asker = viewer(watched)
    client = watched.new()
    client.cut()
    watched.settle()
    back = watched.resume(client)
    watched.pass_(0.3, step=0.1)
    asker.settle()
    happened = [event for name, data in asker.events() if name == "happened" for event in data["events"]]
    assert [(event["kind"], event["id"]) for event in happened] == [
        ("connected", client.id),
        ("closed", client.id),
        ("resumed", back.id),
    ]
    assert happened[1]["reason"] == "peer closed"
    asker.close()


def test_of_very_many_events_only_the_number_is_told(watched: World) -> None:
    asker = viewer(watched)
    for _ in range(MOST_GATHERED + 7):
        asker.endpoint._events.happened({"kind": "closed"})
    watched.pass_(0.3, step=0.1)
    asker.settle()
    (data,) = [data for name, data in asker.events() if name == "happened"]
    assert len(data["events"]) == MOST_GATHERED and data["left_out"] == 7
    asker.close()


def test_nothing_is_made_while_nobody_watches(watched: World) -> None:
    watched.server.sampler.configure(0)  # which has a timer of its own, for a while after somebody has looked
    timers = watched.loop.timers
    asker = viewer(watched)
    assert watched.loop.timers == timers + 1
    asker.close()
    assert watched.loop.timers == timers
    watched.new().cut()
    watched.settle()
    events = watched.server.admin._events  # type: ignore[union-attr]
    assert not events._gathered and events._gathering is None


def test_a_viewer_that_does_not_read_is_dropped_and_the_others_see_on(watched: World) -> None:
    slow, quick = viewer(watched), viewer(watched)
    events = quick.endpoint._events
    (stuck, _) = list(events._viewers)
    for _ in range(400):
        watched.pass_(1.1, step=1.1)
        quick.settle()
        if stuck.closed:
            break
        assert stuck.outbox is None or stuck.outbox.size <= VIEWER_BYTES + 8192
    assert stuck.closed and list(events._viewers) != [] and not quick.ended
    before = len(quick.events())
    watched.pass_(1.1)
    quick.settle()
    assert len(quick.events()) == before + 1
    slow.close()
    quick.close()


def test_what_a_viewer_says_is_not_listened_to(watched: World) -> None:
    asker = viewer(watched)
    asker.write(b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10)
    asker.settle()
    assert [name for name, _ in asker.events()] == ["snapshot"]
    asker.close()


def test_there_are_not_too_many(watched: World) -> None:
    viewers = [viewer(watched) for _ in range(MOST_VIEWERS)]
    one_more = Asker(watched)
    assert one_more.get("/events").status == 503
    viewers.pop().close()
    viewers.append(viewer(watched))
    assert viewers[-1].events()
    for asker in [*viewers, one_more]:
        asker.close()


def test_a_server_that_ends_lets_its_viewers_go(watched: World) -> None:
    asker = viewer(watched)
    descriptors, timers = watched._plain
    asker.endpoint.close()
    asker.settle()
    assert asker.ended
    watched._plain = (descriptors - 1, timers)


def test_bans_are_told_as_they_happen(tmp_path: Path) -> None:
    settings = {"admin.address": f"unix:{tmp_path}/admin", "limits.flap_count": 1, "limits.flap_secs": 9}
    with watched_world({**settings, "limits.ban_secs": 30}) as world:
        asker = viewer(world)
        for address, name in ((bytes([192, 0, 2, 7]), "192.0.2.7"), (b"\x20\x01\x0d\xb8" + bytes(12), "2001:db8::/64")):
            source = world.server.admission.admit(address, world.clock.now)
            assert isinstance(source, Source)
            source.left(CloseReason.PEER_CLOSED, False, 0.1, world.clock.now)
            world.pass_(0.3, step=0.1)
            asker.settle()
            (*_, (event,)) = [data["events"] for kind, data in asker.events() if kind == "happened"]
            assert (event["kind"], event["peer"], event["seconds"]) == ("banned", name, 30)
        asker.close()
