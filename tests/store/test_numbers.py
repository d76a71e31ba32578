"""Sessions of version 3 over one process after the other: what is known of their packets by number, their secrets."""

from __future__ import annotations

import os
from typing import Any

import pytest
from kit.frames import join
from kit.kills import copied
from kit.numbered import Client, Master
from kit.stores import KEY, POINT, TIMEOUT, Disk, Home, Process, delivered, full, left

from voltlane.core.delivery import EPOCH_SPAN, Claims, Delivery, agree, decode_delivery
from voltlane.core.protocols.secrets import CREDENTIAL_SIZE, decode_secrets
from voltlane.reasons import EndReason
from voltlane.store import session_store as module
from voltlane.store.backlogs import FILE as BACKLOGS
from voltlane.store.backlogs import read_backlogs
from voltlane.store.directory import StateDirectory
from voltlane.store.journal import read_journal
from voltlane.store.records import Kind
from voltlane.store.session_store import NoStore
from voltlane.wire.v3 import Why


def known(process: Process, client_id: int) -> tuple[int, int, int, int, int]:
    """Epoch, floor, the floor of before, taken and safe."""
    delivery = process.registry.sessions[client_id].delivery
    assert delivery is not None
    return delivery.epoch, delivery.floor, delivery.before, delivery.taken, delivery.safe


def another(epoch: int, before: int = -1, taken: int = 0) -> tuple[int, int, int, int, int]:
    """The same of a memory that began with the `epoch`th process."""
    return epoch, epoch * EPOCH_SPAN, before, taken, taken


def numbered(process: Process, floor: int, taken: int) -> Any:
    session = process.open_v3()
    assert session.delivery is not None
    session.delivery.floor, session.delivery.taken, session.delivery.safe = floor, taken, taken
    return session


# ---- secrets


def test_a_secret_is_written_before_its_client_is_told(home: Home) -> None:
    first = home.start()
    session = first.open_v3()
    assert len(session.credential) == CREDENTIAL_SIZE
    secrets = decode_secrets(session.credential).confirmed(7).proven(1, 7, os.urandom)
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
    assert decode_secrets(home.start().registry.sessions[session.id].credential).chosen == 7


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
    assert decode_secrets(home.start().registry.sessions[session.id].credential).chosen == 7


def test_a_new_secret_is_in_a_journal_that_was_written_anew_meanwhile(home: Home) -> None:
    first = home.start()
    session = first.open_v3()
    first.store._draft(first.loop.now)
    session.credential = decode_secrets(session.credential).confirmed(7).encode()
    first.registry.journal.renewed(session, False)
    first.turn(5)
    first.die()
    assert decode_secrets(home.start().registry.sessions[session.id].credential).chosen == 7


def test_an_opening_is_known_by_its_handle_in_the_next_process_too(home: Home) -> None:
    first = home.start()
    session = first.open_v3()
    handle = decode_secrets(session.credential).handle
    for end in (Process.die, Process.stop):
        end(home.processes[-1])
        after = home.start()
        assert after.registry.handles == {handle: after.registry.sessions[session.id]}


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
    here, away, older = numbered(first, 5, 9), numbered(first, 50, 90), first.open(POINT)
    first.lose(away, older)
    first.hub.deliver({away.id: join([b"51", b"52"])})
    assert first.stop()  # with one unread packet for who is here
    second = home.start()
    assert known(second, here.id) == (1, 5, -1, 9, 9)
    assert known(second, away.id) == (1, 50, -1, 90, 90)
    assert second.registry.sessions[older.id].delivery is None
    assert delivered(second, here.id) == [b"unread"] and delivered(second, away.id) == [b"51", b"52"]


def test_and_so_are_those_of_a_session_that_nothing_waits_for(home: Home) -> None:
    first = home.start()
    session = numbered(first, 5, 9)
    first.lose(session)
    first.stop()
    assert session.backlog is None
    second = home.start()
    assert known(second, session.id) == (1, 5, -1, 9, 9)
    second.stop()
    assert known(home.start(), session.id) == (1, 5, -1, 9, 9), "over any number of stops"


def test_what_the_master_has_not_taken_is_not_safe_before_it_has(home: Home) -> None:
    """Handed over it is in this process's hands alone: a client that had forgotten it would never be told."""
    first, master = home.start(), Master()
    client = Client(first.open_v3(), master)
    client.send(first, b"1", True)
    for packet in (b"2", b"3"):
        client.send(first, packet, False)
    first.stop()
    second = home.start()
    assert known(second, client.id) == (1, 0, -1, 3, 1)
    client.resume(second)
    assert client.acked == 1
    second.trunk.before_connecting()
    second.die()  # before anything is written to it
    third = home.start()
    master.connect(third)
    client.resume(third)
    assert client.unsure == {2, 3}
    client.check(third, "")


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
    assert known(second, session.id) == (1, 11, -1, 9, 9)
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
    assert (delivery.epoch, delivery.floor, delivery.before, delivery.taken, delivery.safe) == (1, 5, -1, 9, 9)
    assert ledger.sealed == found.number == number


# ---- not in order


def test_after_a_kill_the_memory_is_another_one(home: Home) -> None:
    first = home.start()
    session = numbered(first, 5, 9)
    first.turn()
    first.die()
    assert known(home.start(), session.id) == another(2)


def test_after_a_stop_and_a_kill_it_is_too_and_the_numbers_are_the_fewest(home: Home) -> None:
    """The second process may have been sent what is lost with it."""
    first = home.start()
    session = numbered(first, 5, 9)
    first.lose(session)
    first.hub.deliver({session.id: join([b"6"])})
    first.stop()
    second = home.start()
    second.hub.deliver({session.id: join([b"7"])})
    second.die()
    for epoch in (3, 4):
        third = home.start()
        assert known(third, session.id) == another(epoch, 5, 9)
        third.die()
    last = home.start()
    last.stop()
    assert known(home.start(), session.id) == another(5, 5, 9), "a stop in order keeps the new one"


def test_who_came_back_before_the_kill_has_no_numbers(home: Home) -> None:
    first = home.start()
    one, other = numbered(first, 5, 9), numbered(first, 50, 90)
    first.lose(one, other)
    first.stop()
    second = home.start()
    second.resume(second.registry.sessions[one.id])
    second.die()  # in the middle of the turn
    third = home.start()
    assert known(third, one.id) == another(3) and known(third, other.id) == another(3, 50, 90)


def test_what_was_handed_to_the_master_before_the_kill_does_not_count_as_taken(home: Home) -> None:
    first, master = home.start(), Master()
    client = Client(first.open_v3(), master)
    for packet in (b"1", b"2", b"3"):
        client.send(first, packet, packet == b"1")
    first.stop()
    second = home.start()
    second.trunk.before_connecting()
    second.die()
    assert known(home.start(), client.id) == another(3, 0, 1)


def test_a_backlogs_file_of_another_stop_is_not_in_order(home: Home) -> None:
    """As after a kill between the seal and the file, or a file that was brought back."""
    first = home.start()
    session = numbered(first, 5, 9)
    first.lose(session)
    first.stop()
    second = home.start()
    second.store.seal()
    second.die()
    assert known(home.start(), session.id) == another(3, 5, 9)


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


def test_after_a_loss_of_power_nothing_is_known_once_anybody_came_back(home: Home) -> None:
    first = home.start()
    one, other = numbered(first, 5, 9), numbered(first, 50, 90)
    first.lose(one, other)
    first.stop()
    second = home.start(boot=b"a" * 16)
    second.resume(second.registry.sessions[one.id])
    second.die()
    third = home.start(boot=b"b" * 16)
    assert known(third, one.id) == known(third, other.id) == another(3)


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
    assert known(home.start(), session.id) == another(2, 5, 9)


def test_a_start_that_fails_costs_no_numbers(home: Home) -> None:
    first = home.start()
    session = numbered(first, 5, 9)
    first.lose(session)
    first.stop()
    for _ in range(2):
        home.start(begin=False).die()
    assert known(home.start(), session.id) == (1, 5, -1, 9, 9)


def test_power_that_goes_behind_a_stop_costs_no_numbers(home: Home, tmp_path: Any) -> None:
    """All of it is synced by then."""
    first = home.start(boot=b"a" * 16)
    session = numbered(first, 5, 9)
    first.stop()
    after = Process(copied(home.path, tmp_path / "copy"), home.wall, boot=b"b" * 16)
    assert known(after, session.id) == (1, 5, -1, 9, 9)
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
    assert client.got[-1:] == [b"new"] and client.gaps == 1


def test_what_was_kept_before_a_kill_comes_once(home: Home) -> None:
    """The client has one of three by its old number; the kill is between, a stop in order behind it."""
    first, master = home.start(), Master()
    client = Client(first.open_v3(), master)
    session = first.registry.sessions[client.id]
    first.lose(session)
    for number in range(3):
        master.send(first, client.id, b"%d" % number)
    client.receive(b"0")
    first.stop()
    home.start().die()
    third = home.start()
    master.send(third, client.id, b"3")
    third.stop()
    fourth = home.start()
    assert known(fourth, client.id) == another(3, 0, 0)
    client.resume(fourth)
    assert client.got == [b"0", b"1", b"2", b"3"] and client.gaps == 1
    assert known(fourth, client.id)[1:3] == (3 * EPOCH_SPAN + 3, -1), "it has their new numbers"


def test_what_was_kept_over_two_kills_is_given_up(home: Home) -> None:
    first, master = home.start(), Master()
    client = Client(first.open_v3(), master)
    first.lose(first.registry.sessions[client.id])
    master.send(first, client.id, b"0")
    first.stop()
    home.start().die()
    home.start().stop()
    home.start().die()
    for epoch in (5, 6):
        after = home.start()
        assert known(after, client.id)[:3] == another(epoch)[:3]
        assert after.registry.sessions[client.id].backlog is None
        if epoch == 5:
            after.die()
    client.resume(after)
    assert client.got == [] and client.gaps == 1


def test_a_limit_in_a_new_epoch_costs_what_it_says() -> None:
    delivery = Delivery(1, 7)
    delivery.forget(2, kept=True)
    assert (delivery.floor, delivery.before) == (2 * EPOCH_SPAN, 7)
    delivery.drop(2)
    assert (delivery.floor, delivery.before) == (2 * EPOCH_SPAN + 2, 9)
    taken = 2 * EPOCH_SPAN + 1  # it has the gap and the first packet of the new epoch
    agreement = agree(delivery, 3, Claims(2, taken, taken, 0, 0))
    assert (agreement.old, agreement.skip) == (0, 0) and agreement.gap == (taken + 1, delivery.floor, Why.LIMIT)


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


def test_what_is_known_is_taken_over_as_it_is() -> None:
    delivery = Delivery(1)
    delivery.handle = b"handle"
    other = Delivery(2, 3, 4, Why.LIMIT)
    other.safe = 2
    delivery.recall(other)
    assert (delivery.epoch, delivery.floor, delivery.taken, delivery.safe) == (2, 3, 4, 2)
    assert delivery.why == Why.LIMIT and delivery.handle == b"handle"
