"""Ways to be a nuisance by datagrams: from everywhere, with no right to anything."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence

from .everywhere import Everywhere

_ID_SIZE, _HEAD_SIZE = 8, 16


class DatagramAttack:
    """`rate` datagrams a second, each from another of four million addresses."""

    rate = 5000.0
    burst = 100
    """At most so many at once."""

    def __init__(self, place: tuple[str, int], share: float, caught: Sequence[bytes]) -> None:
        """`share` of the usual rate. `caught`: sealed datagrams of the good, of which the first half of each eight has
        not come to the server."""
        self.rate = max(1.0, self.rate * share)
        self._from = Everywhere(place)
        self._number = random.randrange(1 << 22)
        self._allowance = self._before = 0.0
        self._words = self.words(caught)

    def words(self, caught: Sequence[bytes]) -> Iterator[bytes]:
        """What is sent, without end."""
        raise NotImplementedError

    def tick(self, now: float) -> None:
        """Send as the pace allows, and take what is answered."""
        elapsed = min(0.1, now - self._before) if self._before else 0.0
        self._before = now
        self._allowance = min(self._allowance + elapsed * self.rate, self.rate / 10 + 1)
        for _ in range(min(self.burst, int(self._allowance))):
            self._number += 1
            if not self._from.send(next(self._words), self._number):
                break
            self._allowance -= 1
        self._from.take()

    def told(self) -> dict[str, int]:
        """What was done."""
        sent = self._from
        return {"datagrams": sent.sent, "bytes": sent.bytes_sent, "answers": sent.answers,
                "bytes of them": sent.bytes_answered}  # fmt: skip


class Strangers(DatagramAttack):
    """What may be a first packet, as if a hundred thousand clients came: of any size."""

    rate = 8000.0

    def words(self, caught: Sequence[bytes]) -> Iterator[bytes]:
        """See DatagramAttack."""
        while True:
            yield os.urandom(random.choice((0, 1, 6, 7, 20, 60, 300, 1200, 1400)))


class Cookies(DatagramAttack):
    """Cookies of nobody's."""

    rate = 3000.0

    def words(self, caught: Sequence[bytes]) -> Iterator[bytes]:
        """See DatagramAttack."""
        while True:
            yield b"VLCK" + os.urandom(16) + b"let me in"


class UnknownIds(DatagramAttack):
    """Whole datagrams with ids that nobody has."""

    def words(self, caught: Sequence[bytes]) -> Iterator[bytes]:
        """See DatagramAttack."""
        while True:
            yield os.urandom(random.randrange(37, 200))


class Replays(DatagramAttack):
    """What the good have sent, as it was."""

    def words(self, caught: Sequence[bytes]) -> Iterator[bytes]:
        """See DatagramAttack."""
        came = [datagram for place, datagram in enumerate(caught) if place % 8 >= 4]
        while True:
            yield random.choice(came)


class Spoilt(DatagramAttack):
    """The same, cut off, with a bit turned, or with a number far ahead: under ids that there are."""

    def words(self, caught: Sequence[bytes]) -> Iterator[bytes]:
        """See DatagramAttack."""
        never = [datagram for place, datagram in enumerate(caught) if place % 8 < 4]
        while True:
            datagram = random.choice(never)
            yield datagram[: random.randrange(len(datagram))]
            turned = bytearray(datagram)
            turned[random.randrange(len(turned))] ^= 1 << random.randrange(8)
            yield bytes(turned)
            yield datagram[:_ID_SIZE] + os.urandom(8) + datagram[_HEAD_SIZE:]


_SEALED: dict[str, type[DatagramAttack]] = {"ids": UnknownIds, "replays": Replays, "spoilt": Spoilt}
_PLAIN: dict[str, type[DatagramAttack]] = {"strangers": Strangers, "cookies": Cookies}
DATAGRAM_ATTACKS: dict[str, type[DatagramAttack]] = {**_PLAIN, **_SEALED}
BY_MODE: dict[str, list[str]] = {"": [], "open": list(_PLAIN), "sessions": ["strangers", *_SEALED]}
"""By `udp.mode`; "" where there are no datagrams."""
