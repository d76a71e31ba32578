"""Asking a running server's admin endpoint, for `status`, `top` and `drain`. Needs nothing but the standard library."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from typing import Any, Callable

from .. import config
from ..address import Address, host_in_ascii, parse_address
from ..errors import ConfigError, ConnectionLost
from .serve import find_file

TIMEOUT = 5.0
TOKEN_VARIABLE = "VOLTLANE_ADMIN_TOKEN"


def whom(address: str | None, token: str | None, file: str | None, environ: Mapping[str, str]) -> Inquiry:
    """Whom to ask: the address and the token given, else those of the configuration. Raises ConfigError."""
    given = _token(token, "--token")
    if address is not None:
        return Inquiry(parse_address(address), given or _token(environ.get(TOKEN_VARIABLE), TOKEN_VARIABLE))
    admin = config.load(file or find_file(), environ).admin
    if not admin.address:
        raise ConfigError("admin.address is not set here: name the address of the server's admin endpoint, or set it")
    return Inquiry(parse_address(admin.address), given or admin.token)


def _token(text: str | None, origin: str) -> str:
    """A token, if one is given there. Raises ConfigError for what no server can have as one."""
    return str(config.SETTINGS["admin.token"].check_text(text or "", origin))


class Inquiry:
    """One server's endpoint. Connects when asked first, and anew after an answer was the last of a connection."""

    def __init__(self, address: Address, token: str) -> None:
        self.address = address
        self._headers = {"Host": _host(address)}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connection: http.client.HTTPConnection = (
            _UnixConnection(address.path)
            if address.kind == "unix"
            else http.client.HTTPConnection(address.host or "127.0.0.1", address.port, timeout=TIMEOUT)
        )

    def get(self, path: str, read: Callable[[Any], object]) -> Any:
        """The JSON at a path, which must be such that `read` can make something of it. Raises ConnectionLost, which
        says what is the matter."""
        return self.order("GET", path, read)

    def order(self, method: str, path: str, read: Callable[[Any], object]) -> Any:
        """The same with another method than GET."""
        try:
            self._connection.request(method, path, headers=self._headers)
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException, UnicodeError) as error:  # the last: a zone that cannot be one
            self._connection.close()
            why = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
            raise ConnectionLost(f"the admin endpoint at {self.address} does not answer: {why}") from None
        if answer.status == 401:
            raise ConnectionLost(f"{self.address} asks for its token: --token, or the variable {TOKEN_VARIABLE}")
        try:
            if answer.status != 200:
                raise ConnectionLost(f"{self.address} answers {answer.status} {answer.reason}")
            found = json.loads(body)
            read(found)
            return found
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise ConnectionLost(f"who answers at {self.address} is no admin endpoint") from None

    def close(self) -> None:
        """Ask no more."""
        self._connection.close()


def _host(address: Address) -> str:
    """What the header Host says. A zone means something on this machine alone, and is left out (RFC 6874)."""
    if address.kind == "unix" or not address.host:
        return "localhost"
    if ":" in address.host:
        return f"[{address.host.partition('%')[0]}]:{address.port}"
    return f"{host_in_ascii(address.host)}:{address.port}"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """See HTTPConnection."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)
