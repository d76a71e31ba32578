"""Which form of the loops is taken: the fastest one here, chosen once, and no other is imported.

On PyPy the plain form, for its compiler makes more of that than of the others. On CPython the one in C, where it was
built and VOLTLANE_PURE_PYTHON is not set, and `runs` where not.
"""

from __future__ import annotations

import os
import platform

if platform.python_implementation() == "PyPy":
    from .plain import frame, group, mask, retag, retag_masked, unmask

    BACKEND = "plain Python"
elif os.environ.get("VOLTLANE_PURE_PYTHON"):
    from .runs import frame, group, mask, retag, retag_masked, unmask

    BACKEND = "pure Python"
else:
    try:
        from ._native import frame, group, mask, retag, retag_masked, unmask  # type: ignore[import-not-found,no-redef]

        BACKEND = "native"
    except ImportError:
        from .runs import frame, group, mask, retag, retag_masked, unmask

        BACKEND = "pure Python"

__all__ = ["BACKEND", "frame", "group", "mask", "retag", "retag_masked", "unmask"]
