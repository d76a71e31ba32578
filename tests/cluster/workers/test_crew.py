"""Connections and workers: who gets which, and what becomes of them when one dies."""

from __future__ import annotations

import socket

import pytest
from kit.crew import CrewWorld, FakeProcess

from voltlane.cluster.handover.notes import Note, note
from voltlane.cluster.workers.notes import (
    FORMAT,
    Crossing,
    Kind,
    Leave,
    Status,
    decode_comer,
    decode_crossing,
    decode_hello,
    encode_crossing,
    encode_leave,
    encode_numbers,
    encode_status,
)
from voltlane.cluster.workers.worker import LONG_ENOUGH, Step
from voltlane.config import Limits
from voltlane.core.readiness import State
from voltlane.reasons import CloseReason, Hold


def crossing(home: int, deadline: float = 1e9) -> bytes:
    return encode_crossing(Crossing(home, int(socket.AF_UNIX), deadline, b"what is known"))


class TestPassingOn:
    def test_each_goes_to_the_one_with_the_fewest(self):
        with CrewWorld(3) as world:
            world.serve()
            for _ in range(7):
                world.come()
            assert sorted(world.counts) == [2, 2, 3]
            world.turn()
            for index, process in enumerate(world.processes):
                assert len(process.told(Kind.CONNECTION)) == world.counts[index]

    def test_its_first_word_is_who_it_is(self):
        with CrewWorld() as world:
            (hello,) = world.processes[1].listen()
            assert hello.kind is Kind.HELLO and hello.number == FORMAT
            said = decode_hello(hello.data)
            assert (said.which, said.workers, said.watched) == (1, 2, False)
            assert said.keys.key.public and "secret" not in repr(said)

    def test_a_connection_is_the_same_there(self):
        with CrewWorld(1) as world:
            world.serve()
            client = world.come()
            world.turn()
            (found,) = world.processes[0].told(Kind.CONNECTION)
            comer = decode_comer(found.data)
            assert (comer.lane, comer.peer, comer.has_header) == ("tcp", "somebody", False)
            with socket.socket(fileno=world.processes[0].wire.descriptor()) as theirs:
                theirs.send(b"hello")
                assert client.recv(10) == b"hello"

    @pytest.mark.parametrize("hold", [Hold.MASTER, Hold.CROWD, Hold.UPGRADE])
    def test_one_that_holds_gets_none(self, hold: Hold):
        with CrewWorld() as world:
            world.serve()
            world.processes[0].status(hold)
            world.turn()
            world.come(), world.come()
            assert world.counts == [0, 2]
            assert world.crew.holds == set()
            world.processes[1].status(Hold.CROWD)
            world.turn()
            assert world.crew.holds == {hold, Hold.CROWD}

    def test_one_that_has_no_room_gets_none_until_one_leaves(self):
        with CrewWorld(1, room=2) as world:
            world.serve()
            world.come(), world.come()
            assert world.crew.holds == {Hold.DESCRIPTORS}
            world.processes[0].say(Kind.LEFT, 1, encode_leave(Leave(CloseReason.PEER_CLOSED, True, 1.0)))
            looks = world.looks
            world.turn()
            assert world.crew.holds == set() and world.looks > looks

    def test_who_is_told_of_a_status_has_been_told_of_all_before_it(self):
        with CrewWorld(1) as world:
            world.serve()
            world.come()
            world.processes[0].status(Hold.UPGRADE)
            world.turn()
            kinds = [found.kind for found in world.processes[0].listen()]
            assert kinds[-2:] == [Kind.CONNECTION, Kind.PASSED]

    def test_one_that_is_behind_gets_none(self):
        with CrewWorld() as world:
            world.serve()
            channel = world.crew.workers[0].channel
            assert channel is not None
            while not channel.crowded:
                channel.say(b"\0\0\0\0\x0a" + bytes(8) + b"", None)
                channel.say(b"\x00\x00\x04\x00\x0a" + bytes(8) + bytes(1 << 18), None)
                world.turn()
            assert not world.crew.workers[0].takes and world.crew.workers[1].takes

    def test_who_came_while_all_were_behind_is_passed_on_when_one_is_not(self):
        with CrewWorld(1) as world:
            world.serve()
            channel = world.crew.workers[0].channel
            assert channel is not None
            while not channel.crowded:
                channel.say(note(Kind.PING, 0, bytes(1 << 18)))
                world.turn()
            looks = world.looks
            world.come()
            assert world.counts == [0] and len(world.crew.lounge) == 1
            assert world.looks > looks and world.crew.holds == {Hold.WORKERS}
            while world.processes[0].listen():
                world.turn()
            assert world.counts == [1] and world.crew.holds == set()

    def test_or_is_closed_when_no_handshake_may_take_so_long(self):
        with CrewWorld(1, Limits(address_failures=1, flap_count=1)) as world:
            world.serve()
            world.processes[0].status(Hold.MASTER)
            world.turn()
            world.come()
            world.turn(5.1)
            assert world.closed(CloseReason.HANDSHAKE_TIMEOUT) == 1 and world.admission.connections == 0
            world.come()  # which no failure and no ban keeps out

    def test_one_whose_end_is_closed_gets_none_while_its_process_is_there(self):
        with CrewWorld() as world:
            world.serve()
            world.processes[0].wire.close()
            world.turn()
            assert world.processes[0].returncode is None
            clients = [world.come() for _ in range(4)]
            world.turn()
            assert world.counts == [0, 4] and not world.crew.workers[0].hears
            for client in clients:
                client.setblocking(False)
                with pytest.raises(BlockingIOError):
                    client.recv(1)


class TestWhatWorkersSay:
    def test_sources_hear_how_connections_go_on(self):
        with CrewWorld(1, Limits(address_connections=5)) as world:
            world.serve()
            world.come(), world.come()
            assert (world.admission.connections, world.admission.handshakes) == (2, 2)
            world.processes[0].say(Kind.GREETED, 1)
            world.processes[0].say(Kind.GREETED, 1)
            world.turn()
            assert (world.admission.connections, world.admission.handshakes) == (2, 1)
            for number in (1, 2, 2, 7):
                world.processes[0].say(Kind.LEFT, number, encode_leave(Leave(CloseReason.PEER_CLOSED, True, 1.0)))
            world.turn()
            assert (world.admission.connections, world.admission.handshakes) == (0, 0)

    def test_an_address_that_a_proxy_has_said(self):
        with CrewWorld(2, Limits(address_connections=1)) as world:
            world.serve()
            world.come(b""), world.come(b"")
            for process, number in zip(world.processes, (1, 2)):
                process.say(Kind.CLAIMED, number, b"\xc0\0\2\1")
                world.turn()
            assert world.processes[0].told(Kind.CLOSE) == []
            (refusal,) = world.processes[1].told(Kind.CLOSE)
            assert (refusal.number, refusal.data) == (2, b"ADDRESS_FULL")

    @pytest.mark.parametrize("kind", [Kind.LEFT, Kind.ARRIVAL, Kind.STATUS])
    def test_what_is_not_understood_ends_that_worker(self, kind: Kind):
        with CrewWorld() as world:
            world.serve()
            world.processes[0].say(kind, 1, b"\xff")
            world.turn()
            world.turn(10)
            world.turn(1)
            assert world.gone == [0] and world.crew.workers[1].step is Step.SERVING


class TestEnds:
    def test_it_is_started_again_later_each_time(self):
        with CrewWorld(1) as world:
            pauses = []
            for _ in range(8):
                world.serve(-1)
                world.processes[-1].end(1)
                world.turn()
                count, waited = len(world.processes), 0.0
                while len(world.processes) == count:
                    world.turn(0.25)
                    waited += 0.25
                pauses.append(waited)
            assert [round(pause - 0.2) for pause in pauses] == [0, 1, 2, 4, 8, 16, 30, 30]
            world.serve(-1)
            world.turn(LONG_ENOUGH)
            world.processes[-1].end(1)
            world.turn()
            world.turn(0.1)
            assert len(world.processes) == 10, "one that ran for so long begins anew"

    def test_its_connections_are_not_counted_any_more_nor_held_against_anybody(self):
        with CrewWorld(2, Limits(address_failures=2, flap_count=2)) as world:
            world.serve()
            for _ in range(6):
                world.come()
            world.turn()
            world.processes[0].end(1)
            world.turn()
            assert (world.counts, world.admission.connections) == ([0, 3], 3)
            assert not world.admission.banned_now(world.now)
            world.come()

    def test_who_was_not_passed_on_goes_to_another(self):
        with CrewWorld() as world:
            world.serve()
            world.come(), world.come()
            assert world.counts == [1, 1]
            world.processes[0].end(1)  # before the turn's end
            world.turn()
            assert world.counts == [0, 2]
            world.turn()
            assert len(world.processes[1].told(Kind.CONNECTION)) == 2

    def test_or_waits_until_there_is_one(self):
        with CrewWorld(1) as world:
            world.serve()
            world.come()
            world.processes[0].end(1)
            world.turn()
            world.turn(0.1)
            assert world.crew.holds == {Hold.WORKERS} and world.counts == [0]
            world.serve(-1)
            world.turn()
            assert world.counts == [1] and len(world.processes[-1].told(Kind.CONNECTION)) == 1

    def test_one_that_closes_its_end_and_stays_is_killed(self):
        with CrewWorld(1) as world:
            world.serve()
            world.processes[0].wire.close()
            world.turn()
            assert world.processes[0].returncode is None
            world.turn(3.1)
            world.turn(0.1)
            assert world.processes[0].returncode == -9 and world.gone == [0]

    def test_one_that_is_stuck_is_ended(self):
        with CrewWorld() as world:
            world.serve()
            world.crew.watch(3.0)
            for _ in range(5):
                world.processes[0].say(Kind.PONG)
                world.turn(1.0)
            assert world.processes[0].returncode is None and world.processes[0].told(Kind.PING)
            assert world.processes[1].returncode == -9

    def test_none_is_ended_for_a_time_in_which_the_parent_stood_still(self):
        with CrewWorld() as world:
            world.serve()
            world.crew.watch(3.0)
            world.turn(1.0)
            world.turn(60.0)  # with their answers unread
            for process in world.processes:
                process.say(Kind.PONG)
            world.turn(1.0)
            assert [process.returncode for process in world.processes] == [None, None]

    def test_one_that_does_not_end_at_once_is_killed(self):
        with CrewWorld() as world:
            world.serve()
            world.crew.stop(True)
            world.turn(3.1)
            assert [process.returncode for process in world.processes] == [-9, -9]

    def test_all_stop(self):
        with CrewWorld() as world:
            world.serve()
            world.processes[1].end(1)
            world.turn()
            world.crew.stop(False)
            world.turn()
            assert [found.number for found in world.processes[0].told(Kind.STOP)] == [0]
            world.crew.stop(True)
            world.turn()
            assert [found.number for found in world.processes[0].told(Kind.STOP)] == [0, 1]
            assert not world.crew.over
            world.processes[0].end(5)
            world.turn()
            assert world.crew.over and [worker.code for worker in world.crew.workers] == [5, 0]

    def test_questions_to_one_that_ends_have_no_answer(self):
        with CrewWorld(1) as world:
            answers: list[object] = []
            world.crew.workers[0].ask("early", {}, answers.append)
            world.serve()
            world.crew.workers[0].ask("what", {"x": 1}, answers.append)
            world.crew.workers[0].ask("more", {}, answers.append)
            world.turn()
            first, _ = world.processes[0].told(Kind.ASK)
            assert first.data == b'{"what":"what","x":1}'
            world.processes[0].say(Kind.ANSWER, first.number, b"[1]")
            world.processes[0].say(Kind.ANSWER, 77, b"[1]")
            world.turn()
            world.processes[0].end()
            world.turn()
            assert answers == [None, [1], None]


class TestSuccession:
    """Of two workers: the third process is to follow the first one."""

    def begun(self, world: CrewWorld) -> None:
        world.serve()
        world.come(), world.come()
        world.turn()
        world.crew.upgrade()
        world.turn()
        (order,) = world.processes[0].told(Kind.HAND_OVER)
        socket.socket(fileno=world.processes[0].wire.descriptor()).close()  # the connection's
        socket.socket(fileno=world.processes[0].wire.descriptor()).close()
        assert order.number == world.processes[2].pid and len(world.processes) == 3

    @pytest.mark.parametrize("ends_first", [True, False])
    def test_it_goes_on_with_the_connections_whoever_is_heard_first(self, ends_first: bool):
        with CrewWorld() as world:
            self.begun(world)
            if ends_first:
                world.processes[0].end(0)
                world.turn()
                world.turn(0.1)
                assert len(world.processes) == 3, "nobody else is started in its place"
            world.processes[2].say(Kind.KEPT, 0, encode_numbers([1]))
            world.serve(2)
            world.processes[0].end(0)
            world.turn()
            world.turn(0.1)
            assert world.counts == [1, 1] and world.admission.connections == 2
            assert [worker.step for worker in world.crew.workers] == [Step.SERVING] * 2
            assert len(world.processes) == 4, "the next one's turn"

    def test_one_that_fails_changes_nothing(self):
        with CrewWorld() as world:
            self.begun(world)
            world.processes[2].end(1)
            world.turn()
            world.turn(0.1)
            assert world.counts == [1, 1] and len(world.processes) == 3
            assert [worker.step for worker in world.crew.workers] == [Step.SERVING] * 2

    def test_one_that_dies_is_started_again_and_the_next_is_followed(self):
        with CrewWorld() as world:
            self.begun(world)
            world.processes[0].end(9)
            world.turn()
            assert len(world.processes) == 3, "the one that was to follow may have got everything"
            world.processes[2].end(1)
            world.turn()
            world.turn(0.1)
            assert world.counts == [0, 1] and len(world.processes) == 5
            assert world.processes[1].told(Kind.HAND_OVER)


def pass_on(process: FakeProcess, found: Note, what: bytes) -> None:
    """A worker hands on a connection that it was given."""
    descriptor = process.wire.descriptor()
    process.say(Kind.ARRIVAL, found.number, what, descriptor)
    socket.socket(fileno=descriptor).close()


class TestCrossings:
    def test_it_goes_to_the_worker_that_is_named(self):
        with CrewWorld(3) as world:
            world.serve()
            client = world.come()
            world.turn()
            process = world.processes[0]
            (found,) = process.told(Kind.CONNECTION)
            pass_on(process, found, crossing(2))
            world.turn()
            assert world.counts == [0, 0, 1] and world.admission.handshakes == 1
            (arrival,) = world.processes[2].told(Kind.ARRIVAL)
            assert arrival.number == found.number and decode_crossing(arrival.data).data == b"what is known"
            with socket.socket(fileno=world.processes[2].wire.descriptor()) as there:
                there.send(b"hello")
                assert client.recv(10) == b"hello"

    def test_one_that_has_no_room_is_not_given_more_than_it_can_have(self):
        with CrewWorld(2, room=2) as world:
            world.serve()
            for _ in range(4):
                world.come()
            world.turn()
            process = world.processes[0]
            found = process.told(Kind.CONNECTION)[0]
            pass_on(process, found, crossing(1))
            world.turn()
            assert world.counts == [1, 2] and len(world.crew.lounge) == 1
            number = world.processes[1].told(Kind.CONNECTION)[0].number
            world.processes[1].say(Kind.LEFT, number, encode_leave(Leave(CloseReason.PEER_CLOSED, True, 1.0)))
            world.turn()
            assert world.counts == [1, 2] and not len(world.crew.lounge)
            assert len(world.processes[1].told(Kind.ARRIVAL)) == 1

    def test_each_waits_for_as_long_as_it_may(self):
        with CrewWorld() as world:
            world.serve()
            world.processes[1].end(1)
            world.turn()
            process = world.processes[0]
            for secs in (4.0, 1.0):
                world.come()
                world.turn()
                found = process.told(Kind.CONNECTION)[-1]
                pass_on(process, found, crossing(1, world.now + secs))
                world.turn()
            assert len(world.crew.lounge) == 2
            world.turn(1.1)
            assert len(world.crew.lounge) == 1

    def test_no_more_of_them_wait_than_there_are_descriptors_for(self):
        with CrewWorld(1) as world:
            world.serve()
            world.processes[0].status(Hold.MASTER)
            world.turn()
            world.crew.most_waiting = 2
            for _ in range(3):
                world.come()
            assert len(world.crew.lounge) == 2 and world.closed(CloseReason.SERVER_FULL) == 1
            assert world.admission.connections == 2

    @pytest.mark.parametrize("comes_back", [True, False])
    def test_one_that_is_away_is_waited_for(self, comes_back: bool):
        with CrewWorld() as world:
            world.serve()
            world.processes[1].end(1)
            world.turn()
            client = world.come()
            world.turn()
            process = world.processes[0]
            (found,) = process.told(Kind.CONNECTION)
            pass_on(process, found, crossing(1))
            world.turn()
            assert len(world.crew.lounge) == 1 and world.counts == [0, 0]
            world.turn(1.0)
            if comes_back:
                world.serve(2)
                world.turn()
                assert world.counts == [0, 1] and not len(world.crew.lounge)
                assert len(world.processes[2].told(Kind.ARRIVAL)) == 1
            else:
                world.turn(5.0)
                assert world.closed(CloseReason.HANDSHAKE_TIMEOUT) == 1 and world.admission.connections == 0
                with pytest.raises((ConnectionResetError, BrokenPipeError)):
                    client.send(b"x")

    def test_nobody_waits_when_all_end(self):
        with CrewWorld() as world:
            world.serve()
            world.processes[1].end(1)
            world.turn()
            world.come()
            world.turn()
            process = world.processes[0]
            (found,) = process.told(Kind.CONNECTION)
            pass_on(process, found, crossing(1))
            world.turn()
            world.crew.stop(False)
            assert world.closed(CloseReason.SHUTDOWN) == 1 and not len(world.crew.lounge)

    def test_one_whose_address_may_not_come_in_does_not_get_away_by_that(self):
        """Its worker has passed it on before it was told to close it."""
        with CrewWorld(2, Limits(address_connections=1)) as world:
            world.serve()
            world.come(b""), world.come(b"")
            world.turn()
            for process, number in zip(world.processes, (1, 2)):
                process.say(Kind.CLAIMED, number, b"\xc0\0\2\1")
                world.turn()
            process = world.processes[1]
            (found,) = process.told(Kind.CONNECTION)
            pass_on(process, found, crossing(0))
            world.turn()
            assert world.closed(CloseReason.ADDRESS_FULL) == 1 and world.counts == [1, 0]
            assert world.processes[0].told(Kind.ARRIVAL) == [] and world.admission.connections == 1

    def test_one_that_is_to_go_to_nobody(self):
        with CrewWorld() as world:
            world.serve()
            client = world.come()
            world.turn()
            process = world.processes[0]
            (found,) = process.told(Kind.CONNECTION)
            pass_on(process, found, crossing(2))
            world.turn()
            assert world.counts == [0, 0] and world.admission.connections == 0
            assert world.closed(CloseReason.INTERNAL_ERROR) == 1 and client.recv(10) == b""


class TestWhatAnHeirHas:
    def test_what_the_heir_has_not_is_not_counted_any_more(self):
        with CrewWorld() as world:
            world.serve()
            for _ in range(6):
                world.come()
            world.crew.upgrade()
            world.turn()
            kept = [world.processes[0].told(Kind.CONNECTION)[0].number]
            world.processes[2].say(Kind.KEPT, 0, encode_numbers(kept))
            world.serve(2)
            assert world.counts == [1, 3] and world.admission.connections == 4
            world.processes[0].end(0)
            world.turn()
            assert world.gone == [0] and world.counts == [1, 3]

    @pytest.mark.parametrize("follows", [True, False])
    def test_the_old_one_is_gone_before_the_heir_says_that_it_is_there(self, follows: bool):
        with CrewWorld(1) as world:
            world.serve()
            world.come(), world.come()
            world.crew.upgrade()
            world.turn()
            world.processes[0].end(0)
            world.turn()
            world.turn(0.1)
            world.turn(60.0)
            assert len(world.processes) == 2 and world.counts == [2], "nobody else is started beside it"
            if follows:
                world.processes[1].say(Kind.KEPT, 0, encode_numbers([1, 2]))
                world.serve(1)
                assert world.counts == [2] and world.crew.workers[0].takes
            else:
                world.processes[1].end(1)
                world.turn()
                world.turn(0.1)
                assert world.counts == [0] and world.admission.connections == 0 and len(world.processes) == 3
            assert 0 in world.gone


class TestOpenings:
    def test_whose_they_are(self):
        one, two, three = (bytes([number]) * 16 for number in (1, 2, 3))
        with CrewWorld() as world:
            world.serve()
            first, second = world.processes
            first.say(Kind.WHOSE, 7, one + two)
            world.turn()
            second.say(Kind.WHOSE, 8, two + three)
            world.turn()
            assert [(said.number, said.data) for said in first.told(Kind.THEIRS)] == [(7, b"\0\0")]
            assert [(said.number, said.data) for said in second.told(Kind.THEIRS)] == [(8, b"\0\1")]

    def test_a_worker_has_some_when_it_starts_and_some_are_done(self):
        one, two = (bytes([number]) * 16 for number in (1, 2))
        with CrewWorld() as world:
            world.processes[1].say(Kind.HELD, 0, one + two)
            world.processes[1].say(Kind.DONE, 0, two)
            world.serve()
            world.processes[0].say(Kind.WHOSE, 1, one + two)
            world.turn()
            (said,) = world.processes[0].told(Kind.THEIRS)
            assert said.data == b"\1\1" and len(world.crew.handles) == 2


def test_only_those_are_reminded_of_a_drain_that_do_not_drain_yet():
    """Each order begins the rate anew, and says so in the log."""
    with CrewWorld() as world:
        world.serve()
        world.crew.drain(10, 0)
        world.turn()
        draining = encode_status(Status(State.DRAINING, frozenset()))
        world.processes[0].say(Kind.STATUS, 2, draining)
        world.turn()
        world.crew.drain(10, 0, again=False)
        world.turn()
        assert [len(process.told(Kind.DRAIN)) for process in world.processes] == [1, 2]
