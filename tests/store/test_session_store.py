"""The store: one process after the other on a fake clock, each dying in its own way."""

from __future__ import annotations

import os
from typing import Any

import pytest
from kit.frames import join
from kit.recorders import RecorderLink
from kit.stores import KEY, POINT, TIMEOUT, Disk, Home, Process, delivered, left

from voltlane.core.ids import CLOCK_BITS, EPOCH, TICKS, clock_ids
from voltlane.core.session import State
from voltlane.errors import StateError
from voltlane.reasons import CloseReason, EndReason
from voltlane.store import session_store as module
from voltlane.store.backlogs import FILE as BACKLOGS
from voltlane.store.directory import StateDirectory
from voltlane.store.journal import FILE as JOURNAL
from voltlane.store.keyfile import prepare_next
from voltlane.store.session_store import FIRST_BLOCK, ID_BLOCK, RETRY_SECS, NoStore

# ---- killed


def test_all_that_happened_before_a_kill_is_known_after_it(home: Home) -> None:
    first = home.start()
    live, stale, resumed, ended = (first.open() for _ in range(4))
    first.lose(stale, resumed, ended)
    first.turn(10)
    first.resume(resumed)
    first.registry.end(ended)
    first.turn()
    first.die()
    home.wall.pass_(20)
    second = home.start()
    assert left(second) == {stale.id: TIMEOUT - 30, live.id: TIMEOUT, resumed.id: TIMEOUT}
    assert all(session.credential == POINT for session in second.registry.stale())
    assert second.counters.restored == 3 and second.trunk.pushed == []


def test_a_new_session_is_written_before_anybody_is_told_its_id(home: Home) -> None:
    first = home.start()
    session = first.open()
    first.die()  # in the middle of the turn
    assert list(home.start().registry.sessions) == [session.id]


def test_those_who_were_live_are_stale_since_the_first_restart_and_not_since_the_last(home: Home) -> None:
    home.start().open()
    for passed in (0, 100, 200):
        home.processes[-1].die()
        assert left(home.start()) == {1: TIMEOUT - passed}
        home.wall.pass_(100)
    home.processes[-1].die()
    last = home.start()
    assert left(last) == {}
    assert [tuple(packet) for packet in last.trunk.pushed] == [(1, 1, b"Client disconnected")]
    assert last.counters.ended == {EndReason.EXPIRED: 1}


def test_a_clock_that_was_set_back_gives_nobody_more_than_the_limit(home: Home) -> None:
    first = home.start()
    first.lose(first.open())
    first.turn(100)
    first.die()
    home.wall.pass_(-1_000_000)
    assert left(home.start()) == {1: TIMEOUT}


def test_a_lower_limit_holds_for_those_who_are_stale_and_none_is_evicted_by_the_restart(home: Home) -> None:
    first = home.start()
    sessions = [first.open() for _ in range(5)]
    first.die()
    second = home.start(timeout=7.0, most=2)
    assert left(second) == {session.id: 7.0 for session in sessions}
    second.lose(second.open())
    assert len(second.registry.stale()) == 5  # one for one, from here on


def test_sessions_are_not_restored_where_none_may_be_stale(home: Home) -> None:
    first = home.start()
    first.open()
    first.die()
    second = home.start(most=0)
    assert second.registry.sessions == {} and len(second.trunk.pushed) == 1


def test_no_id_is_given_out_twice_however_it_ends(home: Home) -> None:
    ids: list[int] = []
    for end in (Process.die, Process.stop, Process.die, Process.die, Process.stop, Process.stop):
        process = home.start()
        ids += [process.open().id for _ in range(3)]
        end(process)
    assert len(set(ids)) == len(ids) == 18 and ids == sorted(ids)
    assert ids[:3] == [1, 2, 3]
    assert ids[6] == ids[5] + 1 and ids[15] == ids[14] + 1, "an orderly stop leaves no gap"


def test_ids_are_reserved_on_the_disk_before_they_are_given_out(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ID_BLOCK", 10)
    monkeypatch.setattr(module, "FIRST_BLOCK", 10)
    first = home.start(sync=0)
    synced = b""
    real = module.Journal.sync

    def sync(journal: Any) -> None:
        nonlocal synced
        real(journal)
        synced = home.journal.read_bytes()

    monkeypatch.setattr(module.Journal, "sync", sync)
    synced = home.journal.read_bytes()
    for _ in range(57):
        newest = first.open().id
        first.turn()
        # The power goes: nothing but what was synced is left.
        (home.path / "copy").mkdir(exist_ok=True, mode=0o700)
        (home.path / "copy" / JOURNAL).write_bytes(synced)
        (home.path / "copy" / JOURNAL).chmod(0o600)
        after = Process(home.path / "copy", home.wall)
        assert after.open().id > newest
        after.die()


def test_cut_anywhere_behind_what_was_synced_it_is_an_earlier_moment_and_ids_stay_unique(home: Home) -> None:
    first = home.start(sync=0)
    moments: dict[int, list[int]] = {}

    def look() -> None:
        first.turn()
        moments[home.journal.stat().st_size] = list(first.registry.sessions)

    look()
    for number in range(12):
        newest = first.open()
        look()
        if number % 3 == 2:
            first.registry.end(newest)
            look()
    first.die()
    data = home.journal.read_bytes()
    for cut in range(min(moments), len(data) + 1):
        home.journal.write_bytes(data[:cut])
        after = home.start()
        assert sorted(after.registry.sessions) == moments[max(size for size in moments if size <= cut)]
        assert after.open().id > newest.id
        after.die()


# ---- stopped


def test_after_a_stop_everything_that_waited_is_there(home: Home) -> None:
    first = home.start()
    away, here = first.open(), first.open()
    first.lose(away)
    for payloads in ([b"one", b"two"], [b"three"]):
        first.hub.deliver({away.id: join(payloads)})
    first.trunk.hold(b"up", 3)
    first.store.seal()
    first.hub.lost(here, [(join([b"unread"]), 1)], first.loop.now)
    first.store.leave()
    home.wall.pass_(10)
    second = home.start()
    assert left(second) == {away.id: TIMEOUT - 10, here.id: TIMEOUT}, "who was here has all the time from now on"
    assert second.trunk.held == [(b"up", 3)]
    second.trunk.before_connecting()
    links = {client_id: RecorderLink() for client_id in (away.id, here.id)}
    for client_id, link in links.items():
        assert (home.path / BACKLOGS).exists()
        second.hub.resume(second.registry.sessions[client_id], link, b"")
    assert not (home.path / BACKLOGS).exists(), "all of it is delivered"
    assert links[away.id].sent == [b"one", b"two", b"three"] and links[here.id].sent == [b"unread"]


def test_a_server_that_could_not_start_has_cost_nobody_anything(home: Home) -> None:
    first = home.start()
    first.lose(first.open())
    first.hub.deliver({1: join([b"missed"])})
    first.stop()
    before = {name: (home.path / name).read_bytes() for name in (JOURNAL, BACKLOGS)}
    failed = home.start(begin=False)  # it had no address to listen on
    failed.store.seal()
    failed.store.leave()
    assert {name: (home.path / name).read_bytes() for name in (JOURNAL, BACKLOGS)} == before


def test_backlogs_are_within_the_limits_of_the_process_that_takes_them(home: Home) -> None:
    first = home.start()
    first.lose(first.open())
    first.hub.deliver({1: join([b"%03d" % number for number in range(100)])})
    first.stop()
    second = home.start(packets=30)
    assert not second.registry.sessions and second.counters.ended == {EndReason.BACKLOG_FULL: 1}


def test_nothing_is_written_about_a_stop_where_nothing_waits(home: Home) -> None:
    first = home.start()
    first.lose(first.open())
    first.turn()
    first.stop()
    assert sorted(os.listdir(home.path)) == ["channel.key", "lock", JOURNAL]


def test_no_one_is_evicted_because_all_are_left_at_once(home: Home) -> None:
    first = home.start(most=2)
    ids = [first.open().id for _ in range(10)]
    first.stop()
    sessions = home.start(most=2).registry.sessions
    assert sorted(sessions) == ids
    assert all(session.backlog is not None and session.backlog.packets == 1 for session in sessions.values())


# ---- while it goes on


def test_a_turn_is_one_write_and_an_idle_vault_does_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = 0
    real = module.Journal.append

    def append(journal: Any, records: bytes) -> None:
        nonlocal writes
        writes += 1
        real(journal, records)

    monkeypatch.setattr(module.Journal, "append", append)
    process = home.start()
    sessions = [process.open() for _ in range(20)]
    writes = 0
    process.lose(*sessions)
    process.turn()
    assert writes == 1
    process.turn(5)
    assert writes == 1 and process.loop.timers == 0


def test_it_is_synced_once_in_the_time_that_was_asked_for(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[float] = []
    process = home.start(sync=2.0)
    monkeypatch.setattr(module.Journal, "sync", lambda journal: syncs.append(process.loop.now))
    began = process.loop.now
    for _ in range(10):
        process.lose(process.open())
        process.turn(0.5)
    assert [round(moment - began, 1) for moment in syncs] in ([2.0, 4.0], [2.1, 4.1], [2.0, 4.1], [2.1, 4.2])


def test_zero_leaves_it_to_the_system(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    process = home.start(sync=0)
    monkeypatch.setattr(module.Journal, "sync", lambda journal: pytest.fail("synced"))
    process.lose(process.open())
    process.turn(100)
    assert process.loop.timers == 0


def test_it_is_written_anew_in_slices_when_most_of_it_is_of_the_past(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SPARE", 5000)
    monkeypatch.setattr(module, "SLICE", 7)
    process = home.start()
    sessions = [process.open() for _ in range(50)]
    largest = 0
    for number in range(2000):
        session = sessions[number % 50]
        process.lose(session)
        process.turn(0.01 if number % 3 else 0.06)
        largest = max(largest, home.journal.stat().st_size)
        process.resume(session)
        if number % 100 == 0:
            process.registry.end(sessions[number % 50])
            sessions[number % 50] = process.open()
    process.turn(5)
    assert process.loop.timers == 0 and not process.store._journal.unsynced
    assert largest < 5000 + 2 * module.SESSION_SIZE * 50 + 3000
    process.die()
    assert {session.id for session in sessions} == set(home.start().registry.sessions)


# ---- a disk that fails


def test_a_full_disk_costs_the_journal_and_nothing_else(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk(monkeypatch)
    process = home.start()
    kept, gone = process.open(), process.open()
    disk.full = True
    sessions = [process.open() for _ in range(5)]
    process.lose(kept)
    process.registry.end(gone)
    process.turn(3 * RETRY_SECS)
    assert not process.store.healthy
    assert 3 <= process.counters.journal_errors <= 5 and disk.calls < 10, "it tries, and does not spin"
    assert caplog.text.count("cannot be written: No space left on device") == 1
    disk.full = False
    process.turn(2 * RETRY_SECS)
    assert process.store.healthy and "is written again, after" in caplog.text
    after = process.open()
    process.turn()
    process.die()
    assert set(home.start().registry.sessions) == {kept.id, after.id, *(session.id for session in sessions)}


def test_a_disk_that_fails_while_the_file_is_written_anew_is_tried_again_once(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    process = home.start(sync=0)
    session = process.open()
    process.store._draft(process.loop.now)
    disk.full = True
    process.lose(session)
    process.loop.pass_(0.1, step=0.1)  # the next slice comes before the end of the turn
    assert process.counters.journal_errors == 1 and process.loop.timers == 1
    disk.full = False
    process.turn(2 * RETRY_SECS)
    process.die()
    assert process.store.healthy and list(left(home.start())) == [session.id]


def test_a_write_that_ends_in_the_middle_of_a_record_harms_none_before_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = home.start()
    kept = process.open()
    real = os.write

    def half(descriptor: int, data: Any) -> int:
        monkeypatch.setattr(os, "write", fails)
        return real(descriptor, bytes(data)[:10])

    def fails(descriptor: int, data: Any) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "write", half)
    process.open()
    process.die()
    monkeypatch.undo()
    assert list(home.start().registry.sessions) == [kept.id]


def test_a_disk_that_is_full_at_the_end_is_in_what_leave_says(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    process = home.start()
    process.lose(process.open())
    process.hub.deliver({1: join([b"one", b"two"])})
    process.trunk.hold(b"up", 3)
    process.turn()
    disk = Disk(monkeypatch)
    disk.full = True
    assert not process.stop()
    assert "backlogs cannot be written: No space left on device; what waited is lost: 2 packets for clients, 3 for" in (
        caplog.text
    )
    assert "sessions.journal cannot be written" in caplog.text
    assert "trying again" not in caplog.text and "is not up to date" not in caplog.text
    disk.full = False
    assert list(home.start().registry.sessions) == [1], "the file of before has all sessions"


def test_sessions_that_could_not_be_written_until_the_end_are_in_it_too(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    process = home.start()
    disk = Disk(monkeypatch)
    disk.full = True
    process.store.hurry()
    process.lose(process.open())
    process.turn(3 * RETRY_SECS)
    assert process.counters.journal_errors == 1 and process.loop.timers == 0
    assert not process.stop()
    assert "trying again" not in caplog.text
    assert "sessions.journal is not up to date: what has become of sessions is lost" in caplog.text


def test_a_disk_that_has_room_again_at_the_end_costs_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    process = home.start()
    disk = Disk(monkeypatch)
    disk.full = True
    process.lose(process.open())
    process.turn()
    disk.full = False
    assert process.stop()
    assert list(home.start().registry.sessions) == [1]


def test_when_the_reserved_ids_are_used_up_there_are_no_more(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ID_BLOCK", 10)
    monkeypatch.setattr(module, "FIRST_BLOCK", 10)
    disk = Disk(monkeypatch)
    process = home.start()
    disk.full = True
    ids = []
    while process.registry.ids.available(process.loop.now):
        ids.append(process.open().id)
        process.turn(1)
    assert ids == list(range(1, 11))
    disk.full = False
    process.turn(2 * RETRY_SECS)
    assert process.registry.ids.available(process.loop.now) and process.open().id == 11


def test_an_error_of_ours_is_answered_the_same_way(home: Home) -> None:
    process = home.start()
    session = process.open()
    process.store.close(CloseReason.INTERNAL_ERROR, "a bug")
    process.turn(2 * RETRY_SECS)
    process.die()
    assert list(home.start().registry.sessions) == [session.id]


# ---- refused, and off


def test_damage_is_refused(home: Home) -> None:
    first = home.start()
    first.open()
    first.stop()
    data = bytearray(home.journal.read_bytes())
    data[-20] ^= 1
    home.journal.write_bytes(data)
    with pytest.raises(StateError, match=r"sessions\.journal is damaged"):
        home.start()


def test_sessions_without_their_key_are_refused(home: Home) -> None:
    home.start(key=None).stop()
    (home.path / "server.key").unlink()
    with pytest.raises(StateError, match=r"server\.key is missing"):
        home.start(key=None)


def test_the_key_is_the_same_after_a_restart(home: Home) -> None:
    first = home.start(key=None)
    first.die()
    assert home.start(key=None).store.key.public == first.store.key.public


def test_the_key_of_version_3_is_the_same_after_a_restart_and_the_next_one_is_known(home: Home) -> None:
    first = home.start()
    assert first.store.next_keys == ()
    first.die()
    directory = StateDirectory(str(home.path))
    following = prepare_next(directory).public
    directory.close()
    second = home.start()
    assert second.store.channel_key.public == first.store.channel_key.public
    assert second.store.next_keys == (following,)


def test_a_directory_of_before_version_3_gets_its_key(home: Home) -> None:
    first = home.start(key=None)
    session = first.open()
    first.stop()
    (home.path / "channel.key").unlink()
    second = home.start(key=None)
    assert list(second.registry.sessions) == [session.id] and (home.path / "channel.key").exists()


def test_sessions_of_version_3_without_its_key_are_refused(home: Home) -> None:
    first = home.start()
    first.open_v3()
    first.stop()
    (home.path / "channel.key").unlink()
    with pytest.raises(StateError, match=r"channel\.key is missing"):
        home.start()


def test_a_session_that_ends_behind_the_seal_is_over(home: Home) -> None:
    """What its connection had not got out when that was closed was more than is kept: it must not come back without."""
    first = home.start()
    session, other = first.open(), first.open()
    first.store.seal()
    first.hub.lost(session, [(join([b"x"] * 101), 101)], first.loop.now)
    first.hub.lost(other, [(join([b"y"]), 1)], first.loop.now)
    first.store.leave()
    second = home.start()
    assert list(second.registry.sessions) == [other.id] and delivered(second, other.id) == [b"y"]


def test_no_vault_keeps_nothing() -> None:
    process = NoStore(KEY)
    assert process.key is KEY and not process.keeps
    assert process.channel_key.public != NoStore(KEY).channel_key.public and process.next_keys == ()
    assert process.leave()


def test_the_block_is_large(home: Home) -> None:
    """A failing disk is to be noticed before there are no more ids, at a thousand new sessions a second too."""
    assert ID_BLOCK // 2 / 1000 > 500
    process = home.start(ids=clock_ids(0, EPOCH + 1000.0, 50.0))
    ids = process.registry.ids
    process.open()
    process.turn(2)
    assert FIRST_BLOCK // 2 < ids.last - ids.next < FIRST_BLOCK, "at the start it would be ahead of the clock"
    process.turn(100)
    process.open()
    process.turn(2)
    assert ids.last - ids.next > ID_BLOCK // 2 and ids.last <= ids.past(process.loop.now)


def test_a_process_that_was_killed_costs_no_more_ids_than_the_time_that_it_lived(home: Home) -> None:
    """But for the block of the start: else a loop of crashes runs ahead of the clock."""
    wall = 1000.0
    for _ in range(20):
        process = home.start(ids=clock_ids(0, EPOCH + wall, 50.0))
        process.open()
        process.turn(5)
        process.open()
        process.die()
        wall += 6
    first = home.start(ids=clock_ids(0, EPOCH + wall, 50.0)).open().id
    assert first - wall * TICKS < FIRST_BLOCK


def test_ids_go_on_behind_those_that_were_kept_whatever_the_clock_says(home: Home) -> None:
    process = home.start(ids=clock_ids(0, EPOCH + 1000.0, 50.0))
    newest = process.open().id
    process.die()
    assert home.start(ids=clock_ids(0, 0.0, 50.0)).open().id > newest


def test_what_another_node_has_kept_is_in_nobodys_way(home: Home) -> None:
    process = home.start(ids=clock_ids(5, EPOCH + 1000.0, 50.0))
    kept = process.open().id
    process.die()
    process = home.start(ids=clock_ids(4, EPOCH + 1001.0, 50.0))
    assert process.open().id == (4 << CLOCK_BITS) + 1001 * TICKS and kept in process.registry.sessions


def test_stale_states_are_states(home: Home) -> None:
    first = home.start()
    session = first.open()
    first.die()
    restored = home.start().registry.sessions[session.id]
    assert restored.state is State.STALE and restored.link is None and restored.secret is None
