"""Tokens: which session one opens, and what is kept of it."""

from __future__ import annotations

import pytest
from kit.handshakes import Peer, context
from kit.recorders import RecorderLink

from voltlane.core.budget import Budget
from voltlane.core.delivery import Claims
from voltlane.core.protocols.credentials import Kind, kind_of
from voltlane.core.protocols.events import CREDENTIAL_SIZE, EventsHandshake, credential_of, events_for, find_session
from voltlane.core.protocols.handshake import HandshakeContext
from voltlane.core.protocols.secrets import first_secrets
from voltlane.core.protocols.table import revive
from voltlane.core.registry import Registry
from voltlane.core.session import Session
from voltlane.core.tombstones import Tombstone
from voltlane.errors import NoMemory, SessionEnded, TokenRefused
from voltlane.reasons import EndReason
from voltlane.wire.crypto import generate_key
from voltlane.wire.event_stream import Place, Token

KEY = generate_key()
SECRET, OTHER = bytes(range(16)), bytes(range(1, 17))


def counting(size: int) -> bytes:
    return bytes(range(size))


def registry() -> Registry:
    return Registry(
        stale_timeout=9, reap_interval=1, max_stale=9, on_end=lambda *_: None, on_stale=lambda: None, now=0.0, epoch=5
    )


def home(budget: Budget | None = None) -> HandshakeContext:
    return context(KEY, registry(), budget, counting)


def begin(place: Place | str, at: HandshakeContext) -> EventsHandshake:
    handshake = events_for(place).begin(at, Peer())
    assert isinstance(handshake, EventsHandshake) and handshake.done
    return handshake


def enter(handshake: EventsHandshake, at: HandshakeContext) -> Session:
    """As its connection does it."""
    session = handshake.session
    if session is None:
        assert handshake.credential is not None
        session = at.registry.open(handshake.credential, RecorderLink())
    assert handshake.answer(session) == b""
    return session


def test_a_new_client_gets_a_secret_of_which_a_digest_is_kept() -> None:
    at = home()
    handshake = begin("", at)
    session = enter(handshake, at)
    assert handshake.secret == SECRET and handshake.lost == "" and handshake.claims is None
    assert session.credential == credential_of(SECRET) and len(session.credential) == CREDENTIAL_SIZE
    assert SECRET not in session.credential and kind_of(session.credential) is Kind.TOKEN
    assert revive(session.credential) == (True, b"")
    assert session.delivery is not None and (session.delivery.epoch, session.delivery.floor) == (5, 0)
    assert 1000 <= handshake.retry < 3000


def test_who_shows_the_token_comes_back() -> None:
    at = home()
    session = enter(begin("", at), at)
    handshake = begin(Place(Token(session.id, SECRET), 7), at)
    assert enter(handshake, at) is session and handshake.claims == Claims(5, 7, 0, 0, 0) and not handshake.lost


@pytest.mark.parametrize("secret", [OTHER, bytes(16), SECRET[:-1] + b"\xff"])
def test_another_secret_opens_nothing(secret: bytes) -> None:
    at = home()
    session = enter(begin("", at), at)
    for token in (Token(session.id, secret), Token(session.id + 1, SECRET), None):
        with pytest.raises(TokenRefused):
            find_session(at.registry, token)
    handshake = begin(Place(Token(session.id, secret), 0), at)
    assert handshake.session is None and handshake.credential is not None
    assert handshake.lost == "the session is over, or of another server"


def test_sessions_of_other_protocols_are_opened_by_no_token() -> None:
    at = home()
    for credential in (b"", KEY.public, first_secrets(1, bytes(16), bytes(32), counting).encode(), b"\x02" * 33):
        session = at.registry.open(credential, RecorderLink())
        with pytest.raises(TokenRefused):
            find_session(at.registry, Token(session.id, SECRET))


def test_who_had_a_session_is_told_why_it_is_over_and_nobody_else() -> None:
    at = home()
    at.registry.tombstones.add(9, Tombstone(credential_of(SECRET), EndReason.KICKED, 0, 0))
    at.registry.tombstones.add(10, Tombstone(KEY.public, EndReason.KICKED, 0, 0))
    with pytest.raises(SessionEnded, match=EndReason.KICKED.value):
        find_session(at.registry, Token(9, SECRET))
    for token in (Token(9, OTHER), Token(10, SECRET)):
        with pytest.raises(TokenRefused):
            find_session(at.registry, token)
    assert begin(Place(Token(9, SECRET), 0), at).lost == f"session 9 has ended: {EndReason.KICKED.value}"


def test_without_memory_nobody_new_is_let_in_but_who_comes_back_is() -> None:
    budget = Budget(1)
    at = home(budget)
    session = enter(begin("", at), at)
    budget.used = 1
    assert enter(begin(Place(Token(session.id, SECRET), 0), at), at) is session
    for place in ("", Place(Token(session.id, OTHER), 0)):
        with pytest.raises(NoMemory):
            begin(place, at)
