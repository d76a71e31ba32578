"""Sessions of version 3 over one process after the other: what is known of their packets by number, their secrets."""

from __future__ import annotations

import os
from typing import Any

import pytest
from kit.frames import join
from kit.kills import copied
from kit.numbered import CONFIRMATION, WELCOME, Client, Master
from kit.stores import KEY, POINT, TIMEOUT, Disk, Home, Process, delivered, full, left

from voltlane.core.delivery import EPOCH_SPAN, Claims, Delivery, agree, decode_delivery
from voltlane.core.protocols.secrets import CREDENTIAL_SIZES, decode_secrets
from voltlane.reasons import EndReason
from voltlane.store import session_store as module
from voltlane.store.backlogs import FILE as BACKLOGS
from voltlane.store.backlogs import read_backlogs
from voltlane.store.directory import StateDirectory
from voltlane.store.journal import read_journal
from voltlane.store.records import Kind
from voltlane.store.session_store import NoStore
from voltlane.wire.v3 import Gap, Why


def known(process: Process, client_id: int) -> tuple[int, int, int, int]:
    """Epoch, floor, taken and safe."""
    delivery = process.registry.sessions[client_id].delivery
    assert delivery is not None
    return delivery.epoch, delivery.floor, delivery.taken, delivery.safe


def another(epoch: int, taken: int = 0, safe: int = 0) -> tuple[int, int, int, int]:
    """The same of a memory that began with the `epoch`th process."""
    return epoch, epoch * EPOCH_SPAN, taken, safe


def numbered(process: Process, floor: int, taken: int, safe: int | None = None) -> Any:
    session = process.open_v3()
    assert session.delivery is not None
    session.delivery.floor, session.delivery.taken = floor, taken
    session.delivery.safe = taken if safe is None else safe
    return session


# ---- secrets


def test_a_secret_is_written_before_its_client_is_told(home: Home) -> None:
    first = home.start()
    session = first.open_v3()
    assert len(session.credential) in CREDENTIAL_SIZES
    secrets = decode_secrets(session.credential).confirmed(7).offered(1, 7, os.urandom)
    session.credential = secrets.encode()
    first.registry.journal.renewed(session, True)
    first.die()  # in the middle of the turn
    assert decode_secrets(home.start().registry.sessions[session.id].credential) == secrets


def test_what_nobody_is_told_is_written_with_all_else_of_the_turn(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    first = home.start()
    session = first.open_v3()
    writes: list[bytes] = []
    real = module.Journal.append

    def append(journal: Any, records: bytes) -> None:
        writes.append(records)
        real(journal, records)

    monkeypatch.setattr(module.Journal, "append", append)
    session.credential = decode_secrets(session.credential).confirmed(7).encode()
    first.registry.journal.renewed(session, False)
    first.lose(session)
    assert writes == []
    first.turn()
    assert len(writes) == 1
    first.die()
    assert decode_secrets(home.start().registry.sessions[session.id].credential).branch == 7


def test_a_new_secret_makes_nobody_live_who_is_not(home: Home) -> None:
    """It is proven for a resume, which is a record of its own, and may not come."""
    first = home.start()
    gone, back = first.open_v3(), first.open_v3()
    first.lose(gone, back)
    first.turn(100)
    first.registry.journal.renewed(gone, True)
    first.registry.journal.renewed(back, True)
    first.resume(back)
    first.turn()
    first.die()
    home.wall.pass_(50)
    assert left(home.start()) == {gone.id: TIMEOUT - 150, back.id: TIMEOUT}


def test_a_new_secret_behind_the_seal_is_kept(home: Home) -> None:
    first = home.start()
    session = first.open_v3()
    first.store.seal()
    session.credential = decode_secrets(session.credential).confirmed(7).encode()
    first.registry.journal.renewed(session, False)
    first.store.leave()
    assert decode_secrets(home.start().registry.sessions[session.id].credential).branch == 7


def test_a_new_secret_is_in_a_journal_that_was_written_anew_meanwhile(home: Home) -> None:
    first = home.start()
    session = first.open_v3()
    first.store._draft(first.loop.now)
    session.credential = decode_secrets(session.credential).confirmed(7).encode()
    first.registry.journal.renewed(session, False)
    first.turn(5)
    first.die()
    assert decode_secrets(home.start().registry.sessions[session.id].credential).branch == 7


def test_an_opening_is_known_by_its_handle_in_the_next_process_too(home: Home) -> None:
    first = home.start()
    session = first.open_v3()
    handle = decode_secrets(session.credential).handle
    for end in (Process.die, Process.stop):
        end(home.processes[-1])
        after = home.start()
        assert after.registry.openings.find(handle) is after.registry.sessions[session.id]


def test_secrets_are_in_no_log_line(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    first = home.start()
    secrets = decode_secrets(first.open_v3().credential)
    first.stop()
    home.start()
    assert secrets.present.hex() not in caplog.text and repr(secrets.present) not in caplog.text


# ---- in order


def test_after_a_stop_in_order_the_numbers_are_as_they_were(home: Home) -> None:
    first = home.start()
    here, away, older = numbered(first, 5, 9), numbered(first, 50, 90, 70), first.open(POINT)
    first.lose(away, older)
    first.hub.deliver({away.id: join([b"51", b"52"])})
    assert first.stop()  # with one unread packet for who is here
    second = home.start()
    assert known(second, here.id) == (1, 5, 9, 9)
    assert known(second, away.id) == (1, 50, 90, 70)
    assert second.registry.sessions[older.id].delivery is None
    assert delivered(second, here.id) == [b"unread"] and delivered(second, away.id) == [b"51", b"52"]


def test_and_so_are_those_of_a_session_that_nothing_waits_for(home: Home) -> None:
    first = home.start()
    session = numbered(first, 5, 9)
    first.lose(session)
    first.stop()
    assert session.backlog is None
    second = home.start()
    assert known(second, session.id) == (1, 5, 9, 9)
    second.stop()
    assert known(home.start(), session.id) == (1, 5, 9, 9), "over any number of stops"


def test_what_the_master_has_not_taken_is_not_safe_before_it_has(home: Home) -> None:
    """Handed over it is in this process's hands alone: a client that had forgotten it would never be told."""
    first, master = home.start(), Master()
    master.connect(first)
    client = Client(first.open_v3(), master)
    client.send(first, b"1")
    master.disconnect()
    client.send(first, b"2")
    client.send(first, b"3")
    first.lose(first.registry.sessions[client.id])
    first.stop()
    second = home.start()
    assert known(second, client.id) == (1, 0, 3, 1)
    client.resume(second)
    assert client.acked == 1
    second.trunk.before_connecting()
    second.die()  # before anything is written to it
    third = home.start()
    assert third.trunk.held == []
    master.connect(third)
    client.resume(third)
    assert client.unsure == {2, 3}
    client.check("")


def test_it_is_safe_when_the_next_process_has_written_it(home: Home) -> None:
    first, master = home.start(), Master()
    client = Client(first.open_v3(), master)
    client.send(first, b"1")
    first.lose(first.registry.sessions[client.id])
    first.stop()
    second = home.start()
    client.resume(second)
    assert known(second, client.id) == (1, 0, 1, 0)
    master.connect(second)
    assert known(second, client.id) == (1, 0, 1, 1) and master.got == {client.id: [b"1"]}


@pytest.mark.parametrize("loses", [WELCOME, CONFIRMATION])
@pytest.mark.parametrize("end", [Process.stop, Process.die])
def test_what_is_uncertain_is_told_until_it_is_heard(home: Home, loses: str, end: Any) -> None:
    """However many processes come between, and whatever the master has."""
    first, master = home.start(), Master()
    client = Client(first.open_v3(), master)
    client.send(first, b"1")
    client.send(first, b"2")
    first.die()
    for _ in range(2):
        process = home.start()
        master.connect(process)
        client.resume(process, loses)
        end(process)
    assert client.unsure >= {1, 2} if loses == CONFIRMATION else not client.unsure
    last = home.start()
    master.connect(last)
    client.resume(last)
    assert client.unsure >= {1, 2}
    client.check("")
    assert known(last, client.id)[2:] == (len(client.sent), len(client.sent)), "and so it is settled"


def test_who_has_not_heard_it_is_told_again_and_who_has_is_not(home: Home) -> None:
    first, master = home.start(), Master()
    client = Client(first.open_v3(), master)
    client.send(first, b"1")
    first.die()
    second = home.start()
    master.connect(second)
    client.resume(second, WELCOME)
    assert client.epoch == 1 and client.unsure == set() and known(second, client.id)[2:] == (1, 0)
    client.resume(second, CONFIRMATION)
    assert client.epoch == 2 and client.unsure == {1} and known(second, client.id)[2:] == (1, 0)
    client.unsure.clear()
    client.resume(second)
    assert client.unsure == set() and known(second, client.id)[2:] == (2, 2)
    assert master.got[client.id] == client.sent[1:] and len(client.gaps) == 1


def test_numbers_go_with_their_session_into_its_tombstone(home: Home) -> None:
    first = home.start()
    session = numbered(first, 5, 9)
    first.stop()
    home.wall.pass_(TIMEOUT + 1)
    second = home.start(timeout=TIMEOUT / 10)
    home.wall.pass_(1)
    assert session.id in second.registry.sessions, "who was here has all the time from the start on"
    second.die()
    third = home.start(timeout=0)
    stone = third.registry.tombstones.get(session.id)
    assert stone is not None and stone.reason is EndReason.EXPIRED and stone.taken == 9


def test_what_is_over_the_limit_of_the_next_process_moves_its_numbers(home: Home) -> None:
    first = home.start()
    session = numbered(first, 5, 9)
    first.lose(session)
    first.hub.deliver({session.id: join([b"%d" % number for number in range(6, 16)])})
    first.stop()
    second = home.start(packets=4, drop_oldest=True)
    assert known(second, session.id) == (1, 11, 9, 9)
    delivery = second.registry.sessions[session.id].delivery
    assert delivery is not None and delivery.why == Why.LIMIT
    assert delivered(second, session.id) == [b"12", b"13", b"14", b"15"]


def test_the_file_has_them_in_front_of_what_waits(home: Home) -> None:
    first = home.start()
    session = numbered(first, 5, 9)
    number = first.store._number
    first.stop()
    directory = StateDirectory(str(home.path))
    found, ledger = read_backlogs(directory, first.store.key.public), read_journal(directory, first.store.key.public)
    directory.close()
    assert found is not None and ledger is not None
    assert [(note.kind, note.number) for note in found.notes] == [(Kind.NUMBERS, session.id), (Kind.MISSED, session.id)]
    delivery = decode_delivery(found.notes[0].data)
    assert (delivery.epoch, delivery.floor, delivery.taken, delivery.safe) == (1, 5, 9, 9)
    assert ledger.sealed == found.number == number


# ---- not in order


def test_after_a_kill_the_memory_is_another_one(home: Home) -> None:
    first = home.start()
    session = numbered(first, 5, 9)
    first.turn()
    first.die()
    assert known(home.start(), session.id) == another(2)


def test_after_a_stop_and_a_kill_it_is_too_and_what_was_taken_is_the_least(home: Home) -> None:
    """The second process may have been sent what is lost with it; what waited before that is a part of the same gap."""
    first = home.start()
    session, older = numbered(first, 5, 9, 7), first.open(POINT)
    first.lose(session, older)
    first.hub.deliver({session.id: join([b"6"]), older.id: join([b"older"])})
    first.stop()
    second = home.start()
    second.hub.deliver({session.id: join([b"7"])})
    second.die()
    for epoch in (3, 4):
        third = home.start()
        assert known(third, session.id) == another(epoch, 9, 7)
        assert third.registry.sessions[session.id].backlog is None
        third.die()
    last = home.start()
    assert delivered(last, older.id) == [b"older"], "who has no numbers loses nothing of what waited"
    last.stop()
    assert known(home.start(), session.id) == another(5, 9, 7), "a stop in order keeps the new one"


def test_the_least_is_so_for_who_came_back_before_the_kill_too(home: Home) -> None:
    first = home.start()
    one, other = numbered(first, 5, 9), numbered(first, 50, 90)
    first.lose(one, other)
    first.stop()
    second = home.start()
    back = second.registry.sessions[one.id]
    second.resume(back)
    assert back.delivery is not None
    back.delivery.floor, back.delivery.taken = 6, 10
    second.die()  # in the middle of the turn
    third = home.start()
    assert known(third, one.id) == another(3, 9, 9) and known(third, other.id) == another(3, 90, 90)


def test_what_was_handed_to_the_master_before_the_kill_is_taken_and_not_safe(home: Home) -> None:
    first, master = home.start(), Master()
    master.connect(first)
    client = Client(first.open_v3(), master)
    client.send(first, b"1")
    master.disconnect()
    client.send(first, b"2")
    client.send(first, b"3")
    first.stop()
    second = home.start()
    second.trunk.before_connecting()
    second.die()
    third = home.start()
    assert known(third, client.id) == another(3, 3, 1) and third.trunk.held == []


def test_a_backlogs_file_of_another_stop_is_not_in_order(home: Home) -> None:
    """As after a kill between the seal and the file, or a file that was brought back."""
    first = home.start()
    session = numbered(first, 5, 9)
    first.lose(session)
    first.stop()
    second = home.start()
    second.store.seal()
    second.die()
    assert known(home.start(), session.id) == another(3, 9, 9)


@pytest.mark.parametrize("when", ["moved away", "unwritable"])
def test_without_the_file_of_what_waited_nothing_is_known(
    home: Home, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = home.start()
    session = numbered(first, 5, 9)
    first.lose(session)
    if when == "unwritable":
        monkeypatch.setattr(module, "write_backlogs", full)
    assert first.stop() == (when == "moved away")
    monkeypatch.undo()
    if when == "moved away":
        (home.path / BACKLOGS).unlink()
    assert known(home.start(), session.id) == another(2)


def test_after_a_loss_of_power_the_least_is_known_though_the_file_is_given_up(home: Home) -> None:
    first = home.start()
    one, other = numbered(first, 5, 9), numbered(first, 50, 90)
    first.lose(one, other)
    first.stop()
    second = home.start(boot=b"a" * 16)
    second.resume(second.registry.sessions[one.id])
    second.die()
    third = home.start(boot=b"b" * 16)
    assert known(third, one.id) == another(3, 9, 9) and known(third, other.id) == another(3, 90, 90)
    third.die()
    assert known(home.start(), other.id) == another(4), "which is so as long as there is the file"


def test_a_journal_that_fails_at_the_seal_is_not_in_order(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    first = home.start()
    session = numbered(first, 5, 9)
    first.lose(session)
    first.turn()
    disk = Disk(monkeypatch)
    disk.full = True
    first.store.seal()
    disk.full = False
    first.store.leave()
    assert (home.path / BACKLOGS).exists()
    assert known(home.start(), session.id) == another(2, 9, 9)


def test_a_start_that_fails_costs_no_numbers(home: Home) -> None:
    first = home.start()
    session = numbered(first, 5, 9)
    first.lose(session)
    first.stop()
    for _ in range(2):
        home.start(begin=False).die()
    assert known(home.start(), session.id) == (1, 5, 9, 9)


def test_power_that_goes_behind_a_stop_costs_no_numbers(home: Home, tmp_path: Any) -> None:
    """All of it is synced by then."""
    first = home.start(boot=b"a" * 16)
    session = numbered(first, 5, 9)
    first.stop()
    after = Process(copied(home.path, tmp_path / "copy"), home.wall, boot=b"b" * 16)
    assert known(after, session.id) == (1, 5, 9, 9)
    after.die()


# ---- epochs


def test_no_epoch_comes_twice(home: Home) -> None:
    epochs = []
    for end in (Process.die, Process.stop, Process.die, Process.die, Process.stop):
        process = home.start()
        epochs.append(process.store.epoch)
        process.store._draft(process.loop.now)
        process.turn(5)
        end(process)
    assert epochs == [1, 2, 3, 4, 5]


def test_an_epoch_is_on_the_disk_before_anybody_is_told(home: Home, tmp_path: Any) -> None:
    """Whatever else is not: of the file that a start makes, nothing can be missing."""
    first = home.start(sync=0)
    whole = home.journal.stat().st_size
    first.open_v3()
    path = copied(home.path, tmp_path / "copy")
    first.die()
    (path / home.journal.name).write_bytes(home.journal.read_bytes()[:whole])
    after = Process(path, home.wall)
    assert after.store.epoch == 2
    after.die()


def test_a_start_that_fails_uses_none_up(home: Home) -> None:
    home.start().die()
    for _ in range(2):
        failed = home.start(begin=False)
        assert failed.store.epoch == 2
        failed.die()
    assert NoStore(KEY).epoch == 1


def test_what_comes_for_a_session_of_which_nothing_is_known_is_not_taken_for_what_it_has(home: Home) -> None:
    first, master = home.start(), Master()
    client = Client(first.open_v3(), master)
    for number in range(5):
        master.send(first, client.id, b"%d" % number)
        client.receive(b"%d" % number)
    first.die()
    second = home.start()
    master.send(second, client.id, b"new")
    client.resume(second)
    assert client.events[5:] == [Gap(6, 2 * EPOCH_SPAN, Why.RESTART), b"new"]


def test_what_was_kept_before_a_kill_is_in_the_gap_in_front_of_what_comes_after_it(home: Home) -> None:
    """The client has one of three by its old number; the kill is between, a stop in order behind it."""
    first, master = home.start(), Master()
    client = Client(first.open_v3(), master)
    first.lose(first.registry.sessions[client.id])
    for number in range(3):
        master.send(first, client.id, b"%d" % number)
    client.receive(b"0")
    first.stop()
    home.start().die()
    third = home.start()
    master.send(third, client.id, b"3")
    third.stop()
    fourth = home.start()
    assert known(fourth, client.id) == another(3)
    client.resume(fourth)
    assert client.events == [b"0", Gap(2, 3 * EPOCH_SPAN, Why.RESTART), b"3"]


def test_a_client_that_was_away_over_many_kills_has_one_gap(home: Home) -> None:
    first, master = home.start(), Master()
    client = Client(first.open_v3(), master)
    first.lose(first.registry.sessions[client.id])
    master.send(first, client.id, b"0")
    first.stop()
    for end in (Process.die, Process.stop, Process.die, Process.die):
        process = home.start()
        master.send(process, client.id, b"to %d" % process.store.epoch)
        end(process)
    last = home.start()
    assert known(last, client.id) == another(6) and last.registry.sessions[client.id].backlog is None
    client.resume(last)
    assert client.events == [Gap(1, 6 * EPOCH_SPAN, Why.RESTART)]
    client.check("")


def test_what_an_older_state_of_a_client_does_not_know_of_is_uncertain_too() -> None:
    """The welcome says taken; a client reckons up to that."""
    delivery = Delivery(1, taken=9)
    delivery.safe = 7
    delivery.forget(2)
    agreement = agree(delivery, 0, Claims(1, 0, 0, 5, 5))
    assert agreement.taken == 9 and agreement.uncertain == (8, 9)


def test_what_is_over_a_limit_behind_a_kill_is_in_that_gap_too() -> None:
    delivery = Delivery(1, 7)
    delivery.forget(2)
    for _ in range(2):
        delivery.drop(1)
        assert agree(delivery, 3, Claims(1, 5, 5, 0, 0)).gap == (6, delivery.floor, Why.RESTART)
    assert delivery.floor == 2 * EPOCH_SPAN + 2
    delivery.acked(delivery.floor + 1)
    delivery.drop(1)
    assert delivery.why == Why.LIMIT


# ---- how long the file stays


def test_the_file_stays_until_who_has_numbers_is_back_or_over(home: Home) -> None:
    first = home.start()
    sessions = [numbered(first, 0, 0) for _ in range(3)]
    first.lose(*sessions)
    first.stop()
    second = home.start()
    second.resume(second.registry.sessions[sessions[0].id])
    second.registry.end(second.registry.sessions[sessions[1].id])
    assert (home.path / BACKLOGS).exists()
    second.resume(second.registry.sessions[sessions[2].id])
    assert not (home.path / BACKLOGS).exists()


def test_nor_does_it_stay_for_what_is_given_up(home: Home) -> None:
    first = home.start()
    session = numbered(first, 0, 9)
    first.lose(session)
    first.hub.deliver({session.id: join([b"1"])})
    first.stop()
    home.start().die()
    assert (home.path / BACKLOGS).exists()
    third = home.start()
    assert not (home.path / BACKLOGS).exists()
    third.stop()
    assert known(home.start(), session.id) == another(3, 9, 9)
