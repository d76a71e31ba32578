"""The registry: ids, the stale in their order, limits, reaping, and no timer left behind."""

from __future__ import annotations

import random
from collections import OrderedDict

import pytest
from kit.recorders import RecorderLink

from voltlane.core.registry import Registry
from voltlane.core.session import Session, State
from voltlane.reasons import EndReason


class Home:
    """A registry, and what it told."""

    def __init__(self, *, timeout: float = 300.0, interval: float = 15.0, most: int = 100, now: float = 1000.0) -> None:
        self.now = now
        self.ended: list[tuple[int, EndReason]] = []
        self.stale_calls = 0
        self.registry = Registry(
            stale_timeout=timeout,
            reap_interval=interval,
            max_stale=most,
            on_end=lambda session, reason: self.ended.append((session.id, reason)),
            on_stale=self._on_stale,
            now=now,
        )

    def _on_stale(self) -> None:
        self.stale_calls += 1

    def open(self) -> Session:
        return self.registry.open(b"point", RecorderLink())

    def lose(self, session: Session) -> None:
        self.registry.lose(session, self.now)

    def reap_all(self) -> None:
        """Sleep from one `next_reap` to the next until there is none."""
        while (deadline := self.registry.next_reap()) is not None:
            self.now = max(self.now, deadline)
            self.registry.reap(self.now)
            following = self.registry.next_reap()
            assert following is None or following > self.now, "it would spin"


def test_ids_count_up_and_are_never_used_again():
    home = Home()
    sessions = [home.open() for _ in range(3)]
    for session in sessions:
        home.registry.end(session)
    assert [session.id for session in sessions] == [1, 2, 3]
    assert home.open().id == 4


def test_a_stale_session_is_reaped_not_before_its_time_and_at_most_an_interval_late():
    home = Home(timeout=300, interval=15)
    session = home.open()
    home.lose(session)
    assert session.state is State.STALE and session.link is None and home.registry.stale_count == 1
    home.registry.reap(home.now + 299.9)
    assert home.ended == []
    lost_at = home.now
    home.reap_all()
    assert home.ended == [(session.id, EndReason.EXPIRED)]
    assert lost_at + 300 <= home.now <= lost_at + 315
    assert session.state is State.ENDED and session.id not in home.registry.sessions
    assert home.registry.stale_count == 0


def test_a_resumed_session_is_not_reaped():
    home = Home()
    session = home.open()
    home.lose(session)
    link = RecorderLink()
    home.registry.resume(session, link)
    assert home.registry.next_reap() is None and home.registry.stale_count == 0
    home.registry.reap(home.now + 10_000)
    assert home.ended == [] and session.state is State.LIVE and session.link is link


def test_without_a_stale_time_a_lost_session_is_gone_at_once():
    home = Home(timeout=0)
    session = home.open()
    home.lose(session)
    assert home.ended == [(session.id, EndReason.EXPIRED)]
    assert not home.registry.sessions and home.registry.next_reap() is None and home.stale_calls == 0


def test_the_oldest_stale_go_past_the_limit():
    home = Home(most=2)
    sessions = [home.open() for _ in range(4)]
    for number in (2, 0, 3, 1):
        home.lose(sessions[number])
    assert home.ended == [(sessions[2].id, EndReason.EVICTED), (sessions[0].id, EndReason.EVICTED)]
    assert home.registry.stale_count == 2


def test_oldest_means_stale_for_longest_not_first_to_come():
    home = Home(most=2)
    sessions = [home.open() for _ in range(3)]
    home.lose(sessions[0])
    home.lose(sessions[1])
    home.registry.resume(sessions[0], RecorderLink())
    home.lose(sessions[0])
    home.lose(sessions[2])
    assert home.ended == [(sessions[1].id, EndReason.EVICTED)]


def test_the_oldest_is_found_in_one_step():
    """However many were stale: a plain dictionary looks at the places of all who are gone."""
    assert isinstance(Home().registry._stale, OrderedDict)


def test_no_stale_sessions_allowed_at_all():
    home = Home(most=0)
    session = home.open()
    home.lose(session)
    assert home.ended == [(session.id, EndReason.EVICTED)] and home.registry.next_reap() is None


def test_ending_forgets_everything():
    home = Home()
    for stale in (False, True):
        session = home.open()
        session.secret = b"key"
        if stale:
            home.lose(session)
        home.registry.end(session)
        assert session.link is session.backlog is session.secret is None
        assert home.registry.next_reap() is None and home.registry.stale_count == 0
    assert home.ended == [], "who ends a session himself is not told of it"


def test_live_sessions():
    home = Home()
    first, second, third = (home.open() for _ in range(3))
    home.lose(second)
    assert home.registry.live() == [first, third]
    home.registry.resume(second, RecorderLink())
    assert home.registry.live() == [first, second, third]


@pytest.mark.parametrize("seed", range(10))
def test_random_lives(seed: int):
    """Against a model: when each is due, who is evicted, nothing left behind."""
    random_ = random.Random(seed)
    timeout, interval, most = random_.choice([0.5, 20, 300]), random_.choice([0.1, 1, 15]), random_.choice([1, 5, 1000])
    home = Home(timeout=timeout, interval=interval, most=most)
    live: list[Session] = []
    stale: dict[int, tuple[Session, float]] = {}
    for _ in range(1500):
        kind = random_.randrange(6)
        if kind == 0:
            live.append(home.open())
        elif kind == 1 and live:
            session = live.pop(random_.randrange(len(live)))
            home.lose(session)
            stale[session.id] = (session, home.now + timeout)
            while len(stale) > most:
                evicted = next(iter(stale))
                del stale[evicted]
                assert home.ended.pop() == (evicted, EndReason.EVICTED)
        elif kind == 2 and stale:
            session, _ = stale.pop(random_.choice(list(stale)))
            home.registry.resume(session, RecorderLink())
            live.append(session)
        elif kind == 3 and stale:
            session, _ = stale.pop(random_.choice(list(stale)))
            home.registry.end(session)
        elif kind == 4 and live:
            home.registry.end(live.pop(random_.randrange(len(live))))
        else:
            home.now += random_.random() * random_.choice([interval, timeout / 3, 5])
            home.registry.reap(home.now)
            reaped = {session_id for session_id, _ in home.ended}
            overdue = [due for number, (_, due) in stale.items() if number not in reaped]
            assert all(due > home.now - interval - 1e-6 for due in overdue), "more than an interval late"
        for session_id, reason in home.ended:
            assert reason is EndReason.EXPIRED and stale.pop(session_id)[1] <= home.now
        home.ended.clear()
        assert home.registry.stale_count == len(stale)
        assert sorted(home.registry.sessions) == sorted([session.id for session in live] + list(stale))
    home.reap_all()
    assert {session_id for session_id, _ in home.ended} == set(stale)
