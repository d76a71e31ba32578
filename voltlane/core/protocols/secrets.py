"""By what a session of version 3 is recognised: secrets that are replaced with each resume (SPEC 14).

Of the next generation each welcome has a secret of its own, a branch. The first of them that its client confirms, or
proves, is the present one, and all others are superseded: of several copies of a client one goes on.
"""

from __future__ import annotations

from struct import Struct
from typing import Callable, NamedTuple

from ...errors import BadProof, Superseded
from ...wire.v3 import HANDLE_SIZE, MAGIC, SECRET_SIZE, branch_secret

_LAYOUT = Struct(f"<BBIQ{SECRET_SIZE}s{SECRET_SIZE}sQ{HANDLE_SIZE}s")
CREDENTIAL_SIZE = _LAYOUT.size


class Secrets(NamedTuple):
    """The present generation's, and what those of the next one are made of. As `Session.credential`: `encode`."""

    suite: int
    generation: int
    branch: int
    """Of the present secret; of generation 0, which is the client's own, 0."""
    present: bytes
    root: bytes
    """Of the next generation."""
    chosen: int
    """The branch of it that the client has confirmed, so that the present secret is superseded; 0: none."""
    handle: bytes
    """What its opening is known by."""

    def encode(self) -> bytes:
        """As it is kept."""
        return _LAYOUT.pack(MAGIC, *self)

    def select(self, generation: int, branch: int) -> bytes:
        """The secret that a resume with this one has to prove. Raises Superseded, BadProof."""
        if generation > self.generation + 1:
            raise BadProof(f"generation {generation} of the session's secrets, which is not there yet")
        if generation == self.generation + 1 and self.chosen in (0, branch):
            return branch_secret(self.root, branch)
        if generation == self.generation and branch == self.branch and not self.chosen:
            return self.present
        raise Superseded(f"generation {generation} of the session's secrets, or its branch, is superseded")

    def proven(self, generation: int, branch: int, random: Callable[[int], bytes]) -> Secrets:
        """The same, or those of the next generation, where that was proven."""
        if generation == self.generation:
            return self
        present = branch_secret(self.root, branch)
        return Secrets(self.suite, generation, branch, present, random(SECRET_SIZE), 0, self.handle)

    def confirmed(self, branch: int) -> Secrets:
        """The client has this one of the next generation."""
        return self._replace(chosen=branch)

    def __repr__(self) -> str:
        return f"<Secrets of generation {self.generation}>"


def first_secrets(suite: int, handle: bytes, secret: bytes, random: Callable[[int], bytes]) -> Secrets:
    """Those of a session that opens."""
    return Secrets(suite, 0, 0, secret, random(SECRET_SIZE), 0, handle)


def decode_secrets(credential: bytes) -> Secrets:
    """What `encode` gave."""
    return Secrets(*_LAYOUT.unpack(credential)[1:])
