"""Between the listening sockets and the clients: lets a connection in, or ends it before it has cost anything.

A connection that is refused is reset at once, and was never watched. Where proxies forward the connections, the header
that says whose connection it is comes first, as a stage of its own; the address in it is asked about then.
"""

from __future__ import annotations

import socket
from typing import Callable, Optional

from ...config import Listener
from ...core.admission import Admission, Source
from ...core.networks import Networks, plain, shown
from ...net.peers import is_local, name_of, packed_of
from ...net.reactor import Reactor
from ...net.sockets import reset_on_close
from ...reasons import CloseReason
from ...wire.proxy import ProxyHeader
from ..connection_log import ConnectionLog
from ..lane import Lane
from .proxy_header import ProxyHeaderStage
from .stage import Newcomer, Stage

TakeIn = Callable[[socket.socket, str, Source, Lane, Optional[Stage]], None]


class Gate:
    """`on_client(sock, peer, source, lane, first)` gets whoever may come in: the socket, its name, whom to tell how it
    goes on, how it came, and the stage that has to come before the lane's, if there is one.

    With `listener.proxy_protocol` "required" every connection has to come from one of the proxies' networks, or on a
    unix socket, and begins with a PROXY header; with "off" none does.
    """

    def __init__(
        self,
        reactor: Reactor,
        admission: Admission,
        log: ConnectionLog,
        on_client: TakeIn,
        listener: Listener,
    ) -> None:
        self.reactor = reactor
        self.admission = admission
        self.log = log
        self._on_client = on_client
        admission.on_ban = self._on_ban
        self.configure(listener)

    def configure(self, listener: Listener) -> None:
        """Go by these settings, from the next connection on."""
        self._proxies = Networks(listener.proxy_networks) if listener.proxy_protocol == "required" else None

    def accept(self, sock: socket.socket, address: object, lane: Lane) -> None:
        """A new connection, with the address that `accept` gave, on a socket of this lane."""
        admission, name, first = self.admission, name_of(address), None
        if self._proxies is not None:
            packed = packed_of(address)
            if packed and plain(packed) not in self._proxies:
                self._refuse(sock, name, CloseReason.PROXY_UNTRUSTED)
                return
            answer = admission.admit(b"", self.reactor.now)
            first = ProxyHeaderStage(self._identify)
        else:
            answer = admission.admit(packed_of(address) if admission.wants_addresses else b"", self.reactor.now)
        if isinstance(answer, CloseReason):
            self._refuse(sock, name, answer)
            return
        try:
            self._on_client(sock, name, answer, lane, first)
        except Exception:  # whoever gets a connection tells its source of the end of it; now nobody would
            answer.left(CloseReason.INTERNAL_ERROR, False, 0.0, self.reactor.now)
            raise

    def _identify(self, newcomer: Newcomer, header: ProxyHeader) -> bool:
        """A proxy has said whose connection it is; what counts for everybody was counted at the beginning."""
        newcomer.hearsay = not (header.address and is_local(newcomer.peer))
        if header.address:
            newcomer.peer = shown(header.address, header.port)
            if self.admission.wants_addresses:
                answer = self.admission.identify(header.address, self.reactor.now)
                if isinstance(answer, CloseReason):
                    newcomer.close(answer)
                    return False
                newcomer.source = answer
        return True

    def _on_ban(self, network: str) -> None:
        self.log.banned(network, self.admission.limits.ban_secs)

    def _refuse(self, sock: socket.socket, name: str, reason: CloseReason) -> None:
        reset_on_close(sock)
        sock.close()
        self.log.refused(reason, name)
