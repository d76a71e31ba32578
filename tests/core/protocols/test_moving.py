"""Handshakes whose session is looked for go on in another process, where it is: with the same channel, and nothing more
than that."""

from __future__ import annotations

import random

import pytest
from kit.frames import split
from kit.handshakes import Peer, context
from kit.recorders import RecorderLink

from voltlane.core.protocols.handshake import Handshake, WireProtocol
from voltlane.core.protocols.secrets import first_secrets
from voltlane.core.protocols.table import BY_NAME, revive
from voltlane.core.protocols.v2 import V2
from voltlane.core.protocols.v3 import V3, V3Handshake
from voltlane.core.registry import Registry
from voltlane.core.session import Session
from voltlane.core.whereabouts import Elsewhere, Wanted, Whereabouts
from voltlane.errors import ProtocolError
from voltlane.wire.crypto import generate_key, open_sealed, seal, session_key
from voltlane.wire.noise import Initiator, KeyPair
from voltlane.wire.v2 import Challenge, ChallengeResponse, ClientId, Ping, ProtocolVersion, decode, encode
from voltlane.wire.v3 import Hello, Kind, Open, Resume, Retained, clear_channel, proof, record

SERVER, CLIENT = generate_key(), generate_key()
SECRET = b"s" * 32


class Away(Whereabouts):
    """Everything is elsewhere."""

    def check(self, wanted: Wanted) -> None:
        raise Elsewhere(wanted)


def registry_of(away: bool) -> Registry:
    registry = Registry(
        stale_timeout=300, reap_interval=15, max_stale=9, on_end=lambda *_: None, on_stale=lambda: None, now=0.0,
        revive=revive,
    )  # fmt: skip
    if away:
        registry.whereabouts = Away()
    return registry


def home(credential: bytes) -> tuple[Registry, Session]:
    registry = registry_of(False)
    return registry, registry.open(credential, RecorderLink())


def test_there_is_a_way_for_each_protocol_by_its_name():
    assert BY_NAME == {"v2": V2, "v3": V3} and all(protocol.go_on is not None for protocol in BY_NAME.values())


def moved(handshake: Handshake, protocol: WireProtocol, registry: Registry) -> Handshake:
    assert protocol.go_on is not None
    return protocol.go_on(context(SERVER, registry), handshake.state())


def at_version_2(client_id: int) -> Handshake:
    """One that has asked for a session that is elsewhere."""
    handshake = V2.begin(context(SERVER, registry_of(True)), Peer())
    handshake.receive(encode(ProtocolVersion(2)))
    with pytest.raises(Elsewhere):
        handshake.receive(encode(ClientId(client_id)))
    return handshake


def test_version_2():
    registry, session = home(CLIENT.public)
    handshake = moved(at_version_2(session.id), V2, registry)
    assert not handshake.done and handshake.unanswered
    challenge = decode(split(handshake.again())[0])
    assert isinstance(challenge, Challenge)
    key = session_key(CLIENT, SERVER.public)
    handshake.receive(encode(ChallengeResponse(seal(key, open_sealed(key, challenge.blob)))))
    handshake.receive(encode(Ping()))
    assert handshake.done and handshake.session is session


def at_version_3(suite: int, opening: bool, client_id: int) -> Handshake:
    """The same: a session, or one that is opened, perhaps again."""
    handshake = V3.begin(context(SERVER, registry_of(True)), Peer())
    assert isinstance(handshake, V3Handshake)
    ephemeral = KeyPair()
    hello = Hello((suite,), ephemeral.public)
    answer = split(handshake.receive(hello.encode()))[0]
    if suite:
        channel, _, _ = Initiator(hello.prologue, ephemeral).finish(answer[2:])
        channel.hash = handshake.channel.hash
    else:
        channel = clear_channel(hello.encode(), answer)
    shown = proof(SECRET, "client", channel.hash)
    if opening:
        words = record(Kind.OPEN, 0, 777, Open(b"h" * 16, SECRET, Retained(1, 2)).encode())
    else:
        words = record(Kind.RESUME, 3, 777, Resume(client_id, 0, 0, shown, 1, 2, 3, 4, Retained(1, 2)).encode())
    with pytest.raises(Elsewhere):
        handshake.receive(channel.seal(words))
    return handshake


@pytest.mark.parametrize("suite", [0, 1])
@pytest.mark.parametrize("opening", [True, False])
def test_version_3(suite: int, opening: bool):
    registry, session = home(first_secrets(suite, b"h" * 16, SECRET, lambda size: b"r" * size).encode())
    registry.openings.add(b"h" * 16, session)
    before = at_version_3(suite, opening, session.id)
    assert isinstance(before, V3Handshake)
    handshake = moved(before, V3, registry)
    assert isinstance(handshake, V3Handshake)
    assert handshake.again() == b"" and handshake.done and handshake.session is session
    assert handshake.credit == 777 and handshake.retained == Retained(1, 2) and handshake.suite == suite
    assert handshake.channel.hash == before.channel.hash
    for _ in range(2):
        assert bytes(handshake.channel.seal(b"words")) == bytes(before.channel.seal(b"words"))


@pytest.mark.parametrize("protocol", [V2, V3], ids=lambda protocol: protocol.name)
def test_what_no_state_is(protocol: WireProtocol):
    """It is refused as a peer's mistake is, here or when it is taken again; nothing else is raised."""
    dice = random.Random(4)
    handshake = at_version_2(77) if protocol is V2 else at_version_3(1, False, 77)
    whole = handshake.state()
    assert protocol.go_on is not None
    for stop in range(len(whole)):
        try:
            protocol.go_on(context(SERVER, registry_of(False)), whole[:stop]).again()
        except ProtocolError:
            pass
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(dice.randint(1, 3)):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        try:
            protocol.go_on(context(SERVER, registry_of(False)), bytes(changed)).again()
        except ProtocolError:
            pass
