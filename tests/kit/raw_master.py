"""A backend of wire protocol v2 that knows nothing of the package: plain sockets, and nothing happens unasked.

    master = RawMaster()
    ... start a server on master.address ...
    master.accept()
    packet = master.recv()              # Tagged(client_id, flag, data)
    master.send(packet.client_id, b"answer")

It reads only when told to, so a test can be a slow backend by doing nothing.
"""

from __future__ import annotations

import itertools
import os
import select
import socket
import struct
import tempfile
import time
from collections import deque
from typing import NamedTuple

from kit.sockets import end_hard

DATA, FAILURE, KICK, RECONNECTION = range(4)
TIMEOUT = 10.0
NOT_FOUND = b"Client not found"

_HEAD = struct.Struct("<IQB")


class Tagged(NamedTuple):
    client_id: int
    flag: int
    data: bytes


def tagged(client_id: int, data: bytes = b"", flag: int = DATA) -> bytes:
    return _HEAD.pack(9 + len(data), client_id, flag) + data


class RawMaster:
    """One backend, with one connection server at a time."""

    def __init__(self, *, receive_buffer: int = 0, unix: bool = False) -> None:
        self._receive_buffer = receive_buffer
        self._directory = tempfile.TemporaryDirectory() if unix else None
        if self._directory:
            path = os.path.join(self._directory.name, "master")
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(path)
            self._listener.listen(16)
            self._listener.settimeout(TIMEOUT)
            self.address = f"unix:{path}"
        else:
            self._listener = self._listen(0)
            self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.link: socket.socket | None = None
        self.inbox: deque[Tagged] = deque()
        """Received and not yet given out, in order."""
        self._data = bytearray()
        self._unknown = itertools.count(2**64 - 1, -1)

    def __enter__(self) -> RawMaster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._receive_buffer:  # accepted sockets inherit it; it has to be set before they are made
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        listener.bind(("127.0.0.1", port))
        listener.listen(16)
        listener.settimeout(TIMEOUT)
        return listener

    # ---- connections

    def stop_listening(self) -> None:
        """From now on the server is refused."""
        self._listener.close()

    def listen_again(self) -> None:
        """On the same port (TCP)."""
        self._listener = self._listen(int(self.address.rpartition(":")[2]))

    def accept(self) -> None:
        """Wait for the server's (next) connection; an old one is closed."""
        self.drop()
        self.link, _ = self._listener.accept()
        self.link.settimeout(TIMEOUT)
        if self.link.family != socket.AF_UNIX:
            self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data.clear()

    def drop(self) -> None:
        """Close the connection."""
        if self.link is not None:
            self.link.close()
            self.link = None

    def reset(self) -> None:
        """Close it the hard way, as a process that is killed with unread data does."""
        assert self.link is not None
        end_hard(self.link)
        self.drop()

    def no_more_to_say(self) -> None:
        """End our half of the connection: the server gives it up, and its kernel goes on delivering what it has."""
        assert self.link is not None
        self.link.shutdown(socket.SHUT_WR)

    def rest(self) -> bytes:
        """Read to the end and close. The bytes of a cut packet; the whole ones are in the inbox."""
        self.await_end()
        rest = bytes(self._data)
        self.drop()
        return rest

    def await_end(self) -> None:
        """Read until the server has closed the connection."""
        while self._fill(TIMEOUT):
            pass

    def close(self) -> None:
        self.drop()
        self._listener.close()
        if self._directory:
            self._directory.cleanup()

    # ---- receiving

    def recv(self) -> Tagged:
        """The next packet. Raises EOFError, TimeoutError."""
        deadline = time.monotonic() + TIMEOUT
        while not self.inbox:
            if not self._fill(deadline - time.monotonic()):
                raise EOFError("the server closed the connection")
        return self.inbox.popleft()

    def recv_for(self, client_id: int) -> Tagged:
        """The next packet of one client; the others' stay in the inbox."""
        deadline = time.monotonic() + TIMEOUT
        seen = 0
        while True:
            for position in range(seen, len(self.inbox)):
                if self.inbox[position].client_id == client_id:
                    packet = self.inbox[position]
                    del self.inbox[position]
                    return packet
            seen = len(self.inbox)
            if not self._fill(deadline - time.monotonic()):
                raise EOFError("the server closed the connection")

    def recv_data(self, client_id: int, count: int) -> list[bytes]:
        """The data of that many packets of one client, which must all be data."""
        found = []
        for _ in range(count):
            packet = self.recv_for(client_id)
            assert packet.flag == DATA, packet
            found.append(packet.data)
        return found

    def waiting_for(self, client_id: int) -> list[Tagged]:
        """Take everything the inbox holds of one client."""
        found = [packet for packet in self.inbox if packet.client_id == client_id]
        for packet in found:
            self.inbox.remove(packet)
        return found

    def fence(self) -> None:
        """Return when the server has worked off all we sent, and all it had for us before that is in the inbox.

        A packet for an id that never was comes back as a failure, behind everything else.
        """
        unknown = next(self._unknown)
        self.send(unknown, b"fence")
        assert self.recv_for(unknown) == (unknown, FAILURE, NOT_FOUND)

    def _fill(self, timeout: float) -> bool:
        assert self.link is not None
        if timeout <= 0 or not select.select([self.link], [], [], timeout)[0]:
            raise TimeoutError(f"nothing from the server; {len(self.inbox)} packets in the inbox")
        try:
            received = self.link.recv(1 << 20)
        except ConnectionResetError:
            return False
        self._data += received
        data, position = self._data, 0
        while position + _HEAD.size <= len(data):
            size, client_id, flag = _HEAD.unpack_from(data, position)
            assert size >= 9, f"a tagged packet of {size} bytes"
            end = position + 4 + size
            if end > len(data):
                break
            self.inbox.append(Tagged(client_id, flag, bytes(memoryview(data)[position + _HEAD.size : end])))
            position = end
        del data[:position]
        return bool(received)

    # ---- sending

    def send(self, client_id: int, *payloads: bytes) -> None:
        self.send_raw(b"".join([tagged(client_id, data) for data in payloads]))

    def kick(self, client_id: int) -> None:
        self.send_raw(tagged(client_id, b"", KICK))

    def send_raw(self, data: bytes) -> None:
        assert self.link is not None
        self.link.sendall(data)
