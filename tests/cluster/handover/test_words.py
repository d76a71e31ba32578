"""What is said comes back as it was; what is cut, changed, or another's is refused, and raises nothing else."""

from __future__ import annotations

import random
from typing import Any, Callable

import pytest
from kit.handovers import (
    AROUND,
    ARRIVALS,
    CHANNELS,
    HERITAGE,
    NODES,
    ORIGINS,
    PEERS,
    SESSIONS,
    STATES,
    STONE,
    STORE,
    TRUNKS,
)

from voltlane.cluster.handover import arrivals, datagrams, nodes, sessions, states, stores
from voltlane.cluster.handover.heritage import decode_heritage
from voltlane.cluster.handover.notes import Greeting, Kind, Note, greeting_in, head_of, note, note_at, piece_in
from voltlane.core.ids import Counting
from voltlane.core.session import Session
from voltlane.store.records import Damaged

WORDS: list[tuple[Callable[[bytes], Any], bytes]] = [
    *((lambda data: states.decode_origin(7, data), states.encode_origin(origin)) for origin in ORIGINS),
    *((states.decode_state, states.encode_state(moved)) for moved in STATES),
    *((states.decode_trunk, states.encode_trunk(moved)) for moved in TRUNKS),
    *((lambda data: sessions.decode_session(7, data, AROUND), sessions.encode_session(one, 5.0)) for one in SESSIONS),
    (sessions.decode_tombstone, sessions.encode_tombstone(STONE)),
    (lambda data: stores.decode_store(data, -1), stores.encode_store(STORE)),
    (decode_heritage, HERITAGE.encode()),
    (sessions.decode_ids, sessions.encode_ids(Counting(1, 2, 3, 4, 5.0))),
    (lambda data: sessions.decode_numbers(3, data), sessions.encode_numbers([1, 2, 3])),
    *((arrivals.decode_arrival, arrivals.encode_arrival(moved)) for moved in ARRIVALS),
    *((nodes.decode_node, nodes.encode_node(moved)) for moved in NODES),
    (sessions.decode_ban, sessions.encode_ban(b"\x7f\0\0\1", 5.0)),
    *((lambda data: datagrams.decode_channel(7, data), datagrams.encode_channel(moved)) for moved in CHANNELS),
    *((lambda data: datagrams.decode_peer(7, data), datagrams.encode_peer(moved)) for moved in PEERS),
]


def test_everything_comes_back_as_it_was() -> None:
    for moved in STATES:
        assert states.decode_state(states.encode_state(moved)) == moved
    for origin in ORIGINS:
        assert states.decode_origin(7, states.encode_origin(origin)) == origin
    for arrival in ARRIVALS:
        assert arrivals.decode_arrival(arrivals.encode_arrival(arrival)) == arrival
    for trunk in TRUNKS:
        assert states.decode_trunk(states.encode_trunk(trunk)) == trunk
    for node in NODES:
        assert nodes.decode_node(nodes.encode_node(node)) == node
    for channel in CHANNELS:
        assert datagrams.decode_channel(7, datagrams.encode_channel(channel)) == channel
    for peer in PEERS:
        assert datagrams.decode_peer(7, datagrams.encode_peer(peer)) == peer
    for session in SESSIONS:
        again = sessions.decode_session(session.id, sessions.encode_session(session, 5.0), AROUND)
        assert look(again) == look(session)
    assert sessions.decode_tombstone(sessions.encode_tombstone(STONE)) == STONE
    assert stores.decode_store(stores.encode_store(STORE), -1) == STORE
    assert decode_heritage(HERITAGE.encode()) == (HERITAGE, False)
    assert decode_heritage(HERITAGE._replace(lock=3).encode()) == (HERITAGE, True)
    assert sessions.decode_ban(sessions.encode_ban(bytes(16), 5.0)) == (bytes(16), 5.0)


def look(session: Session) -> object:
    return (
        session.id,
        session.credential,
        session.secret,
        session.state,
        session.lost,
        session.expiry,
        session.delivery and session.delivery.encode(),
        session.backlog and session.backlog.kept(),
        session.allowance and session.allowance.levels(5.0),
    )


@pytest.mark.parametrize("read, whole", WORDS)
def test_what_is_cut_or_has_more_behind_it_is_refused(read: Callable[[bytes], Any], whole: bytes) -> None:
    read(whole)
    for stop in range(len(whole)):
        with pytest.raises(Damaged):
            read(whole[:stop])
    with pytest.raises(Damaged):
        read(whole + b"\0")


@pytest.mark.parametrize("read, whole", WORDS)
def test_what_is_changed_is_read_or_refused(read: Callable[[bytes], Any], whole: bytes) -> None:
    dice = random.Random(3)
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(dice.randint(1, 3)):
            changed[dice.randrange(len(changed))] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        try:
            read(bytes(changed))
        except Damaged:
            pass


def test_notes() -> None:
    first, second = note(Kind.SESSION, 7, b"fields"), note(Kind.END, 1)
    both = first + second
    assert note_at(both, 0) == (Note(Kind.SESSION, 7, b"fields"), len(first))
    assert note_at(both, len(first)) == (Note(Kind.END, 1, b""), len(both))
    for stop in range(len(first)):
        with pytest.raises(Damaged, match="cut"):
            note_at(both[:stop], 0)
    with pytest.raises(Damaged, match="kind 99"):
        note_at(note(99, 0), 0)  # type: ignore[arg-type]


def test_pieces() -> None:
    piece = note(Kind.SESSION, 7, b"fields") + note(Kind.END, 1)
    whole = head_of(piece) + piece
    assert piece_in(b"xx" + whole + b"behind", 2) == (piece, 2 + len(whole))
    for stop in range(len(whole)):
        assert piece_in(whole[:stop], 0) is None
    for position in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[position] ^= 1 << bit
            try:
                assert piece_in(changed, 0) is None and position < 4, "it says that it is longer"
            except Damaged:
                pass
    with pytest.raises(Damaged, match="0 bytes"):
        piece_in(bytes(100), 0)


def test_greetings() -> None:
    whole = Greeting(7, "1.2.3").encode()
    assert greeting_in(whole + b"behind") == (Greeting(7, "1.2.3"), len(whole))
    for stop in range(len(whole)):
        assert greeting_in(whole[:stop]) is None
    for other in (b"GET / HTTP/1.1\r\n", b"VLTLSESS" + bytes(8), b"X"):
        with pytest.raises(Damaged, match="no Voltlane"):
            greeting_in(other)
    with pytest.raises(Damaged, match="no text"):
        greeting_in(whole[:-1] + b"\xff")


def test_secrets_stand_in_no_repr() -> None:
    assert "kkkk" not in repr(HERITAGE) and "cccc" not in repr(HERITAGE)
    assert repr(CHANNELS[0]) == "<MovedChannel of client 7>"


def test_datagrams_that_end_at_no_time() -> None:
    for never in (float("inf"), float("nan")):
        with pytest.raises(Damaged, match="no time"):
            datagrams.decode_channel(7, datagrams.encode_channel(CHANNELS[0]._replace(ending=never)))


def test_datagrams_of_a_mode_that_is_none() -> None:
    with pytest.raises(Damaged, match="mode loud"):
        decode_heritage(HERITAGE._replace(datagrams="loud").encode())
