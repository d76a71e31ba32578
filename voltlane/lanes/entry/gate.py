"""Between the listening sockets and the clients: lets a connection in, or ends it before it has cost anything.

A connection that is refused is reset at once, and was never watched. Where proxies forward the connections, the header
that says whose connection it is comes first, as a stage of its own; the address in it is asked about then.
"""

from __future__ import annotations

import socket
from typing import Callable, Optional

from ...core.admission import Admission, Source
from ...net.peers import name_of, packed_of
from ...net.reactor import Reactor
from ...net.sockets import reset_on_close
from ...reasons import CloseReason
from ...wire.proxy import ProxyHeader
from ..connection_log import ConnectionLog
from ..lane import Lane
from .proxies import Proxies
from .proxy_header import ProxyHeaderStage
from .stage import Newcomer, Stage

TakeIn = Callable[[socket.socket, str, Source, Lane, Optional[Stage]], None]


class Gate:
    """`on_client(sock, peer, source, lane, first)` gets whoever may come in: the socket, its name, whom to tell how it
    goes on, how it came, and the stage that has to come before the lane's, if there is one.

    With `listener.proxy_protocol` "required" every connection has to come from one of the proxies' networks, or on a
    unix socket, and begins with a PROXY header; with "off" none does. Where requests say whose they are, a proxy's
    connection has none, and counts for everybody only until one does.
    """

    def __init__(
        self,
        reactor: Reactor,
        admission: Admission,
        log: ConnectionLog,
        on_client: TakeIn,
        proxies: Proxies,
    ) -> None:
        self.reactor = reactor
        self.admission = admission
        self.log = log
        self._on_client = on_client
        self._proxies = proxies
        self.shut: CloseReason | None = None
        """Why everybody is refused, while that is so."""
        admission.on_ban = self._on_ban

    def accept(self, sock: socket.socket, address: object, lane: Lane) -> None:
        """A new connection, with the address that `accept` gave, on a socket of this lane."""
        admission, proxies, packed, first = self.admission, self._proxies, b"", None
        if self.shut is not None:
            self._refuse(sock, name_of(address), self.shut)
            return
        if proxies.required and not (lane.hears and proxies.heard):
            if not proxies.trusts(packed_of(address)):
                self._refuse(sock, name_of(address), CloseReason.PROXY_UNTRUSTED)
                return
            first = ProxyHeaderStage(self._on_header)
        elif admission.wants_addresses:
            packed = packed_of(address)
            if lane.hears and proxies.will_say(packed):
                packed = b""
        name, answer = name_of(address), admission.admit(packed, self.reactor.now)
        if isinstance(answer, CloseReason):
            self._refuse(sock, name, answer)
            return
        self._let_in(sock, name, answer, lane, first)

    def let_in(self, sock: socket.socket, name: str, source: Source, lane: Lane, has_header: bool) -> None:
        """One that another process has accepted and let in."""
        self._let_in(sock, name, source, lane, ProxyHeaderStage(self._on_header) if has_header else None)

    def _let_in(self, sock: socket.socket, name: str, source: Source, lane: Lane, first: Stage | None) -> None:
        try:
            self._on_client(sock, name, source, lane, first)
        except Exception:  # whoever gets a connection tells its source of the end of it; now nobody would
            source.left(CloseReason.INTERNAL_ERROR, False, 0.0, self.reactor.now)
            raise

    def _on_header(self, newcomer: Newcomer, header: ProxyHeader) -> bool:
        """A proxy has said whose connection it is: whether it may come in."""
        refusal = self._proxies.on_header(newcomer, header)
        if refusal is not None:
            newcomer.close(refusal)
        return refusal is None

    def _on_ban(self, network: str) -> None:
        self.log.banned(network, self.admission.limits.ban_secs)

    def _refuse(self, sock: socket.socket, name: str, reason: CloseReason) -> None:
        reset_on_close(sock)
        sock.close()
        self.log.refused(reason, name)
