"""Work that takes more than a moment, a step a turn."""

from __future__ import annotations

from collections.abc import Generator
from typing import Callable, Optional, TypeVar

Later = Callable[[Callable[[], object]], object]
"""Is given whom to call when there may be a next step."""
T = TypeVar("T")
Steps = Generator[Optional[Later], None, T]
"""Each step is for a turn of its own. One that yields None has its next step in the next turn; one that yields a Later
waits for somebody else, and looks again whether there is what it waits for, however it is called."""


def at_once(value: T) -> Steps[T]:
    """What takes no more than a moment."""
    yield from ()
    return value
