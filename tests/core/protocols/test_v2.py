"""The handshake's table, whole: every step with every packet, and with everything that is none."""

from __future__ import annotations

import itertools
from typing import Any, Callable, NamedTuple

import pytest
from kit.frames import split
from kit.handshakes import Peer, context
from kit.recorders import RecorderLink
from kit.vectors import VECTORS, cuts, unhex, why

from voltlane.core.budget import Budget
from voltlane.core.protocols.v2 import Step, V2Handshake
from voltlane.core.registry import Registry
from voltlane.core.session import Session, State
from voltlane.errors import (
    BadProof,
    BadPublicKey,
    MalformedPacket,
    ProtocolError,
    ReflectedProof,
    SessionEnded,
    UnexpectedPacket,
    UnknownSession,
    UnsupportedVersion,
)
from voltlane.reasons import CloseReason
from voltlane.wire.crypto import CHALLENGE_SIZE, NONCE_SIZE, generate_key, open_sealed, seal, session_key
from voltlane.wire.v2 import (
    Challenge,
    ChallengeResponse,
    ClientId,
    Packet,
    Ping,
    ProtocolVersion,
    PubKey,
    decode,
    encode,
)

SERVER, CLIENT = generate_key(), generate_key()
KEY = session_key(CLIENT, SERVER.public)


def name(value: Any) -> str:
    """A step's or a packet's, for a test's name."""
    return str(value.name if isinstance(value, Step) else value.__name__)


class Scene(NamedTuple):
    """A handshake that stands at some step, and a session that it may resume."""

    handshake: V2Handshake
    registry: Registry
    session: Session
    challenge: bytes
    """The challenge's blob, once it was sent."""

    def response(self) -> ChallengeResponse:
        return ChallengeResponse(seal(KEY, open_sealed(KEY, self.challenge)))


def scene_at(step: Step) -> Scene:
    registry = Registry(
        stale_timeout=300, reap_interval=15, max_stale=9, on_end=lambda *_: None, on_stale=lambda: None, now=0.0
    )
    session = registry.open(CLIENT.public, RecorderLink())
    handshake = V2Handshake(context(SERVER, registry, Budget(1000)), Peer())
    scene, challenge = Scene(handshake, registry, session, b""), b""
    if step is Step.DONE:
        scene = scene_at(Step.PING)
        scene.handshake.receive(encode(Ping()))
        return scene
    for reached, packet in (
        (Step.VERSION, ProtocolVersion(2)),
        (Step.IDENTITY, ClientId(session.id)),
        (Step.PROOF, None),
        (Step.PING, None),
    ):
        if handshake.step is step:
            break
        assert handshake.step is reached
        if packet is None:
            handshake.receive(encode(scene.response()))
        else:
            answer = handshake.receive(encode(packet))
            if isinstance(packet, ClientId):
                sent = decode(split(answer)[0])
                assert isinstance(sent, Challenge)
                challenge = sent.blob
        scene = Scene(handshake, registry, session, challenge)
    assert handshake.step is step
    return scene


PACKETS: dict[type[Any], Callable[[Scene], Packet]] = {
    Ping: lambda scene: Ping(),
    ProtocolVersion: lambda scene: ProtocolVersion(2),
    PubKey: lambda scene: PubKey(CLIENT.public),
    ClientId: lambda scene: ClientId(scene.session.id),
    Challenge: lambda scene: Challenge(seal(KEY, bytes(CHALLENGE_SIZE))),
    ChallengeResponse: lambda scene: scene.response() if scene.challenge else ChallengeResponse(seal(KEY, bytes(32))),
}

EXPECTED = {
    (Step.VERSION, ProtocolVersion): Step.IDENTITY,
    (Step.IDENTITY, PubKey): Step.DONE,
    (Step.IDENTITY, ClientId): Step.PROOF,
    (Step.PROOF, ChallengeResponse): Step.PING,
    (Step.PING, Ping): Step.DONE,
}
"""Everything else is out of place."""

ANSWERS = {Step.IDENTITY: PubKey, Step.PROOF: Challenge}


@pytest.mark.parametrize(
    ("step", "kind"),
    list(itertools.product(Step, PACKETS)),
    ids=lambda v: v.name if isinstance(v, Step) else v.__name__,
)
def test_every_step_with_every_packet(step: Step, kind: type[Any]):
    scene = scene_at(step)
    payload = encode(PACKETS[kind](scene))
    if (step, kind) not in EXPECTED:
        with pytest.raises(UnexpectedPacket, match=f"{kind.__name__} where {step.value} was expected"):
            scene.handshake.receive(payload)
        assert scene.handshake.step is step
        return
    answer = scene.handshake.receive(memoryview(payload))
    reached = EXPECTED[step, kind]
    assert scene.handshake.step is reached
    kinds = [type(decode(sent)) for sent in split(answer)]
    assert kinds == ([ANSWERS[reached]] if reached in ANSWERS else [])


@pytest.mark.parametrize("step", Step, ids=lambda step: step.name)
@pytest.mark.parametrize("entry", VECTORS["malformed_handshake_packets"], ids=why)
def test_every_step_with_every_malformed_packet(step: Step, entry: dict[str, Any]):
    scene = scene_at(step)
    with pytest.raises(MalformedPacket):
        scene.handshake.receive(unhex(entry))
    assert scene.handshake.step is step


@pytest.mark.parametrize(("step", "kind"), list(EXPECTED), ids=name)
def test_every_packet_cut_at_every_byte(step: Step, kind: type[Any]):
    scene = scene_at(step)
    for cut in cuts(encode(PACKETS[kind](scene))):
        with pytest.raises(MalformedPacket):
            scene.handshake.receive(cut)
    assert scene.handshake.step is step


def test_a_new_client():
    scene = scene_at(Step.IDENTITY)
    assert scene.handshake.receive(encode(PubKey(CLIENT.public))) == b""
    assert scene.handshake.credential == CLIENT.public and scene.handshake.session is None
    assert not scene.handshake.costly


def test_the_answer_that_ends_it():
    scene = scene_at(Step.IDENTITY)
    scene.handshake.receive(encode(PubKey(CLIENT.public)))
    assert scene.handshake.done and split(scene.handshake.answer(scene.session)) == [encode(ClientId(scene.session.id))]
    scene = scene_at(Step.DONE)
    assert scene.handshake.done and split(scene.handshake.answer(scene.session)) == [encode(Ping())]


def test_it_is_done_only_at_its_end():
    assert [scene_at(step).handshake.done for step in Step] == [step is Step.DONE for step in Step]
    assert [scene_at(step).handshake.waits_for for step in Step] == [step.value for step in Step]


def test_a_client_that_comes_back():
    scene = scene_at(Step.DONE)
    assert scene.handshake.session is scene.session and scene.handshake.credential is None


def test_the_greeting_is_the_servers_compressed_key():
    handshake = scene_at(Step.VERSION).handshake
    assert split(handshake.receive(encode(ProtocolVersion(2)))) == [encode(PubKey(SERVER.public))]
    assert len(SERVER.public) == 33


@pytest.mark.parametrize("version", [0, 1, 3, 2**32 - 1])
def test_other_versions_are_refused(version: int):
    scene = scene_at(Step.VERSION)
    with pytest.raises(UnsupportedVersion, match=f"version {version}; this server speaks 2"):
        scene.handshake.receive(encode(ProtocolVersion(version)))


@pytest.mark.parametrize("entry", VECTORS["malformed_public_keys"], ids=why)
def test_malformed_keys_are_refused(entry: dict[str, Any]):
    scene = scene_at(Step.IDENTITY)
    with pytest.raises(BadPublicKey):
        scene.handshake.receive(encode(PubKey(unhex(entry, "sec1"))))
    assert scene.handshake.step is Step.IDENTITY and scene.handshake.credential is None


@pytest.mark.parametrize("client_id", [0, 2, 2**64 - 1])
def test_an_id_that_has_no_session(client_id: int):
    scene = scene_at(Step.IDENTITY)
    with pytest.raises(UnknownSession, match=f"no session {client_id}$"):
        scene.handshake.receive(encode(ClientId(client_id)))


# ---- proofs: what proves nothing leaves the session as it was


def bad_proofs() -> dict[str, tuple[Callable[[Scene], bytes], type[ProtocolError]]]:
    def challenge(scene: Scene) -> bytes:
        return open_sealed(KEY, scene.challenge)

    return {
        "the challenge sent back": (lambda s: s.challenge, ReflectedProof),
        "the challenge's nonce with other bytes": (lambda s: bytes(48) + s.challenge[-NONCE_SIZE:], ReflectedProof),
        "sealed anew under the same nonce": (
            lambda s: seal(KEY, challenge(s), s.challenge[-NONCE_SIZE:]),
            ReflectedProof,
        ),
        "only the nonce": (lambda s: s.challenge[-NONCE_SIZE:], ReflectedProof),
        "another key": (lambda s: seal(bytes(32), challenge(s)), BadProof),
        "other bytes": (lambda s: seal(KEY, bytes(CHALLENGE_SIZE)), BadProof),
        "one byte less": (lambda s: seal(KEY, challenge(s)[:-1]), BadProof),
        "one byte more": (lambda s: seal(KEY, challenge(s) + b"\0"), BadProof),
        "nothing sealed": (lambda s: seal(KEY, b""), BadProof),
        "nothing": (lambda s: b"", BadProof),
        "too short": (lambda s: bytes(39), BadProof),
    }


@pytest.mark.parametrize("what", bad_proofs())
@pytest.mark.parametrize("stale", [False, True], ids=["live", "stale"])
def test_bad_proofs(what: str, stale: bool):
    make, error = bad_proofs()[what]
    scene = scene_at(Step.PROOF)
    if stale:
        scene.registry.lose(scene.session, 0.0)
    session, link, state = scene.session, scene.session.link, scene.session.state
    with pytest.raises(error) as caught:
        scene.handshake.receive(encode(ChallengeResponse(make(scene))))
    assert type(caught.value) is error
    assert scene.handshake.step is Step.PROOF
    assert scene.registry.sessions[session.id] is session and session.link is link and session.state is state
    assert scene.handshake.receive(encode(scene.response())) == b"", "the owner is not locked out"


def test_every_bit_of_the_response_counts():
    scene = scene_at(Step.PROOF)
    blob = scene.response().blob
    for at in range(len(blob)):
        with pytest.raises(BadProof):
            scene.handshake.receive(encode(ChallengeResponse(blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :])))
    assert scene.handshake.step is Step.PROOF


def test_a_proof_is_good_for_one_challenge():
    first, second = scene_at(Step.PROOF), scene_at(Step.PROOF)
    assert first.challenge != second.challenge
    with pytest.raises(BadProof):
        second.handshake.receive(encode(first.response()))


def test_no_step_before_the_end_touches_the_session():
    for step in (Step.PROOF, Step.PING, Step.DONE):
        scene = scene_at(step)
        assert scene.session.state is State.LIVE and scene.session.link is not None


@pytest.mark.parametrize("step", [Step.PROOF, Step.PING])
def test_a_session_that_ends_under_its_resume(step: Step):
    scene = scene_at(step)
    payload = encode(scene.response() if step is Step.PROOF else Ping())
    scene.registry.end(scene.session)
    with pytest.raises(SessionEnded) as caught:
        scene.handshake.receive(payload)
    assert caught.value.reason is CloseReason.SESSION_ENDED


def test_the_key_agreement_is_made_once_a_session():
    scene = scene_at(Step.PROOF)
    assert scene.handshake.costly and scene.session.secret == KEY
    again = V2Handshake(context(SERVER, scene.registry, Budget(1000)), Peer())
    again.receive(encode(ProtocolVersion(2)))
    again.receive(encode(ClientId(scene.session.id)))
    assert not again.costly
