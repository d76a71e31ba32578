"""How long an ending waits, for what, and when it does not wait at all."""

from __future__ import annotations

from types import ModuleType

import pytest
from kit.frames import split_tagged
from kit.lanes import tcp, toy
from kit.world import Client, World, world

from voltlane.lanes.fairness.turns import PARKED
from voltlane.reasons import CloseReason, EndReason
from voltlane.server.farewell import Farewell
from voltlane.wire.framing import GOODBYE
from voltlane.wire.tagged import Flag

SECS = 10


class Ending:
    """A farewell that has begun."""

    def __init__(self, made: World, seconds: float = SECS) -> None:
        self.done = False
        self.server = made.server
        self.told = 0
        Farewell(made.loop, made.server.clients, made.server.trunk, seconds, self._tell, self._note)

    def _tell(self) -> None:
        self.told += 1
        self.server.seal()

    def _note(self) -> None:
        assert not self.done
        self.done = True


def reader_that_stopped(made: World) -> Client:
    client = made.new()
    client.reading = False
    made.master.send(client.id, *[bytes(10_000)] * 20)
    made.settle()
    return client


def test_nothing_queued_and_a_master_that_closes() -> None:
    with world() as made:
        ending = Ending(made)
        made.settle()
        assert made.master.ended and not ending.done  # it was told, and has a moment to read
        made.master.cut()
        made.settle()
        made.pass_(0.1, 0.05)
        assert ending.done


def test_a_master_that_does_not_close_is_given_a_tenth_of_the_time() -> None:
    with world() as made:
        ending = Ending(made)
        made.pass_(SECS / 10 - 0.1)
        assert not ending.done
        made.pass_(0.2)
        assert ending.done


def test_no_master_and_nothing_queued_is_no_wait() -> None:
    with world(master=False) as made:
        assert Ending(made).done


def test_a_client_is_waited_for_until_it_has_read() -> None:
    with world() as made:
        client = reader_that_stopped(made)
        ending = Ending(made)
        made.pass_(SECS / 2)
        assert not ending.done and not made.master.ended
        client.reading = True
        made.settle()
        made.pass_(0.5, 0.05)
        assert len(client.got) == 20 and made.master.ended


def test_a_client_that_never_reads_is_not_waited_for_longer_than_the_bound() -> None:
    with world() as made:
        client = reader_that_stopped(made)
        ending = Ending(made)
        made.pass_(SECS * 0.6 - 0.2)
        assert not made.master.ended
        made.pass_(0.8, 0.05)
        assert made.master.ended and not ending.done
        made.pass_(SECS / 10)
        assert ending.done
        client.reading = True


def test_no_time_at_all_is_no_wait() -> None:
    with world() as made:
        client = reader_that_stopped(made)
        assert Ending(made, 0).done
        client.reading = True


def test_clients_are_read_to_their_end() -> None:
    """What they had sent before they heard of it arrives, and in order; then they are gone, for now."""
    with world() as made:
        clients = [made.new() for _ in range(3)]
        for client in clients:
            client.send(b"before")
        ending = Ending(made)
        assert ending.told == 1 and made.server.registry.stale_count == 3
        for client in clients:
            client.pump()
            assert client.ended
            client.send(b"behind")  # before it looked
        made.pass_(0.2, 0.05)
        assert not ending.done and made.server.clients.retired
        for client in clients:
            client.cut()
        made.settle()
        made.pass_(0.1, 0.05)
        assert not made.server.clients.retired and made.master.ended
        assert all(made.master.data[client.id] == [b"before", b"behind"] for client in clients)
        assert made.server.counters.closed == {CloseReason.SHUTDOWN: 3}


@pytest.mark.parametrize("lane", [tcp, toy])
def test_what_the_master_sends_to_them_meanwhile_waits_for_them(lane: ModuleType) -> None:
    with world() as made:
        client = made.new(lane=lane)
        Ending(made)
        made.master.send(client.id, b"late")
        made.settle()
        backlog = made.server.registry.sessions[client.id].backlog
        assert backlog is not None and backlog.packets == 1 and made.server.clients.retired
        client.cut()
        made.settle()
        assert backlog.packets == 1 and not made.server.clients.retired


def test_what_a_client_had_not_taken_waits_for_it() -> None:
    with world() as made:
        client = reader_that_stopped(made)
        Ending(made, 0.5)
        made.pass_(1, 0.05)
        backlog = made.server.registry.sessions[client.id].backlog
        assert backlog is not None and backlog.packets > 0


def test_a_client_that_does_not_end_is_not_waited_for_longer_than_it_speaks() -> None:
    with world() as made:
        client = made.new()
        Ending(made)
        for _ in range(4):
            client.send(b"more")
            made.pass_(0.1, 0.05)
        assert made.server.clients.retired and not made.master.ended
        made.pass_(0.4, 0.05)
        assert not made.server.clients.retired and made.master.ended
        assert made.master.data[client.id] == [b"more"] * 4


def test_a_client_that_speaks_without_end_is_not_waited_for_longer_than_the_bound() -> None:
    with world() as made:
        client = made.new()
        Ending(made)
        for _ in range(40):
            client.send(b"more")
            made.pass_(0.1, 0.05)
        assert made.master.ended


def test_who_was_not_read_for_its_rate_is_read_at_the_end() -> None:
    with world({"clients.packet_rate": 1, "clients.rate_burst_secs": 1}) as made:
        client = made.new()
        client.send(b"1", b"2", b"3")
        made.settle()
        client.send(b"4")
        Ending(made)
        made.pass_(0.5, 0.05)
        assert made.master.data[client.id] == [b"1", b"2", b"3", b"4"]


def test_a_session_that_ends_meanwhile_is_heard_no_more() -> None:
    with world() as made:
        client = made.new()
        Ending(made)
        made.master.kick(client.id)
        made.settle()
        client.send(b"nobody")
        made.settle()
        assert client.id not in made.master.data and not made.server.clients.retired


def test_with_a_master_that_takes_nothing_the_rest_is_left_to_who_keeps_it() -> None:
    """It is read when everything closes, and waits for the master of the next process."""
    with world({"master.outbox_bytes": 10_000}) as made:
        made.master.reading = False
        client = made.new()
        made.settle()
        sent = [b"%d" % number + bytes(1000) for number in range(1500)]
        client.send(*sent)
        made.settle()
        taken = len(client.sent)
        ending = Ending(made)
        made.pass_(SECS + 1)
        assert ending.done and made.server.clients.turns.paused
        made.server.trunk.close(CloseReason.SHUTDOWN)
        made.server.clients.farewell(kept=True)
        kept = [payload for chunk, _ in made.server.trunk.release() for payload in split_tagged(chunk)]
        made.master.reading = True
        made.master.pump()
        passed_on = [*made.master.data.get(client.id, []), *[tagged.data for tagged in kept]]
        assert passed_on == sent[: len(passed_on)] and len(passed_on) >= taken
        assert not made.server.clients.retired


def test_where_nobody_keeps_it_what_is_not_read_is_counted() -> None:
    with world({"master.outbox_bytes": 10_000}) as made:
        made.master.reading = False
        client = made.new()
        client.send(*[bytes(1000)] * 1500)
        made.settle()
        Ending(made)
        made.pass_(SECS + 1)
        made.server.clients.farewell(kept=False)
        assert made.server.counters.bytes_discarded > 0
        made.master.reading = True


def test_a_client_that_says_goodbye_meanwhile_is_not_waited_for_by_the_next_process() -> None:
    with world() as made:
        client = made.new()
        Ending(made)
        client.send(b"last words")
        client.write(GOODBYE)
        client.cut()
        made.settle()
        assert made.master.data[client.id] == [b"last words"] and not made.server.registry.sessions
        assert made.server.counters.ended == {EndReason.LEFT: 1}


@pytest.mark.parametrize("parked", [False, True])
def test_a_goodbye_that_was_not_read_yet_when_the_connection_failed_counts(parked: bool) -> None:
    with world() as made:
        client, connection = made.new(), made.server.clients.connections[0]
        connection.flags |= PARKED if parked else 0
        client.write(GOODBYE)
        connection.close(CloseReason.PEER_LOST)
        assert made.server.counters.ended == {EndReason.LEFT: 1}


def test_what_was_sent_comes_before_the_end_that_the_loss_is() -> None:
    with world({"clients.missed_packets_buffer_size": 0}) as made:
        client = reader_that_stopped(made)
        client.send(b"last words")
        Ending(made, 0)
        made.settle()
        assert [(tagged.flag, tagged.data) for tagged in made.master.log] == [
            (Flag.DATA, b"last words"),
            (Flag.FAILURE, b"Client disconnected"),
        ]
        assert not made.server.clients.retired


@pytest.mark.parametrize("kept", [False, True])
def test_what_is_not_read_of_a_session_that_ended_meanwhile_is_no_news_of_it(kept: bool) -> None:
    """The master has been told that it is over, and would take what comes behind that for a new client's."""
    with world({"clients.missed_packets_buffer_size": 0, "master.outbox_bytes": 1_000_000}) as made:
        client = reader_that_stopped(made)
        ending = Ending(made)
        made.pass_(SECS * 0.6 - 0.1)
        made.server.clients.turns.pause()
        made.loop.pass_(0.2)
        client.send(b"unread")
        made.server.clients.farewell(kept)
        made.settle()
        assert ending.told and made.master.notices(Flag.FAILURE) == [(client.id, b"Client disconnected")]
        assert client.id not in made.master.data


def test_where_nobody_can_come_back_what_was_sent_is_read_all_the_same() -> None:
    with world({"clients.stale_timeout_secs": 0}) as made:
        client = made.new()
        Ending(made)
        client.send(b"said before it saw the end")
        made.settle()
        client.cut()
        made.pass_(SECS)
        assert made.master.data[client.id] == [b"said before it saw the end"]


def test_four_bytes_are_no_goodbye() -> None:
    with world() as made:
        client = made.new()
        Ending(made)
        client.write(GOODBYE)
        made.settle()
        client.write(b"\xff")
        made.pass_(SECS)
        assert not made.server.counters.ended


def test_settings_that_come_while_it_ends_end_nobodys_session() -> None:
    with world({"clients.max_stale_clients": 1}) as made:
        for _ in range(3):
            made.new()
        Ending(made)
        made.settle()
        made.server.configure(made.server.config)
        assert len(made.server.registry.sessions) == 3


def test_what_the_master_still_says_is_heard_whatever_there_is_to_tell_it() -> None:
    """Our side of the firehose has ended: what would be said now waits, or is lost; nothing fails of it."""
    with world() as made:
        client = made.new()
        ending = Ending(made)
        client.cut()
        made.pass_(0.1, 0.05)
        assert made.master.ended and not ending.done
        made.master.send(12345, b"nobody")
        made.loop.turn(0)
        made.master.pump()
        made.settle()
        made.master.send(client.id, b"the last")
        made.settle()
        assert made.server.registry.sessions[client.id].backlog is not None
