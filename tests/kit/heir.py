"""`voltlane serve`, whose successor goes wrong: `python heir.py serve`, with HEIR_FAULT in its environment.

The fault is one of `FAULTS`, and only the process that is to take over has it.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


def _end(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def _does_not_start() -> None:
    sys.exit(7)


def _dies_before_it_greets() -> None:
    from voltlane.cluster.handover.taker import Taker

    Taker.greet = _end  # type: ignore[method-assign]


def _has_another_format() -> None:
    from voltlane.cluster.handover import taker

    taker.FORMAT = 99


def _speaks_nonsense() -> None:
    from voltlane.cluster.handover import taker

    taker.Greeting.encode = lambda self: b"HTTP/1.1 200 OK\r\n\r\n"  # type: ignore[method-assign]


def _cannot_be_built() -> None:
    from voltlane.errors import StartupError
    from voltlane.server.server import Server

    def fail(self: Server, *_: object, **__: object) -> None:
        raise StartupError("it cannot be built")

    Server.__init__ = fail  # type: ignore[method-assign,assignment]


def _dies_before_it_is_ready() -> None:
    from voltlane.cluster.handover.taker import Taker

    Taker.take = _end  # type: ignore[method-assign]


def _dies_in_the_middle() -> None:
    from voltlane.cluster.handover.goods import Intake

    Intake._connection = _end  # type: ignore[method-assign]


def _raises_in_the_middle() -> None:
    from voltlane.cluster.handover.goods import Intake

    def fail(self: Intake, *_: object) -> None:
        raise RuntimeError("a bug")

    Intake._connection = fail  # type: ignore[method-assign]


def _refuses_a_note() -> None:
    from voltlane.cluster.handover import goods

    def damaged(data: bytes) -> None:
        raise goods.Damaged("a note that it does not like")

    goods.decode_state = damaged  # type: ignore[assignment]


def _dies_in_the_pause() -> None:
    from voltlane.cluster.handover.goods import Intake

    Intake._settle = _end  # type: ignore[method-assign]


def _dies_before_it_has_taken() -> None:
    from voltlane.cluster.handover.taker import Taker

    Taker.go = _end  # type: ignore[method-assign]


FAULTS = {
    fault.__name__[1:]: fault
    for fault in (
        _does_not_start,
        _dies_before_it_greets,
        _has_another_format,
        _speaks_nonsense,
        _cannot_be_built,
        _dies_before_it_is_ready,
        _dies_in_the_middle,
        _raises_in_the_middle,
        _refuses_a_note,
        _dies_in_the_pause,
        _dies_before_it_has_taken,
    )
}

if __name__ == "__main__":
    fault = os.environ.get("HEIR_FAULT", "")
    if fault and "_VOLTLANE_HANDOVER" in os.environ:
        FAULTS[fault]()
    from voltlane.__main__ import main

    sys.exit(main())
