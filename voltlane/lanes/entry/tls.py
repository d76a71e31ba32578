"""The stage in which a connection is encrypted: the TLS handshake. Behind it the connection has another socket."""

from __future__ import annotations

import socket
from typing import cast

from ...errors import TlsFailed
from ...net.openssl import ssl
from ...net.tls import Handshake, reason_of
from .stage import Newcomer, Stage

RECEIVED = 4096
"""Bytes read at once: a client's part of a handshake, mostly."""


class TlsStage(Stage):
    """One connection's handshake. Each answer of ours counts as a key agreement: there is one behind it."""

    __slots__ = ("_handshake",)

    def __init__(self) -> None:
        self._handshake: Handshake | None = None

    @property
    def waits_for(self) -> str:
        """See Stage."""
        return "a TLS handshake" if self._handshake is None else "the end of the TLS handshake"

    def go_on(self, newcomer: Newcomer) -> bool:
        """See Stage."""
        handshake = self._handshake
        if handshake is None or not handshake.done:
            data = newcomer.read(RECEIVED)
            if data is None:
                return False
            if handshake is None:  # with the certificates as they are now that there is something to be answered
                handshake = self._handshake = Handshake(newcomer.doors.certificates.context(newcomer.now))
            self._receive(newcomer, handshake, data)
        if not handshake.done or newcomer.unsent or newcomer.sock is None:
            return False
        newcomer.subject = handshake.subject()
        newcomer.sock = cast(socket.socket, handshake.bind(newcomer.sock, newcomer.report))
        newcomer.private = True
        return True

    def _receive(self, newcomer: Newcomer, handshake: Handshake, data: bytes) -> None:
        try:
            answer = handshake.receive(data)
        except ssl.SSLError as error:
            words = handshake.farewell()
            if words:
                newcomer.say(words)
            raise TlsFailed(reason_of(error)) from None
        if answer:
            newcomer.key_agreed()
            newcomer.say(answer)
