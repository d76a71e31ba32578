"""Events: a client that gets its packets as an event stream, and shows a token to go on with its session.

There is nothing to be said in the handshake: all that the client has to say was in its request. Of the token the server
keeps a digest, so that what it has on the disk opens nothing. The client does not say what it has got, until it comes
back: what it was sent is retained, as far as the limits go, and numbered.
"""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from hmac import compare_digest

from ...errors import NoMemory, SessionEnded, TokenRefused
from ...reasons import CloseReason
from ...wire.event_stream import SECRET_SIZE, Place, Token
from ...wire.framing import Buffer
from ..delivery import EPOCH_SPAN, Claims, Delivery
from ..registry import Registry
from ..session import Session
from ..whereabouts import Elsewhere
from .credentials import TOKEN, Kind, kind_of
from .handshake import HandshakeContext, Peer, WireProtocol

CREDENTIAL_SIZE = 1 + sha256().digest_size
RETRY_MS, RETRY_SPREAD_MS = 1000, 2000
"""After how long a client comes back that has lost its connection: not all of them at once."""


def credential_of(secret: bytes) -> bytes:
    """What is kept of a token's secret."""
    return bytes([TOKEN]) + sha256(secret).digest()


def find_session(registry: Registry, token: Token | None, beside: bool = False) -> Session:
    """The session that a token opens; `beside`: for a request, and not for its stream. Raises SessionEnded, for who has
    had it, Elsewhere, else TokenRefused."""
    if token is not None:
        shown = credential_of(token.secret)
        session, stone = registry.find(token.client_id, beside), registry.tombstones.get(token.client_id)
        if session is not None and _opens(shown, session.credential):
            return session
        if stone is not None and _opens(shown, stone.credential):
            raise SessionEnded(f"session {token.client_id} has ended: {stone.reason.value}")
    raise TokenRefused("the session is over, or of another server")


def _opens(shown: bytes, credential: bytes) -> bool:
    return kind_of(credential) is Kind.TOKEN and compare_digest(credential, shown)


class EventsHandshake:
    """See Handshake: it is done before it has begun."""

    __slots__ = ("_context", "claims", "credential", "lost", "retry", "secret", "session")

    done = True
    unanswered = False
    costly = False
    waits_for = "nothing"

    def __init__(self, place: Place | str, context: HandshakeContext, peer: Peer) -> None:
        """`place`: how far a client has got that comes back; else why it is a new one, "" for one that is.

        Raises NoMemory.
        """
        self._context = context
        self.session: Session | None = None
        self.credential: bytes | None = None
        self.claims: Claims | None = None
        """What who comes back says of its packets."""
        self.lost = ""
        """Why the session that it wanted is not there any more, where it has to begin a new one."""
        self.retry = RETRY_MS + int.from_bytes(context.random(2), "little") % RETRY_SPREAD_MS
        """Milliseconds."""
        if isinstance(place, Place):
            try:
                self.session = find_session(context.registry, place.token)
            except (SessionEnded, TokenRefused) as refusal:
                self.lost = str(refusal)
            except Elsewhere:  # it was looked for before it was asked for here
                self.lost = "the session is not here"
            else:
                assert self.session.delivery is not None
                self.secret = place.token.secret
                epoch = max(self.session.delivery.epoch, place.number // EPOCH_SPAN)  # it may have been elsewhere since
                self.claims = Claims(epoch, place.number, 0, 0, 0)
                return
        else:
            self.lost = place
        if context.budget.is_near:
            raise NoMemory("no memory for another client")
        self.secret = context.random(SECRET_SIZE)
        self.credential = credential_of(self.secret)

    def receive(self, message: Buffer) -> bytes:
        """See Handshake. There are no messages."""
        return b""

    def again(self) -> bytes:
        """See Handshake."""
        return b""

    def state(self) -> bytes:
        """See Handshake."""
        return b""

    def refuse(self, reason: CloseReason) -> bytes:
        """See Handshake."""
        return b""

    def answer(self, session: Session) -> bytes:
        """See Handshake: what it is told are events, which the connection makes."""
        if session.delivery is None:
            session.delivery = Delivery(self._context.registry.epoch)
        return b""


EVENTS = "events"


def events_for(place: Place | str) -> WireProtocol:
    """That of one client. `place` as for EventsHandshake."""
    return WireProtocol(EVENTS, partial(EventsHandshake, place), 0, 0)
