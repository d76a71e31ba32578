"""A call in a thread, and what came of it."""

from __future__ import annotations

import threading
from typing import Callable, TypeVar

T = TypeVar("T")


def in_thread(call: Callable[[], T]) -> Callable[[], T]:
    """Run it in a thread; `result()` joins it and gives what was returned, or raises what was raised."""
    box: list[tuple[T | None, BaseException | None]] = []

    def run() -> None:
        try:
            box.append((call(), None))
        except BaseException as error:
            box.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result() -> T:
        thread.join(10.0)
        assert box, "the thread is still blocked"
        value, error = box[0]
        if error is not None:
            raise error
        return value  # type: ignore[return-value] # there is one, without an error

    return result
