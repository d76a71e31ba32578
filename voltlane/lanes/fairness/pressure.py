"""Clients that do not read, judged by what waits in their outboxes and for how long.

    over the hard limit of bytes                      the session ends at once
    over a soft limit, of packets or of bytes         it ends after so many seconds without a break
    takes nothing at all while something waits        the connection is closed; the session waits for it to come back
    more waits than a part of the hard limit          the client itself is not read until it has read

With the policy "block" the firehose is not read while a client is over a limit, in place of the first two.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from ...config import Clients
from ...core.hub import Hub
from ...core.outbox import Outbox, Verdict
from ...core.trunk import Trunk
from ...net.reactor import Reactor
from ...net.sockets import unconfirmed
from ...net.stall import next_look
from ...reasons import CloseReason, EndReason
from .client import Client
from .turns import PARKED, Turns

PARK_SHARE = 32
"""The part of its outbox limit from which on a client is not read itself: early, because what it has sent may still
come back to it from every buffer between here and the master's answer."""


class PressureLimits(NamedTuple):
    """What may wait for one client; units are those of the configuration's section `clients`."""

    soft_packets: int
    soft_bytes: int
    hard_bytes: int
    slow_secs: float
    stall_secs: float
    block: bool

    @classmethod
    def of(cls, clients: Clients) -> PressureLimits:
        """Those of a configuration."""
        return cls(
            clients.channel_capacity,
            clients.outbox_soft_bytes,
            clients.outbox_bytes,
            clients.slow_secs,
            clients.write_stall_secs,
            clients.overflow_policy == "block",
        )


class Pressure:
    """One server's policy. Of each client it keeps two timers, which stand in its connection."""

    def __init__(self, reactor: Reactor, hub: Hub, trunk: Trunk, turns: Turns, limits: PressureLimits) -> None:
        self._reactor = reactor
        self._hub = hub
        self._trunk = trunk
        self._turns = turns
        self._blockers: set[Client] = set()
        self.configure(limits)

    def configure(self, limits: PressureLimits) -> None:
        """Go by these limits from now on."""
        self.limits = limits
        self.park_above = limits.hard_bytes // PARK_SHARE

    def catch_up(self) -> None:
        """The limits were others: those for whom the firehose waits are judged anew."""
        for client in list(self._blockers):
            self._unblock(client)
            self.judge(client)

    def judge(self, client: Client) -> None:
        """Its socket would not take everything."""
        outbox, limits = client.outbox, self.limits
        if outbox is None or client.session is None:
            return
        self.watch(client)
        verdict = self._verdict(outbox)
        if limits.block:
            if verdict is not Verdict.FINE:
                self._block(client)
        elif verdict is Verdict.FULL:
            self._overflow(client, CloseReason.OUTBOX_FULL, f"{outbox.size} bytes were waiting")
        elif verdict is Verdict.FINE:
            self._stop_slow(client)
        elif client.slow is None:
            client.slow = self._reactor.call_later(limits.slow_secs, partial(self._too_slow, client))

    def watch(self, client: Client) -> None:
        """Something waits for it: will it take any of that?"""
        waiting, patience = client.waiting, self.limits.stall_secs
        if client.stall is None and patience and waiting is not None:
            # It is left running when nothing waits any more, and looks for itself what became of it.
            waiting.unconfirmed = unconfirmed(client.sock) if client.sock is not None else 0
            client.stall = self._reactor.call_later(patience, partial(self._look, client))

    def relieve(self, client: Client) -> None:
        """It has taken something."""
        outbox = client.outbox
        if outbox is None or self._verdict(outbox) is Verdict.FINE:
            self._stop_slow(client)
            self._unblock(client)
        if client.flags & PARKED and (outbox is None or outbox.size <= self.park_above // 2):
            client.flags &= ~PARKED
            self._turns.enqueue(client, False)

    def forget(self, client: Client) -> None:
        """It is gone."""
        self._stop_slow(client)
        if client.stall is not None:
            self._reactor.cancel(client.stall)
            client.stall = None
        self._unblock(client)

    def _verdict(self, outbox: Outbox) -> Verdict:
        limits = self.limits
        return outbox.judge(limits.soft_packets, limits.soft_bytes, limits.hard_bytes)

    # ---- too slow

    def _too_slow(self, client: Client, now: float) -> None:
        client.slow = None
        outbox = client.outbox
        if outbox is not None:
            detail = f"{outbox.packets} packets, {outbox.size} bytes were waiting"
            self._overflow(client, CloseReason.TOO_SLOW, detail)

    def _stop_slow(self, client: Client) -> None:
        if client.slow is not None:
            self._reactor.cancel(client.slow)
            client.slow = None

    def _overflow(self, client: Client, reason: CloseReason, detail: str, end: EndReason = EndReason.OVERFLOW) -> None:
        session = client.leave_session()
        if session is not None:
            self._hub.overflow(session, end)
        client.close(reason, detail)

    def shed(self, client: Client) -> None:
        """There is no memory for its outbox any more."""
        assert client.outbox is not None
        detail = f"{client.outbox.held} bytes of memory"
        self._overflow(client, CloseReason.OUTBOX_SHED, detail, EndReason.MEMORY)

    # ---- stalled

    def _look(self, client: Client, now: float) -> None:
        """Has it taken anything since?"""
        client.stall = None
        waiting, sock, patience = client.waiting, client.sock, self.limits.stall_secs
        if waiting is None or sock is None or not patience:
            return
        again = next_look(waiting, sock, patience, now)
        if again is None:
            client.close(CloseReason.WRITE_STALLED, f"{waiting.size} bytes were waiting")
        else:
            client.stall = self._reactor.call_at(again, partial(self._look, client))

    # ---- the policy "block"

    def _block(self, client: Client) -> None:
        """This client must read before the firehose is read again."""
        if not self._blockers:
            self._trunk.block()
        self._blockers.add(client)

    def _unblock(self, client: Client) -> None:
        """It did, or is gone."""
        if client in self._blockers:
            self._blockers.discard(client)
            if not self._blockers:
                self._trunk.unblock()
