"""Cookies: by which a stranger shows that it gets what is sent to where it says it is, with nothing kept of it.

As SYN cookies do for TCP, and HelloRetryRequest's for DTLS (RFC 9147, 5.1): the words are made of the address and of a
secret of this half minute, so who brings them back was sent them, there, not long ago.
"""

from __future__ import annotations

import hmac
from typing import Callable

from ...wire.datagram import COOKIE_SECS, cookie


class Cookies:
    """One server's."""

    def __init__(self, random: Callable[[int], bytes], now: float) -> None:
        self._random = random
        self._since = now
        self._secret = self._former = random(32)

    def bake(self, packed: bytes, port: int, now: float) -> bytes:
        """Those for this address, 4 or 16 bytes, and port."""
        self._turn(now)
        return cookie(self._secret, packed, port)

    def good(self, shown: bytes, packed: bytes, port: int, now: float) -> bool:
        """Whether these were for it, in this half minute or the one before."""
        self._turn(now)
        return any([hmac.compare_digest(shown, cookie(each, packed, port)) for each in (self._secret, self._former)])

    def _turn(self, now: float) -> None:
        elapsed = now - self._since
        if elapsed >= COOKIE_SECS:
            self._former = self._secret if elapsed < 2 * COOKIE_SECS else self._random(32)
            self._secret, self._since = self._random(32), now
