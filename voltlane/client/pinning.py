"""Which keys of a server a client accepts: the one it was given, or the first it met; then those that one announces."""

from __future__ import annotations

from ..errors import ServerKeyChanged


class Pins:
    """The keys that may be the server's, 32 bytes each; none while any may be."""

    __slots__ = ("accepted", "met")

    def __init__(self, accepted: tuple[bytes, ...] = (), met: bytes = b"") -> None:
        self.accepted = accepted
        self.met = met
        """The one that the server had last; empty before the first."""

    def meet(self, key: bytes, announced: tuple[bytes, ...]) -> None:
        """The server has proven that the key is its own, and named those that may follow it.

        From now on it is these: a key that is no longer announced has been retired. Raises ServerKeyChanged.
        """
        if self.accepted and key not in self.accepted:
            expected = " or ".join(accepted.hex() for accepted in self.accepted)
            raise ServerKeyChanged.of(key, expected)
        self.met = key
        self.accepted = tuple(dict.fromkeys((key, *announced)))
