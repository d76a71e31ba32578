"""The master of the lossless soak: it answers every packet, and sends some of its own; all that it sends is numbered.

It lives in the loop of the clients, so that both sides of every account are at hand.
"""

from __future__ import annotations

import random
import socket
from typing import Callable

from bench.wires import Fault
from voltlane.wire.framing import PREFIX_SIZE, next_frame
from voltlane.wire.tagged import HEADER, TAG_SIZE, Flag, decode_tagged

from .packets import ECHO, LAST, OWN, TOTAL, Down, decode_up

RECEIVE = 1 << 18
_LARGEST = 8 << 20


class Account:
    """What the master has to do with one client."""

    def __init__(self) -> None:
        self.got = 0
        """The number of the last packet."""
        self.missing: list[tuple[int, int]] = []
        """Numbers that never came, first and last."""
        self.sent = self.own = 0
        self.over = False
        """Whether the client has had its last packet from here."""
        self.ended = ""
        """Why its session is over, as the server said."""


class Master:
    """Listens; one server at a time is connected."""

    def __init__(self, dice: random.Random, may_miss: bool) -> None:
        self._dice = dice
        self._may_miss = may_miss
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._listener.setblocking(False)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._sock: socket.socket | None = None
        self._got = bytearray()
        self._unsent = bytearray()
        self.accounts: dict[int, Account] = {}
        self.reconnections = 0

    def fileno(self) -> int:
        """Of the listener."""
        return self._listener.fileno()

    @property
    def link(self) -> socket.socket | None:
        """The server's connection, if it is there."""
        return self._sock

    @property
    def has_to_write(self) -> bool:
        """Whether the socket has not taken everything."""
        return bool(self._unsent)

    def accept(self) -> socket.socket:
        """A server has connected. What an earlier one had not taken is lost."""
        self._sock, _ = self._listener.accept()
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._got.clear()
        self._unsent.clear()
        return self._sock

    def read(self) -> bool:
        """Take what came. Whether the connection is still there."""
        assert self._sock is not None
        try:
            data = self._sock.recv(RECEIVE)
        except BlockingIOError:
            return True
        except ConnectionError:
            data = b""
        if not data:
            if not self._may_miss:
                raise Fault("the server has left its master")
            self._sock.close()
            self._sock = None
            return False
        self._got += data
        position, stop = 0, len(self._got)
        while end := next_frame(self._got, position, stop, _LARGEST):
            self._take(bytes(self._got[position + PREFIX_SIZE : end]))
            position = end
        del self._got[:position]
        self.write()
        return True

    def write(self) -> None:
        """Send what goes."""
        while self._sock is not None and self._unsent:
            try:
                with memoryview(self._unsent) as view, view[:RECEIVE] as piece:
                    sent = self._sock.send(piece)
            except BlockingIOError:
                return
            except ConnectionError:
                return  # to be read
            del self._unsent[:sent]

    def say(self, client_id: int, count: int) -> None:
        """Send a client so many packets that it has not asked for."""
        account = self.accounts.get(client_id)
        if self._sock is None or account is None or account.over:
            return
        for _ in range(count):
            account.own += 1
            self._send(client_id, account, OWN, account.own)
        self.write()

    def _send(self, client_id: int, account: Account, kind: int, value: int) -> None:
        account.sent += 1
        payload = Down(account.sent, kind, value).encode()
        self._unsent += HEADER.pack(len(payload) + TAG_SIZE, client_id, Flag.DATA) + payload

    def _take(self, payload: bytes) -> None:
        packet = decode_tagged(payload)
        _STEPS[packet.flag](self, packet.client_id, packet.data)

    def _data(self, client_id: int, data: bytes) -> None:
        account = self.accounts.setdefault(client_id, Account())
        up = decode_up(data)
        if up.number != account.got + 1:
            if up.number <= account.got:
                raise Fault(f"client {client_id}: packet {up.number} came to the master behind {account.got}")
            if not self._may_miss:
                raise Fault(f"client {client_id}: the master lacks packets {account.got + 1} to {up.number - 1}")
            account.missing.append((account.got + 1, up.number - 1))
        account.got = up.number
        if up.kind == LAST:
            self._send(client_id, account, TOTAL, account.sent + 1)
            account.over = True
        else:
            self._send(client_id, account, ECHO, up.number)

    def _failure(self, client_id: int, data: bytes) -> None:
        account = self.accounts.setdefault(client_id, Account())
        account.ended = data.decode()

    def _reconnection(self, client_id: int, data: bytes) -> None:
        self.reconnections += 1

    def close(self) -> None:
        """Give the descriptors back."""
        self._listener.close()
        if self._sock is not None:
            self._sock.close()


_STEPS: dict[Flag, Callable[[Master, int, bytes], None]] = {
    Flag.DATA: Master._data,
    Flag.FAILURE: Master._failure,
    Flag.RECONNECTION: Master._reconnection,
}
