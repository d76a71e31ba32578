"""At which address a client is, as its datagrams tell (SPEC 26).

    path       where it has shown itself to be: what is sent to it goes there, and nowhere else
    candidate  from where its newest datagram came: it is challenged, and sent nothing else

    NOWHERE ──newest from A──▶ candidate A ──answered from A──▶ path A
    path A  ──newest from B──▶ path A, candidate B ──answered from B──▶ path B
                                     └──newest from C──▶ path A, candidate C

Only who has the keys gets as far as this: a datagram that does not open, or came before, is none. So what is left to
fear is one that somebody caught on its way and sent on from an address of his own, or of his victim. To that goes no
more than three times what came from there, and no packet before it has answered (as RFC 9000, 8).
"""

from __future__ import annotations

from collections.abc import Hashable
from hmac import compare_digest
from typing import Callable

from ...wire.datagram import CHALLENGE_EVERY_SECS, UNVALIDATED_FACTOR, WORDS_SIZE


class Candidate:
    """An address that may be a client's. `name` as the sockets have it."""

    __slots__ = ("asked", "latest", "name", "received", "sent", "words")

    def __init__(self, name: Hashable, words: bytes) -> None:
        self.name = name
        self.words = words
        """What it has to send back."""
        self.latest = 0
        """The highest number that has come, when one came from there that was the newest."""
        self.received = self.sent = 0
        """Bytes of whole datagrams."""
        self.asked: float | None = None

    def spend(self, size: int) -> bool:
        """Send it so many bytes, if that is not too much."""
        if self.sent + size > UNVALIDATED_FACTOR * self.received:
            return False
        self.sent += size
        return True


def heard(
    candidate: Candidate | None, name: Hashable, newest: bool, highest: int, size: int, random: Callable[[int], bytes]
) -> Candidate | None:
    """A datagram of the client's has come from there, which is not its path: who is the candidate now.

    Not `newest`: a later one has come before it. It says nothing of where the client is now. `highest`: the highest
    number that has come.
    """
    if candidate is None or candidate.name != name:
        if not newest:
            return candidate
        candidate = Candidate(name, random(WORDS_SIZE))
    if newest:
        candidate.latest = highest
    candidate.received += size
    return candidate


def challenge(candidate: Candidate, size: int, now: float) -> bool:
    """Whether it is to be challenged now, with a datagram of this size; that counts then."""
    if candidate.asked is not None and now - candidate.asked < CHALLENGE_EVERY_SECS:
        return False
    if not candidate.spend(size):
        return False
    candidate.asked = now
    return True


def answers(candidate: Candidate | None, name: Hashable, words: bytes, highest: int) -> bool:
    """Whether these words from there show that the client is there. If something newer has come from elsewhere, it has
    left again, and they may have been caught on their way."""
    if candidate is None or candidate.name != name or candidate.latest != highest:
        return False
    return compare_digest(candidate.words, words)
