"""What a client of version 3 is told when its connection is closed (SPEC 18)."""

from __future__ import annotations

from ...reasons import CloseReason
from ...wire.v3 import Close, Code

CODES: dict[CloseReason, Code] = {
    CloseReason.HANDSHAKE_TIMEOUT: Code.LATE,
    CloseReason.FRAME_TOO_LARGE: Code.TOO_LARGE,
    CloseReason.MALFORMED_PACKET: Code.PROTOCOL,
    CloseReason.UNEXPECTED_PACKET: Code.PROTOCOL,
    CloseReason.UNSUPPORTED_VERSION: Code.NO_VERSION,
    CloseReason.SUITE_REFUSED: Code.NO_SUITE,
    CloseReason.BAD_RECORD: Code.PROTOCOL,
    CloseReason.MALFORMED_RECORD: Code.PROTOCOL,
    CloseReason.BAD_NUMBERS: Code.PROTOCOL,
    CloseReason.CREDIT_EXCEEDED: Code.PROTOCOL,
    CloseReason.UNKNOWN_SESSION: Code.UNKNOWN_SESSION,
    CloseReason.BAD_PROOF: Code.BAD_PROOF,
    CloseReason.SUPERSEDED: Code.SUPERSEDED,
    CloseReason.SESSION_ENDED: Code.ENDED,
    CloseReason.TAKEN_OVER: Code.TAKEN_OVER,
    CloseReason.KICKED: Code.KICKED,
    CloseReason.EXPELLED: Code.EXPELLED,
    CloseReason.OUTBOX_FULL: Code.OVERFLOW,
    CloseReason.TOO_SLOW: Code.OVERFLOW,
    CloseReason.OUTBOX_SHED: Code.OVERFLOW,
    CloseReason.RATE_EXCEEDED: Code.RATE,
    CloseReason.MEMORY_REFUSED: Code.NO_ROOM,
    CloseReason.NO_IDS: Code.NO_ROOM,
    CloseReason.INTERNAL_ERROR: Code.ERROR,
    CloseReason.SHUTDOWN: Code.GOING,
    CloseReason.UPGRADE: Code.GOING,
    CloseReason.DRAINED: Code.GOING,
}
"""All others say nothing of the session: DROPPED."""


def close_for(reason: CloseReason, taken: int = 0, text: str = "") -> bytes:
    """The body of the close."""
    return Close(CODES.get(reason, Code.DROPPED), taken, text or reason.value).encode()
