"""What waited over a restart, and how much of it was delivered since: it is kept on the disk until all of it was.

The file `backlogs` stays as it is. The journal says whose part of it was handed over, before it is: so whoever comes
after this process, however that ends, gives back what was not, and nobody gets anything twice. Handed over means to a
connection; it is then in the hands of this process, like anything else that is on its way.

Those records are not synced one by one, except for the first. After a loss of power some may be missing, and nobody
knows which: a spool of which something was handed over is given up then.

Numbers (SPEC 15) are part of what waits for a client, and stand for themselves where nothing else does. They are true
where the process that wrote them was the last: its journal names the file, and whoever begins after it writes a journal
that does not. Else a process has had these sessions that did not end in order. What it was sent for them is lost,
though it may not have touched their part: nobody can know, so another epoch begins for them. What the file has for
them is given up with that, since the one gap that tells of the loss stands in front of all that still comes. What was
taken from them, and what of that was safe, was so whatever has happened since: it holds as the least.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import NamedTuple

from ..core.delivery import Delivery, decode_delivery
from .backlogs import Backlogs
from .ledger import Ledger
from .records import ALL_KNOWN, Kind, Note, note

MASTER = 0
"""Who is no client, and has no id; no client has this one."""


class MovedSpool(NamedTuple):
    """A spool as it goes from one process to another: what it says is in sessions and in the trunk by then."""

    number: int
    exists: bool
    spending: bool
    waiting: list[int]
    spent: list[int]


class Spool:
    """The backlogs of an earlier process. Made of what the journal says of them, and how this start of the machine is
    called."""

    def __init__(self, found: Backlogs | None, ledger: Ledger, boot: bytes) -> None:
        self._notes = [] if found is None else found.notes
        self._number = 0 if found is None else found.number
        self._boot = boot
        self._in_order = found is not None and ledger.sealed == found.number
        self._spending = False  # the journal says so, and that records may be missing after a loss of power
        said = ledger.spending if found is not None else None
        if said is not None and said.number != self._number:
            said = None  # of others, which these have taken the place of
        self._spent = set(ledger.spent) if said is not None else set()
        self.exists = found is not None
        """Whether there is a file."""
        self.given_up = said is not None and said.data not in (ALL_KNOWN, boot)
        """Whether a part of it may have been delivered, and nobody knows which."""
        self.waiting: set[int] = set()
        """Whose part was not handed over."""

    def numbers(self, epoch: int) -> dict[int, Delivery]:
        """What is known of packets by number, by client id. `epoch`: that of a memory that begins now. To be had once,
        before `left`."""
        known = {found.number: decode_delivery(found.data) for found in self._notes if found.kind is Kind.NUMBERS}
        if not self._in_order:
            self._spent.update(known)
            for delivery in known.values():
                delivery.forget(epoch)
        return known

    def left(self) -> Iterator[Note]:
        """What was not handed over, in order. Can be had once."""
        notes, self._notes = self._notes, []
        for found in () if self.given_up else notes:
            if whose(found) not in self._spent:
                yield found

    def spend(self, who: int) -> tuple[bytes, bool]:
        """Their part is handed over next: the records that have to be in the journal before, and whether to sync it."""
        self.waiting.discard(who)
        self._spent.add(who)
        first, self._spending = not self._spending, True
        return (self._since() if first else b"") + note(Kind.SPENT, who), first

    def settle(self) -> None:
        """Nothing is handed over any more: the next journal says all of it, and is synced."""
        self._spending = False

    def records(self, sessions: Container[int]) -> bytes:
        """What a journal that is written anew has to say of it, where there are these sessions."""
        spent = [who for who in self._spent if who == MASTER or who in sessions]
        if not self.exists or not (spent or self._spending):
            return b""
        return self._since() + b"".join([note(Kind.SPENT, who) for who in spent])

    @property
    def moved(self) -> MovedSpool:
        """What another process needs to go on with it. Nothing is changed by that."""
        return MovedSpool(self._number, self.exists, self._spending, sorted(self.waiting), sorted(self._spent))

    def move_in(self, moved: MovedSpool) -> None:
        """Go on where another process was."""
        self._number, self.exists, self._spending = moved.number, moved.exists, moved.spending
        self.waiting, self._spent = set(moved.waiting), set(moved.spent)

    def forget(self) -> None:
        """The file is gone."""
        self.exists = False
        self.waiting.clear()
        self._spent.clear()

    def _since(self) -> bytes:
        return note(Kind.SPENDING, self._number, self._boot if self._spending else ALL_KNOWN)


def whose(found: Note) -> int:
    """For whom it waits: a client's id, or MASTER."""
    return MASTER if found.kind is Kind.UPWARDS else found.number
