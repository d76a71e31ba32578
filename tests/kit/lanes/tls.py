"""The lane tls, and its clients' side: the length prefix through a tunnel."""

from __future__ import annotations

import ssl

from kit.lanes import tcp
from kit.speaker import Tunnel
from kit.vectors import CERTIFICATES

from voltlane.lanes.table import TLS as LANE

__all__ = ["LANE", "Speaker", "TlsTunnel"]

TRUST = ssl.create_default_context(cafile=str(CERTIFICATES / "ca.pem"))


class TlsTunnel(Tunnel):
    """A client's TLS in memory."""

    def __init__(self, context: ssl.SSLContext = TRUST, name: str = "localhost") -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._waiting = b""
        self.ready = self.ended = False

    def seal(self, data: bytes) -> bytes:
        self._waiting += data
        return self._go_on()

    def open(self, data: bytes) -> tuple[bytes, bytes]:
        self._incoming.write(data)
        answer, opened = self._go_on(), []
        while self.ready and not self.ended:
            try:
                opened.append(self.tls.read(1 << 16))
                self.ended = not opened[-1]
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:  # and we had said the same before
                self.ended = True
        return b"".join(opened), answer + self._outgoing.read()

    def _go_on(self) -> bytes:
        if not self.ready:
            try:
                self.tls.do_handshake()
                self.ready = True
            except ssl.SSLWantReadError:
                return self._outgoing.read()
        while self._waiting:
            self._waiting = self._waiting[self.tls.write(self._waiting) :]
        return self._outgoing.read()


class Speaker(tcp.Speaker):
    def __init__(self) -> None:
        super().__init__()
        self.tunnel = TlsTunnel()
