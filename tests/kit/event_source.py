"""A reader of event streams, written the slow way from the standard (WHATWG HTML, section 9.2.6), with nothing of the
package in it: what it gives is what a browser gives to a page."""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple


class Event(NamedTuple):
    type: str
    data: str
    last_id: str

    @property
    def value(self) -> Any:
        """Of an event of the server's own."""
        return json.loads(self.data)


class EventSource:
    """One connection's reader; `last_id` is taken over by the next one."""

    def __init__(self, last_id: str = "") -> None:
        self.last_id = self._id = last_id
        self.retry = 0
        self.comments = 0
        self._bytes = b""
        self._begun = self._after_cr = False
        self._line = bytearray()
        self._data = self._type = ""

    def feed(self, data: bytes) -> list[Event]:
        """Bytes as they come; the events that are dispatched with them."""
        if not self._begun:
            self._bytes += data
            if len(self._bytes) < 3 and b"\xef\xbb\xbf".startswith(self._bytes):
                return []
            data = self._bytes[3:] if self._bytes[:3] == b"\xef\xbb\xbf" else self._bytes
            self._begun = True
        events = []
        for byte in data:
            if byte == 0x0A and self._after_cr:
                self._after_cr = False
                continue
            self._after_cr = byte == 0x0D
            if byte not in (0x0A, 0x0D):
                self._line.append(byte)
                continue
            line, self._line = self._line.decode("utf-8", "replace"), bytearray()
            event = self._process(line)
            if event is not None:
                events.append(event)
        return events

    def _process(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        if line.startswith(":"):
            self.comments += 1
            return None
        field, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "event":
            self._type = value
        elif field == "data":
            self._data += value + "\n"
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)
        return None

    def _dispatch(self) -> Event | None:
        self.last_id = self._id
        data, kind = self._data, self._type
        self._data = self._type = ""
        return Event(kind or "message", data[:-1], self.last_id) if data else None


def packet_of(event: Event) -> bytes:
    """The packet that it is, of one of the two types that are packets."""
    assert event.type in ("message", "binary"), event
    return event.data.encode() if event.type == "message" else base64.b64decode(event.data, validate=True)
