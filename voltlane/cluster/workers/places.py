"""The connections that one worker has, as the parent counts them: each with the source that hears how it goes on."""

from __future__ import annotations

import math

from ...core.admission import Source
from ...reasons import CloseReason


class Places:
    """One worker's."""

    def __init__(self) -> None:
        self._sources: dict[int, Source] = {}
        self._handshaking: set[int] = set()
        self._refused: dict[int, CloseReason] = {}  # and the worker was told to close them

    def __len__(self) -> int:
        return len(self._sources)

    def add(self, number: int, source: Source) -> None:
        """A connection without a session."""
        self._sources[number] = source
        self._handshaking.add(number)

    def take(self, number: int) -> Source | None:
        """One that goes elsewhere; None for one that is not here."""
        self._handshaking.discard(number)
        self._refused.pop(number, None)
        return self._sources.pop(number, None)

    def greeted(self, number: int) -> None:
        """Its handshake is done."""
        if number in self._handshaking:
            self._handshaking.discard(number)
            self._sources[number].greeted()

    def left(self, number: int, reason: CloseReason, greeted: bool, lifetime: float, now: float) -> None:
        """It is closed; `greeted`: its handshake was done, which nobody need have said before."""
        if greeted:
            self.greeted(number)
        source = self._sources.pop(number, None)
        self._refused.pop(number, None)
        if source is not None:
            greeted = number not in self._handshaking
            self._handshaking.discard(number)
            source.left(reason, greeted, lifetime, now)

    def claimed(self, number: int, packed: bytes, now: float) -> CloseReason | None:
        """A proxy has said whose it is: why it may not stay, or None."""
        source = self._sources.get(number)
        if source is None:
            return None
        answer = source.becomes(packed, now)
        if isinstance(answer, CloseReason):
            self._refused[number] = answer
            return answer
        self._sources[number] = answer
        return None

    def refusal_of(self, number: int) -> CloseReason | None:
        """Why it may not stay, where its worker may not have heard of that."""
        return self._refused.get(number)

    def lose(self, now: float) -> int:
        """All of them are gone, by no fault of theirs. How many there were."""
        return self.keep(set(), now)

    def keep(self, numbers: set[int], now: float) -> int:
        """All but these are gone, by no fault of theirs. How many."""
        lost = [number for number in self._sources if number not in numbers]
        for number in lost:
            self.left(number, CloseReason.INTERNAL_ERROR, False, math.inf, now)
        return len(lost)

    def numbered(self) -> list[tuple[int, Source, bool]]:
        """Each, with its number, its source, and whether its handshake is done."""
        return [(number, source, number not in self._handshaking) for number, source in self._sources.items()]
