"""What waited over a restart, until it is delivered: given back after every end of the process, and never twice."""

from __future__ import annotations

import pytest
from kit.frames import join
from kit.stores import Disk, Home, delivered, full

from voltlane.store import session_store as module
from voltlane.store.backlogs import FILE as BACKLOGS


def stopped_with_something_waiting(home: Home) -> None:
    """For clients 1 to 3 and the master."""
    first = home.start()
    first.lose(*[first.open() for _ in range(3)])
    for client_id in (1, 2, 3):
        first.hub.deliver({client_id: join([b"for %d" % client_id])})
    first.trunk.hold(b"up", 3)
    first.stop()


def test_a_kill_costs_nothing_of_what_was_not_delivered(home: Home) -> None:
    stopped_with_something_waiting(home)
    for _ in range(3):
        home.start().die()
    last = home.start()
    assert last.trunk.held == [(b"up", 3)]
    assert [delivered(last, client_id) for client_id in (1, 2, 3)] == [[b"for 1"], [b"for 2"], [b"for 3"]]


def test_what_was_delivered_is_not_delivered_again_after_a_kill(home: Home) -> None:
    stopped_with_something_waiting(home)
    second = home.start()
    assert delivered(second, 2) == [b"for 2"]
    second.die()  # in the middle of the turn
    third = home.start()
    third.trunk.before_connecting()
    third.die()
    fourth = home.start()
    assert fourth.trunk.held == []
    assert [delivered(fourth, client_id) for client_id in (1, 2, 3)] == [[b"for 1"], [], [b"for 3"]]
    assert not (home.path / BACKLOGS).exists()


def test_it_is_known_in_a_journal_that_was_written_anew_too(home: Home) -> None:
    stopped_with_something_waiting(home)
    second = home.start()
    assert delivered(second, 2) == [b"for 2"]
    second.store._draft(second.loop.now)
    assert delivered(second, 1) == [b"for 1"]  # while that is under way
    second.turn(5)
    second.die()
    third = home.start()
    assert third.trunk.held == [(b"up", 3)]
    assert [delivered(third, client_id) for client_id in (1, 2, 3)] == [[], [], [b"for 3"]]


def test_what_waited_for_a_session_that_ended_goes_with_it(home: Home) -> None:
    stopped_with_something_waiting(home)
    second = home.start()
    second.trunk.before_connecting()
    for client_id in (1, 2, 3):
        assert (home.path / BACKLOGS).exists()
        second.registry.end(second.registry.sessions[client_id])
    assert not (home.path / BACKLOGS).exists()
    second.die()
    assert home.start().registry.sessions == {}


def test_what_waited_for_nobody_is_removed_at_the_start(home: Home) -> None:
    stopped_with_something_waiting(home)
    second = home.start(timeout=0)
    second.trunk.before_connecting()
    assert not (home.path / BACKLOGS).exists() and second.registry.sessions == {}


def test_a_stop_keeps_what_is_new_behind_what_waited(home: Home) -> None:
    stopped_with_something_waiting(home)
    second = home.start()
    assert delivered(second, 1) == [b"for 1"]
    second.hub.deliver({2: join([b"more for 2"])})
    second.stop()  # client 1 does not read what comes then
    third = home.start()
    assert third.trunk.held == [(b"up", 3)]
    assert [delivered(third, client_id) for client_id in (1, 2, 3)] == [
        [b"unread"],
        [b"for 2", b"more for 2"],
        [b"for 3"],
    ]


def test_after_a_loss_of_power_what_may_have_been_delivered_is_given_up(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    stopped_with_something_waiting(home)
    untouched = home.start(boot=b"a" * 16)
    untouched.die()
    second = home.start(boot=b"b" * 16)  # nothing was delivered yet, so all of it is known
    assert delivered(second, 1) == [b"for 1"]
    second.die()
    third = home.start(boot=b"c" * 16)
    assert "is given up: the machine went down" in caplog.text
    assert third.trunk.held == [] and third.registry.sessions[2].backlog is None
    assert not (home.path / BACKLOGS).exists()


def test_after_a_stop_in_order_the_machine_may_be_started_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if what waits could not be written then."""
    stopped_with_something_waiting(home)
    second = home.start(boot=b"a" * 16)
    assert delivered(second, 1) == [b"for 1"]
    monkeypatch.setattr(module, "write_backlogs", full)
    second.stop()
    monkeypatch.undo()
    third = home.start(boot=b"b" * 16)
    assert third.trunk.held == [(b"up", 3)]
    assert [delivered(third, client_id) for client_id in (1, 2, 3)] == [[], [b"for 2"], [b"for 3"]]


def test_the_first_delivery_is_synced_before_it_and_the_others_as_everything(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_with_something_waiting(home)
    second = home.start()
    syncs: list[int] = []
    monkeypatch.setattr(module.Journal, "sync", lambda journal: syncs.append(journal.size))
    for client_id in (1, 2):
        delivered(second, client_id)
        assert len(syncs) == 1


def test_on_a_disk_that_fails_it_is_rather_lost_by_a_crash_than_delivered_twice(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_with_something_waiting(home)
    disk = Disk(monkeypatch)
    second = home.start()
    disk.full = True
    second.turn()
    assert (home.path / BACKLOGS).exists(), "as long as nothing is delivered"
    assert delivered(second, 1) == [b"for 1"]
    disk.full = False
    assert delivered(second, 2) == [b"for 2"]
    second.die()
    third = home.start()
    assert third.registry.sessions[1].backlog is None and third.registry.sessions[2].backlog is None


def test_a_file_that_cannot_be_removed_is_said_and_harms_nobody(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stopped_with_something_waiting(home)
    second = home.start()
    monkeypatch.setattr(second.store._directory, "remove", full)
    second.trunk.before_connecting()
    assert [delivered(second, client_id) for client_id in (1, 2, 3)] == [[b"for 1"], [b"for 2"], [b"for 3"]]
    assert "backlogs cannot be removed: No space left on device" in caplog.text
    second.die()
    third = home.start()
    assert third.trunk.held == [] and not (home.path / BACKLOGS).exists()
    assert [delivered(third, client_id) for client_id in (1, 2, 3)] == [[], [], []]


def test_a_spool_that_is_given_up_stays_so_where_the_start_fails(home: Home) -> None:
    stopped_with_something_waiting(home)
    second = home.start(boot=b"a" * 16)
    assert delivered(second, 1) == [b"for 1"]
    second.die()
    for begin in (False, False, True):
        after = home.start(boot=b"b" * 16, begin=begin)
        assert after.trunk.held == [] and all(session.backlog is None for session in after.registry.sessions.values())
        after.die()
