"""How the loop keeps up: every turn is in the lag, some are taken apart."""

from __future__ import annotations

from kit.clock import FakeClock
from kit.handlers import Loop

from voltlane.net.loop_metrics import PHASES, SAMPLED


def test_a_turn_is_as_long_as_what_it_does():
    loop = Loop(clock=FakeClock())
    loop.turn(0)
    loop.call_soon(lambda: loop.clock.pass_(0.2))
    loop.turn(0)
    loop.clock.pass_(5)  # between the turns, as if nothing had happened for a while
    loop.turn(0)
    summary = loop.metrics.summary()
    assert summary.turns == summary.lag.observed == 3
    assert round(summary.busy_secs, 6) == round(summary.lag.total, 6) == 0.2
    at_most = dict(zip(summary.lag.bounds, summary.lag.counts))
    assert at_most[0.001] == 2 and at_most[0.1] == 2 and at_most[0.25] == 3
    loop.close()


def test_one_turn_in_many_is_taken_apart():
    loop = Loop(clock=FakeClock())

    class Dirty:
        def on_flush(self) -> None:
            loop.clock.pass_(0.02)

    for _ in range(SAMPLED):
        loop.call_soon(lambda: loop.clock.pass_(0.3))
        loop.mark_dirty(Dirty())  # type: ignore[arg-type]
        loop.turn(0)
    phases = loop.metrics.summary().phases
    assert {name: round(phase.total, 6) for name, phase in phases.items()} == {
        **dict.fromkeys(PHASES, 0.0),
        "tasks": 0.3,
        "flush": 0.02,
    }
    assert all(phase.observed == 1 for phase in phases.values())
    loop.turn(0)
    assert all(phase.observed == 2 for phase in loop.metrics.summary().phases.values())
    loop.close()
