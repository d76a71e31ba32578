"""Why things end. One enum member = one counter = one test; the value is the name used in logs, counters and docs."""

from __future__ import annotations

import enum


class Symbol(enum.Enum):
    """An enum whose members are used as keys: they hash as the objects they are, not through a Python function."""

    __hash__ = object.__hash__


class CloseReason(Symbol):
    """Why a connection (of a client, or to the master) was closed."""

    PEER_CLOSED = "peer closed"
    PEER_LOST = "connection lost"
    HANDSHAKE_TIMEOUT = "handshake deadline passed"
    FRAME_TOO_LARGE = "frame over the size limit"
    MALFORMED_PACKET = "malformed handshake packet"
    UNEXPECTED_PACKET = "handshake packet out of place"
    UNSUPPORTED_VERSION = "unsupported protocol version"
    BAD_PUBLIC_KEY = "bad public key"
    UNKNOWN_SESSION = "no session with that id"
    REFLECTED_PROOF = "challenge sent back as its own proof"
    BAD_PROOF = "proof of the key failed"
    SUPERSEDED = "secret of the session superseded"
    SUITE_REFUSED = "no suite that is allowed"
    BAD_RECORD = "record that does not open"
    MALFORMED_RECORD = "malformed record"
    BAD_NUMBERS = "ack, credit or gap that cannot be"
    CREDIT_EXCEEDED = "more data than its credit"
    MALFORMED_FRAME = "frame that breaks the rules of WebSocket"
    BAD_TEXT = "text that is not UTF-8"
    TEXT_REFUSED = "text where the protocol is binary"
    ANSWERED = "nothing more was asked"
    BAD_REQUEST = "malformed HTTP request"
    ORIGIN_REFUSED = "page that may not connect"
    TOKEN_REFUSED = "token that opens no session"
    PING_UNANSWERED = "ping not answered"
    TAKEOVER_EARLY = "old connection cannot be read to its end yet"
    TAKEN_OVER = "replaced by the same client's new connection"
    SESSION_ENDED = "the session ended"
    KICKED = "kicked by the master"
    EXPELLED = "kicked by the operator"
    OUTBOX_FULL = "outbox over its byte limit"
    TOO_SLOW = "outbox over its soft limit for too long"
    WRITE_STALLED = "took nothing of what waits for too long"
    MASTER_STALLED = "the master took nothing for too long"
    RATE_EXCEEDED = "sent more than its rate allows"
    IDLE = "sent nothing for too long"
    OUTBOX_SHED = "outbox given up for want of memory"
    FRAME_SHED = "unfinished packet given up for want of memory"
    MEMORY_REFUSED = "no memory for another client"
    MALFORMED_TAG = "tagged packet shorter than its header"
    UNKNOWN_FLAG = "tagged packet with an unknown flag"
    NO_IDS = "no client id can be reserved"
    INTERNAL_ERROR = "error in the server itself"
    SHUTDOWN = "server shutting down"
    UPGRADE = "cannot move to the program that follows"
    DRAINED = "sent elsewhere by the operator"
    MOVED = "its session is another server's"
    STORE_AWAY = "its session may be elsewhere, and the store is away"
    SERVER_FULL = "too many connections"
    TOO_MANY_HANDSHAKES = "too many handshakes under way"
    ADDRESS_DENIED = "address not allowed to connect"
    ADDRESS_BANNED = "address banned for a while"
    ADDRESS_FULL = "too many connections from one address"
    ADDRESS_RATE = "too many connections a second from one address"
    ADDRESS_FAILURES = "too many failed handshakes from one address"
    PROXY_UNTRUSTED = "not from a trusted proxy"
    PROXY_MALFORMED = "malformed PROXY header"
    PROXY_TIMEOUT = "PROXY header deadline passed"
    TLS_FAILED = "TLS handshake failed"


BY_PEER = {CloseReason.PEER_CLOSED, CloseReason.PEER_LOST}
"""Ends that were not ours."""

LOSSES = {CloseReason.PEER_LOST, CloseReason.WRITE_STALLED}
"""Ends that say nothing of what the peer has sent itself: it may be there, and may be read."""

REFUSALS = {
    CloseReason.UNSUPPORTED_VERSION,
    CloseReason.BAD_PUBLIC_KEY,
    CloseReason.MEMORY_REFUSED,
    CloseReason.NO_IDS,
    CloseReason.UNKNOWN_SESSION,
    CloseReason.SESSION_ENDED,
    CloseReason.BAD_PROOF,
    CloseReason.REFLECTED_PROOF,
}
"""What a handshake is answered with by closing in order: no. Nothing else may look like that, since a client gives up a
session that it is refused (SPEC 5.3)."""

ORDINARY = {
    CloseReason.PEER_CLOSED,
    CloseReason.PEER_LOST,
    CloseReason.ANSWERED,
    CloseReason.TAKEN_OVER,
    CloseReason.KICKED,
    CloseReason.SHUTDOWN,
    CloseReason.UPGRADE,
    CloseReason.DRAINED,
    CloseReason.MOVED,
}
"""Ends that are in order: nobody needs to hear of each."""


class Hold(Symbol):
    """Why nobody is accepted at the moment: connections wait in the kernel's queue."""

    MASTER = "no master yet"
    CROWD = "too many handshakes in line"
    RATE = "accept rate reached"
    DESCRIPTORS = "descriptors nearly used up"
    EXHAUSTED = "the system has no descriptor or memory for another"
    FAILING = "accepting fails"
    UPGRADE = "handing over to the program that follows"
    WORKERS = "no worker is there"


class AdminEnd(Symbol):
    """Why the admin endpoint closed a connection before its time, or refused a request for want of room."""

    BAD_REQUEST = "malformed request"
    REQUEST_LATE = "request too long in coming"
    CROWDED_OUT = "made room for another connection"
    ANSWER_UNREAD = "answer not taken"
    VIEWER_BEHIND = "viewer too far behind"
    TOO_MANY_ANSWERS = "too many answers under way"
    TOO_MANY_VIEWERS = "too many viewers"


class StoreEnd(Symbol):
    """Why a connection to the store that several servers have in common was given up."""

    CLOSED = "closed by the store"
    LOST = "connection to the store lost"
    SILENT = "no answer of the store in time"
    REFUSED = "refused by the store"
    READ_ONLY = "a store that takes no writes"
    GARBLED = "no answer that a store gives"
    UNTRUSTED = "no TLS with the store"


class EndReason(Symbol):
    """Why a session ended. The master is told by a Failure packet, except of a kick, which it asked for itself."""

    EXPIRED = "stale for longer than the limit"
    EVICTED = "oldest of too many stale sessions"
    KICKED = "kicked by the master"
    EXPELLED = "kicked by the operator"
    OVERFLOW = "outbox overflow"
    BACKLOG_FULL = "too many missed packets"
    MEMORY = "given up for want of memory"
    LEFT = "the client has left for good"
    NOT_RESUMABLE = "lost, and cannot be resumed"


class DatagramDrop(Symbol):
    """Why a datagram was dropped. It was unreliable to begin with: it is counted, and nobody is told."""

    SHORT = "shorter than its head"
    TOO_LARGE = "over the size limit"
    UNKNOWN_ID = "no channel with that id"
    UNSEALED = "does not open"
    REPLAYED = "came before"
    LATE = "number too old to tell whether it came before"
    RATE = "sent more than its rate allows"
    NOT_WANTED = "the master takes no datagrams"
    TRUNK_FULL = "too much waits for the master"
    NO_PATH = "no validated address"
    UNVALIDATED = "over what an address that is not validated may be sent"
    NO_ROOM = "the socket takes no more, and too much waits"
    UNSENT = "the system refused it"
    STRANGERS = "too many strangers at once"
    STRANGER_RATE = "too many new peers a second"
    PREFIX_RATE = "too many new peers a second from one network"
    BAD_ADDRESS = "from where no peer can be"
    NOT_ADMITTED = "not admitted by the limits on connections"
    NO_COOKIE = "no cookie that is good"
    NO_MASTER = "no master yet"
