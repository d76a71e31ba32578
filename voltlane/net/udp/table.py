"""What tables of peers and of channels have in common: parties by their keys, what each may send, what was dropped."""

from __future__ import annotations

from itertools import islice
from typing import ClassVar, Generic, TypeVar

from ...reasons import DatagramDrop
from .drops import Drops
from .rates import Rates

Key = TypeVar("Key")
Party = TypeVar("Party")
_NO_LIMIT = Rates(0, 0, 0)


class Table(Generic[Key, Party]):
    """Those of one socket."""

    TWICE: ClassVar[str]
    """What is said of a party whose key another one has."""
    takes_apart: ClassVar[bool] = False
    """Whether datagrams may come joined (`sockets.receive_joined`)."""

    def __init__(self) -> None:
        self._parties: dict[Key, Party] = {}
        self._rates = _NO_LIMIT
        self._drops = Drops()

    def __len__(self) -> int:
        return len(self._parties)

    @staticmethod
    def _key_of(party: Party) -> Key:
        raise NotImplementedError

    def add(self, party: Party) -> None:
        """Raises ValueError where one of that key is there."""
        key = self._key_of(party)
        if key in self._parties:
            raise ValueError(self.TWICE)
        self._parties[key] = party

    def remove(self, party: Party) -> None:
        """Forget it; one that is not there is no error."""
        key = self._key_of(party)
        if self._parties.get(key) is party:
            del self._parties[key]

    def get(self, key: Key) -> Party | None:
        """The one of that key."""
        return self._parties.get(key)

    def set_rates(self, packet_rate: float, byte_rate: float, burst_secs: float) -> None:
        """What each may send a second, and at once after a quiet time, in seconds of it. 0: no limit."""
        self._rates = Rates(packet_rate, byte_rate, burst_secs)

    def sweep(self, slot: int, slots: int) -> tuple[list[Party], int]:
        """Those in a part of the table, about as many as `slots`, and where the next part begins; 0 at its end.

        Who comes and goes meanwhile may shift another out of one round, not out of all.
        """
        found = list(islice(self._parties.values(), slot, slot + slots))
        return found, slot + slots if slot + slots < len(self._parties) else 0

    def take_drops(self) -> dict[DatagramDrop, int]:
        """What was dropped since the last time, in both directions."""
        return self._drops.take()
