"""The client's side of a session's datagrams (SPEC 22 to 26) as a state machine, as `endpoint` is for the stream. No
socket and no clock.

    datagrams.want()                          # from then on each connection asks
    datagrams.ask(secret)                     # the body of an ask, for the stream
    datagrams.answered(offer, now)            # of the stream: keys, and where to (`offer`)
    datagrams.receive(datagram, now)          # whatever comes
    datagrams.seal(packet, now)               # to be sent
    datagrams.tick(now)                       # at `datagrams.due`

Whatever is in `datagrams.output` is to be sent, or lost. What comes is in `datagrams.inbox`.
"""

from __future__ import annotations

import enum
import os
from collections import deque
from typing import Callable

from ..wire.datagram import OLD_KEYS_SECS, SEED_SIZE, SMALLEST, WORDS_SIZE, Kind, client_keys, derive
from ..wire.v3 import DatagramsOffer
from .datagram_keys import KeyedDatagrams
from .datagram_link import DatagramLink

INBOX_PACKETS = 1024
"""Packets that wait for the application; past that the oldest goes."""
PROBE_SECS = 0.2
"""First pause between pings, twice as long each time, until one was answered and no challenge came behind it."""
MEASURE_SECS = 1.0
"""While packets are sent, a ping as often: its pong says what is lost on the way there."""
AGAIN_SECS = 10.0
"""How long after the server has said that there are no datagrams it is not asked again."""


class Stage(enum.Enum):
    """How far datagrams are."""

    UNUSED = "nobody has asked for them"
    WANTED = "they are to be asked for"
    ASKED = "the answer is awaited"
    KEYED = "there are keys"
    REFUSED = "the server has none"


class Datagrams:
    """One session's, over all of its connections."""

    def __init__(self) -> None:
        self.stage = Stage.UNUSED
        self.link = DatagramLink()
        self.output: deque[bytes] = deque()
        self.inbox: deque[bytes] = deque()
        self.offer: DatagramsOffer | None = None
        """The server's last, with keys: where what goes out goes."""
        self.began = False
        """Whether they have worked at all."""
        self.awaited = 0
        """How many callers wait for one."""
        self.unheard = 0
        """Pings since anything has come under these keys."""
        self._asked: tuple[bytes, bytes] | None = None
        self._keyed: KeyedDatagrams | None = None
        self._former: KeyedDatagrams | None = None
        self._former_until = self._refused_at = 0.0
        self._unsettled = False
        self._pause = PROBE_SECS
        self._sent_at = self._pinged_at = self._looked_at = 0.0
        self._challenged_at: float | None = None  # under the present keys; a server does so before it sends packets
        self._sent_since = False  # packets, since the last ping

    # ---- asking, over the stream

    def want(self, now: float) -> None:
        """The program uses them: the stream is to ask, unless it has, or was told no just now."""
        if self.stage is Stage.UNUSED or (self.stage is Stage.REFUSED and now >= self._refused_at + AGAIN_SECS):
            self.stage = Stage.WANTED

    def begin(self) -> None:
        """The stream has a connection, anew: whatever was asked before is not answered there."""
        self._asked = None
        if self.stage is not Stage.UNUSED:
            self.stage = Stage.WANTED

    def ask(self, secret: bytes) -> bytes:
        """The body of an ask; `secret` is what the welcome told that this connection has confirmed."""
        seed = os.urandom(SEED_SIZE)
        self._asked, self.stage = (secret, seed), Stage.ASKED
        return seed

    def answered(self, offer: DatagramsOffer, now: float) -> None:
        """The server's answer, or its word that there are none any longer."""
        asked, self._asked = self._asked, None
        if not offer.port or offer.mtu < SMALLEST:
            self._refused_at, self.stage = now, Stage.REFUSED
            self._forget()
        elif asked is not None:
            secret, seed = asked
            self._former, self._former_until = self._keyed, now + OLD_KEYS_SECS
            self._keyed = KeyedDatagrams(client_keys(derive(secret, seed, offer.seed)), offer.mtu, self.link)
            self.offer, self.stage = offer, Stage.KEYED
            self.link.working, self.link.most = False, offer.mtu - SMALLEST
            self._looked_at, self._challenged_at, self.unheard = now, None, 0
            self._unsettled, self._pause = True, PROBE_SECS
            self._ping(now)

    def end(self) -> None:
        """The session is over."""
        self._asked, self.stage = None, Stage.UNUSED
        self._forget()

    def _forget(self) -> None:
        self._keyed = self._former = self.offer = None
        self.link.working = False
        self.output.clear()

    # ---- what goes out

    def seal(self, packet: bytes, now: float) -> bytes | None:
        """A packet as a datagram; None where there are no keys. Raises ValueError when it does not fit into one."""
        keyed = self._keyed
        if keyed is None:
            return None
        if len(packet) > self.link.most:
            raise ValueError(f"a datagram of {len(packet)} bytes, at most {self.link.most} are allowed")
        self._sent_at, self._sent_since = now, True
        return keyed.seal(Kind.DATA, packet, now)

    def due(self) -> float | None:
        """When `tick` is needed, at the latest."""
        if self._keyed is None or self.offer is None:
            return self._refused_at + AGAIN_SECS if self.awaited and self.stage is Stage.REFUSED else None
        if self._unsettled:
            return self._pinged_at + self._pause
        silent = self._sent_at + max(1, self.offer.keepalive)
        return min(silent, self._pinged_at + MEASURE_SECS) if self._sent_since else silent

    def tick(self, now: float) -> None:
        """A ping where it is time for one."""
        due = self.due()
        if self._keyed is not None and due is not None and now >= due:
            self.unheard += 1
            if self._unsettled and self.offer is not None:
                self._pause = min(2 * self._pause, max(1.0, self.offer.keepalive))
            self._ping(now)

    def _ping(self, now: float) -> None:
        self._pinged_at, self._sent_since = now, False
        self._say(Kind.PING, b"", now)

    def _say(self, kind: Kind, body: bytes, now: float) -> None:
        assert self._keyed is not None
        self._sent_at = now
        self.output.append(self._keyed.seal(kind, body, now))

    # ---- what comes

    def receive(self, datagram: bytes, now: float) -> None:
        """Whatever has come to the socket, from wherever. What is nothing of ours changes nothing."""
        keyed = self._keyed
        opened = keyed.open(datagram, now) if keyed is not None else None
        if opened is not None:
            self.unheard = 0
            if now >= self._looked_at + MEASURE_SECS:
                self._looked_at = now
                keyed.look()  # type: ignore[union-attr] # it has opened
            if opened.kind in _ANSWERS:
                _ANSWERS[opened.kind](self, opened.body, now)
        elif self._former is not None and now < self._former_until:
            opened = self._former.open(datagram, now)
        if opened is None:
            self.link.dropped += 1
        elif opened.kind == Kind.DATA:
            self._put(opened.body)

    def _put(self, packet: bytes) -> None:
        if len(self.inbox) >= INBOX_PACKETS:
            self.inbox.popleft()
            self.link.overflowed += 1
        self.link.received += 1
        self.inbox.append(packet)

    def _on_ping(self, body: bytes, now: float) -> None:
        assert self._keyed is not None
        self._say(Kind.PONG, self._keyed.counts(), now)

    def _on_pong(self, body: bytes, now: float) -> None:
        assert self._keyed is not None
        self._keyed.told(body)
        if self._challenged_at is not None and self._challenged_at < self._pinged_at:
            self._unsettled = False

    def _on_challenge(self, body: bytes, now: float) -> None:
        """The server does not know yet that we are here. Should the response be lost, it asks again when it hears of
        us: pings see to that."""
        if len(body) >= WORDS_SIZE:
            self._say(Kind.RESPONSE, body[:WORDS_SIZE], now)
            self._challenged_at = now
            self.began = self.link.working = True
            if not self._unsettled:
                self._unsettled, self._pause = True, PROBE_SECS
            self._pinged_at = now


_ANSWERS: dict[int, Callable[[Datagrams, bytes, float], None]] = {
    Kind.PING: Datagrams._on_ping,
    Kind.PONG: Datagrams._on_pong,
    Kind.CHALLENGE: Datagrams._on_challenge,
}
