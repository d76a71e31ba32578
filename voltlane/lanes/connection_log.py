"""Clients' connections come and go: each is counted, told to whoever watches, and said in the log."""

from __future__ import annotations

from logging import DEBUG

from ..core.counters import Counters
from ..net.reactor import Reactor
from ..ops.log import PeerLog, log, say_closed
from ..ops.watch import Watcher
from ..reasons import ORDINARY, CloseReason


class ConnectionLog:
    """One server's."""

    def __init__(self, reactor: Reactor, counters: Counters) -> None:
        self._reactor = reactor
        self._counters = counters
        self._peers = PeerLog()
        self.watcher: Watcher | None = None
        """Whoever wants to hear of it, but for connections that were refused."""

    def here(self, client_id: int, peer: str, resumed: bool, lane: str, subject: str = "") -> None:
        """A client is through with its handshake; the subject of its certificate, if it has shown one."""
        if self.watcher is not None:
            self.watcher.here(client_id, peer, resumed)
        if not subject and not log.isEnabledFor(DEBUG):
            return
        fields = {"client": client_id, "peer": peer, "lane": lane, "session": "resumed" if resumed else "new"}
        if subject:
            fields["subject"] = subject
            log.info(
                "client %(client)d is here from %(peer)s by %(lane)s, %(session)s, with the certificate of %(subject)s",
                fields,
            )
        else:
            log.debug("client %(client)d is here from %(peer)s by %(lane)s, %(session)s", fields)

    def closed(self, reason: CloseReason, client_id: int, peer: str, detail: str) -> None:
        """A connection is closed; id 0: it had no session yet."""
        self._counters.closed[reason] += 1
        if self.watcher is not None:
            self.watcher.gone(client_id, peer, reason, detail)
        if reason not in ORDINARY:
            self._peers.write(reason, client_id, peer, detail, self._reactor.now)
        elif log.isEnabledFor(DEBUG):
            say_closed(DEBUG, reason, client_id, peer, detail)

    def refused(self, reason: CloseReason, peer: str) -> None:
        """A connection was not let in."""
        self._counters.closed[reason] += 1
        self._peers.write(reason, 0, peer, "", self._reactor.now)

    def banned(self, network: str, secs: float) -> None:
        """An address, or a network that counts as one, is not let in for so long."""
        log.info(
            "%(network)s is banned for %(secs)g s: it comes and goes all the time", {"network": network, "secs": secs}
        )
        if self.watcher is not None:
            self.watcher.banned(network, secs)

    def sum_up(self) -> None:
        """Say what was left out of the log."""
        self._peers.sum_up()
