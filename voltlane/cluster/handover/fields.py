"""What a note is made of: numbers in fixed layouts, and bytes with their size in front (u32)."""

from __future__ import annotations

from struct import Struct
from struct import error as StructError
from typing import Any

from ...core.outbox import Chunk
from ...store.records import Damaged
from ...wire.framing import PREFIX, PREFIX_SIZE, Buffer

_ONE = Struct("<B")


class Writer:
    """Puts fields behind each other."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[Buffer] = []

    def put(self, layout: Struct, *values: Any) -> None:
        """Numbers."""
        self._parts.append(layout.pack(*values))

    def raw(self, *pieces: Buffer) -> None:
        """Bytes whose sizes are said elsewhere."""
        self._parts += pieces

    def blob(self, data: Buffer) -> None:
        """Bytes."""
        self._parts += (PREFIX.pack(len(data)), data)

    def text(self, text: str) -> None:
        """A text."""
        self.blob(encode_text(text))

    def chunks(self, chunks: list[tuple[Chunk, int]]) -> None:
        """Chunks, each with the number of its packets."""
        self._parts.append(PREFIX.pack(len(chunks)))
        for chunk, packets in chunks:
            self._parts += (PREFIX.pack(packets), PREFIX.pack(len(chunk)), chunk)

    def done(self) -> bytes:
        """All of it."""
        return b"".join(self._parts)


class Reader:
    """Takes them apart again. Everything raises Damaged where something else stands there."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data = data
        self._position = position

    def take(self, layout: Struct) -> tuple[Any, ...]:
        """Numbers."""
        try:
            values = layout.unpack_from(self._data, self._position)
        except StructError:
            raise Damaged("a note that is cut") from None
        self._position += layout.size
        return values

    def flag(self, most: int) -> int:
        """A small number, up to that one."""
        (value,) = self.take(_ONE)
        if value > most:
            raise Damaged(f"a {value} where {most} is the most there is")
        return int(value)

    def blob(self) -> bytes:
        """Bytes."""
        return self.raw(self.take(PREFIX)[0])

    def raw(self, size: int) -> bytes:
        """So many bytes."""
        start = self._position
        self._position = end = start + size
        if end > len(self._data):
            raise Damaged("a note that is cut")
        return self._data[start:end]

    def split(self, *sizes: int) -> list[bytes]:
        """Bytes of these sizes, one behind the other."""
        data, start, pieces = self._data, self._position, []
        for size in sizes:
            end = start + size
            pieces.append(data[start:end])
            start = end
        if start > len(data):
            raise Damaged("a note that is cut")
        self._position = start
        return pieces

    def text(self) -> str:
        """A text."""
        return decode_text(self.blob())

    def chunks(self) -> list[tuple[Chunk, int]]:
        """Chunks, each with the number of its packets."""
        (count,) = self.take(PREFIX)
        if count * 2 * PREFIX_SIZE > len(self._data):
            raise Damaged(f"{count} chunks where there is no room for them")
        chunks: list[tuple[Chunk, int]] = []
        for _ in range(count):
            (packets,) = self.take(PREFIX)
            chunks.append((self.blob(), packets))
        return chunks

    def end(self) -> None:
        """That was all."""
        if self._position != len(self._data):
            raise Damaged(f"a note with {len(self._data) - self._position} bytes too many")


def encode_text(text: str) -> bytes:
    """As bytes; every text has some."""
    return text.encode("utf-8", "surrogatepass")


def decode_text(data: bytes) -> str:
    """What `encode_text` gave. Raises Damaged."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise Damaged("a text that is none") from None


FLAG = _ONE
"""The layout of a small number."""
