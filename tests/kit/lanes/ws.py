"""WebSocket with its upgrade, as on a listener of ws://."""

from __future__ import annotations

from kit.websocket_speaker import WebSocketSpeaker

from voltlane.lanes.table import WS as LANE


def request(*headers: str, subprotocol: str = "voltlane.v2", path: str = "/") -> bytes:
    """One that asks for a WebSocket: the example of RFC 6455, section 1.3."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: server.example.com",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *([f"Sec-WebSocket-Protocol: {subprotocol}"] if subprotocol else []),
        *headers,
    ]
    return "".join([f"{line}\r\n" for line in [*lines, ""]]).encode()


ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\n"


class Speaker(WebSocketSpeaker):
    """The same client, from the upgrade on."""

    @property
    def opening(self) -> bytes:  # type: ignore[override]
        """See the base."""
        return request(subprotocol=self.protocol and f"voltlane.{self.protocol}")

    def __init__(self) -> None:
        super().__init__()
        self.answer = b""
        """What the request was answered with."""

    def decode(self, data: bytes) -> list[bytes]:
        if not self.answer.endswith(b"\r\n\r\n"):
            whole = self.answer + data
            head, end, data = whole.partition(b"\r\n\r\n")
            self.answer = head + end
            if not end:
                return []
            if not self.answer.startswith(ACCEPTED):
                return []
            assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in self.answer
        return super().decode(data)


__all__ = ["LANE", "Speaker"]
