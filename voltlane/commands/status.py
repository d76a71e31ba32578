"""`voltlane status`: how a running server is, once."""

from __future__ import annotations

import json

from .console import show
from .inquiry import Inquiry
from .report import Figures, reasons, summary


def status(inquiry: Inquiry, as_json: bool) -> int:
    """Print it. The exit code. Raises ConnectionLost."""
    try:
        figures = inquiry.get("/stats", _lines)
    finally:
        inquiry.close()
    if as_json:
        show(json.dumps(figures, indent=2))
    else:
        show("\n".join(_lines(figures)))
    return 0


def _lines(figures: Figures) -> list[str]:
    return [*summary(figures), *reasons(figures)]
