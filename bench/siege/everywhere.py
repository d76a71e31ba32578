"""Somebody who sends datagrams from everywhere: one socket, and any of 127/8 as the source of each (Linux).

On a loopback interface all of 127/8 is this machine's, so the sources need no forging, and what is answered comes back.
"""

from __future__ import annotations

import socket
import struct

ADDRESSES = 1 << 22
"""As many as there are of them, without those that tests and good clients use (127.0/10)."""
_FIRST = 0x7F400000
_PACKET_INFO = 8
"""IP_PKTINFO: a name for it came with Python 3.14 only."""
_INFO = struct.Struct("!I4s4x")


class Everywhere:
    """Sends to one place."""

    def __init__(self, place: tuple[str, int]) -> None:
        self._place = place
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("0.0.0.0", 0))
        self.sock.setblocking(False)
        self.sent = self.bytes_sent = self.answers = self.bytes_answered = 0

    def send(self, datagram: bytes, number: int) -> bool:
        """From the address of that number, modulo `ADDRESSES`. Whether the system has taken it."""
        source = (_FIRST + number % ADDRESSES).to_bytes(4, "big")
        try:
            self.sock.sendmsg([datagram], [(socket.IPPROTO_IP, _PACKET_INFO, _INFO.pack(0, source))], 0, self._place)
        except BlockingIOError:
            return False
        self.sent += 1
        self.bytes_sent += len(datagram)
        return True

    def take(self) -> list[bytes]:
        """What has come back, to any of the addresses."""
        found = []
        while True:
            try:
                found.append(self.sock.recv(1 << 16))
            except BlockingIOError:
                break
        self.answers += len(found)
        self.bytes_answered += sum(map(len, found))
        return found

    def close(self) -> None:
        """Leave."""
        self.sock.close()
