"""The client library: one blocking `Connection` to a connection server, which heals itself with `reconnect()`.

    with Connection("127.0.0.1:42000") as connection:
        connection.send(b"hello")
        print(connection.recv(timeout=5.0))

What arrives is what the backend sent, packet by packet, in order. When the connection is lost the server keeps what it
missed, for as long as it was configured to; `reconnect()` proves who we are, and the missed packets come out of `recv`
before anything new. Not covered is what was in flight: packets that a kernel had taken and the dead connection never
delivered are known to nobody (SPEC 7).
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import TypeVar

from ..address import Address, parse_address
from ..errors import BadProof, ConnectionLost, FrameTooLarge, ServerKeyChanged, SessionLost, UnexpectedPacket
from ..net.deadlines import Deadline, deadline_after
from ..wire import crypto
from ..wire import v2 as packets
from ..wire.framing import MAX_TAGGED, PREFIX, PREFIX_SIZE, Buffer, frame
from ..wire.tagged import TAG_SIZE
from .link import Link, connect

PACKET_LIMIT = MAX_TAGGED - TAG_SIZE
"""Bytes of the largest packet either way: tagged, it just fits into what backends accept."""

_ASKED = 2
"""How often a server closes in order, instead of going on with a resume, until that is believed to be its answer:
something between us may have made an end in order of a reset, and a unix socket has no other end."""

_P = TypeVar("_P", bound=packets.Packet)


class Connection:
    """A session with a connection server, and the connection that carries it at present.

    One thread may be in `recv` (or iterate) while another one is in `send`, without any lock; several readers, or
    several writers, need one. `reconnect` belongs to the reader: a `send` meanwhile raises ConnectionLost, to be
    repeated afterwards. `close` may come from any thread, and ends the calls of the others with ConnectionLost.
    """

    def __init__(
        self,
        address: str | Address,
        *,
        timeout: float | None = 10.0,
        server_key: bytes | None = None,
        packet_limit: int = PACKET_LIMIT,
    ) -> None:
        """Connect and begin a new session.

        `address`: "host:port", "[ipv6]:port" or "unix:/path". `timeout`: seconds for all of it, None for no limit (the
        look-up of a host name is the system's, and has its own). `server_key`: the only public key to accept, 33 bytes;
        without one, the key met now is pinned for every `reconnect`. `packet_limit`: bytes of the largest packet.

        Raises ConfigError (the address), ConnectionLost (nobody there, or no whole answer in time), ServerKeyChanged
        (not `server_key`), ProtocolError (whoever answers does not speak the protocol).
        """
        self.address = parse_address(address) if isinstance(address, str) else address
        self.timeout = timeout
        self.packet_limit = packet_limit
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

    def send(self, data: Buffer) -> None:
        """Send one packet; returns when the kernel has all of it, which a server that does not read delays.

        Raises ValueError when it is over `packet_limit` (nothing was sent), ConnectionLost. What was sent shortly
        before a loss may or may not have arrived.
        """
        payload = data if isinstance(data, bytes) else memoryview(data).tobytes()
        if len(payload) > self.packet_limit:
            raise ValueError(f"a packet of {len(payload)} bytes, at most {self.packet_limit} are allowed")
        self._link.send(frame(payload))

    def recv(self, timeout: float | None = None) -> bytes:
        """The next packet. `timeout` in seconds; None waits for ever, 0 takes only what is there.

        Raises TimeoutError when no whole packet came in time (the part that came is kept), ConnectionLost when the
        connection is gone and everything received whole was given out, FrameTooLarge when the server announces a packet
        over `packet_limit` (this connection is of no more use, then).
        """
        if self._earlier and not self._closed:
            return self._earlier.popleft()
        return self._link.recv_frame(deadline_after(timeout))

    def reconnect(self, timeout: float | None = None) -> None:
        """Resume the session on a new connection: same id, missed packets first. `timeout` as at the beginning.

        Whole packets received before come out of `recv` first; half a packet is dropped, the server sends it again.
        A connection that is still well is given up first, and nothing on it is lost.

        Raises SessionLost (the server does not know the session any more, or refuses, twice: make a new Connection;
        also after `close`), ServerKeyChanged (no proof was sent), ConnectionLost otherwise (try again), ProtocolError
        (whoever answers does not speak the protocol).
        """
        self._refuse_closed()
        self._earlier.extend(self._link.give_up())
        deadline = deadline_after(self.timeout if timeout is None else timeout)
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
        link = Link(connect(self.address, deadline), self.packet_limit)
        try:
            yield link
        except BaseException as error:
            link.close()
            if isinstance(error, TimeoutError):
                raise ConnectionLost(f"{self.address} did not finish the handshake in time") from None
            if isinstance(error, EOFError):
                raise ConnectionLost(f"{self.address} closed the connection during the handshake") from None
            raise

    def close(self, goodbye: bool = True) -> None:
        """End the connection for good; this object cannot resume the session. Idempotent.

        With a goodbye, and if the connection is well, the server ends the session at once (SPEC 5.4). Without, or when
        the connection is lost, or a thread is within a `send`, it keeps the session for a while.
        """
        self._goodbye = self._goodbye and goodbye
        self._closed = True
        self._link.close(self._goodbye)

    @property
    def closed(self) -> bool:
        """Whether `close` was called. A connection that was lost is not closed: it can `reconnect`."""
        return self._closed

    def fileno(self) -> int:
        """The descriptor, for select and the like, or -1. It changes with `reconnect`.

        Not readable does not mean that `recv` has nothing: when it is, call `recv(0)` until TimeoutError.
        """
        return self._link.fileno()

    def __iter__(self) -> Iterator[bytes]:
        """Packets, until `close` is called. Raises ConnectionLost when the server closes, or the connection is lost."""
        while True:
            try:
                packet = self.recv()
            except ConnectionLost:
                if self._closed:
                    return
                raise
            yield packet

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Connection to {self.address}, client {self.client_id}{', closed' if self._closed else ''}>"


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
        raise ServerKeyChanged(f"the server's key is {point.hex()}, expected {pinned.hex()}")
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
