"""How a session is got: every state with every event."""

from __future__ import annotations

import pytest

from voltlane.cluster.sessions.search import ASKS, OVER, TRANSITIONS, Event, Search, State


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_the_table(state: State, event: Event):
    search = Search()
    search.state = state
    asks = search.move(event, "7")
    after = TRANSITIONS[state].get(event, state)
    assert search.state is after and asks == (after is not state and after in ASKS)


def run(*events: tuple[Event, str]) -> Search:
    search = Search()
    for event, term in events:
        search.move(event, term)
    return search


def test_by_force_under_the_term_that_was_seen():
    search = run((Event.ASKED, "3"), (Event.LATE, ""))
    assert search.state is State.FORCING and search.force == "3"
    search.move(Event.GOT)
    assert search.state is State.GOT and search.forced


def test_nothing_is_taken_by_force_while_it_may_be_given_up():
    search = run((Event.ASKED, "3"), (Event.AGAIN, ""))
    assert search.state is State.TAKING and search.force == "" and not search.forced


def test_the_same_owner_is_asked_again():
    assert run((Event.ASKED, "3"), (Event.AGAIN, ""), (Event.ASKED, "3")).state is State.WAITING


def test_who_finds_another_owner_is_let_go():
    assert run((Event.ASKED, "3"), (Event.AGAIN, ""), (Event.ASKED, "4")).state is State.ELSEWHERE


@pytest.mark.parametrize("state", sorted(OVER, key=lambda state: state.value))
def test_an_end_is_an_end(state: State):
    search = Search()
    search.state = state
    assert not any(search.move(event) for event in Event) and search.state is state
