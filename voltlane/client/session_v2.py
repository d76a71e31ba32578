"""A session of version 2: as the library was before there was another version, byte for byte on the wire.

When the connection is lost the server keeps what the client missed, for as long as it was configured to; `reconnect()`
proves who we are, and the missed packets come out of `recv` before anything new. Not covered is what was in flight:
packets that a kernel had taken and the dead connection never delivered are known to nobody (SPEC 7).
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from typing import Callable, TypeVar

from ..address import Address
from ..errors import BadProof, ConnectionLost, FrameTooLarge, ServerKeyChanged, SessionLost, UnexpectedPacket
from ..net.deadlines import Deadline, deadline_after
from ..wire import crypto
from ..wire import v2 as packets
from ..wire.framing import PREFIX, PREFIX_SIZE, frame
from .approach import openings_for
from .link import Link, connect
from .secure import Trust

_ASKED = 2
"""How often a server closes in order, instead of going on with a resume, until that is believed to be its answer:
something between us may have made an end in order of a reset, and a unix socket has no other end."""

_P = TypeVar("_P", bound=packets.Packet)


class SessionV2:
    """What `Connection` is with version 2; there the methods are explained."""

    def __init__(
        self,
        address: Address,
        server_key: bytes | None,
        packet_limit: int,
        timeout: float | None,
        trust: Trust | None = None,
        on_reached: Callable[[], object] | None = None,
    ) -> None:
        self._address = address
        self._on_reached = on_reached
        self._trust = trust
        self._timeout = timeout
        self._packet_limit = packet_limit
        self._closed = False
        self._goodbye = True
        self._earlier: deque[bytes] = deque()
        """Whole packets of earlier connections, not yet given out."""
        key = crypto.generate_key()
        deadline = deadline_after(timeout)
        with self._connected(deadline) as link:
            self.client_id, self.server_key = _begin(link, key, server_key, deadline)
            self._session_key = crypto.session_key(key, self.server_key)
        self._link = link

    def send(self, packet: bytes) -> None:
        """Hand it to the kernel."""
        if len(packet) > self._packet_limit:
            raise ValueError(f"a packet of {len(packet)} bytes, at most {self._packet_limit} are allowed")
        self._link.send(frame(packet))

    def recv(self, timeout: float | None) -> bytes:
        """The next packet."""
        if self._earlier and not self._closed:
            return self._earlier.popleft()
        return self._link.recv_frame(deadline_after(timeout))

    def reconnect(self, timeout: float | None) -> None:
        """Resume on a new connection."""
        self._refuse_closed()
        self._earlier.extend(self._link.give_up())
        deadline = deadline_after(self._timeout if timeout is None else timeout)
        for _ in range(_ASKED):
            with self._connected(deadline) as link:
                resumed = _resume(link, self.client_id, self._session_key, self.server_key, deadline)
            if resumed:
                break
            link.close()
        else:
            raise SessionLost(f"the server does not resume client {self.client_id}")
        self._link = link
        if self._closed:  # by another thread, meanwhile
            link.close(self._goodbye)
            self._refuse_closed()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise SessionLost("the connection was closed by this side")

    @contextlib.contextmanager
    def _connected(self, deadline: Deadline) -> Iterator[Link]:
        """A link for the handshake; closed again if that fails."""
        link = None
        limit = max(self._packet_limit, packets.MAX_HANDSHAKE_FRAME)
        try:
            openings = openings_for(self._address, 2, limit, self._trust)
            link = Link(connect(self._address, deadline, openings, self._on_reached), self._packet_limit)
            yield link
        except BaseException as error:
            if link is not None:
                link.close()
            if isinstance(error, TimeoutError):
                raise ConnectionLost(f"{self._address} did not finish the handshake in time") from None
            if isinstance(error, EOFError):
                raise ConnectionLost(f"{self._address} closed the connection during the handshake") from None
            raise

    def close(self, goodbye: bool) -> None:
        """For good."""
        self._goodbye = self._goodbye and goodbye
        self._closed = True
        self._link.close(self._goodbye)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def fileno(self) -> int:
        """The descriptor, or -1."""
        return self._link.fileno()


def _begin(link: Link, key: crypto.KeyPair, pinned: bytes | None, deadline: Deadline) -> tuple[int, bytes]:
    """A new session: its client id, and the server's public key."""
    _send(link, packets.ProtocolVersion(packets.VERSION), packets.PubKey(key.public))
    server_key = _server_key(link, pinned, deadline)
    return _receive(link, packets.ClientId, deadline).client_id, server_key


def _resume(link: Link, client_id: int, key: bytes, pinned: bytes, deadline: Deadline) -> bool:
    """Take an existing session over to this link. False: the server has closed in order, which is how it refuses."""
    _send(link, packets.ProtocolVersion(packets.VERSION))
    # Who closes before that is no server that has heard of our session.
    _server_key(link, pinned, deadline)
    try:
        _send(link, packets.ClientId(client_id))
        challenge = crypto.open_sealed(key, _receive(link, packets.Challenge, deadline).blob)
        # Sealed anew, under a nonce of its own. A challenge sent back as it came would prove nothing.
        _send(link, packets.ChallengeResponse(crypto.seal(key, challenge)), packets.Ping())
        _receive(link, packets.Ping, deadline)
    except EOFError:
        return False
    except BadProof:
        raise SessionLost(f"the server's challenge for client {client_id} is not made with our key") from None
    return True


def _server_key(link: Link, pinned: bytes | None, deadline: Deadline) -> bytes:
    point = _receive(link, packets.PubKey, deadline).point
    if pinned is not None and point != pinned:
        raise ServerKeyChanged.of(point, pinned.hex())
    crypto.check_point(point)
    return point


def _send(link: Link, *those: packets.Packet) -> None:
    link.send(b"".join(frame(packets.encode(packet)) for packet in those))


def _receive(link: Link, kind: type[_P], deadline: Deadline) -> _P:
    """The next handshake packet, which must be of that kind. Raises ProtocolError, and as `Link.recv_exactly`; EOFError
    only for an end in front of the packet, as within one nobody ends on purpose."""
    (size,) = PREFIX.unpack(link.recv_exactly(PREFIX_SIZE, deadline))
    if size > packets.MAX_HANDSHAKE_FRAME:
        raise FrameTooLarge(size, packets.MAX_HANDSHAKE_FRAME)
    try:
        packet = packets.decode(link.recv_exactly(size, deadline))
    except EOFError:
        raise ConnectionLost("the connection ended within a packet of the handshake") from None
    if not isinstance(packet, kind):
        raise UnexpectedPacket(f"{type(packet).__name__} came where {kind.__name__} has its place")
    return packet
