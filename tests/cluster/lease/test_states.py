"""A lease as its holder sees it: the whole table, and never used when another could have it."""

from __future__ import annotations

import random
from itertools import product

import pytest

from voltlane.cluster.lease.states import MARGIN, RENEW, RETRY, TRANSITIONS, Ask, Event, Lease, State, Taken

SECS = 30.0
TAKEN = Taken(3, 7, 100)
USED = SECS * (1 - MARGIN)


def held(now: float = 0.0) -> Lease:
    lease = Lease(SECS, now)
    assert lease.ask(now) is Ask.TAKE
    lease.answered(Event.TAKEN, now + 1, TAKEN)
    return lease


def lapsed() -> Lease:
    lease = held()
    assert lease.ask(USED) is Ask.RENEW and lease.state is State.LAPSED
    lease.answered(Event.FAILED, USED)
    return lease


def left() -> Lease:
    lease = held()
    lease.leave()
    return lease


def seeking() -> Lease:
    return Lease(SECS, 0.0)


MAKERS = {State.SEEKING: seeking, State.HELD: held, State.LAPSED: lapsed, State.LEFT: left}


@pytest.mark.parametrize("state, event", list(product(State, Event)))
def test_every_state_with_every_event(state: State, event: Event):
    lease = MAKERS[state]()
    assert lease.state is state
    now = lease.look if lease.look < 1e9 else 100.0
    if event is Event.TIME_OVER:
        lease.ask(USED + 1)
    elif event is Event.LEAVE:
        lease.leave()
    else:
        lease.ask(now)
        lease.answered(event, now, TAKEN if event is Event.TAKEN else None)
    assert lease.state is TRANSITIONS[state].get(event, state)


def test_its_time_is_counted_from_when_it_was_asked_for():
    lease = held(100.0)
    assert lease.taken == TAKEN and lease.until == 100 + USED
    assert lease.usable(100 + USED - 0.001) and not lease.usable(100 + USED)


def test_the_clock_ends_it_and_no_timer():
    lease = held()
    assert lease.state is State.HELD and not lease.usable(1e6)


def test_it_is_renewed_in_time_and_tried_again():
    lease = held()
    assert lease.look == SECS * RENEW and lease.ask(lease.look - 0.01) is None
    assert lease.ask(10.0) is Ask.RENEW
    assert lease.ask(11.0) is None, "one question at a time"
    assert lease.look == USED
    lease.answered(Event.FAILED, 12.0)
    assert lease.state is State.HELD and lease.look == 12 + SECS * RETRY
    assert lease.ask(14.0) is Ask.RENEW
    lease.answered(Event.RENEWED, 15.0)
    assert lease.until == 14 + USED and lease.look == 14 + SECS * RENEW


def test_an_answer_that_is_too_late_is_none():
    lease = Lease(SECS, 0.0)
    lease.ask(0.0)
    lease.answered(Event.TAKEN, USED, TAKEN)
    assert lease.state is State.SEEKING and lease.taken is None and not lease.usable(USED)
    lease = held()
    lease.ask(10.0)
    lease.answered(Event.RENEWED, 10 + USED)
    assert not lease.usable(10 + USED) and lease.ask(10 + USED + SECS * RETRY) is Ask.RENEW
    assert lease.state is State.LAPSED


def test_a_number_that_is_gone_is_followed_by_another_at_once():
    lease = held()
    lease.ask(10.0)
    lease.answered(Event.GONE, 11.0)
    assert not lease.usable(11.0) and lease.ask(11.0) is Ask.TAKE
    lease.answered(Event.TAKEN, 12.0, TAKEN._replace(number=4))
    assert lease.usable(12.0) and lease.taken == TAKEN._replace(number=4)


def test_when_the_store_is_back_it_is_asked_at_once():
    lease = lapsed()
    assert lease.ask(USED + 0.5) is None
    lease.hurry(USED + 0.5)
    assert lease.ask(USED + 0.5) is Ask.RENEW
    one_that_has_time = held()
    one_that_has_time.hurry(5.0)
    assert one_that_has_time.ask(5.0) is Ask.RENEW, "the store may have forgotten whose it is"


def test_one_that_has_left_asks_for_nothing():
    lease = left()
    assert lease.look == float("inf") and lease.ask(1e6) is None
    lease.answered(Event.TAKEN, 1.0, TAKEN)
    assert lease.state is State.LEFT and not lease.usable(1.0)


@pytest.mark.parametrize("seed", range(20))
def test_nobody_uses_what_another_could_have(seed: int):
    """Servers with clocks that are up to a twentieth too fast or too slow, a store that forgets who is late, answers
    that are lost or come late, and servers that stand still: never do two use the number."""
    chance, store = random.Random(seed), Store()
    servers = [Server(store, chance.uniform(0.95, 1.05), name) for name in "abc"]
    uses = 0
    for step in range(4000):
        now = step * 0.1
        for server in servers:
            if chance.random() < 0.004:
                server.still_until = now + chance.uniform(1, 60)
            if now >= server.still_until:
                server.turn(now, chance)
        users = [server.name for server in servers if server.uses(now)]
        assert len(users) <= 1, (users, now)
        uses += len(users)
    assert uses > 1000, "often somebody does"


class Store:
    """One number, in real time."""

    holder, until = "", 0.0

    def take(self, who: str, now: float) -> bool:
        if now < self.until and self.holder != who:
            return False
        self.holder, self.until = who, now + SECS
        return True

    def renew(self, who: str, now: float) -> bool:
        if now >= self.until or self.holder != who:
            return False
        self.until = now + SECS
        return True


class Server:
    def __init__(self, store: Store, speed: float, name: str) -> None:
        self.store, self.speed, self.name = store, speed, name
        self.lease = Lease(SECS, 0.0)
        self.answer: tuple[float, Event] | None = None
        self.still_until = 0.0

    def uses(self, now: float) -> bool:
        """Also one that stands still: it could wake up and look at the clock at this moment."""
        return self.lease.usable(now * self.speed)

    def turn(self, now: float, chance: random.Random) -> None:
        own = now * self.speed
        if self.answer is not None and now >= self.answer[0]:
            event, self.answer = self.answer[1], None
            self.lease.answered(event, own, TAKEN if event is Event.TAKEN else None)
        ask = self.lease.ask(own)
        if ask is not None:
            lost = chance.random() < 0.2
            done = not lost or chance.random() < 0.5
            event = Event.FAILED
            if done and ask is Ask.TAKE:
                event = Event.TAKEN if self.store.take(self.name, now) else Event.NONE_FREE
            elif done:
                event = Event.RENEWED if self.store.renew(self.name, now) else Event.GONE
            self.answer = now + chance.choice((0.0, 0.0, 3.0)), Event.FAILED if lost else event
