"""The length prefix over another socket, which changes every byte, reads short and cannot gather: what TLS will be."""

from __future__ import annotations

from typing import Any, NoReturn

from kit.lanes import tcp
from kit.sockets import ShortReads

from voltlane.lanes.entry.stage import Newcomer, Stage
from voltlane.lanes.lane import Lane
from voltlane.lanes.prefix import LengthPrefix

VEIL = bytes(byte ^ 0x5A for byte in range(256))


class Veiled(ShortReads):
    def recv_into(self, space: memoryview, most: int = 0) -> int:
        received = super().recv_into(space, most)
        space[:received] = bytes(space[:received]).translate(VEIL)
        return received

    def send(self, data: Any) -> int:
        return self._sock.send(bytes(data).translate(VEIL))

    def sendmsg(self, views: Any) -> NoReturn:
        raise NotImplementedError


class Veil(Stage):
    """There is nothing to be awaited."""

    def begin(self, newcomer: Newcomer) -> None:
        assert newcomer.sock is not None
        newcomer.sock = Veiled(newcomer.sock)  # type: ignore[assignment]

    def go_on(self, newcomer: Newcomer) -> bool:
        return True


LANE = Lane("veiled", LengthPrefix, (Veil,))


class Speaker(tcp.Speaker):
    def encode(self, message: bytes) -> bytes:
        return super().encode(message).translate(VEIL)

    def decode(self, data: bytes) -> list[bytes]:
        return super().decode(data.translate(VEIL))
