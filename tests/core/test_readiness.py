"""The states of a server as a probe sees them."""

from __future__ import annotations

import pytest

from voltlane.core.readiness import TRANSITIONS, Event, Readiness, State


def test_a_whole_life():
    readiness = Readiness()
    seen = [readiness.state]
    readiness.watchers.append(lambda: seen.append(readiness.state))
    events = (Event.LISTENING, Event.MASTER_UP, Event.MASTER_LOST, Event.MASTER_UP, Event.DRAIN, Event.STOP)
    for event in events:
        readiness.move(event)
    assert seen == [
        State.STARTING,
        State.NO_MASTER,
        State.READY,
        State.NO_MASTER,
        State.READY,
        State.DRAINING,
        State.STOPPING,
    ]


def test_a_server_that_was_emptied_comes_back_when_it_is_asked_to():
    readiness = Readiness()
    seen: list[State] = []
    readiness.watchers.append(lambda: seen.append(readiness.state))
    events = (Event.MASTER_UP, Event.DRAIN, Event.MASTER_LOST, Event.EMPTY, Event.RETURN, Event.DRAIN, Event.RETURN)
    for event in events:
        readiness.move(event)
    assert seen == [
        State.READY,
        State.DRAINING,
        State.DRAINED,
        State.NO_MASTER,
        State.DRAINING,
        State.NO_MASTER,
    ]


@pytest.mark.parametrize("state", State)
def test_only_one_state_is_ready(state: State):
    readiness = Readiness()
    readiness.state = state
    assert readiness.ready is (state is State.READY)
    assert readiness.text == state.value
    assert readiness.leaving is (state in (State.DRAINING, State.DRAINED, State.STOPPING))


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_what_is_not_in_the_table_changes_nothing(state: State, event: Event):
    readiness = Readiness()
    readiness.state = state
    told: list[State] = []
    readiness.watchers.append(lambda: told.append(readiness.state))
    readiness.move(event)
    wanted = TRANSITIONS[state].get(event, state)
    assert readiness.state is wanted
    assert told == ([] if wanted is state else [wanted])


def test_what_is_said_besides():
    readiness = Readiness()
    told: list[str] = []
    readiness.watchers.append(lambda: told.append(readiness.text))
    readiness.note("without the store")
    assert told == [], "a service manager would take it for ready"
    readiness.move(Event.MASTER_UP)
    assert readiness.ready and told == ["ready, without the store"]
    readiness.note("without the store")
    readiness.note("")
    assert told == ["ready, without the store", "ready"]


def test_whoever_leaves_does_not_come_back():
    assert TRANSITIONS[State.STOPPING] == {}
    assert all(row[Event.STOP] is State.STOPPING for row in TRANSITIONS.values() if row)
