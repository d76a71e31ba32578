"""Two channels and a network between them that loses, repeats, keeps back, spoils and invents datagrams, while either
end goes over to another process: what is taken was sent, and each of it once. A model of the window is beside each."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import pytest
from kit.datagrams import KEYS, bound, every_datagram_form
from kit.frames import join

from voltlane.wire.datagram import WINDOW, DatagramKeys
from voltlane.wire.tagged import Flag

hypothesis = pytest.importorskip("hypothesis")
stateful = pytest.importorskip("hypothesis.stateful")
settings, st = hypothesis.settings, hypothesis.strategies

LIMIT = 200
OTHER_KEYS = DatagramKeys(KEYS.id_out, KEYS.key_out, KEYS.id_in, KEYS.key_in)


class End:
    """One side, by the real sockets; `wire` is where what it sends comes out."""

    def __init__(self, form: ModuleType, keys: DatagramKeys, stack: ExitStack) -> None:
        self.form, self.keys = form, keys
        self.sock, self.wire = stack.enter_context(bound(count=2))
        self.begin()
        self.sent: list[bytes] = []
        """What the application gave it, by number."""
        self.under_way: list[tuple[bytes, int]] = []
        """Of this side's: each datagram, with its number."""
        self.taken: list[bytes] = []
        self.seen: set[int] = set()
        """Numbers of the other side's that were taken, by the model."""

    def begin(self, state: bytes = b"") -> None:
        """Anew, or as it was in another process."""
        self.channels: Any = self.form.Channels()
        self.channel: Any = self.form.Channel(self.keys, 7, 0.0)
        if state:
            self.channel.restore(state)
        self.channel.path = self.form.name_of(socket.AF_INET, *self.wire.getsockname())
        self.channels.add(self.channel)

    def send(self, count: int, now: float) -> None:
        bodies = [b"%d" % (len(self.sent) + place) for place in range(count)]
        first = self.channel.next_number
        sent = self.channels.send(self.sock, [(self.channel, join(bodies))], 0, 0, LIMIT, now)
        assert sent.datagrams == count and self.channel.next_number == first + count == len(self.sent) + count
        self.sent += bodies
        for number in range(first, first + count):
            self.under_way.append((self.wire.recv(LIMIT), number))

    def receive(self, datagram: bytes, now: float) -> None:
        self.wire.sendto(datagram, self.sock.getsockname())
        opened = self.channels.receive(self.sock, now, 8, Flag.DATAGRAM, LIMIT)
        position = 0
        while position < len(opened.chunk):
            size = int.from_bytes(opened.chunk[position : position + 4], "little")
            self.taken.append(opened.chunk[position + 13 : position + 4 + size])
            position += 4 + size

    def hears(self, number: int | None) -> None:
        """The model: one with this number came, or none that is good."""
        highest = max(self.seen, default=-1)
        if number is not None and number > highest - WINDOW:
            self.seen.add(number)


def machine_of(form: ModuleType) -> type:
    class Pair(stateful.RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.stack = ExitStack()
            self.ends = [End(form, KEYS, self.stack), End(form, OTHER_KEYS, self.stack)]
            self.now = 100.0

        @stateful.rule(side=st.integers(0, 1), count=st.integers(1, 6) | st.just(40))
        def send(self, side: int, count: int) -> None:
            self.ends[side].send(count, self.now)

        @stateful.rule(side=st.integers(0, 1), place=st.integers(0, 10**6), keep=st.booleans())
        def deliver(self, side: int, place: int, keep: bool) -> None:
            """Any of them, that may come again later."""
            sender, receiver = self.ends[side], self.ends[1 - side]
            if sender.under_way:
                place %= len(sender.under_way)
                datagram, number = sender.under_way[place]
                if not keep:
                    del sender.under_way[place]
                receiver.receive(datagram, self.now)
                receiver.hears(number)

        @stateful.rule(side=st.integers(0, 1), order=st.randoms(use_true_random=False), times=st.integers(1, 2))
        def deliver_all(self, side: int, order: random.Random, times: int) -> None:
            """In any order, and all of it perhaps twice."""
            sender, receiver = self.ends[side], self.ends[1 - side]
            for datagram, number in order.sample(times * sender.under_way, times * len(sender.under_way)):
                receiver.receive(datagram, self.now)
                receiver.hears(number)
            del sender.under_way[:]

        @stateful.rule(side=st.integers(0, 1), count=st.integers(1, 5))
        def lose(self, side: int, count: int) -> None:
            del self.ends[side].under_way[:count]

        @stateful.rule(side=st.integers(0, 1), place=st.integers(0, 10**6), bit=st.integers(0, 10**6))
        def spoil(self, side: int, place: int, bit: int) -> None:
            """A bit is turned, also in the number."""
            sender, receiver = self.ends[side], self.ends[1 - side]
            if sender.under_way:
                spoilt = bytearray(sender.under_way[place % len(sender.under_way)][0])
                spoilt[bit // 8 % len(spoilt)] ^= 1 << bit % 8
                receiver.receive(bytes(spoilt), self.now)

        @stateful.rule(side=st.integers(0, 1), place=st.integers(0, 10**6))
        def reflect(self, side: int, place: int) -> None:
            """To who has sent it."""
            sender = self.ends[side]
            if sender.under_way:
                sender.receive(sender.under_way[place % len(sender.under_way)][0], self.now)

        @stateful.rule(side=st.integers(0, 1), data=st.binary(max_size=80))
        def invent(self, side: int, data: bytes) -> None:
            receiver = self.ends[side]
            receiver.receive(data, self.now)
            receiver.receive((receiver.keys.id_in + data)[:LIMIT], self.now)

        @stateful.rule(side=st.integers(0, 1))
        def skip_ahead(self, side: int) -> None:
            """More than a window is lost."""
            end = self.ends[side]
            while len(end.sent) < len(self.ends[1 - side].seen) + WINDOW + 60:
                end.send(64, self.now)
            end.under_way[:] = end.under_way[:3] + end.under_way[-3:]

        @stateful.rule(side=st.integers(0, 1))
        def move(self, side: int) -> None:
            """Into another process."""
            end = self.ends[side]
            end.begin(end.channel.export())

        @stateful.rule(seconds=st.floats(0.0, 20.0))
        def wait(self, seconds: float) -> None:
            self.now += seconds

        @stateful.invariant()
        def each_once_and_nothing_else(self) -> None:
            for side, receiver in enumerate(self.ends):
                sender = self.ends[1 - side]
                assert len(set(receiver.taken)) == len(receiver.taken)
                assert set(receiver.taken) == {sender.sent[number] for number in receiver.seen}
                assert receiver.channel.highest == max(receiver.seen, default=-1)
                assert receiver.channel.received == len(receiver.seen)

        def teardown(self) -> None:
            self.stack.close()

    return Pair


@every_datagram_form
def test_each_once_and_nothing_else(form: ModuleType) -> None:
    stateful.run_state_machine_as_test(machine_of(form), settings=settings(stateful_step_count=40, deadline=None))
