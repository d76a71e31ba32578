"""How many of those whom nobody knows may become clients: so many a second, of all and of each network.

What was never heard of costs nothing: the networks share a table of fixed size, in which a key that nobody else has
says where each has its place. Two in one place are taken for one, which only makes the limit stricter for them; and
those who send from everywhere have no place of their own to be found in, but the limit on all together.
"""

from __future__ import annotations

import hashlib
from array import array

from ..bucket import TokenBucket
from ..networks import masks, network_of

PLACES = 1 << 12
BURST_SECS = 1.0
"""How many seconds' worth may come at once after a quiet time; one at least."""


class Strangers:
    """One server's. `rate` of all and `network_rate` of one network: new clients a second, 0 is any number. `key`:
    random bytes. Networks are packed, 4 or 16 bytes, with the bits behind the prefix left out."""

    def __init__(self, rate: float, network_rate: float, ipv4_prefix: int, ipv6_prefix: int, key: bytes) -> None:
        self._key = key
        self._levels = array("d", bytes(8 * PLACES))  # what each place has used, at the time beside it
        self._times = array("d", bytes(8 * PLACES))
        self._rate = self._network_rate = 0.0
        self._all: TokenBucket | None = None
        self.configure(rate, network_rate, ipv4_prefix, ipv6_prefix)

    def configure(self, rate: float, network_rate: float, ipv4_prefix: int, ipv6_prefix: int) -> None:
        """Go by these limits from now on."""
        if rate != self._rate:
            self._all = None
        self._rate, self._network_rate = rate, network_rate
        self._masks = masks(ipv4_prefix, ipv6_prefix)

    def network_may(self, packed: bytes, now: float) -> bool:
        """Whether one more may come from this address's network; that counts then."""
        rate = self._network_rate
        if not rate:
            return True
        network = network_of(packed, self._masks)
        place = int.from_bytes(hashlib.blake2b(network, digest_size=8, key=self._key).digest(), "little") % PLACES
        used = max(0.0, self._levels[place] - (now - self._times[place]) * rate)
        if used + 1 > max(1.0, rate * BURST_SECS):
            return False
        self._levels[place], self._times[place] = used + 1, now
        return True

    def may(self, now: float) -> bool:
        """Whether one more may come at all; that counts then."""
        if not self._rate:
            return True
        if self._all is None:
            self._all = TokenBucket(self._rate, max(1.0, self._rate * BURST_SECS), now)
        return self._all.take(1, now)
