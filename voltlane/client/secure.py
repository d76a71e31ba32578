"""TLS for the client library: whom to trust, and the handshake over a socket that never blocks."""

from __future__ import annotations

import os
import socket
from threading import Lock
from typing import Any, NamedTuple, cast

from ..address import ENCRYPTED, Address
from ..errors import ConfigError
from ..net.openssl import MISSING, ssl
from ..net.tls import Handshake, TlsSocket, reason_of
from .openings import OpeningFailed


class Trust(NamedTuple):
    """Whom to believe that it is the server."""

    context: ssl.SSLContext
    name: str
    """What its certificate has to be for."""


def trust(
    address: Address, ca_file: str | os.PathLike[str] = "", server_name: str = "", context: ssl.SSLContext | None = None
) -> Trust | None:
    """For an address; None for one without TLS. Raises ConfigError. The arguments are those of `Connection`."""
    if address.scheme not in ENCRYPTED:
        given = {"ca_file": ca_file, "server_name": server_name, "tls_context": context}
        wrong = [f"{name}: that is for tls:// and wss://, and {address} is without" for name in given if given[name]]
        if wrong:
            raise ConfigError(*wrong)
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


class Secure:
    """The opening of a TLS connection: see Opening."""

    __slots__ = ("_handshake",)

    def __init__(self, trust: Trust) -> None:
        """Raises ConfigError for a name that can be none."""
        try:
            self._handshake = Handshake(trust.context, trust.name, is_server=False)
        except ValueError as error:
            raise ConfigError(f"server_name: {trust.name!r}: {error}") from None

    @property
    def done(self) -> bool:
        """See Opening."""
        return self._handshake.done

    def receive(self, data: bytes = b"") -> bytes:
        """See Opening."""
        try:
            return self._handshake.receive(data)
        except ssl.SSLError as error:
            untrusted = isinstance(error, ssl.SSLCertVerificationError)
            raise OpeningFailed(f"no TLS: {reason_of(error)}", self._handshake.farewell(), untrusted) from None

    def bind(self, sock: socket.socket) -> socket.socket:
        """See Opening."""
        return cast(socket.socket, self._handshake.bind(sock, cls=LockedTls))


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
