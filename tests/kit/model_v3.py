"""The server's side of version 3 as SPEC says it, in as few lines as that takes, for tests of the client: no socket.

    server = ModelServer()
    link = server.accept()
    link.receive(bytes_from_the_client); link.output     # to be delivered to the client

It keeps everything for ever, and asserts what a client must not do. `server.sessions[id]` has `passed` (what the master
was given), `send(data)`, `pass_on(n)`; `server.crash()` forgets what a killed process would.
"""

from __future__ import annotations

import itertools
import os
from typing import Callable

from voltlane.wire import v3
from voltlane.wire.framing import FrameBuffer, frame
from voltlane.wire.noise import Channel, KeyPair, respond
from voltlane.wire.v3 import Code, Kind, Limits, Retained, Suite, Why

PACKET_LIMIT = 8388599
EPOCH_NUMBERS = 1 << 32
"""Down numbers that one epoch has."""


class Closed(Exception):
    """The server has closed a link, for this reason."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(f"{code} {text}")
        self.code, self.text = code, text


class Session:
    """What the server knows of a client. `passed` and `secret`s outlive a crash."""

    def __init__(self, client_id: int, handle: bytes, secret: bytes) -> None:
        self.id = client_id
        self.handle = handle
        self.generation = self.branch = 0
        self.secret = secret
        self.next: dict[int, bytes] = {}
        """The secrets that were told, by their branch, of the generation behind the present one."""
        self.branches = itertools.count(1)
        self.epoch = 1
        self.passed: list[bytes] = []
        """What the master has been given, of all lives of the server."""
        self.taken: list[bytes] = []
        """Taken from the client, and not passed on yet."""
        self.last_taken = self.safe = 0
        self.known = True
        """Whether a client has this epoch: else what is taken and safe is what the next resume says."""
        self.down: list[bytes | v3.Gap] = []
        """Everything for the client; number n is down[n - 1 - base]."""
        self.base = 0
        self.acked = 0
        self.link: ServerLink | None = None
        self.ended = 0

    @property
    def last_down(self) -> int:
        return self.base + len(self.down)

    def send(self, data: bytes) -> int:
        """From the master; its number."""
        self.down.append(data)
        if self.link is not None:
            self.link.pump()
        return self.last_down

    def give_up(self, count: int) -> None:
        """The oldest that are not acknowledged will not come (why 1)."""
        first, last = self.acked + 1, min(self.acked + count, self.last_down)
        for number in range(first, last + 1):
            self.down[number - 1 - self.base] = v3.Gap(first, last, Why.LIMIT)

    def pass_on(self, count: int = 1 << 30) -> None:
        """To the master: they are safe."""
        passing, self.taken = self.taken[:count], self.taken[count:]
        self.passed += passing
        self.safe += len(passing)
        if passing and self.link is not None:
            self.link.ack()

    def confirm_epoch(self) -> None:
        """The client knows of this epoch, and so of what is uncertain."""
        if not self.known:
            self.known, self.safe = True, self.last_taken

    def promote(self, branch: int) -> None:
        """The client has this secret of the next generation."""
        self.generation, self.branch, self.secret = self.generation + 1, branch, self.next[branch]
        self.next = {}

    def crash(self) -> None:
        self.taken, self.down, self.link = [], [], None
        self.epoch += 1
        self.base = self.acked = self.epoch * EPOCH_NUMBERS
        self.known = False


class ServerLink:
    """One connection."""

    def __init__(self, server: ModelServer) -> None:
        self.server = server
        self.output = bytearray()
        self.session: Session | None = None
        self.live = False
        self._branch = 0
        self.closed: Closed | None = None
        """Why we closed."""
        self.close: v3.Close | None = None
        """What the client said last."""
        self.records: list[int] = []
        """Kinds that came."""
        self.pongs: list[bytes] = []
        self.gaps: list[v3.Gap] = []
        self._channel: Channel | None = None
        self._messages = FrameBuffer(65535)
        self._stream = FrameBuffer(PACKET_LIMIT)
        self._ack = self._credit = self._told_credit = self._sent = self._received = 0
        self._next = 1
        self._offset = 0

    def receive(self, data: bytes) -> None:
        """Bytes from the client. Assertion errors are the client's faults."""
        self._messages.feed(data)
        for message in self._messages:
            if self.closed or self.close:
                return
            try:
                self._on_message(message)
            except Closed as closed:
                self.say(Kind.CLOSE, v3.Close(closed.code, 0, closed.text).encode())
                self.closed = closed

    def say(self, kind: int, body: bytes = b"", *, ack: int | None = None, credit: int | None = None) -> None:
        """A record."""
        assert self._channel is not None
        if self.session is not None and self._told_credit and credit is None:
            self._told_credit = max(self._told_credit, self._received + self.server.window)
        ack = (max(self.session.safe, 0) if self.session else 0) if ack is None else ack
        record = v3.record(kind, ack, self._told_credit if credit is None else credit, body)
        self.output += frame(self._channel.seal(record))

    def ack(self) -> None:
        if self.live:
            self.say(Kind.ACK)

    def end(self, code: int, text: str = "") -> None:
        """Close, and say why."""
        taken = self.session.last_taken if self.session else 0
        self.say(Kind.CLOSE, v3.Close(code, taken, text).encode())
        self.closed = Closed(code, text)
        if self.session is not None and self.session.link is self:
            self.session.link = None

    def _on_message(self, message: bytes) -> None:
        if self._channel is None:
            self._on_hello(message)
            return
        record = bytes(self._channel.open(message))
        kind, ack, credit = v3.head_of(record)
        body = record[v3.HEAD_SIZE :]
        self.records.append(kind)
        if self.session is None:
            assert kind in (Kind.OPEN, Kind.RESUME), f"{kind} came first"
            self._credit = credit
            if kind == Kind.OPEN:
                self._on_open(v3.decode_open(body))
            else:
                self._on_resume(v3.decode_resume(body), ack)
            return
        if self.session.link is not self:
            return  # another one has it
        assert ack >= self._ack and credit >= self._credit, "ack or credit went down"
        assert ack <= self._next - 1, f"ack {ack} of {self._next - 1}"
        self._ack, self._credit = ack, credit
        self.session.acked = max(self.session.acked, ack)
        if not self.live:
            if self._branch not in self.session.next:
                self.end(Code.SUPERSEDED, "somebody else has gone on with it")
                return
            self._confirm()
        if kind == Kind.DATA:
            self._received += len(body)
            assert self._received <= self._told_credit, "data past the credit"
            self._stream.feed(body)
            for packet in self._stream:
                self.session.taken.append(packet)
                self.session.last_taken += 1
        elif kind == Kind.GAP:
            gap = v3.decode_gap(body)
            assert gap.first == self.session.last_taken + 1 and gap.last >= gap.first
            self.session.pass_on()
            self.session.last_taken = self.session.safe = gap.last
            self.gaps.append(gap)
        elif kind == Kind.CLOSE:
            self.close = v3.decode_close(body)
            self.session.link = None
            if self.close.code == Code.LEFT:
                self.session.ended = Code.ENDED
        elif kind == Kind.PING:
            self.say(Kind.PONG, body)
        elif kind == Kind.PONG:
            self.pongs.append(body)
        elif kind == Kind.ASK:
            self.say(Kind.DATAGRAMS, self.server.datagrams(self.session, v3.decode_ask(body)))
        else:
            assert kind == Kind.ACK, kind
        self.pump()
        if self.closed is None and self._told_credit - self._received < self.server.window // 2:
            self.say(Kind.ACK)

    def _on_hello(self, message: bytes) -> None:
        server, hello = self.server, v3.decode_hello(message)
        suite = next((suite for suite in hello.suites if suite in server.suites), None)
        if suite is None:
            self.output += frame(v3.refusal(Code.NO_SUITE, "none of the suites is allowed here"))
            self.closed = Closed(Code.NO_SUITE)
            return
        payload = v3.ServerPayload(suite, server.limits, tuple(key.public for key in server.announced)).encode()
        if suite == Suite.NOISE:
            answer, self._channel = respond(hello.prologue, hello.random, server.key, KeyPair(), payload)
            self.output += frame(v3.server_hello(suite, answer))
        else:
            whole = v3.server_hello(suite, os.urandom(32) + payload)
            self._channel = v3.clear_channel(message, whole)
            self.output += frame(whole)

    def _on_open(self, opening: v3.Open) -> None:
        server = self.server
        server.opens.append(opening.handle)
        session = next((found for found in server.sessions.values() if found.handle == opening.handle), None)
        if session is None:
            session = Session(len(server.sessions) + 7, opening.handle, opening.secret)
            server.sessions[session.id] = session
        elif session.secret != opening.secret and session.generation == 0:
            raise Closed(Code.BAD_PROOF, "the handle is known")
        elif session.generation:
            raise Closed(Code.SUPERSEDED, "it was welcomed already")
        self._bind(session, 0, session.secret)

    def _on_resume(self, resume: v3.Resume, safe: int) -> None:
        assert self._channel is not None and safe <= resume.taken
        self.server.resumes.append(resume)
        session = self.server.sessions.get(resume.id)
        if session is None:
            raise Closed(Code.UNKNOWN_SESSION, "no session with that id")
        if (resume.generation, resume.branch) == (session.generation, session.branch):
            secret = session.secret
        elif resume.generation == session.generation + 1 and resume.branch in session.next:
            secret = session.next[resume.branch]
        else:
            raise Closed(Code.SUPERSEDED, "somebody else has gone on with it")
        if v3.proof(secret, "client", self._channel.hash) != resume.proof:
            raise Closed(Code.BAD_PROOF, "the proof is wrong")
        if resume.generation > session.generation:
            session.promote(resume.branch)
        if session.ended:
            self.session = session
            self.end(session.ended, "it has ended")
            return
        if resume.epoch == session.epoch:
            session.confirm_epoch()  # its confirmation may have been lost
            assert session.last_taken >= resume.acked
        elif not session.known:
            session.safe, session.last_taken = resume.acked, resume.sent
        session.acked = max(session.acked, safe)
        self._ack = safe
        self._bind(session, resume.taken, secret)

    def _bind(self, session: Session, taken: int, secret: bytes) -> None:
        assert self._channel is not None
        if session.link is not None:
            session.link.end(Code.TAKEN_OVER, "resumed over another connection")
        self.session, session.link = session, self
        self._next = taken + 1
        self._told_credit = self.server.window
        proof = v3.proof(secret, "server", self._channel.hash)
        self._branch = next(session.branches)
        session.next[self._branch] = told = os.urandom(32)
        welcome = v3.Welcome(
            session.id, proof, session.epoch, session.generation + 1, self._branch, told, session.last_taken
        )
        self.say(Kind.WELCOME, welcome.encode())
        self.pump()

    def _confirm(self) -> None:
        assert self.session is not None
        self.live = True
        self.session.promote(self._branch)
        self.session.confirm_epoch()

    def pump(self) -> None:
        """Send what there is credit for."""
        session = self.session
        if session is None or session.link is not self or self.closed:
            return
        while self._next <= session.last_down:
            if self._next <= session.acked:  # lost with a life of ours, or with one of the client's
                why = Why.RESTART if session.acked == session.base else Why.FORGOTTEN
                self.say(Kind.GAP, v3.Gap(self._next, session.acked, why).encode())
                self._next = session.acked + 1
                continue
            item = session.down[self._next - 1 - session.base]
            if isinstance(item, v3.Gap):
                self.say(Kind.GAP, v3.Gap(self._next, item.last, item.why).encode())
                self._next = item.last + 1
                continue
            rest = frame(item)[self._offset :]
            piece = rest[: min(self._credit - self._sent, self.server.piece)]
            if not piece:
                return
            self.say(Kind.DATA, piece)
            self._sent += len(piece)
            self._offset += len(piece)
            if len(piece) == len(rest):
                self._next, self._offset = self._next + 1, 0


class ModelServer:
    """Sessions, and what they are served with."""

    def __init__(self) -> None:
        self.key = KeyPair()
        self.announced: list[KeyPair] = []
        self.suites = (Suite.NOISE, Suite.CLEAR)
        self.limits = Limits(PACKET_LIMIT, Retained(64, 1 << 16))
        self.window = 1 << 16
        self.piece = v3.MAX_BODY
        """Bytes of data in one record, at most."""
        self.sessions: dict[int, Session] = {}
        self.opens: list[bytes] = []
        self.resumes: list[v3.Resume] = []
        self.datagrams: Callable[[Session, bytes], bytes] = lambda session, seed: v3.NO_DATAGRAMS
        """What an ask with this seed is answered."""

    def accept(self) -> ServerLink:
        return ServerLink(self)

    def crash(self) -> None:
        """Killed and started again: secrets are in the journal, everything else is gone."""
        for session in self.sessions.values():
            session.crash()
