"""Who may come in: limits on connections in all, on handshakes under way, and on what one address does.

An address is a network: its first `ipv4_prefix` or `ipv6_prefix` bits. What is known of each is kept in a table of
fixed size. An address without a connection is *resting*; it is forgotten once there is nothing left to remember, or
when the table is full and it has rested longest. Then the oldest bans go. When every address in the table has
connections, newcomers are let in without being tracked: only the limits on everybody count for them, because those who
fill the table must not be able to keep all others out.

Every decision costs the same, however many addresses there are.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Callable, Union

from ..config.limits import Limits
from ..reasons import CloseReason
from .bucket import TokenBucket
from .networks import Networks, masks, network_of, plain, shown_network

MINUTE = 60.0
_FORGOTTEN_AT_ONCE = 2
"""Addresses forgotten for each one that comes: so they go faster than they come."""
_NOT_THEIR_FAULT = {
    CloseReason.MEMORY_REFUSED,
    CloseReason.NO_IDS,
    CloseReason.INTERNAL_ERROR,
    CloseReason.SHUTDOWN,
    CloseReason.UPGRADE,
    CloseReason.DRAINED,
    CloseReason.TAKEOVER_EARLY,
    CloseReason.ANSWERED,
    CloseReason.ORIGIN_REFUSED,  # but the page's
}


class Source:
    """One address, and what it has been doing. Its connections tell it how they go on: `greeted` at most once, and
    `left` once. The one without a key stands for every connection that is not tracked."""

    __slots__ = (
        "admission",
        "banned_until",
        "connects",
        "failures",
        "flapping_since",
        "flaps",
        "key",
        "live",
        "resting_since",
    )

    def __init__(self, admission: Admission, key: bytes) -> None:
        self.admission = admission
        self.key = key
        self.live = 0
        """Connections."""
        self.connects: TokenBucket | None = None
        self.failures: TokenBucket | None = None
        self.flaps = 0
        self.flapping_since = 0.0
        self.banned_until = 0.0
        self.resting_since = 0.0

    def greeted(self) -> None:
        """A connection's handshake is done."""
        self.admission.handshakes -= 1

    def left(self, reason: CloseReason, greeted: bool, lifetime: float, now: float) -> None:
        """A connection is closed after `lifetime` seconds; `greeted` says whether its handshake was ever done."""
        admission = self.admission
        admission.connections -= 1
        if not greeted:
            admission.handshakes -= 1
        if self.key:
            admission.lose(self, not greeted and reason not in _NOT_THEIR_FAULT, lifetime, now)

    def becomes(self, packed: bytes, now: float) -> Answer:
        """Its connection is this address's, a proxy has said so: the source that it has from then on, or why it may
        not come in."""
        answer = self.admission.identify(packed, now)
        if isinstance(answer, Source) and self.key:
            self.admission.lose(self, False, math.inf, now)
        return answer


Answer = Union[Source, CloseReason]


class Admission:
    """The limits, and what they count. Addresses are packed, 4 or 16 bytes; b"" is a connection that has none."""

    def __init__(self, limits: Limits) -> None:
        self.connections = 0
        """Of those who were let in."""
        self.handshakes = 0
        """Those of them whose handshake is not done."""
        self.untracked = 0
        """How often the table had no room for an address."""
        self.sources: dict[bytes, Source] = {}
        self.banned: OrderedDict[bytes, Source] = OrderedDict()
        """Of the sources without a connection, those that are banned, or were; the oldest ban first."""
        self._resting: OrderedDict[bytes, Source] = OrderedDict()
        self._anyone = Source(self, b"")
        self.on_ban: Callable[[str], None] = lambda network: None
        """Called with the network when one is banned."""
        self.configure(limits)

    def configure(self, limits: Limits) -> None:
        """Go by these limits, from the next connection on."""
        self.limits = limits
        self._allow, self._deny = Networks(limits.allow), Networks(limits.deny)
        self._listed = bool(limits.allow or limits.deny)
        self._tracking = bool(
            limits.address_connections or limits.address_rate or limits.address_failures or limits.flap_count
        )
        self.wants_addresses = self._listed or self._tracking
        """Whether addresses make a difference: else b"" does for all of them."""
        self._mask = masks(limits.ipv4_prefix, limits.ipv6_prefix)
        # How long a resting source has something to be remembered for.
        self._memory = max(
            limits.address_burst / limits.address_rate if limits.address_rate else 0.0,
            MINUTE if limits.address_failures else 0.0,
            limits.flap_secs if limits.flap_count else 0.0,
        )

    def catch_up(self) -> None:
        """The limits were others: what was counted against a rate is forgotten, and who the table has no room for."""
        for source in self.sources.values():
            source.connects = source.failures = None  # made anew, with the new rates
        while len(self.sources) > (self.limits.table_size if self._tracking else 0) and self._make_room():
            pass

    def admit(self, packed: bytes, now: float) -> Answer:
        """Let a connection in, and give it the source to tell how it goes on; or say why not."""
        limits = self.limits
        if limits.connections and self.connections >= limits.connections:
            return CloseReason.SERVER_FULL
        if limits.handshakes and self.handshakes >= limits.handshakes:
            return CloseReason.TOO_MANY_HANDSHAKES
        answer = self.identify(packed, now) if packed and self.wants_addresses else self._anyone
        if isinstance(answer, Source):
            self.connections += 1
            self.handshakes += 1
        return answer

    def readmit(self, key: bytes) -> Source:
        """A connection that another process has let in, and whose source had this key there: no limit refuses it."""
        return self.readmit_own(key)

    def readmit_own(self, key: bytes) -> Source:
        """The same, where it was that process itself that has judged its address."""
        self.connections += 1
        if not key or not self._tracking:
            return self._anyone
        source = self.sources.get(key)
        if source is None:
            if len(self.sources) >= self.limits.table_size:
                self.untracked += 1
                return self._anyone
            source = self.sources[key] = Source(self, key)
        source.live += 1
        return source

    def ban(self, key: bytes, until: float) -> None:
        """An address with this key is banned until then: another process has banned it."""
        source = self.sources.get(key)
        if source is None:
            if not self._tracking or len(self.sources) >= self.limits.table_size:
                return
            source = self.sources[key] = self.banned[key] = Source(self, key)
        source.banned_until = until

    def identify(self, packed: bytes, now: float) -> Answer:
        """What depends on the address alone: for a connection that was let in before its address was known, and whose
        source is this one from then on."""
        packed = plain(packed)
        if self._listed and (packed in self._deny or (self.limits.allow and packed not in self._allow)):
            return CloseReason.ADDRESS_DENIED
        if not self._tracking:
            return self._anyone
        self._forget(now)
        key = network_of(packed, self._mask)
        source = self.sources.get(key)
        if source is None:
            if len(self.sources) >= self.limits.table_size and not self._make_room():
                self.untracked += 1
                return self._anyone
            source = self.sources[key] = Source(self, key)
        refusal = self._refusal(source, now)
        if refusal is not None:
            return refusal
        if not source.live:
            self._resting.pop(key, None)
            self.banned.pop(key, None)
        source.live += 1
        return source

    def _refusal(self, source: Source, now: float) -> CloseReason | None:
        limits = self.limits
        if source.banned_until > now:
            return CloseReason.ADDRESS_BANNED
        if limits.address_connections and source.live >= limits.address_connections:
            return CloseReason.ADDRESS_FULL
        if limits.address_failures and source.failures is not None and source.failures.tokens(now) < 1:
            return CloseReason.ADDRESS_FAILURES
        if limits.address_rate:
            if source.connects is None:
                source.connects = TokenBucket(limits.address_rate, limits.address_burst, now)
            if not source.connects.take(1, now):
                return CloseReason.ADDRESS_RATE
        return None

    def banned_now(self, now: float) -> int:
        """How many addresses are banned. Looks at all that are known."""
        return sum(source.banned_until > now for source in self.sources.values())

    # ---- what sources tell

    def lose(self, source: Source, failed: bool, lifetime: float, now: float) -> None:
        """A connection from there has ended; `failed` before its handshake was done."""
        limits = self.limits
        source.live -= 1
        if failed and limits.address_failures:
            if source.failures is None:
                source.failures = TokenBucket(limits.address_failures / MINUTE, limits.address_failures, now)
            source.failures.take(1, now)
        if limits.flap_count and lifetime < limits.flap_secs and source.banned_until <= now:
            self._flap(source, now)
        if not source.live:
            self._rest(source, now)

    def _flap(self, source: Source, now: float) -> None:
        limits = self.limits
        if not source.flaps or now - source.flapping_since >= limits.flap_secs:
            source.flaps, source.flapping_since = 0, now
        source.flaps += 1
        if source.flaps >= limits.flap_count:
            source.flaps = 0
            source.banned_until = now + limits.ban_secs
            prefix = limits.ipv4_prefix if len(source.key) == 4 else limits.ipv6_prefix
            self.on_ban(shown_network(source.key, prefix))

    # ---- the table

    def _rest(self, source: Source, now: float) -> None:
        source.resting_since = now
        if source.banned_until > now:
            self.banned[source.key] = source
        elif self._memory:
            self._resting[source.key] = source
        else:
            del self.sources[source.key]

    def _forget(self, now: float) -> None:
        """Forget what has nothing to be remembered for, a little each time."""
        for queue in (self._resting, self.banned):
            for _ in range(_FORGOTTEN_AT_ONCE):
                if not queue:
                    break
                oldest = next(iter(queue.values()))
                if oldest.banned_until > now or oldest.resting_since + self._memory > now:
                    break
                self._drop(queue)

    def _make_room(self) -> bool:
        queue = self._resting or self.banned
        if not queue:
            return False
        self._drop(queue)
        return True

    def _drop(self, queue: OrderedDict[bytes, Source]) -> None:
        key, _ = queue.popitem(last=False)
        del self.sources[key]
