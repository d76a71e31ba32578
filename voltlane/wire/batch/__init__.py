"""The per-packet loops of the data path, in the fastest form this interpreter has.

Two functions, the same in every form (`plain` says exactly what they do):

    retag(buffer, start, stop, client_id, most)   client frames → one chunk of tagged frames for the firehose
    group(buffer, start, stop, most)              tagged frames → one chunk of client frames for each client

Both stop where the loop's simple case ends: at a frame that is not whole yet, at one of more than `most` bytes, and
`group` also at a frame that is not plain data. What stands there is for the caller to look at, once a batch instead of
once a packet.
"""

from __future__ import annotations

import os
import platform
from types import ModuleType
from typing import Callable


def _choose() -> tuple[ModuleType, str]:
    if platform.python_implementation() == "PyPy":
        from . import plain

        return plain, "plain Python"  # its compiler makes more of a plain loop than of the other forms
    if not os.environ.get("VOLTLANE_PURE_PYTHON"):
        try:
            from . import _native  # type: ignore[attr-defined]

            return _native, "native"
        except ImportError:
            pass
    from . import runs

    return runs, "pure Python"


_loops, BACKEND = _choose()
retag: Callable[[bytearray, int, int, int, int], tuple[bytes, int, int]] = _loops.retag
group: Callable[[bytearray, int, int, int], tuple[dict[int, bytes], int, int]] = _loops.group

__all__ = ["BACKEND", "group", "retag"]
