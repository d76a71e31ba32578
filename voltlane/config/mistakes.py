"""What is wrong, gathered, so that whoever has to mend it hears of all of it at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ConfigError

MOST = 50
"""Mistakes that are told; a file of another kind may be one in every line."""


class Mistakes:
    """Those found so far, in the order in which they were."""

    def __init__(self) -> None:
        self._told: list[str] = []
        self.about: set[str] = set()
        """The settings, as section.key, that have no value to go on with."""

    def add(self, message: str) -> None:
        """One more. Raises ConfigError when there are too many to go on."""
        self._told.append(message)
        if len(self._told) > MOST:
            raise ConfigError(*self._told[:MOST], f"there are more than {MOST} mistakes; the others are not told")

    @contextmanager
    def gathered(self, *settings: str) -> Iterator[None]:
        """A ConfigError raised within is kept, and raised by `tell`. `settings`: whose values are missing then."""
        try:
            yield
        except ConfigError as error:
            self.about.update(settings)
            for message in error.mistakes:
                self.add(message)

    def tell(self) -> None:
        """Raises ConfigError with all of them, if there are any."""
        if self._told:
            raise ConfigError(*self._told)
