"""`voltlane drain`: have a running server's clients go elsewhere, and wait until they have."""

from __future__ import annotations

import time
from typing import Any

from ..errors import ConnectionLost
from .console import show
from .inquiry import Inquiry

_LOOK_SECS = 0.25
_SAY_SECS = 10.0


def drain(inquiry: Inquiry, rate: float, notice: float | None, back: bool) -> int:
    """Ask for it, or take it `back`; with a rate, wait until nobody is left. The exit code. Raises ConnectionLost."""
    try:
        if back:
            inquiry.order("DELETE", "/drain", _state)
            show(f"{inquiry.address}: clients are taken again")
            return 0
        fields = [f"rate={rate:g}", *([] if notice is None else [f"notice={notice:g}"])]
        told = inquiry.order("POST", f"/drain?{'&'.join(fields)}", _state)
        if told["draining"] is None:
            raise ConnectionLost(f"{inquiry.address} is {told['state']}, and does not drain")
        if rate:
            _wait(inquiry)
        else:
            show(f"{inquiry.address}: {told['state']}; the clients that are here stay: {told['draining']['left']}")
    finally:
        inquiry.close()
    return 0


def _wait(inquiry: Inquiry) -> None:
    """Until it is drained, saying how far it is. Raises ConnectionLost where it is not to be any more."""
    say_at = 0.0
    while True:
        stats = inquiry.get("/stats", _state)
        draining, now = stats["draining"], time.monotonic()
        if draining is None:
            raise ConnectionLost(f"{inquiry.address} does not drain any more: it is {stats['state']}")
        if stats["state"] == "drained":
            show(f"{inquiry.address}: drained; clients that were told to go elsewhere: {draining['told']}")
            return
        if now >= say_at:
            say_at = now + _SAY_SECS
            soon = f", first of all {draining['notice_secs']:.0f} s of notice" if draining["notice_secs"] else ""
            show(f"{inquiry.address}: draining, clients left: {draining['left']}{soon}")
        time.sleep(_LOOK_SECS)


def _state(answer: Any) -> object:
    draining = answer["draining"]
    return answer["state"], draining is None or {**draining}["left"]
