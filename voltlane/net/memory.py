"""Memory to receive into."""

from __future__ import annotations

import mmap
import platform


def receive_buffer(size: int) -> bytearray:
    """Writable memory of that many bytes, which stays where it is.

    On PyPy it is an anonymous mapping: a bytearray lives in the collector's heap there, and whatever crosses into a
    system call is copied item by item. A mapping does everything here that a bytearray of fixed size does.
    """
    if platform.python_implementation() == "PyPy":
        return mmap.mmap(-1, size)  # type: ignore[return-value]
    return bytearray(size)
