"""TLS for the client library: whom to trust, and the handshake over a socket that never blocks."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from threading import Lock
from typing import Any, NamedTuple, cast

from ..address import Address
from ..errors import ConfigError, ConnectionLost
from ..net.openssl import MISSING, ssl
from ..net.sockets import NO_SIGNAL
from ..net.tls import Handshake, TlsSocket, reason_of

_RECEIVED = 1 << 14


class Trust(NamedTuple):
    """Whom to believe that it is the server."""

    context: ssl.SSLContext
    name: str
    """What its certificate has to be for."""


def trust(
    address: Address, ca_file: str | os.PathLike[str] = "", server_name: str = "", context: ssl.SSLContext | None = None
) -> Trust | None:
    """For an address; None for one without TLS. Raises ConfigError. The arguments are those of `Connection`."""
    if address.scheme != "tls":
        if ca_file or server_name or context is not None:
            raise ConfigError(f"ca_file, server_name and tls_context are for tls://, and {address} is without")
        return None
    if ssl is None:
        raise ConfigError(MISSING)
    if address.kind == "unix" and not server_name:
        raise ConfigError(f"server_name: {address} does not say what the server's certificate has to be for")
    if context is None:
        try:
            context = ssl.create_default_context(cafile=ca_file or None)
        except (OSError, ValueError) as error:  # an SSLError is one
            raise ConfigError(f"ca_file: {os.fspath(ca_file)} cannot be used: {_why(error)}") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    elif ca_file:
        raise ConfigError("ca_file: the tls_context that was given says itself whom it trusts")
    return Trust(context, server_name or address.host or "localhost")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return "it holds no certificates in PEM"
    return getattr(error, "strerror", None) or str(error)


class Securing:
    """A handshake under way on a connected socket."""

    __slots__ = ("_address", "_handshake", "_sock", "_unsent")

    def __init__(self, sock: socket.socket, trust: Trust, address: Address) -> None:
        """Raises ConfigError for a name that can be none."""
        self._sock = sock
        self._address = address
        try:
            self._handshake = Handshake(trust.context, trust.name, is_server=False)
        except ValueError as error:
            raise ConfigError(f"server_name: {trust.name!r}: {error}") from None
        self._unsent = self._handshake.receive()

    @property
    def writes(self) -> bool:
        """Whether it waits for room, too."""
        return bool(self._unsent)

    def go_on(self) -> socket.socket | None:
        """Do what can be done now. The encrypted socket, once there is one. Raises ConnectionLost."""
        try:
            while True:
                self._flush()
                if self._handshake.done:
                    return (
                        None if self._unsent else cast(socket.socket, self._handshake.bind(self._sock, cls=LockedTls))
                    )
                data = self._sock.recv(_RECEIVED)
                if not data:
                    raise ConnectionLost(f"{self._address} closed the connection during the TLS handshake")
                self._unsent += self._handshake.receive(data)
        except BlockingIOError:
            return None
        except ssl.SSLError as error:
            with suppress(OSError):
                self._sock.send(self._handshake.farewell(), NO_SIGNAL)
            raise ConnectionLost(f"no TLS with {self._address}: {reason_of(error)}") from None
        except OSError as error:
            raise ConnectionLost(f"the connection is lost: {error.strerror or error}") from error

    def _flush(self) -> None:
        if self._unsent:
            self._unsent = self._unsent[self._sock.send(self._unsent, NO_SIGNAL) :]


class LockedTls(TlsSocket):
    """For one thread that reads beside one that writes: OpenSSL does not allow for that by itself."""

    __slots__ = ("_lock",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._lock = Lock()

    def recv(self, size: int, flags: int = 0) -> bytes:
        """See TlsSocket."""
        with self._lock:
            return super().recv(size, flags)

    def send(self, data: bytes | bytearray | memoryview, flags: int = 0) -> int:
        """See TlsSocket."""
        with self._lock:
            return super().send(data, flags)

    def shutdown(self, how: int) -> None:
        """See TlsSocket."""
        with self._lock:
            super().shutdown(how)

    def close(self) -> None:
        """See TlsSocket."""
        with self._lock:
            super().close()
