"""Sessions that are not here, where several processes or machines are one server: who knows where they are.

Whoever looks for a session and has not found it asks `check` before it says that there is none. `Elsewhere` is no
refusal: the connection waits, others are asked, and then it looks again.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from .session import Session


class Wanted(NamedTuple):
    """What a client wants that is not here."""

    client_id: int = 0
    handle: bytes = b""
    """In place of it, that of an opening of version 3, which may have been said before."""
    beside: bool = False
    """Whether it comes with a request beside the session's connection, which goes on."""


class Elsewhere(Exception):
    """That may be somewhere else. Whoever has raised this is as it was, and can be asked again."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__(f"client {wanted.client_id}" if not wanted.handle else "an opening")
        self.wanted = wanted


class Seeker(Protocol):
    """The connection that waits."""

    def found(self) -> None:
        """Look again: it is here now, or it is nowhere. Nothing where the connection is gone meanwhile."""


class Whereabouts:
    """Those of a server that is alone: there is nowhere else."""

    def candidate(self, wanted: Wanted) -> Session | None:
        """What is known here of it since it was looked for: good to prove to whom it belongs, and not ours yet. Whoever
        has the connection in the end has to get it first."""
        return None

    def check(self, wanted: Wanted) -> None:
        """Raises Elsewhere where it is worth asking others, and that was not in vain a moment ago."""

    def doubt(self, session: Session, ahead: bool) -> None:
        """The proof of one that was found has failed, and somebody else may have had it since; `ahead`: it is made with
        a later secret than is known. Raises Elsewhere where it is worth asking; SessionAway."""

    def seek(self, wanted: Wanted, seeker: Seeker) -> None:
        """Ask them, for a connection that waits, and tell it when it is to look again; or it goes elsewhere itself."""
        seeker.found()
