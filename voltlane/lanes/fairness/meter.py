"""What clients send: no more than so many packets and bytes a second, and something now and then.

All of it is off by default, and then costs nothing: only who is metered has a meter, and a flag that leads its reads
here. A read is charged when it was made, with all that was in it. So a client may owe for up to one read, and is not
read again until it owes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import cast

from ...core.counters import Counters
from ...core.meter import Meter, MeterLimits
from ...core.session import Session
from ...core.trunk import Trunk
from ...net.reactor import Reactor
from ...reasons import CloseReason
from .client import Client
from .turns import METERED, PARKED, QUANTUM, QUEUED, THROTTLED, Turns

MOST_OWED = 1 << 16
"""Bytes read at once from who is charged for them."""


class Meters:
    """One server's policy."""

    def __init__(self, reactor: Reactor, trunk: Trunk, turns: Turns, counters: Counters, limits: MeterLimits) -> None:
        self._reactor = reactor
        self._trunk = trunk
        self._turns = turns
        self._counters = counters
        self._limits = limits
        self.configure(limits, ())

    def configure(self, limits: MeterLimits, clients: Iterable[Client]) -> None:
        """Go by these limits from now on. Where they are others, these clients are metered as if they were new."""
        changed, self._limits = limits != self._limits, limits
        self._charged = bool(limits.packet_rate or limits.byte_rate)
        self._on = self._charged or bool(limits.idle_secs)
        self._quantum = MOST_OWED if self._charged else QUANTUM
        for client in clients if changed else ():
            self.forget(client)
            throttled = client.flags & THROTTLED
            client.flags &= ~(METERED | THROTTLED)
            self.watch(client)
            if throttled:
                self._turns.enqueue(client, False)

    def watch(self, client: Client) -> None:
        """It is new."""
        if self._on:
            client.flags |= METERED
            client.meter = Meter(self._limits, self._reactor.now)
            if self._limits.idle_secs:
                self._wait(client, self._reactor.now)

    def read(self, client: Client) -> int:
        """Let it read, and charge it for that. As `Client.receive`."""
        assert client.meter is not None
        before, toiled = self._trunk.pushed, self._turns.toiled
        received = client.receive(self._quantum)
        if received > 0:  # and what its framing had to do for that
            self.charge(client, self._trunk.pushed - before, received + self._turns.toiled - toiled)
        return received

    def charge(self, client: Client, packets: int, size: int) -> None:
        """So much was read from it, if it is metered at all."""
        meter = client.meter
        if meter is not None:
            wait = meter.charge(packets, size, self._reactor.now)
            if wait > 0 and not client.closed:
                self._exceeded(client, meter, wait)

    def admit(self, session: Session, size: int) -> float:
        """It sends a packet of so many bytes beside its connection, should it have one, which counts as if it had come
        on that. 0.0; or seconds to wait first, and nothing is charged."""
        client = cast("Client | None", session.link)
        meter = session.allowance if client is None else client.meter
        if client is None and self._charged and (meter is None or meter.limits != self._limits):
            meter = session.allowance = Meter(self._limits, self._reactor.now)
        if meter is None:
            return 0.0
        wait = meter.owes(self._reactor.now)
        if wait:
            self._counters.throttled += 1
        else:
            meter.charge(1, size, self._reactor.now)
        return wait

    def remember(self, client: Client, session: Session) -> None:
        """Its connection is lost: its session has no more to spend than it had. Who is closed for that has paid."""
        meter = client.meter
        if meter is not None and not meter.limits.disconnect and not meter.is_full(self._reactor.now):
            session.allowance = meter

    def inherit(self, session: Session, client: Client) -> None:
        """It resumes that one, and owes what the connection before it owes, and will when that is read to its end."""
        old = session.allowance if session.link is None else cast(Client, session.link).meter
        session.allowance = None
        if client.meter is not None and old is not None and old.limits == client.meter.limits:
            client.meter.buckets = old.buckets

    def look_again(self, client: Client) -> None:
        """It comes from another process, and may owe what it owed there."""
        meter = client.meter
        wait = 0.0 if meter is None or meter.limits.disconnect else meter.owes(self._reactor.now)
        if meter is not None and wait > 0:
            self._exceeded(client, meter, wait)

    def forget(self, client: Client) -> None:
        """It is gone."""
        meter, client.meter = client.meter, None
        if meter is not None:
            for timer in (meter.idle, meter.pause):
                if timer is not None:
                    self._reactor.cancel(timer)

    # ---- too much

    def _exceeded(self, client: Client, meter: Meter, wait: float) -> None:
        if self._limits.disconnect:
            client.close(CloseReason.RATE_EXCEEDED, f"by what takes {wait:.3g} s")
        else:
            self._counters.throttled += 1
            client.flags |= THROTTLED
            meter.pause = self._reactor.call_later(wait, partial(self._go_on, client, meter))

    def _go_on(self, client: Client, meter: Meter, now: float) -> None:
        meter.pause = None
        client.flags &= ~THROTTLED
        self._turns.enqueue(client, False)

    # ---- nothing at all

    def _wait(self, client: Client, since: float) -> None:
        assert client.meter is not None
        client.meter.idle = self._reactor.call_at(since + self._limits.idle_secs, partial(self._look, client))

    def _look(self, client: Client, now: float) -> None:
        meter = client.meter
        if meter is None:
            return
        if client.flags & (QUEUED | PARKED | THROTTLED):  # it may have sent something: it is we who do not read it
            meter.heard = now
        if now < meter.heard + self._limits.idle_secs:
            self._wait(client, meter.heard)
        else:
            client.close(CloseReason.IDLE)
