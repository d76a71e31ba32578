"""`voltlane status`: how a running server is, once."""

from __future__ import annotations

import json
import sys

from .. import colour
from .console import columns, show
from .inquiry import Inquiry
from .report import Figures, reasons, summary
from .tints import tinted


def status(inquiry: Inquiry, as_json: bool) -> int:
    """Print it. The exit code. Raises ConnectionLost."""
    try:
        figures = inquiry.get("/stats", _lines)
    finally:
        inquiry.close()
    if as_json:
        show(json.dumps(figures, indent=2))
    else:
        lines = _lines(figures, columns(sys.stdout))
        show("\n".join(map(tinted, lines) if colour.is_wanted(sys.stdout) else lines))
    return 0


def _lines(figures: Figures, width: int = sys.maxsize) -> list[str]:
    return [*summary(figures, None, width), *reasons(figures)]
