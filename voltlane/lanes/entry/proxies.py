"""What follows from what proxies say: in a PROXY header, or in the headers of a request.

A proxy that is trusted says whose a connection is, and the address that it names is what logs and limits use. What
anybody else says is refused (a PROXY header, as every connection has to have one then) or means nothing (a request's,
as there may be others that come without a proxy).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ...config import Listener, Web
from ...core.admission import Admission, Source
from ...core.networks import Networks, plain, shown
from ...net.peers import is_local, packed_in
from ...net.reactor import Reactor
from ...reasons import CloseReason
from ...wire.http1.forwarded import READERS, Hop, client_of
from ...wire.proxy import ProxyHeader


class Comer(Protocol):
    """What is said of a connection: see Newcomer."""

    peer: str
    hearsay: bool
    private: bool
    source: Source | None


class Proxies:
    """Those of one server."""

    def __init__(self, reactor: Reactor, admission: Admission, listener: Listener, web: Web) -> None:
        self._reactor = reactor
        self._admission = admission
        self.configure(listener, web)

    def configure(self, listener: Listener, web: Web) -> None:
        """Go by these settings, from the next header on."""
        self._networks = Networks(listener.proxy_networks)
        self._end_tls = listener.proxy_tls
        self._read = READERS.get(web.forwarded)
        self.heard = self._read is not None
        """Whether it is requests that say whose they are, where there are any."""
        self.required = listener.proxy_protocol == "required"
        """Whether every connection begins with a PROXY header, on which requests do not say the same."""

    def trusts(self, packed: bytes) -> bool:
        """Whether who connects from there is a proxy; b"" is somebody on a unix socket."""
        return not packed or plain(packed) in self._networks

    def will_say(self, packed: bytes) -> bool:
        """Whether who connects from there says in its requests whose they are."""
        return self.heard and self.trusts(packed)

    def on_header(self, newcomer: Comer, header: ProxyHeader) -> CloseReason | None:
        """A PROXY header has come: why the connection may not come in, or None."""
        newcomer.hearsay = not (header.address and is_local(newcomer.peer))
        newcomer.private = self._end_tls and header.encrypted
        if not header.address:
            return None
        newcomer.peer = shown(header.address, header.port)
        return self.identify(newcomer, header.address)

    def hearing(self, newcomer: Comer) -> Hearing | None:
        """For a connection on which requests come: what these have to say of it, if it is a proxy's."""
        packed = packed_in(newcomer.peer)
        return Hearing(self, newcomer.peer, newcomer.peer) if self.will_say(packed) else None

    def client_in(self, headers: Mapping[str, str]) -> Hop | None:
        """Whose request it is. Raises Refusal for headers that are malformed."""
        return client_of(self._read(headers), self.trusts) if self._read is not None else None

    def keeps_private(self, hop: Hop | None) -> bool:
        """Whether nobody could listen on the way to the proxies, nor can behind them, as the operator says."""
        return self._end_tls and hop is not None and hop.encrypted

    def identify(self, newcomer: Comer, address: bytes) -> CloseReason | None:
        """It is this address's from now on, for all that is limited; what counts for everybody was counted at the
        beginning."""
        admission, before = self._admission, newcomer.source
        if not admission.wants_addresses:
            return None
        now = self._reactor.now
        answer = admission.identify(address, now) if before is None else before.becomes(address, now)
        if isinstance(answer, CloseReason):
            return answer
        newcomer.source = answer
        return None


class Hearing:
    """One connection of a proxy's, over which requests come: of one client, or of one after the other."""

    __slots__ = ("_client", "_proxies", "_proxy")

    def __init__(self, proxies: Proxies, proxy: str, client: str) -> None:
        """`client`: whom the last request has named; the proxy while none has."""
        self._proxies = proxies
        self._proxy, self._client = proxy, client

    @property
    def names(self) -> tuple[str, str]:
        """The proxy's, and the client's."""
        return self._proxy, self._client

    def on_request(self, newcomer: Comer, headers: Mapping[str, str]) -> CloseReason | None:
        """A request has come: why it may not come in, or None. Raises Refusal for headers that are malformed.

        One that names nobody is the proxy's own, and counts for everybody only, as with a PROXY header.
        """
        hop = self._proxies.client_in(headers)
        newcomer.hearsay = hop is None or not is_local(self._proxy)
        newcomer.private = self._proxies.keeps_private(hop)
        newcomer.peer = self._proxy if hop is None else shown(hop.address, hop.port)
        if hop is None or newcomer.peer == self._client:
            return None
        self._client = newcomer.peer
        return self._proxies.identify(newcomer, hop.address)
