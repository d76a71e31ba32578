"""`voltlane status`: how a running server is, once."""

from __future__ import annotations

import json

from .console import show
from .inquiry import Inquiry
from .report import reasons, summary


def status(inquiry: Inquiry, as_json: bool) -> int:
    """Print it. The exit code. Raises ConnectionLost."""
    try:
        figures = inquiry.get("/stats")
    finally:
        inquiry.close()
    if as_json:
        show(json.dumps(figures, indent=2))
    else:
        show("\n".join([*summary(figures), *reasons(figures)]))
    return 0
