"""Asks the store for a number, renews it in time, and gives it back at the end."""

from __future__ import annotations

import os
import time
from typing import Callable

from ...core.ids import CLOCK_BITS, NODES, TICKS, Ids, go_on_from, ids_from, ticks_of
from ...core.timers import Timer
from ...net.reactor import Reactor
from ...ops.log import log
from ..moved import MovedLease
from ..redis.link import Link
from ..redis.resp import Argument, Reply, Trouble
from .scripts import RELEASE, RENEW, SCRIPTS, TAKE
from .states import Ask, Event, Lease, State, Taken

MOST_TICKS = (1 << CLOCK_BITS) - 1


def new_token() -> str:
    """Of one instance of a server: what stands at its number in the store."""
    return os.urandom(16).hex()


class LeaseKeeper:
    """This server's number. `wanted` is the one to try first; `wall` tells the time of day."""

    def __init__(
        self, reactor: Reactor, link: Link, wanted: int, secs: float, token: str, wall: Callable[[], float] = time.time
    ) -> None:
        self._reactor = reactor
        self._link = link
        self._wanted = wanted
        self._wall = wall
        self._timer: Timer | None = None
        self._told: object = None  # what the log was told last
        self._shown: tuple[bool, int | None] = (False, None)  # what watchers were
        self.token = token
        """What stands in the store at this server's number, as long as it has it."""
        self.lease = Lease(secs, reactor.now)
        self.ids: Ids | None = None
        """What ids to give out, of the number that it has; others with each number that is taken."""
        self.watchers: list[Callable[[], None]] = []
        """Called whenever `usable` or `number` may have changed."""
        link.scripts.extend(SCRIPTS)
        link.watchers.append(self._on_link)

    @property
    def usable(self) -> bool:
        """Whether new sessions may be opened under the number, at this moment."""
        return self.lease.usable(self._reactor.now)

    @property
    def number(self) -> int | None:
        """The number that it has, or had last; None if it never had one."""
        return None if self.lease.taken is None else self.lease.taken.number

    @property
    def term(self) -> int:
        """Of its lease; 0 if it never had one."""
        return 0 if self.lease.taken is None else self.lease.taken.term

    def start(self) -> None:
        """Ask for a number, until there is one, and keep it."""
        self._step()

    def leave(self, then: Callable[[], None] = lambda: None) -> None:
        """Give it back; `then` is called when that is done, or cannot be."""
        held = self.lease.state is not State.SEEKING
        self.lease.leave()
        self._rearm()
        if held and self.number is not None:
            self._release(self.number, then)
        else:
            self._reactor.call_soon(then)

    @property
    def moved(self) -> MovedLease | None:
        """What another process on this machine needs to go on with the number; None where it never had one."""
        taken, ids = self.lease.taken, self.ids
        if taken is None or ids is None:
            return None
        return MovedLease(*taken, self.lease.until, ids.counting())

    def go_on(self, token: str, moved: MovedLease | None) -> None:
        """Have what another process on this machine had, by its token; before `start`."""
        self.token = token
        if moved is not None:
            self.lease.go_on(Taken(moved.number, moved.term, moved.used), moved.until)
            self.ids = go_on_from(moved.ids)

    # ---- step by step

    def _on_link(self) -> None:
        if self._link.up:
            self.lease.hurry(self._reactor.now)
            self._step()

    def _on_timer(self, now: float) -> None:
        self._timer = None
        self._step()

    def _step(self) -> None:
        before = self.lease.state
        ask = self.lease.ask(self._reactor.now)
        if ask is Ask.TAKE:
            self._take()
        elif ask is Ask.RENEW:
            self._renew()
        self._look_at(before)

    def _rearm(self) -> None:
        if self._timer is not None:
            self._reactor.cancel(self._timer)
            self._timer = None
        look = self.lease.look
        if look < float("inf"):
            self._timer = self._reactor.call_at(look, self._on_timer)

    def _milliseconds(self) -> int:
        return int(self.lease.secs * 1000)

    def _take(self) -> None:
        key, asked = self._link.key, self._reactor.now
        first = self._wanted if self.number is None else self.number
        span = int(self.lease.secs * TICKS) + 1
        arguments: list[Argument] = [self.token, self._milliseconds(), first, ticks_of(self._wall()), span]
        keys = [key("node", ""), key("ids", ""), key("terms")]
        self._link.run(TAKE, keys, arguments, lambda reply: self._taken(asked, reply))

    def _taken(self, asked: float, reply: Reply) -> None:
        if not isinstance(reply, list):
            self._answered(Event.FAILED if isinstance(reply, Trouble) else Event.NONE_FREE)
            return
        taken = Taken(*map(int, reply))
        if self.lease.state is State.LEFT:
            self._release(taken.number, lambda: None)
            return
        before = self.lease.state
        self.lease.answered(Event.TAKEN, self._reactor.now, taken)
        if self.lease.taken is taken:
            self.ids = ids_from(taken.number, min(taken.used + 1, MOST_TICKS), asked)
        self._look_at(before)

    def _release(self, number: int, then: Callable[[], None]) -> None:
        self._link.run(RELEASE, [self._link.key("node", number)], [self.token], lambda reply: then())

    def _renew(self) -> None:
        assert self.number is not None and self.ids is not None, "there is something to renew"
        ticks = self.ids.past(self._reactor.now + self.lease.secs) & MOST_TICKS
        keys = [self._link.key("node", self.number), self._link.key("ids", self.number)]
        self._link.run(RENEW, keys, [self.token, self._milliseconds(), ticks], self._renewed)

    def _renewed(self, reply: Reply) -> None:
        event = Event.FAILED if isinstance(reply, Trouble) else Event.RENEWED if reply == 1 else Event.GONE
        self._answered(event)

    def _answered(self, event: Event) -> None:
        before = self.lease.state
        self.lease.answered(event, self._reactor.now)
        if event is Event.NONE_FREE and self._is_news(event):
            log.warning("all %d numbers are in use: nobody new is let in until one is free", NODES)
        self._look_at(before)

    # ---- what others hear of it

    def _look_at(self, before: State) -> None:
        self._rearm()
        state, number = self.lease.state, self.number
        if state is State.HELD and self._is_news((state, number)):
            log.info("this server has the number %d, by its lease of term %d", number, self.term)
        elif state is State.LAPSED and self._is_news(state):
            log.warning("the number %d was not renewed in time: nobody new is let in until it is", number)
        elif state is State.SEEKING and before is not state:
            log.warning("the number %d is ours no longer: nobody new is let in until there is another", number)
        if (self.usable, number) != self._shown:
            self._shown = self.usable, number
            for watcher in list(self.watchers):
                self._reactor.guard(None, watcher)

    def _is_news(self, what: object) -> bool:
        """Whether the log was told something else last."""
        news, self._told = what != self._told, what
        return news
