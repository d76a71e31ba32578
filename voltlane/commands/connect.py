"""`voltlane connect`: lines from standard input become packets, packets become lines on standard output."""

from __future__ import annotations

import errno
import os
import random
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..address import ENCRYPTED, Address
from ..client import Connection
from ..client.openings import OpeningFailed
from ..errors import ConnectionLost, ProtocolError, Refused, ServerKeyChanged, SessionLost, Told
from ..wire.v3 import Code
from .console import Progress, put, say
from .suspense import Suspense

CHUNK = 65536
"""Bytes read from standard input at a time."""
BURST = 2048
"""Bytes sent before answers are looked for again: little enough to have room in a socket that is writable."""
PACKETS_AT_ONCE = 1000
"""Packets written out before standard input is looked at again."""
LINES_AHEAD = 1000
"""Lines taken in while there is no connection."""
CONNECT_TIMEOUT = 10.0
CLOSE_TIMEOUT = 2.0
"""Seconds that the end waits, with version 3, until what was sent is safe."""
ACK_WAIT = 0.1
"""Seconds behind something received, after which the library is called again: it owes an ack."""
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0
"""Seconds between attempts to reconnect: doubled from the first to the longest, with jitter."""

_ENDED = (errno.ECONNRESET, errno.ENOTCONN)
"""Errors of a connection that there was: it was ended before it could be used."""
_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
"""Control characters, with which a stranger could otherwise command the terminal."""


def connect(
    address: Address,
    wait: float,
    protocol: int = 3,
    server_key: bytes | None = None,
    trust: Mapping[str, Any] = MappingProxyType({}),
) -> int:
    """Talk until standard input has ended and as many packets came as lines were sent, or none for `wait` seconds.

    `trust`: `ca_file` and `server_name` of `Connection`. The exit code. Raises ConnectionLost when the server cannot be
    reached to begin with, ProtocolError when who answers there does not speak the protocol, ConfigError for a key that
    is none.
    """
    dialling = _Dialling(address, protocol, server_key, trust)
    try:
        connection = dialling.begin()
    finally:
        dialling.progress.leave()
    conversation = _Conversation(connection, wait, dialling)
    try:
        code = conversation.run()
    except BaseException:
        conversation.close()
        raise
    finally:
        dialling.progress.leave()
    return max(code, conversation.close())


class _Dialling:
    """Connecting, and what is said about it meanwhile."""

    def __init__(self, address: Address, protocol: int, server_key: bytes | None, trust: Mapping[str, Any]) -> None:
        self.address = address
        self.protocol = protocol
        self.server_key = server_key
        self.progress = Progress()
        self.suspense = Suspense(self._tell)
        self._trust = trust

    def begin(self) -> Connection:
        """The first connection. A person at a terminal waits for the server's backend until it is there, or until
        Ctrl-C; a program is told after CONNECT_TIMEOUT."""
        while True:
            try:
                connection = self.new(CONNECT_TIMEOUT)
            except (Refused, SessionLost, ServerKeyChanged):
                raise
            except ConnectionLost as error:
                if isinstance(error.__cause__, socket.gaierror):
                    raise  # nobody was asked yet
                if not self.suspense.told:
                    raise ConnectionLost(f"{error}; {self._hint(error)}") from None
                if not (sys.stdin.isatty() and self.progress.rewrites):
                    hint = "it has no backend (master) yet, or is no connection server"
                    raise ConnectionLost(f"{error}: {hint}") from None
            except ProtocolError as error:
                raise ProtocolError(f"what answers at {self.address} is no connection server: {error}") from None
            else:
                self.progress.over()
                return connection

    def _hint(self, error: ConnectionLost) -> str:
        """What to look at when there was no handshake."""
        cause = error.__cause__
        if not self.suspense.was_reached and getattr(cause, "errno", 0) not in _ENDED:
            return "is a server running there?"
        if isinstance(cause, OpeningFailed) and cause.untrusted:
            return "--ca names the file of who has signed it, --server-name the name that it is for"
        if self.address.scheme in ENCRYPTED:
            return "does it speak TLS there? It may limit connections, too"
        secure = "wss" if self.address.scheme == "ws" else "tls"
        return f"if it speaks TLS there, the address begins with {secure}://; or it limits connections"

    def new(self, timeout: float) -> Connection:
        """A connection with a new session. Raises as Connection does."""
        with self.suspense:
            return Connection(
                self.address,
                timeout=timeout,
                protocol=self.protocol,
                server_key=self.server_key,
                on_reached=self.suspense.reached,
                **self._trust,
            )

    def _tell(self) -> None:
        self.progress.say(f"the server at {self.address} has no backend yet; waiting")


class _Conversation:
    def __init__(self, connection: Connection, wait: float, dialling: _Dialling) -> None:
        self.connection = connection
        self._wait = wait
        self._dialling = dialling
        self._progress = dialling.progress
        self._is_full = False
        """Whether nothing more can be sent before something has come."""
        self._owes_ack = False
        self._input = _Lines()
        self._output = _Output()
        self._sent = self._received = self._refused = 0
        self._pause = FIRST_WAIT
        self._quiet_since = time.monotonic()

    def run(self) -> int:
        end = "; Ctrl-D ends" if self._input.is_terminal else ""
        say(f"connected to {self.connection.address} as client {self.connection.client_id}{end}")
        self._show_key()
        gone = False
        while not gone and not self._is_over():
            try:
                self._turn()
            except SessionLost as error:
                say(str(error), tone="error")
                return 1
            except ConnectionLost as error:
                if self._is_over():
                    break
                say(f"{error}; reconnecting", tone="warning")
                gone = not self._reconnect()
        missing = self._sent + len(self._input.lines) - self._received
        if missing > 0:
            self._progress.leave()
            say(f"{missing} of {self._sent + len(self._input.lines)} lines had no answer", tone="warning")
        return 1 if self._refused or self._input.lines or (gone and missing > 0) else 0

    def close(self) -> int:
        """For good; the exit code."""
        try:
            self.connection.close(timeout=CLOSE_TIMEOUT)
        except (TimeoutError, ConnectionLost, ProtocolError) as error:
            say(f"what was sent last may not have arrived: {error}", tone="warning")
            return 1
        return 0

    def _show_key(self) -> None:
        if self._dialling.server_key is None and self.connection.protocol == 3:
            say(f"the server's key, not known so far, is {self.connection.server_key.hex()} (--server-key)")

    def _is_over(self) -> bool:
        if not self._input.ended:
            return False
        return self._patience() <= 0 or (not self._input.lines and self._received >= self._sent)

    def _patience(self) -> float:
        """Seconds left for something to happen, once standard input has ended."""
        return self._quiet_since + self._wait - time.monotonic()

    def _turn(self) -> None:
        more = self._receive()
        if self._is_over():
            return
        timeout = max(0.0, self._patience()) if self._input.ended else None
        if more:
            timeout = 0.0
        elif self._owes_ack:
            timeout, self._owes_ack = ACK_WAIT if timeout is None else min(timeout, ACK_WAIT), False
        # A send that waits for room would not read, while the server may be waiting for just that: so only when there
        # is room. And no more lines are taken from standard input before those we have are sent.
        descriptor, lines = self.connection.fileno(), self._input.lines
        sources = [descriptor] if lines or self._input.ended else [descriptor, self._input.descriptor]
        writes = (lines and not self._is_full) or self.connection.wants_write
        readable, writable, _ = select.select(sources, [descriptor] if writes else [], [], timeout)
        if descriptor in readable:
            self._quiet_since = time.monotonic()  # part of a large packet is an answer under way
            self._is_full = False
        if writable and lines and not self._is_full:
            self._send()
        elif len(sources) > 1 and self._input.descriptor in readable:
            self._read()

    def _receive(self) -> bool:
        """Write out what has come. Whether there may be more of it: select tells nothing of what was read already."""
        packets: list[bytes] = []
        try:
            while len(packets) < PACKETS_AT_ONCE:
                try:
                    packets.append(self.connection.recv(timeout=0))
                except Told as told:
                    say(str(told), tone="warning")
        except TimeoutError:
            return False
        finally:
            if packets:
                self._received += len(packets)
                self._pause = FIRST_WAIT
                self._quiet_since = time.monotonic()
                self._owes_ack = True
                self._output.write(packets)
        return True

    def _read(self) -> None:
        self._input.read()
        self._quiet_since = time.monotonic()

    def _send(self) -> None:
        lines, room = self._input.lines, BURST
        while lines and room > 0:
            try:
                self._send_line(lines[0])  # a line that could not be sent is the first after the reconnect
                self._sent += 1
            except TimeoutError:
                self._is_full = True
                break
            except ValueError as error:
                say(f"a line was not sent: {error}", tone="warning")
                self._refused += 1
            room -= max(64, len(lines.popleft()))
        self._quiet_since = time.monotonic()

    def _send_line(self, line: bytes) -> None:
        if self.connection.protocol == 3:
            self.connection.send(line, timeout=0)
        else:
            self.connection.send(line)

    def _reconnect(self) -> bool:
        """Resume the session, or begin a new one; try until it works, or until there is nothing left to wait for."""
        attempts = 0
        while True:
            self._rest(self._pause * random.uniform(0.5, 1.0))
            self._pause = min(2 * self._pause, LONGEST_WAIT)
            if self._is_over():
                return False
            try:
                self._resume(min(CONNECT_TIMEOUT, self._patience()) if self._input.ended else CONNECT_TIMEOUT)
                return True
            except SessionLost:
                raise
            except ConnectionLost as error:
                attempts += 1
                self._progress.say(f"{error}; trying again", f" ({attempts})")

    def _rest(self, seconds: float) -> None:
        """Sleep, but take in what is typed meanwhile: where that ends, so may the trying."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            wanted = not self._input.ended and len(self._input.lines) < LINES_AHEAD
            if select.select([self._input.descriptor] if wanted else [], [], [], left)[0]:
                self._read()

    def _resume(self, timeout: float) -> None:
        try:
            with self._dialling.suspense:
                self.connection.reconnect(timeout)
            self._is_full = False
            self._progress.over()
            say(f"resumed as client {self.connection.client_id}", tone="good")
        except (SessionLost, ServerKeyChanged) as error:
            protocol = self.connection.protocol
            if protocol == 3 and error.code not in (Code.UNKNOWN_SESSION, Code.ENDED):
                raise SessionLost(str(error), code=error.code) from None  # no accident, but somebody's will
            # A restarted server of version 2 has another key, and no sessions.
            unsent = error.unsent if isinstance(error, SessionLost) else ()
            self._input.lines.extendleft(reversed(unsent))
            self._sent -= len(unsent)
            self._progress.over()
            try:
                while self._receive():
                    pass
            except ConnectionLost:
                pass
            self.connection.close(goodbye=False)
            self.connection = self._dialling.new(timeout)
            self._is_full = False
            self._progress.over()
            say(f"the session is gone: new session as client {self.connection.client_id}", tone="warning")


class _Lines:
    """Standard input, line by line."""

    def __init__(self) -> None:
        self.lines: deque[bytes] = deque()
        """Read and not yet sent."""
        self.ended = False
        self.descriptor = sys.stdin.fileno()
        self.is_terminal = sys.stdin.isatty()
        self._begun: list[bytes] = []

    def read(self) -> None:
        """What is there, without waiting, when the descriptor is readable."""
        try:
            data = os.read(self.descriptor, CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: the terminal is gone
            data = b""
        first, *others = data.split(b"\n")
        self._begun.append(first)
        for line in others:
            self.lines.append(b"".join(self._begun))
            self._begun = [line]
        if not data:
            self.ended = True
            if any(self._begun):
                self.lines.append(b"".join(self._begun))


class _Output:
    """Standard output: raw in a pipe, as text on a terminal."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._encoding = sys.stdout.encoding

    def write(self, packets: list[bytes]) -> None:
        """All of them, each as a line. Raises OutputError."""
        data = b"".join([packet + b"\n" for packet in packets])
        if self._is_terminal:
            text = data.decode("utf-8", "replace").translate(_VISIBLE)
            data = text.encode(self._encoding, "replace")
        put(data)
