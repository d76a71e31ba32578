"""By what a session of version 3 is recognised: secrets that are replaced with each resume (SPEC 14).

    SETTLED  there is a present secret                            ──a welcome is to be told──▶ OFFERED
    OFFERED  and a root, of which each welcome has a branch  ──one confirmed, or proven──▶ SETTLED, that is the present

So of several copies of a client one goes on, and a lost welcome costs nothing. What stands first is the client's own
secret, and the handle that its opening is known by; both are gone with the first confirmation.
"""

from __future__ import annotations

from struct import Struct
from typing import Callable, NamedTuple

from ...errors import ProofAhead, Superseded
from ...wire.v3 import HANDLE_SIZE, MAGIC, SECRET_SIZE, branch_secret

_SETTLED = Struct(f"<BBIQ{SECRET_SIZE}s")
_OFFERED = Struct(f"<BBIQ{SECRET_SIZE}s{SECRET_SIZE}s")
_OPENED = Struct(f"<BBIQ{SECRET_SIZE}s{SECRET_SIZE}s{HANDLE_SIZE}s")
_BY_SIZE = {layout.size: layout for layout in (_SETTLED, _OFFERED, _OPENED)}
CREDENTIAL_SIZES = tuple(_BY_SIZE)


class Secrets(NamedTuple):
    """One session's. As `Session.credential`: `encode`."""

    suite: int
    generation: int
    branch: int
    """Of the present secret; of generation 0, which is the client's own, 0."""
    present: bytes
    root: bytes = b""
    """Of the next generation, once a welcome was told."""
    handle: bytes = b""

    def encode(self) -> bytes:
        """As it is kept."""
        layout = _BY_SIZE[_SETTLED.size + len(self.root) + len(self.handle)]
        return layout.pack(MAGIC, *[field for field in self if field != b""])

    def select(self, generation: int, branch: int) -> bytes:
        """The secret that a resume with this one has to prove. Raises Superseded, ProofAhead."""
        if generation == self.generation and branch == self.branch:
            return self.present
        if generation == self.generation + 1 and self.root:
            return branch_secret(self.root, branch)
        if generation > self.generation:
            raise ProofAhead(f"generation {generation} of the session's secrets, which is not there yet")
        raise Superseded(f"generation {generation} of the session's secrets, or its branch, is superseded")

    def offered(self, generation: int, branch: int, random: Callable[[int], bytes]) -> Secrets:
        """Those of which the next welcome has a branch, where this one was proven: the same, where that was told before
        of the present one."""
        if generation == self.generation:
            return self if self.root else self._replace(root=random(SECRET_SIZE))
        return Secrets(self.suite, generation, branch, branch_secret(self.root, branch), random(SECRET_SIZE))

    def confirmed(self, branch: int) -> Secrets:
        """The client has this one of the next generation."""
        return Secrets(self.suite, self.generation + 1, branch, branch_secret(self.root, branch))

    def __repr__(self) -> str:
        return f"<Secrets of generation {self.generation}>"


def first_secrets(suite: int, handle: bytes, secret: bytes, random: Callable[[int], bytes]) -> Secrets:
    """Those of a session that opens, and is welcomed."""
    return Secrets(suite, 0, 0, secret, random(SECRET_SIZE), handle)


def decode_secrets(credential: bytes) -> Secrets:
    """What `encode` gave."""
    return Secrets(*_BY_SIZE[len(credential)].unpack(credential)[1:])
