"""A TLS connection that looks like a socket (TLS 1.2 and 1.3, by the standard library).

OpenSSL never touches the descriptor: what was received is given to it from memory, and what it makes is taken from
there and written here. So one `recv` of the system's brings many records, a record that the system refuses waits here
and is never made anew, and the end can be said (close_notify) while the other side still sends. Had it the descriptor,
saying the end would read as well, and give up the connection where it finds data (SSL_shutdown, man 3).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Sequence
from typing import Callable, Union, cast
from zlib import crc32

from ..wire.framing import Buffer
from .openssl import ssl
from .sockets import NO_SIGNAL

RECORD = 4096
"""Bytes of the largest record that is made. OpenSSL keeps its memory as large as it ever had to be: this bounds it."""
SLICE = 4 * RECORD
"""Bytes that are sealed before the system is asked to take them; what it refuses waits, sealed."""
PIECE = 4096
"""Bytes received that are given to OpenSSL at once, for the same reason."""
RECEIVED = 1 << 16
"""Bytes received at once, at most, and ..."""
LEAST = 4096
"""... at least, however few are asked for."""
WORK = 512
"""Records opened in one call, about: a record can be one byte, and whoever sends these must not hold up everybody."""
HUSKS = 28 << 10
"""Bytes of the wire opened in one call, about, beyond what was in them. OpenSSL goes through records that hold nothing
for us, new keys say, by itself, each for more work than a packet is. A record that is whole with its last piece is
16 KiB behind until then."""
MOST_UNREAD = 1 << 16
"""Bytes of the protocol's own answers that may wait for a peer: one that asks and does not read is given up."""

_SAID, _CUT = (0, "said"), (0, "cut")
"""How reading ends without an error: the other side has said that it sends no more, or only its system has."""
View = Union[bytes, bytearray, memoryview]


class Handshake:
    """The beginning of a connection, as a state machine: bytes go in, bytes come out. `bind` makes a socket of it."""

    __slots__ = ("_incoming", "_left", "_outgoing", "_tls", "done")

    def __init__(self, context: ssl.SSLContext, server_name: str | None = None, *, is_server: bool = True) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, is_server, server_name)
        self._left: View = b""  # received behind it
        self.done = False
        """Whether it is over, and well."""

    def receive(self, data: bytes = b"") -> bytes:
        """Bytes of the other side, in pieces of any size. What to send to it.

        Raises ssl.SSLError; `farewell` is what to send then.
        """
        pieces = _pieces(data)
        while not self.done:
            try:
                self._tls.do_handshake()
                self.done = True
            except ssl.SSLWantReadError:
                piece = next(pieces, b"")
                if not piece:
                    break
                self._incoming.write(piece)
        self._left = b"".join(pieces)
        return self._outgoing.read()

    def farewell(self) -> bytes:
        """What the other side is told of an error: an alert, if it can understand one."""
        return self._outgoing.read()

    def subject(self) -> str:
        """Whom the other side's certificate names, if it has shown one: "CN=name,O=firm"; "" without one."""
        names = (self._tls.getpeercert() or {}).get("subject", ())
        return ",".join(f"{_SHORT.get(key, key)}={value}" for part in names for key, value in part)  # type: ignore

    def bind(
        self,
        sock: socket.socket,
        report: Callable[[TlsSocket], None] | None = None,
        cls: type[TlsSocket] | None = None,
    ) -> TlsSocket:
        """The socket of a handshake that is done, over the one that it came by. `report` as for TlsSocket, and `cls`
        what is made of it, if not that."""
        return (cls or TlsSocket)(sock, self._tls, self._incoming, self._outgoing, self._left, report)


_SHORT = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C"}


class TlsSocket:
    """A non-blocking socket with TLS in between: what the rest of the house calls of one, and with the same meaning.

    A `recv` that gets less than it was asked for has found the socket empty, but for what `report(self)` is called for:
    then there is more, and the system will not tell of it. Without one, that is read on for as long as it takes.

    An end without a word (close_notify) is b"" to a server, as most clients end so, and a loss to a client: anybody on
    the way can end a connection like that.
    """

    __slots__ = (
        "_checksum",
        "_end",
        "_incoming",
        "_kept",
        "_outgoing",
        "_received",
        "_records",
        "_refused",
        "_report",
        "_said_end",
        "_sock",
        "_tls",
        "_unsent",
        "family",
    )

    def __init__(
        self,
        sock: socket.socket,
        tls: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        received: View = b"",
        report: Callable[[TlsSocket], None] | None = None,
    ) -> None:
        self._sock = sock
        self._tls = tls
        self._incoming = incoming
        self._outgoing = outgoing
        self._report = report
        self._received: View = received  # and not given to OpenSSL yet
        self._kept: View = b""  # opened, beyond what was asked for
        self._end: tuple[int, str] | None = None  # what reading ends with: an error, or one of these
        self._unsent = b""  # sealed
        self._records: Sequence[tuple[int, int]] = ()  # of that: bytes of the caller's, and sealed, of each record
        self._refused = 0  # bytes of the caller's in all of them
        self._checksum = 0  # of these
        self._said_end = False
        self.family = sock.family

    # ---- reading

    def recv(self, size: int, flags: int = 0) -> bytes:
        """See socket.socket."""
        space = bytearray(size)
        return bytes(memoryview(space)[: self.recv_into(space)])

    def recv_into(self, space: bytearray | memoryview, size: int = 0) -> int:
        """See socket.socket. 0 for the end."""
        view = memoryview(space)
        most = size or len(view)
        filled = self._take_kept(view[:most])
        work, husks, drained = WORK, HUSKS, False
        while filled < most and self._end is None:
            if not self._received and not self._has_more():
                if drained:
                    break
                wanted = min(max(most - filled, LEAST), RECEIVED)
                drained = self._receive(wanted) < wanted
                continue
            if (work <= 0 or husks <= 0) and self._report is not None:
                self._report(self)
                break
            before, received = filled, len(self._received)
            filled, records = self._open(view, filled, most)
            work -= records
            husks -= received - len(self._received) - (filled - before) - len(self._kept)
        if self._outgoing.pending or (self._unsent and not self._refused):
            self._answer()
        if self._end is None:
            if filled:
                return filled
            raise BlockingIOError(errno.EAGAIN, "nothing has come")
        if filled:
            if filled < most and self._report is not None:
                self._report(self)
            return filled
        if self._end[0]:
            raise OSError(*self._end)
        return 0

    def _has_more(self) -> bool:
        return bool(self._incoming.pending)

    def _receive(self, wanted: int) -> int:
        """Take so many bytes of the system's, if there are. How many came; an end and an error are kept."""
        try:
            data = self._sock.recv(wanted)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._end = error.errno or errno.ECONNRESET, error.strerror or str(error)
            return 0
        if data:
            self._received = data
        elif self._tls.server_side:
            self._end = _CUT
        else:
            self._end = errno.ECONNRESET, "the connection was cut: TLS has not said that it ends"
        return len(data)

    def _open(self, view: memoryview, filled: int, most: int) -> tuple[int, int]:
        """Open all records that one piece completes. How far the view is filled then, and how many these were."""
        if self._received:
            received = memoryview(self._received)
            self._incoming.write(received[:PIECE])
            self._received = received[PIECE:] if len(received) > PIECE else b""
        tls, incoming, beyond, records = self._tls, self._incoming, [], 0
        try:
            while incoming.pending or tls.pending():
                records += 1
                if filled < most:
                    count = cast(int, tls.read(most - filled, view[filled:most]))
                    filled += count
                else:
                    data = tls.read(RECEIVED)
                    beyond.append(data)
                    count = len(data)
                if not count:
                    self._end = _SAID
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._end = _SAID
        except ssl.SSLError as error:
            self._end = errno.ECONNRESET, reason_of(error)
        if beyond:
            self._kept = b"".join(beyond)
        return filled, records

    def _take_kept(self, view: memoryview) -> int:
        """Out of what was opened and not asked for."""
        kept = memoryview(self._kept)[: len(view)]
        size = len(kept)
        if size:
            view[:size] = kept
            self._kept = bytes(memoryview(self._kept)[size:])
        return size

    def _answer(self) -> None:
        """Send what OpenSSL has to say of its own: new keys, an alert."""
        words = self._outgoing.read()
        if words:
            self._unsent += words
            self._records = [*self._records, (0, len(words))]
        if not self._refused:
            try:
                self._flush()
            except OSError as error:  # for the next call: what was read is not lost by that
                self._end = self._end or (error.errno or errno.ECONNRESET, error.strerror or str(error))
        if len(self._unsent) > MOST_UNREAD:
            self._end = errno.ECONNRESET, "it does not read what it asks for"

    # ---- writing

    def send(self, data: Buffer, flags: int = 0) -> int:
        """See socket.socket. It counts what is in records that are written whole: a part of one is nothing to the other
        side. What it does not count may be sealed already, so the same bytes have to come first the next time, if
        anything does; OSError for others."""
        view, sent = memoryview(data), 0
        refused = view[: self._refused]
        if self._refused and (len(refused) < self._refused or crc32(refused) != self._checksum):
            raise OSError(errno.EPROTO, "other bytes than those that were refused")
        while True:
            try:
                sent += self._flush()
            except OSError:
                if not sent:
                    raise
                break  # for the next call: what was taken before is not to be sent again
            if self._unsent:
                break
            if sent == len(view):
                return sent
            self._seal(view[sent : sent + SLICE])
        self._checksum = crc32(view[sent : sent + self._refused])
        if not sent:
            raise BlockingIOError(errno.EAGAIN, "no room")
        return sent

    def _seal(self, data: memoryview) -> None:
        records = []
        try:
            for start in range(0, len(data), RECORD):
                piece = data[start : start + RECORD]
                self._tls.write(piece)
                records.append((len(piece), self._outgoing.read()))
        except ssl.SSLError as error:  # it has failed before, or the end was said
            raise BrokenPipeError(errno.EPIPE, reason_of(error)) from None
        self._unsent = b"".join([record for _, record in records])
        self._records = [(size, len(record)) for size, record in records]
        self._refused = len(data)

    def _flush(self) -> int:
        """Write what is sealed. How many bytes of the caller's are in the records that are out with it."""
        if not self._unsent:
            return 0
        try:
            written = self._sock.send(self._unsent, NO_SIGNAL)
        except BlockingIOError:
            return 0
        self._unsent = self._unsent[written:]
        out = 0
        for index, (size, sealed) in enumerate(self._records):
            if written < sealed:
                self._records = [(size, sealed - written), *self._records[index + 1 :]]
                break
            written -= sealed
            out += size
        else:
            self._records = ()
        self._refused -= out
        return out

    @property
    def holds(self) -> bool:
        """Whether there may be more to read, of which the system will not tell."""
        return bool(self._kept or self._received or self._incoming.pending or self._end is not None)

    # ---- the end

    def shutdown(self, how: int) -> None:
        """See socket.socket. The other side is told within TLS as well, unless that would cut what waits."""
        if how != socket.SHUT_RD and not self._said_end:
            self._said_end = True
            self._say_end()
        self._sock.shutdown(how)

    def _say_end(self) -> None:
        """OpenSSL reads when it has said the end, so it must have nothing to read: that is opened before."""
        if self._has_more() or self._tls.pending():
            kept = self._kept
            self._kept = b""
            self._open(memoryview(b""), 0, 0)
            self._kept = bytes(kept) + bytes(self._kept)
        try:
            self._tls.unwrap()
        except (ssl.SSLError, OSError, ValueError):
            pass  # it waits for the other side to say the same, or is past all that
        if not self._unsent:
            try:
                self._sock.send(self._outgoing.read(), NO_SIGNAL)
            except OSError:
                pass

    def close(self) -> None:
        """See socket.socket. Who has said that it sends no more is told the same (RFC 8446 6.1)."""
        if self._end is _SAID and not self._said_end:
            self._said_end = True
            self._say_end()
        self._sock.close()

    # ---- what has nothing to do with TLS

    def fileno(self) -> int:
        """See socket.socket."""
        return self._sock.fileno()

    def getsockopt(self, level: int, name: int, size: int = 0) -> int | bytes:
        """See socket.socket."""
        return self._sock.getsockopt(level, name, size) if size else self._sock.getsockopt(level, name)

    def setsockopt(self, level: int, name: int, value: int | bytes) -> None:
        """See socket.socket."""
        self._sock.setsockopt(level, name, value)

    def getsockname(self) -> object:
        """See socket.socket."""
        return self._sock.getsockname()

    def getpeername(self) -> object:
        """See socket.socket."""
        return self._sock.getpeername()


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]


_WORDS = {
    "HTTP_REQUEST": "plain HTTP",
    "HTTPS_PROXY_REQUEST": "plain HTTP",
    "WRONG_VERSION_NUMBER": "no TLS, or a version of it that is none",
    "UNKNOWN_PROTOCOL": "no TLS",
    "NO_SHARED_CIPHER": "no cipher that both sides have",
    "UNSUPPORTED_PROTOCOL": "a version of TLS that is not allowed",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the peer does not speak a version of TLS that is allowed",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer does not know who has signed the certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer does not accept the certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the certificate has expired, says the peer",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer does not accept the certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the peer finds nothing that both sides have",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer shows no certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "a certificate of ours is needed",
    "CALLBACK_FAILED": "a server name that is none",
    "NO_APPLICATION_PROTOCOL": "no protocol (ALPN) that both sides have",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "no protocol (ALPN) that both sides have",
}


def reason_of(error: ssl.SSLError) -> str:
    """What OpenSSL found, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the peer's certificate is not accepted: {error.verify_message}"
    reason = getattr(error, "reason", None) or ""  # not each has one
    return _WORDS.get(reason) or reason.replace("_", " ").lower() or str(error)
