"""The client library: one blocking `Connection` to a connection server.

    with Connection("127.0.0.1:42000") as connection:
        connection.send(b"hello")
        print(connection.recv(timeout=5.0))

What arrives is what the backend sent, packet by packet, in order. A lost connection is healed with `reconnect()`, or by
itself (`reconnect="auto"`), and with version 3 of the protocol nothing is lost with it: what cannot be saved is told,
as numbers. Version 2 (`protocol=2`) is for older servers; there packets that were under way when a connection died may
be missing (SPEC 7).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Callable, cast

from ..address import Address, parse_server
from ..errors import ConfigError, ConnectionLost, ProtocolError
from ..net.openssl import ssl
from ..wire.aead import KEY_SIZE
from ..wire.framing import Buffer
from .datagram_link import DatagramLink
from .memory import Memory
from .options import DEFAULTS, PACKET_LIMIT, Options, check_server_key
from .pinning import Pins
from .secure import trust
from .session_v2 import SessionV2
from .session_v3 import SessionV3, restore

CLOSE_SECS = 5.0
"""How long `close` waits by itself until what was sent is safe."""
_V2_KEY_SIZE = 33


class Connection:
    """A session with a connection server, and the connection that carries it at present.

    One thread may be in `recv` (or iterate) while another one is in `send`, without any lock; with version 2 several
    readers, or several writers, need one. `reconnect` belongs to the reader: a `send` meanwhile may raise
    ConnectionLost, to be repeated afterwards. `close` may come from any thread, and ends the calls of the others with
    ConnectionLost.

    There is no thread behind it: what comes is handled, and what waits goes out, while a call is under way.
    """

    def __init__(
        self,
        address: str | Address,
        *,
        protocol: int = 3,
        server_key: bytes | None = None,
        timeout: float | None = 10.0,
        packet_limit: int = PACKET_LIMIT,
        reconnect: str = DEFAULTS.reconnect,
        encrypted: bool = DEFAULTS.encrypted,
        acks: str = DEFAULTS.acks,
        gaps: str = DEFAULTS.gaps,
        uncertain: str = DEFAULTS.uncertain,
        retained_packets: int = DEFAULTS.retained_packets,
        retained_bytes: int = DEFAULTS.retained_bytes,
        window_bytes: int = DEFAULTS.window_bytes,
        heartbeat: float | None = DEFAULTS.heartbeat,
        on_state: Callable[[bytes], object] | None = None,
        ca_file: str | os.PathLike[str] = "",
        server_name: str = "",
        tls_context: ssl.SSLContext | None = None,
        on_reached: Callable[[], object] | None = None,
    ) -> None:
        """Connect and begin a new session.

        `address`: "host:port", "[ipv6]:port" or "unix:/path", with tls:// in front for TLS; over a WebSocket
        "ws://host:port/path" or "wss://host/path", where the port may be left out. With TLS `ca_file` has those who may
        have signed the server's certificate (none: whom the system trusts), and `server_name` is what that has to be
        for (none: the host); `tls_context` is for everything else, as a certificate of the client's own.

        `protocol`: 3 or 2; there is no falling back from one to the other. `server_key`: the public key to accept, 32
        bytes (33 with version 2); without one, the key met now is pinned for every reconnect. `timeout`: seconds for a
        connection with its handshake, None for no limit (the look-up of a host name is the system's, and has its own).
        `packet_limit`: bytes of the largest packet, either way. `on_reached` is called, from within the call that is
        under way, each time that there is a connection and its handshake begins: a server that has not met its backend
        yet lets that wait.

        With version 3 only:

        `reconnect`: "auto" replaces a lost connection within whatever call is under way, with growing pauses; "manual"
        leaves that to `reconnect()`. `encrypted`: False is for a leg that needs no encryption (a unix socket, this
        machine, TLS), if the server allows it. `acks`: "taken" has a packet safe when `recv` returns it, "manual" when
        `ack()` is called. `gaps`: "raise" has `recv` raise Gap and Uncertain, "return" has it return them. `uncertain`:
        "resend" sends what is uncertain again by itself, and says nothing: at least once, instead of at most once and
        told. `retained_packets`, `retained_bytes`: how much of what was sent may be not known to be safe before `send`
        waits. `window_bytes`: how much the server may send ahead of `recv`. `heartbeat`: after so many seconds of
        silence a sign of life is asked for, and after as many again without one the connection is lost; None for never.
        `on_state`: is given the new state (see `state`) whenever the old one is of no more use; what it raises comes
        out of the call that is under way. Called with a lock held: it should keep the bytes, and do nothing else with
        the connection.

        Raises ConfigError (also a ValueError: the address, or another argument), ConnectionLost (nobody there, or no
        whole answer in time), Refused, SessionLost (the server says so, for now or for good), ServerKeyChanged (not
        `server_key`), ProtocolError (whoever answers does not speak the protocol).
        """
        options = Options(
            reconnect,
            encrypted,
            acks,
            gaps,
            uncertain,
            retained_packets,
            retained_bytes,
            window_bytes,
            heartbeat,
            on_state,
        )
        self._start(address, protocol, packet_limit, timeout)
        trusted = trust(self.address, ca_file, server_name, tls_context)
        if protocol == 2:
            _refuse_options(options)
            check_server_key(server_key, _V2_KEY_SIZE)
            self._session: SessionV2 | SessionV3 = SessionV2(
                self.address, server_key, packet_limit, timeout, trusted, on_reached
            )
            return
        if protocol != 3:
            raise ConfigError(f"protocol: {protocol!r} was given, 2 or 3 is needed")
        check_server_key(server_key, KEY_SIZE)
        if server_key is not None and not encrypted:
            raise ConfigError("server_key: without encryption there is no key to be checked")
        memory = Memory(options.checked(), packet_limit, Pins(() if server_key is None else (bytes(server_key),)))
        self._session = SessionV3(self.address, memory, options, packet_limit, timeout, trusted, on_reached)

    @classmethod
    def restore(
        cls,
        state: bytes,
        address: str | Address | None = None,
        *,
        timeout: float | None = 10.0,
        packet_limit: int = PACKET_LIMIT,
        ca_file: str | os.PathLike[str] = "",
        server_name: str = "",
        tls_context: ssl.SSLContext | None = None,
        **options: Any,
    ) -> Connection:
        """Go on with the session of a state, in the same or in another program. Version 3 only.

        `address`: None for the one that the state was made with. The options are those of the constructor, without
        `protocol`, `server_key` and `encrypted`, which the state knows; what it does not know is whom to trust (TLS).

        A state is of use until the session has gone on without it: who restores an older one that is still good (see
        `on_state`) is told what is missing, as a Gap; one that is not is refused (SessionLost, code 3503).

        Raises BadState (also a ValueError), and as the constructor. The state is still good, then.
        """
        for name in ("protocol", "server_key", "encrypted"):
            if name in options:
                raise ConfigError(f"{name}: a state knows that itself")
        chosen = Options(**options).checked()
        memory, kept = restore(state, chosen, packet_limit)
        self = cls.__new__(cls)
        self._start(address if address is not None else kept, 3, packet_limit, timeout)
        trusted = trust(self.address, ca_file, server_name, tls_context)
        self._session = SessionV3(self.address, memory, chosen, packet_limit, timeout, trusted)
        return self

    def _start(self, address: str | Address, protocol: int, packet_limit: int, timeout: float | None) -> None:
        self.address = parse_server(address) if isinstance(address, str) else address
        self.protocol = protocol
        self.packet_limit = packet_limit
        self.timeout = timeout

    @property
    def client_id(self) -> int:
        """The client's id."""
        return self._session.client_id

    @property
    def server_key(self) -> bytes:
        """The server's public key: 32 bytes (empty without encryption), with version 2 33 bytes."""
        return self._session.server_key

    def send(self, data: Buffer, timeout: float | None = None) -> int | None:
        """Send one packet.

        Version 3: it is kept until it is safe, goes out on this connection or on a later one, and its number is
        returned. Waits for what the system takes at once of what the server has room for, but goes on without a word
        when that does not come in time, or the connection is lost meanwhile: what is queued will go out. While too much
        is not known to be safe it waits for that, handling what comes. Raises TimeoutError when there was no room in
        time, ConnectionLost when there is no connection (with `reconnect="auto"` it is queued, as far as there is
        room): nothing was queued then.

        Version 2: returns when the kernel has all of it, which a server that does not read delays; `timeout` is not for
        it. What was sent shortly before a loss may or may not have arrived. Raises ConnectionLost.

        Raises ValueError when the packet is over `packet_limit` (nothing was sent).
        """
        packet = data if isinstance(data, bytes) else memoryview(data).tobytes()
        if isinstance(self._session, SessionV3):
            return self._session.send(packet, timeout)
        if timeout is not None:
            raise _only_v3("a timeout for send")
        self._session.send(packet)
        return None

    def recv(self, timeout: float | None = None) -> bytes:
        """The next packet. `timeout` in seconds; None waits for ever, 0 takes only what is there.

        Raises TimeoutError when no whole packet came in time (the part that came is kept), ConnectionLost when the
        connection is gone and everything received whole was given out, FrameTooLarge when the server announces a packet
        over `packet_limit` (this connection is of no more use, then).

        Version 3: raises Gap and Uncertain in their place between the packets, once each, and goes on behind them; with
        `gaps="return"` these objects are returned. Raises SessionLost when the session is over.
        """
        return cast(bytes, self._session.recv(timeout))

    def reconnect(self, timeout: float | None = None) -> None:
        """Resume the session on a new connection: same id, missed packets first. `timeout` as at the beginning.

        Whole packets received before come out of `recv` first; half a packet is dropped, the server sends it again.
        A connection that is still well is given up first, and nothing on it is lost.

        Raises SessionLost (the server does not know the session any more, or refuses; with version 2 when it has done
        so twice: make a new Connection; also after `close`), ServerKeyChanged (no proof was sent), ConnectionLost
        otherwise (try again), ProtocolError (whoever answers does not speak the protocol).
        """
        self._session.reconnect(timeout)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything sent is safe, or was told as uncertain. Version 3 only.

        Raises TimeoutError, which says how many packets are not; ConnectionLost.
        """
        self._v3("flush").flush(timeout)

    def ack(self) -> None:
        """Everything that `recv` has returned is safe with the program (`acks="manual"`). Version 3 only.

        What is not is given out again by a connection restored from a state. The server sends no more when too much of
        what it sent is not acknowledged.
        """
        self._v3("ack").ack()

    def ping(self, timeout: float | None = None) -> float:
        """Seconds to the server and back. Version 3 only. Raises TimeoutError, ConnectionLost."""
        return self._v3("ping").ping(timeout)

    def datagram(self, data: Buffer, timeout: float | None = None) -> bool:
        """Send one packet as a datagram: it may be lost, or overtaken, and comes at most once. Version 3 only, where
        the server has datagrams.

        The first asks the server, and waits until one has come through, at most `timeout` seconds (as at the beginning,
        if none is given); the others never wait, but for a name that has to be looked up. Whether the system has taken
        it; one that it does not take is lost.
        Datagrams need no connection once there are keys for them: they go on while it is lost, as long as the server
        keeps the session, and from whatever address this machine gets. After each reconnect new keys are asked for.

        Raises NoDatagrams (the server has none), TimeoutError (its answer, or every datagram, was lost: something on
        the way may let none pass), ConnectionLost, all of them only until one has come through, and ConnectionLost
        when the session is over; ValueError when it does not fit into a datagram (`datagram_link.most`).
        """
        packet = data if isinstance(data, bytes) else memoryview(data).tobytes()
        return self._v3("datagram").datagram(packet, timeout)

    def recv_datagram(self, timeout: float | None = None) -> bytes:
        """The next packet that came as a datagram. `timeout` in seconds; None waits for ever, 0 takes only what is
        there. Version 3 only.

        The first asks the server for datagrams, where `datagram` has not. Of those that nobody takes 1024 are kept,
        the newest. Raises TimeoutError, NoDatagrams, and ConnectionLost when the session is over, or this side has
        closed it; a connection that is only lost ends no datagrams.
        """
        return self._v3("recv_datagram").recv_datagram(timeout)

    @property
    def datagram_link(self) -> DatagramLink:
        """How good the way of the datagrams is: round trip, jitter, losses both ways, and counts. Version 3 only."""
        return self._v3("datagram_link").datagram_link

    def datagram_fileno(self) -> int:
        """The descriptor for datagrams, for select and the like, or -1. It may change whenever the network does.

        Whoever waits for it should call something at least each second: pings are sent from within calls.
        """
        return self._v3("datagram_fileno").datagram_fileno()

    def state(self) -> bytes:
        """What a later program needs to go on with this session (`restore`): secrets, numbers, what was sent and is not
        known to be safe, what came and was not taken. Also after `close(goodbye=False)`. Version 3 only.

        Who has these bytes can be this client. With `acks="taken"` what `recv` has returned is not in it.
        """
        return self._v3("state").state()

    def close(self, goodbye: bool = True, timeout: float | None = CLOSE_SECS) -> None:
        """End the connection for good; this object cannot resume the session. Idempotent.

        Version 3: with a goodbye it waits, at most `timeout` seconds, until all that was sent is safe, and the server
        ends the session. Otherwise the server keeps it for a while, as it does without a goodbye; if something was not
        known to be safe then, TimeoutError, ConnectionLost or ProtocolError says so. The connection is closed in any
        case.

        Version 2: with a goodbye, and if the connection is well, the server ends the session at once (SPEC 5.4).
        Without, or when the connection is lost, or a thread is within a `send`, it keeps the session for a while.
        """
        if isinstance(self._session, SessionV3):
            self._session.close(goodbye, timeout)
        else:
            self._session.close(goodbye)

    @property
    def closed(self) -> bool:
        """Whether `close` was called. A connection that was lost is not closed: it can `reconnect`."""
        return self._session.closed

    def fileno(self) -> int:
        """The descriptor, for select and the like, or -1. It changes with each reconnect.

        Not readable does not mean that `recv` has nothing: when it is, call `recv(0)` until TimeoutError.
        """
        return self._session.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether something sent waits for room in the network: any call goes on with it when the descriptor is
        writable. Never with version 2."""
        return isinstance(self._session, SessionV3) and self._session.wants_write

    def __iter__(self) -> Iterator[bytes]:
        """Packets, until `close` is called. Raises what `recv` does, but for the end that `close` makes; behind a Gap
        or an Uncertain a new iteration goes on."""
        while True:
            try:
                packet = self.recv()
            except ConnectionLost:
                if self.closed:
                    return
                raise
            yield packet

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes, with a goodbye. An exception on its way out is not replaced by one about the end, nor waited with."""
        if error is None:
            self.close()
            return
        try:
            self.close(timeout=0.0)
        except (ConnectionLost, ProtocolError, TimeoutError):
            pass

    def __repr__(self) -> str:
        return f"<Connection to {self.address}, client {self.client_id}{', closed' if self.closed else ''}>"

    def _v3(self, what: str) -> SessionV3:
        if isinstance(self._session, SessionV3):
            return self._session
        raise _only_v3(what)


def _only_v3(what: str) -> ConfigError:
    return ConfigError(f"{what} needs version 3 of the protocol")


def _refuse_options(options: Options) -> None:
    """Those that version 2 has no use for. Raises ConfigError."""
    for name, value in options._asdict().items():
        if value != getattr(DEFAULTS, name):
            raise _only_v3(name)
