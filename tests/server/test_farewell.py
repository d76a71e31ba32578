"""How long an ending waits, for what, and when it does not wait at all."""

from __future__ import annotations

from kit.world import Client, World, world

from voltlane.server.farewell import Farewell

SECS = 10


class Ending:
    """A farewell that has begun."""

    def __init__(self, made: World, seconds: float = SECS) -> None:
        self.done = False
        Farewell(made.loop, made.server.clients, made.server.trunk, seconds, self._note)

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
        made.pass_(0.2, 0.05)
        assert len(client.got) == 20 and made.master.ended


def test_a_client_that_never_reads_is_not_waited_for_longer_than_the_bound() -> None:
    with world() as made:
        client = reader_that_stopped(made)
        ending = Ending(made)
        made.pass_(SECS * 0.9 - 0.2)
        assert not made.master.ended
        made.pass_(0.4)
        assert made.master.ended and not ending.done
        made.pass_(SECS / 10)
        assert ending.done
        client.reading = True


def test_no_time_at_all_is_no_wait() -> None:
    with world() as made:
        client = reader_that_stopped(made)
        assert Ending(made, 0).done
        client.reading = True
