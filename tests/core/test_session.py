"""The session's table, whole: every state with every event."""

from __future__ import annotations

import itertools

import pytest
from kit.recorders import RecorderLink

from voltlane.core.session import TRANSITIONS, Event, IllegalTransition, Session, State

EXPECTED = {
    (State.LIVE, Event.LOST): State.STALE,
    (State.LIVE, Event.RESUMED): State.LIVE,
    (State.LIVE, Event.ENDED): State.ENDED,
    (State.STALE, Event.RESUMED): State.LIVE,
    (State.STALE, Event.ENDED): State.ENDED,
}
"""Everything else is a bug of ours."""


def session_in(state: State) -> Session:
    session = Session(7, b"point", RecorderLink())
    session.state = state
    return session


@pytest.mark.parametrize(
    ("state", "event"), list(itertools.product(State, Event)), ids=lambda value: getattr(value, "name", None)
)
def test_every_state_with_every_event(state: State, event: Event):
    session = session_in(state)
    if (state, event) in EXPECTED:
        session.move(event)
        assert session.state is EXPECTED[state, event]
    else:
        with pytest.raises(IllegalTransition, match=f"session 7: {event.value} while {state.value}"):
            session.move(event)
        assert session.state is state


def test_the_table_has_a_row_for_every_state():
    assert set(TRANSITIONS) == set(State)


def test_nothing_leaves_ended():
    assert not TRANSITIONS[State.ENDED]


def test_a_session_shows_no_secret():
    session = session_in(State.STALE)
    session.secret = b"secret-key"
    assert repr(session) == "<Session 7 stale>"
