"""A reactor with a link to a store, and everything that the link has said."""

from __future__ import annotations

import time
from typing import Any, Callable

import pytest
from kit.clock import FakeClock
from kit.handlers import Loop

pytest.importorskip("hiredis", reason="hiredis is not here: pip install hiredis")

from voltlane.cluster.redis.link import Link
from voltlane.cluster.redis.options import Options, options_of
from voltlane.cluster.redis.resp import Argument, Reply
from voltlane.cluster.redis.script import Script
from voltlane.config import Cluster

SECRET = "0123456789abcdef0123456789abcdef"


def options(url: str, **settings: Any) -> Options:
    return options_of(Cluster(url=url, secret=SECRET, **settings))


class StoreWorld:
    """Time is real, or, with `fake`, as the test lets it pass."""

    def __init__(self, url: str, *scripts: Script, fake: bool = False, start: bool = True, **settings: Any) -> None:
        clock: Any = FakeClock() if fake else time.monotonic
        self.loop = Loop(clock=clock)
        self.options = options(url, **settings)
        self.link = Link(self.loop, self.options, scripts)
        self.changes: list[bool] = []
        self.link.watchers.append(lambda: self.changes.append(self.link.up))
        if start:
            self.link.start()

    def until(self, predicate: Callable[[], object], what: str) -> None:
        self.loop.until(predicate, what, 4000)

    def until_up(self) -> StoreWorld:
        self.until(lambda: self.link.up, f"the store to be up: {self.link.text}")
        return self

    def until_down(self) -> None:
        self.until(lambda: not self.link.up, "the store to be down")

    def until_back(self) -> None:
        """Let fake time pass, slowly for a store that has to answer meanwhile, until there is a connection that is of
        use."""
        for _ in range(2000):
            if self.link.open:
                self.until_up()
                return
            self.loop.clock.now += 0.1
            self.loop.turn(0.01)
        raise AssertionError(f"in vain: the store {self.link.text}")

    def later(self, *arguments: Argument) -> list[Reply]:
        """Where the answer will be."""
        got: list[Reply] = []
        self.link.call(arguments, got.append)
        return got

    def ask(self, *arguments: Argument) -> Reply:
        """The answer."""
        return self.answer_of(self.later(*arguments))

    def run(self, script: Script, keys: list[str], *arguments: Argument) -> Reply:
        got: list[Reply] = []
        self.link.run(script, keys, arguments, got.append)
        return self.answer_of(got)

    def answer_of(self, got: list[Reply]) -> Reply:
        self.until(lambda: got, "an answer")
        assert len(got) == 1
        return got[0]

    def close(self) -> None:
        self.link.stop()
        self.loop.spin(3)
        self.loop.expect_clean()

    def __enter__(self) -> StoreWorld:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
