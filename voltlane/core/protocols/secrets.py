"""By what a session of version 3 is recognised: secrets that are replaced with each resume (SPEC 14)."""

from __future__ import annotations

from struct import Struct
from typing import Callable, NamedTuple

from ...errors import BadProof, Superseded
from ...wire.v3 import HANDLE_SIZE, MAGIC, SECRET_SIZE

_LAYOUT = Struct(f"<BB?I{SECRET_SIZE}s{SECRET_SIZE}s{HANDLE_SIZE}s")
CREDENTIAL_SIZE = _LAYOUT.size
NO_HANDLE = bytes(HANDLE_SIZE)


class Secrets(NamedTuple):
    """The present generation's and the next one's. As `Session.credential`: `encode`."""

    suite: int
    confirmed: bool
    """Whether the client has the next one, so that the present one is superseded."""
    generation: int
    present: bytes
    next: bytes
    handle: bytes
    """What its opening is known by; nothing once the client has confirmed it."""

    def encode(self) -> bytes:
        """As it is kept."""
        return _LAYOUT.pack(MAGIC, *self)

    def select(self, generation: int) -> bytes:
        """The secret that a resume of this generation has to prove. Raises Superseded, BadProof."""
        current = self.generation + self.confirmed
        if generation < current:
            raise Superseded(f"generation {generation} of the session's secrets; {current} is the present one")
        if generation > self.generation + 1:
            raise BadProof(f"generation {generation} of the session's secrets, which is not there yet")
        return self.next if generation > self.generation else self.present

    def proven(self, generation: int, random: Callable[[int], bytes]) -> Secrets:
        """The same, or those of the next generation, where that was proven."""
        if generation == self.generation:
            return self
        return Secrets(self.suite, False, generation, self.next, random(SECRET_SIZE), NO_HANDLE)

    def confirm(self) -> Secrets:
        """The client has the next one."""
        return self._replace(confirmed=True, handle=NO_HANDLE)

    def __repr__(self) -> str:
        return f"<Secrets of generation {self.generation}>"


def first_secrets(suite: int, handle: bytes, secret: bytes, random: Callable[[int], bytes]) -> Secrets:
    """Those of a session that opens."""
    return Secrets(suite, False, 0, secret, random(SECRET_SIZE), handle)


def is_secrets(credential: bytes) -> bool:
    """Whether a credential is one of version 3."""
    return credential[:1] == bytes((MAGIC,))


def decode_secrets(credential: bytes) -> Secrets:
    """What `encode` gave."""
    return Secrets(*_LAYOUT.unpack(credential)[1:])
