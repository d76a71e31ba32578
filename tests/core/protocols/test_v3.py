"""Version 3's handshake, whole: every state with every kind, who is let in and who is not, and what that touches."""

from __future__ import annotations

import itertools
import os
from typing import Any

import pytest
from kit.frames import split
from kit.handshakes import CHANNEL_KEY, Peer, context
from kit.recorders import RecorderLink
from kit.vectors import cuts

from voltlane.core.budget import Budget
from voltlane.core.delivery import Claims
from voltlane.core.protocols.ends import CODES
from voltlane.core.protocols.secrets import decode_secrets
from voltlane.core.protocols.table import protocol_of, revive
from voltlane.core.protocols.v2 import V2Handshake
from voltlane.core.protocols.v3 import V3, Step, V3Handshake, confirm
from voltlane.core.registry import Registry
from voltlane.core.session import Session, State
from voltlane.core.tombstones import Tombstone
from voltlane.errors import (
    BadProof,
    BadRecord,
    MalformedPacket,
    MalformedRecord,
    NoMemory,
    ProofAhead,
    ProtocolError,
    SessionEnded,
    SuiteRefused,
    Superseded,
    UnknownSession,
    UnsupportedVersion,
)
from voltlane.reasons import CloseReason, EndReason
from voltlane.wire.crypto import generate_key
from voltlane.wire.noise import Initiator, KeyPair
from voltlane.wire.v2 import ClientId, ProtocolVersion, encode
from voltlane.wire.v3 import (
    Channel,
    Code,
    Hello,
    Kind,
    Open,
    Resume,
    Retained,
    Welcome,
    clear_channel,
    decode_close,
    decode_refusal,
    decode_server_payload,
    decode_welcome,
    head_of,
    proof,
    record,
)

KEY = generate_key()
RETAINED = Retained(100, 1000)


class Journal:
    """What a registry has told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def opened(self, session: Session) -> None:
        self.told.append("opened")

    def renewed(self, session: Session, told: bool) -> None:
        self.told.append("renewed, told" if told else "renewed")

    def lost(self, session: Session) -> None:
        self.told.append("lost")

    def resumed(self, session: Session) -> None:
        self.told.append("resumed")

    def ended(self, session: Session) -> None:
        self.told.append("ended")


def registry_of() -> Registry:
    registry = Registry(
        stale_timeout=300, reap_interval=15, max_stale=9, on_end=lambda *_: None, on_stale=lambda: None, now=0.0,
        revive=revive,
    )  # fmt: skip
    registry.journal = Journal()  # type: ignore[assignment]
    return registry


class Client:
    """The client's side of one connection, and the server's handshake with it."""

    def __init__(
        self,
        registry: Registry,
        suites: tuple[int, ...] = (1,),
        *,
        budget: Budget | None = None,
        local: bool = True,
        handle: bytes = b"h" * 16,
        secret: bytes = b"s" * 32,
        **settings: object,
    ) -> None:
        self.registry = registry
        self.handle, self.secret = handle, secret
        self.ephemeral = KeyPair()
        self.hello = Hello(suites, self.ephemeral.public)
        self.handshake = V3Handshake(context(KEY, registry, budget, **settings), Peer(local))
        self.channel: Channel

    def greet(self) -> Client:
        answer = split(self.handshake.receive(self.hello.encode()))[0]
        assert answer[0] == 0x56
        if answer[1]:
            initiator = Initiator(self.hello.prologue, self.ephemeral)
            self.channel, self.static, payload = initiator.finish(answer[2:])
        else:
            self.channel, payload = clear_channel(self.hello.encode(), answer), answer[34:]
        self.payload = decode_server_payload(payload)
        assert self.payload.suite == answer[1]
        return self

    def say(self, kind: int, body: bytes = b"", ack: int = 0, credit: int = 5000) -> bytes:
        """A record; the server's answer."""
        return self.handshake.receive(memoryview(self.channel.seal(record(kind, ack, credit, body))))

    def open(self) -> Session:
        """Open, and enter the session as the connection does."""
        assert self.say(Kind.OPEN, Open(self.handle, self.secret, RETAINED).encode()) == b""
        session = self.handshake.session
        if session is None:
            assert self.handshake.credential is not None
            session = self.registry.open(self.handshake.credential, RecorderLink())
        assert self.handshake.answer(session) == b"", "the welcome is a record of the connection"
        return session

    def resume_body(self, session: Session, generation: int, branch: int, secret: bytes, **wrong: Any) -> bytes:
        shown = proof(secret, "client", self.channel.hash)
        return Resume(session.id, generation, branch, shown, 1, 2, 3, 4, RETAINED)._replace(**wrong).encode()

    def resume(self, session: Session, welcome: Welcome | None) -> None:
        """With the secret that a welcome had; with that of the opening where there was none."""
        which = (welcome.generation, welcome.branch, welcome.secret) if welcome else (0, 0, self.secret)
        assert self.say(Kind.RESUME, self.resume_body(session, *which), ack=1) == b""

    def welcome(self, session: Session, taken: int = 0) -> Welcome:
        return decode_welcome(self.handshake.welcome(session, taken))

    def confirm(self, session: Session) -> None:
        confirm(session, self.handshake.branch, self.registry)

    def closing(self, reason: CloseReason) -> tuple[int, int, int, str]:
        """What it is told at the end: code, ack, taken and text."""
        plaintext = bytes(self.channel.open(split(self.handshake.refuse(reason))[0]))
        kind, ack, _ = head_of(plaintext)
        assert kind == Kind.CLOSE
        close = decode_close(plaintext[17:])
        return close.code, ack, close.taken, close.text


def at(step: Step, registry: Registry | None = None, suites: tuple[int, ...] = (1,)) -> Client:
    client = Client(registry or registry_of(), suites)
    if step is not Step.HELLO:
        client.greet()
    if step is Step.DONE:
        client.open()
    assert client.handshake.step is step
    return client


def state_of(registry: Registry) -> tuple[Any, ...]:
    """All that an attempt that fails must leave as it was."""
    sessions = [
        (s.id, s.credential, s.state, s.link, s.backlog, s.delivery and (s.delivery.floor, s.delivery.taken))
        for s in registry.sessions.values()
    ]
    return sessions, len(registry.openings), len(registry.tombstones), list(registry.journal.told)  # type: ignore


class TestTable:
    @pytest.mark.parametrize("kind", [*Kind, 3, 5, 10, 255])
    @pytest.mark.parametrize("suite", [0, 1])
    def test_every_kind_where_an_entry_is_expected(self, kind: int, suite: int):
        client = at(Step.ENTRY, suites=(suite,))
        body = Open(b"h" * 16, b"s" * 32, RETAINED).encode()
        if kind == Kind.OPEN:
            assert client.say(kind, body) == b"" and client.handshake.done
            return
        with pytest.raises(UnknownSession if kind == Kind.RESUME else MalformedRecord):
            client.say(kind, body + bytes(100))
        assert client.handshake.step is Step.ENTRY and not client.handshake.done
        assert client.handshake.credential is client.handshake.session is None

    def test_a_hello_where_an_entry_is_expected(self):
        client = at(Step.ENTRY)
        with pytest.raises(BadRecord):
            client.handshake.receive(client.hello.encode())
        client = at(Step.ENTRY, suites=(0,))
        with pytest.raises(MalformedRecord):
            client.handshake.receive(client.hello.encode())

    @pytest.mark.parametrize("kind", [kind for kind in Kind if kind != 0x56])
    def test_a_record_where_a_hello_is_expected(self, kind: int):
        with pytest.raises(MalformedPacket):
            at(Step.HELLO).handshake.receive(record(kind, 0, 0, bytes(60)))

    def test_steps_and_what_is_waited_for(self):
        clients = [at(step) for step in Step]
        assert [client.handshake.done for client in clients] == [False, False, True]
        assert [client.handshake.waits_for for client in clients] == [step.value for step in Step]

    @pytest.mark.parametrize("suite", [0, 1])
    @pytest.mark.parametrize("body", [Open(bytes(16), bytes(32), RETAINED).encode(), bytes(92)], ids=["open", "resume"])
    def test_entries_cut_anywhere(self, suite: int, body: bytes):
        kind = Kind.OPEN if len(body) == 56 else Kind.RESUME
        for cut in itertools.chain(cuts(body)):
            client = at(Step.ENTRY, suites=(suite,))
            with pytest.raises(MalformedRecord):
                client.say(kind, cut)

    def test_entries_may_grow(self):
        client = at(Step.ENTRY)
        assert client.say(Kind.OPEN, Open(b"h" * 16, b"s" * 32, RETAINED).encode() + bytes(200)) == b""
        assert client.handshake.done

    def test_by_its_first_byte(self):
        assert protocol_of(b"\x56") is protocol_of(memoryview(b"\x56\x03")) is V3
        assert protocol_of(b"\x01").name == protocol_of(b"").name == protocol_of(b"\x57").name == "v2"


def all_bytes(start: object) -> set[bytes]:
    """Every string of bytes that an object of ours holds, however deep."""
    found: set[bytes] = set()
    seen: set[int] = set()
    left = [start]
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, type):
            continue
        seen.add(id(one))
        if isinstance(one, (bytes, bytearray)):
            found.add(bytes(one))
        elif isinstance(one, dict):
            left += [*one, *one.values()]
        elif isinstance(one, (tuple, list, set)):
            left += one
        else:
            slots = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
            left += [getattr(one, name) for name in slots if hasattr(one, name)] + [getattr(one, "__dict__", {})]
    return found


class TestHello:
    def test_its_key_is_made_for_one_connection_and_not_kept(self):
        """So nobody can open later what was recorded, with all that the server still has."""
        made: list[bytes] = []
        registry = registry_of()

        def random(size: int) -> bytes:
            made.append(os.urandom(size))
            return made[-1]

        clients = [Client(registry), Client(registry)]
        for client in clients:
            client.handshake = V3Handshake(context(KEY, registry, random=random), Peer())
            client.greet()
            client.handshake._context = None  # type: ignore[assignment] # where `made` is
        first, second = made
        assert first != second and len(first) == 32
        held = b" ".join(all_bytes(clients[0].handshake))
        assert first not in held
        assert clients[0].handshake.channel.hash in held, "what is held was not found"

    def test_what_the_server_says(self):
        client = Client(registry_of(), channel_capacity=77, outbox_bytes=1 << 20, packet_size_limit=4321).greet()
        assert client.static == CHANNEL_KEY.public
        assert client.payload.limits == (4321, (77, 1 << 20)) and client.payload.keys == ()
        assert client.handshake.costly

    def test_keys_that_may_take_its_place(self):
        registry, keys = registry_of(), (b"a" * 32, b"b" * 32)
        client = Client(registry)
        client.handshake = V3Handshake(context(KEY, registry, keys=keys), Peer())
        assert client.greet().payload.keys == keys

    def test_what_a_count_of_32_bits_cannot_say(self):
        client = Client(registry_of(), outbox_bytes=1 << 40).greet()
        assert client.payload.limits.retained.size == 2**32 - 1

    @pytest.mark.parametrize(
        ("suites", "setting", "local", "chosen"),
        [
            ((1,), "never", True, 1),
            ((1, 0), "always", True, 1),
            ((0, 1), "never", True, 1),
            ((0, 1), "local", True, 0),
            ((0, 1), "local", False, 1),
            ((0, 1), "always", False, 0),
            ((9, 0, 1), "always", False, 0),
            ((255, 1), "never", False, 1),
            ((0,), "never", True, None),
            ((0,), "local", False, None),
            ((2, 3), "always", True, None),
        ],
    )
    def test_suites(self, suites: tuple[int, ...], setting: str, local: bool, chosen: int | None):
        client = Client(registry_of(), suites, local=local, unencrypted=setting)
        if chosen is not None:
            client.greet()
            assert client.payload.suite == client.handshake.suite == chosen
            assert client.handshake.costly is bool(chosen)
            return
        with pytest.raises(SuiteRefused):
            client.greet()
        assert decode_refusal(split(client.handshake.refuse(CloseReason.SUITE_REFUSED))[0])[0] == Code.NO_SUITE

    def test_another_version(self):
        client = Client(registry_of())
        with pytest.raises(UnsupportedVersion):
            client.handshake.receive(b"\x56\x04" + client.hello.encode()[2:])
        refused = split(client.handshake.refuse(CloseReason.UNSUPPORTED_VERSION))[0]
        assert decode_refusal(refused)[0] == Code.NO_VERSION

    def test_a_key_that_agrees_on_nothing(self):
        client = Client(registry_of())
        with pytest.raises(MalformedPacket):
            client.handshake.receive(Hello((1,), bytes(32)).encode())
        assert client.handshake.step is Step.HELLO and client.handshake.costly, "it has been paid for"


class TestRefusing:
    @pytest.mark.parametrize("reason", CODES, ids=lambda reason: reason.name)
    def test_before_there_is_a_channel(self, reason: CloseReason):
        refused = split(at(Step.HELLO).handshake.refuse(reason))[0]
        assert refused[:2] == b"\x56\xff" and decode_refusal(refused) == (CODES[reason], reason.value)

    @pytest.mark.parametrize(
        "reason", [one for one in CODES if one is not CloseReason.BAD_RECORD], ids=lambda one: one.name
    )
    @pytest.mark.parametrize("suite", [0, 1])
    def test_behind_it(self, reason: CloseReason, suite: int):
        assert at(Step.ENTRY, suites=(suite,)).closing(reason) == (CODES[reason], 0, 0, reason.value)

    def test_a_record_that_does_not_open_is_not_answered(self):
        assert at(Step.ENTRY).handshake.refuse(CloseReason.BAD_RECORD) == b""

    def test_ends_that_say_nothing_of_it(self):
        assert at(Step.HELLO).handshake.refuse(CloseReason.IDLE) == b""
        assert at(Step.ENTRY).closing(CloseReason.IDLE)[0] == Code.DROPPED


class TestOpening:
    def test_a_new_client(self):
        client = at(Step.ENTRY)
        session = client.open()
        secrets = decode_secrets(session.credential)
        assert (secrets.suite, secrets.generation, secrets.present) == (1, 0, client.secret)
        assert client.handshake.retained == RETAINED and client.handshake.credit == 5000
        assert client.handshake.claims is None
        welcome = client.welcome(session, taken=5)
        assert welcome.id == session.id and welcome.taken == 5 and welcome.epoch == 1
        assert welcome.proof == proof(client.secret, "server", client.channel.hash)
        assert welcome.generation == 1 and welcome.branch

    def test_again_before_its_welcome_is_confirmed(self):
        """The same session, however often; each welcome has another branch, and each is good."""
        registry = registry_of()
        session = at(Step.ENTRY, registry).open()
        welcomes = []
        for _ in range(3):
            again = at(Step.ENTRY, registry)
            assert again.open() is session and again.handshake.credential is None
            welcomes.append(again.welcome(session))
        assert len({welcome.branch for welcome in welcomes}) == len({welcome.secret for welcome in welcomes}) == 3
        for welcome in welcomes[:1]:
            at(Step.ENTRY, registry).resume(session, welcome)
        assert len(registry.sessions) == 1

    def test_again_after_it_was_confirmed(self):
        registry = registry_of()
        client = at(Step.ENTRY, registry)
        session = client.open()
        client.welcome(session)
        client.confirm(session)
        before = state_of(registry)
        with pytest.raises(Superseded):
            at(Step.ENTRY, registry).open()
        assert state_of(registry) == before

    def test_again_after_it_was_resumed(self):
        registry = registry_of()
        client = at(Step.ENTRY, registry)
        session = client.open()
        at(Step.ENTRY, registry).resume(session, client.welcome(session))
        with pytest.raises(Superseded):
            at(Step.ENTRY, registry).open()

    def test_a_known_handle_with_another_secret(self):
        registry = registry_of()
        session = at(Step.ENTRY, registry).open()
        before = state_of(registry)
        thief = Client(registry, secret=b"t" * 32).greet()
        with pytest.raises(BadProof) as caught:
            thief.open()
        assert type(caught.value) is BadProof and thief.closing(CloseReason.BAD_PROOF)[0] == Code.BAD_PROOF
        assert state_of(registry) == before
        assert at(Step.ENTRY, registry).open() is session

    def test_a_handle_is_forgotten_with_its_session(self):
        registry = registry_of()
        session = at(Step.ENTRY, registry).open()
        registry.end(session)
        assert len(registry.openings) == 0
        assert at(Step.ENTRY, registry).open() is not session

    def test_one_that_was_confirmed_is_remembered_longer(self):
        """An opening that was under way is not to become a second session, though the first is over."""
        registry = registry_of()
        client = at(Step.ENTRY, registry)
        session = client.open()
        client.welcome(session)
        client.confirm(session)
        registry.end(session)
        with pytest.raises(Superseded):
            at(Step.ENTRY, registry).open()

    def test_while_memory_is_short(self):
        budget, registry = Budget(100), registry_of()
        session = at(Step.ENTRY, registry).open()
        budget.used = 99
        stranger = Client(registry, budget=budget, handle=b"x" * 16).greet()
        with pytest.raises(NoMemory):
            stranger.open()
        assert stranger.closing(CloseReason.MEMORY_REFUSED)[0] == Code.NO_ROOM
        known = Client(registry, budget=budget).greet()
        assert known.open() is session, "who has a session is let in"

    def test_nothing_is_there_before_it_enters(self):
        client = at(Step.ENTRY)
        client.say(Kind.OPEN, Open(b"h" * 16, b"s" * 32, RETAINED).encode())
        assert client.registry.sessions == {} and not len(client.registry.openings)


class Scene:
    """A session that was opened, and may have been resumed a few times since."""

    def __init__(self, suite: int = 1, resumes: int = 0) -> None:
        self.registry = registry_of()
        client = at(Step.ENTRY, self.registry, (suite,))
        self.session = client.open()
        self.own = client.secret
        self.suite = suite
        self.welcome = client.welcome(self.session)
        for _ in range(resumes):
            again = self.client()
            again.resume(self.session, self.welcome)
            self.welcome = again.welcome(self.session)

    def client(self, suite: int | None = None) -> Client:
        return at(Step.ENTRY, self.registry, (self.suite if suite is None else suite,))

    def refused(self, client: Client, body: bytes, error: type[ProtocolError]) -> None:
        """It is refused with exactly that, and nothing has changed."""
        before = state_of(self.registry)
        with pytest.raises(error) as caught:
            client.say(Kind.RESUME, body, ack=1)
        assert type(caught.value) is error
        assert state_of(self.registry) == before
        assert not client.handshake.done and client.handshake.session is None


class TestResuming:
    @pytest.mark.parametrize("stale", [False, True], ids=["live", "stale"])
    @pytest.mark.parametrize("suite", [0, 1])
    def test_who_has_the_secret(self, suite: int, stale: bool):
        scene = Scene(suite)
        if stale:
            scene.registry.lose(scene.session, 0.0)
        session, state = scene.session, scene.session.state
        client = scene.client()
        client.resume(session, scene.welcome)
        assert client.handshake.session is session and session.state is state, "who enters is the connection"
        assert client.handshake.claims == Claims(epoch=1, taken=2, safe=1, sent=3, acked=4)
        assert client.handshake.retained == RETAINED
        welcome = client.welcome(session, taken=9)
        assert welcome.generation == 2 and welcome.taken == 9
        assert welcome.proof == proof(scene.welcome.secret, "server", client.channel.hash)

    def test_with_the_secret_of_the_opening(self):
        """Whose welcome was lost when the client knew the id: from an earlier one."""
        scene = Scene()
        client = scene.client()
        client.resume(scene.session, None)
        assert decode_secrets(scene.session.credential).generation == 0
        assert scene.registry.journal.told == ["opened"], "nothing to be kept"  # type: ignore[attr-defined]

    def test_the_first_proof_of_a_generation_is_journaled(self):
        scene = Scene(resumes=1)
        assert scene.registry.journal.told == ["opened", "renewed, told"]  # type: ignore[attr-defined]

    def test_many_times(self):
        scene = Scene(resumes=20)
        assert decode_secrets(scene.session.credential).generation == 20 and scene.welcome.generation == 21

    def test_a_later_secret_than_there_is(self):
        scene = Scene()
        welcome, client = scene.welcome, scene.client()
        body = client.resume_body(scene.session, welcome.generation + 1, 1, welcome.secret)
        scene.refused(client, body, ProofAhead)
        assert client.closing(CloseReason.BAD_PROOF)[:3] == (Code.BAD_PROOF, 0, 0)

    @pytest.mark.parametrize("resumes", [0, 3])
    def test_wrong_proofs(self, resumes: int):
        scene = Scene(resumes=resumes)
        welcome = scene.welcome
        secret = (welcome.generation, welcome.branch, welcome.secret)
        for wrong in (
            lambda c: c.resume_body(scene.session, *secret[:2], b"x" * 32),
            lambda c: c.resume_body(scene.session, *secret, proof=bytes(32)),
            lambda c: c.resume_body(scene.session, *secret, proof=proof(welcome.secret, "server", c.channel.hash)),
            lambda c: c.resume_body(scene.session, *secret, proof=proof(welcome.secret, "client", b"another" * 5)),
            lambda c: c.resume_body(scene.session, welcome.generation, welcome.branch ^ 1, welcome.secret),
        ):
            client = scene.client()
            scene.refused(client, wrong(client), BadProof)
            assert client.closing(CloseReason.BAD_PROOF)[:3] == (Code.BAD_PROOF, 0, 0)

    def test_every_bit_of_the_proof_counts(self):
        scene = Scene()
        client = scene.client()
        good = proof(scene.welcome.secret, "client", client.channel.hash)
        for position in range(32):
            wrong = good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :]
            body = client.resume_body(scene.session, scene.welcome.generation, scene.welcome.branch, b"", proof=wrong)
            scene.refused(client, body, BadProof)

    def test_superseded_secrets(self):
        scene = Scene()
        first = scene.welcome
        client = scene.client()
        client.resume(scene.session, first)
        second, third = client.welcome(scene.session), client.welcome(scene.session)
        old = scene.client()
        scene.refused(old, old.resume_body(scene.session, 0, 0, scene.own), Superseded)
        assert old.closing(CloseReason.SUPERSEDED)[:3] == (Code.SUPERSEDED, 0, 0)
        client.confirm(scene.session)  # the third, which it was told last
        for which in (first, second):
            old = scene.client()
            body = old.resume_body(scene.session, which.generation, which.branch, which.secret)
            scene.refused(old, body, Superseded)
        scene.client().resume(scene.session, third)

    def test_an_id_that_is_not_known(self):
        scene = Scene()
        for number in (0, 2, 2**64 - 1):
            client = scene.client()
            body = client.resume_body(scene.session, 1, 1, b"x" * 32, id=number)
            scene.refused(client, body, UnknownSession)
            assert client.closing(CloseReason.UNKNOWN_SESSION)[:3] == (Code.UNKNOWN_SESSION, 0, 0)

    def test_an_id_of_version_2(self):
        scene = Scene()
        other = scene.registry.open(KEY.public, RecorderLink())
        assert other.delivery is None and other.id not in (0, scene.session.id)
        client = scene.client()
        scene.refused(client, client.resume_body(other, 1, 1, b"x" * 32), UnknownSession)
        assert other.state is State.LIVE

    def test_an_id_of_version_3_by_version_2(self):
        scene = Scene()
        handshake = V2Handshake(context(KEY, scene.registry), Peer())
        handshake.receive(encode(ProtocolVersion(2)))
        before = state_of(scene.registry)
        with pytest.raises(UnknownSession):
            handshake.receive(encode(ClientId(scene.session.id)))
        assert state_of(scene.registry) == before and scene.session.secret is None

    def test_a_record_of_another_channel(self):
        """What somebody has heard of a resume is good for nothing."""
        scene = Scene()
        client, other = scene.client(), scene.client()
        body = client.resume_body(scene.session, scene.welcome.generation, scene.welcome.branch, scene.welcome.secret)
        message = bytes(client.channel.seal(record(Kind.RESUME, 0, 0, body)))
        with pytest.raises(BadRecord):
            other.handshake.receive(message)
        scene.refused(scene.client(), body, BadProof)
        client.handshake.receive(message)
        assert client.handshake.session is scene.session

    def test_a_record_of_another_channel_that_is_clear(self):
        scene = Scene(suite=0)
        client = scene.client()
        body = client.resume_body(scene.session, scene.welcome.generation, scene.welcome.branch, scene.welcome.secret)
        scene.refused(scene.client(), body, BadProof)

    def test_one_that_was_opened_encrypted_is_not_resumed_in_the_clear(self):
        scene = Scene(suite=1)
        client = scene.client(suite=0)
        body = client.resume_body(scene.session, scene.welcome.generation, scene.welcome.branch, scene.welcome.secret)
        scene.refused(client, body, SuiteRefused)
        assert client.closing(CloseReason.SUITE_REFUSED)[0] == Code.NO_SUITE
        with pytest.raises(SuiteRefused):
            scene.client(suite=0).open()

    def test_one_that_was_opened_in_the_clear_may_be_encrypted(self):
        scene = Scene(suite=0)
        scene.client(suite=1).resume(scene.session, scene.welcome)

    def test_while_memory_is_short(self):
        scene, budget = Scene(), Budget(100)
        budget.used = 99
        client = Client(scene.registry, budget=budget).greet()
        client.resume(scene.session, scene.welcome)
        assert client.handshake.session is scene.session


class TestEnded:
    def ended(self, resumes: int = 0) -> Scene:
        scene = Scene(resumes=resumes)
        session = scene.session
        scene.registry.end(session)
        stone = Tombstone(session.credential, EndReason.KICKED, safe=7, taken=9)
        scene.registry.tombstones.add(session.id, stone)
        return scene

    @pytest.mark.parametrize("resumes", [0, 2])
    def test_who_proves_it_is_told_what_had_arrived(self, resumes: int):
        scene = self.ended(resumes)
        client, welcome = scene.client(), scene.welcome
        body = client.resume_body(scene.session, welcome.generation, welcome.branch, welcome.secret)
        scene.refused(client, body, SessionEnded)
        assert client.closing(CloseReason.SESSION_ENDED) == (Code.ENDED, 7, 9, EndReason.KICKED.value)

    def test_who_does_not_is_told_nothing(self):
        scene = self.ended()
        for generation, branch, secret, error in (
            (1, scene.welcome.branch, b"x" * 32, BadProof),
            (5, 1, b"x" * 32, ProofAhead),
        ):
            client = scene.client()
            scene.refused(client, client.resume_body(scene.session, generation, branch, secret), error)
            assert client.closing(error.reason)[1:] == (0, 0, error.reason.value)

    def test_in_the_clear_it_is_told_nothing_either(self):
        scene = self.ended()
        client, welcome = scene.client(suite=0), scene.welcome
        body = client.resume_body(scene.session, welcome.generation, welcome.branch, welcome.secret)
        scene.refused(client, body, SuiteRefused)


def test_handles_and_secrets_come_from_the_clients_own():
    """Two clients with as many secrets as there are: none is mixed up."""
    registry = registry_of()
    clients = [Client(registry, handle=os.urandom(16), secret=os.urandom(32)).greet() for _ in range(5)]
    sessions = [client.open() for client in clients]
    assert len({session.id for session in sessions}) == 5
    again = [Client(registry, handle=client.handle, secret=client.secret).greet() for client in clients]
    assert [client.open() for client in again] == sessions
