"""Asking a running server's admin endpoint, for `status` and `top`. Needs nothing but the standard library."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import config
from ..address import Address, parse_address
from ..errors import ConfigError, ConnectionLost
from .serve import find_file

TIMEOUT = 5.0
TOKEN_VARIABLE = "VOLTLANE_ADMIN_TOKEN"


def whom(address: str | None, token: str | None, file: Path | None, environ: Mapping[str, str]) -> Inquiry:
    """Whom to ask: the address and the token given, else those of the configuration. Raises ConfigError."""
    if address is not None:
        return Inquiry(parse_address(address), token or environ.get(TOKEN_VARIABLE, ""))
    admin = config.load(file or find_file(), environ).admin
    if not admin.address:
        raise ConfigError("admin.address is not set here: name the address of the server's admin endpoint, or set it")
    return Inquiry(parse_address(admin.address), token or admin.token)


class Inquiry:
    """One server's endpoint. Connects when asked first, and anew after an answer was the last of a connection."""

    def __init__(self, address: Address, token: str) -> None:
        self.address = address
        self._headers = {"Host": "localhost" if address.kind == "unix" else str(address)}
        if not address.host and address.kind == "tcp":
            self._headers["Host"] = "localhost"
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connection: http.client.HTTPConnection = (
            _UnixConnection(address.path)
            if address.kind == "unix"
            else http.client.HTTPConnection(address.host or "127.0.0.1", address.port, timeout=TIMEOUT)
        )

    def get(self, path: str) -> Any:
        """The JSON at a path. Raises ConnectionLost, which says what is the matter."""
        try:
            self._connection.request("GET", path, headers=self._headers)
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            why = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
            raise ConnectionLost(f"the admin endpoint at {self.address} does not answer: {why}") from None
        if answer.status == 401:
            raise ConnectionLost(f"{self.address} asks for its token: --token, or the variable {TOKEN_VARIABLE}")
        try:
            if answer.status != 200:
                raise ConnectionLost(f"{self.address} answers {answer.status} {answer.reason}")
            return json.loads(body)
        except (ValueError, RecursionError):  # thousands of brackets are no text of ours, either
            raise ConnectionLost(f"who answers at {self.address} is no admin endpoint") from None

    def close(self) -> None:
        """Ask no more."""
        self._connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """See HTTPConnection."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)
