"""An outbox for a lane on whose wire frames do not look as they do in a queue.

Frames are encoded when they are about to be written, and not before: so limits count the same on every lane, nothing is
encoded for who does not read, what must be said in between gets in between, and what is left when the connection is
gone are frames, for the next connection over whatever lane.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ..wire.framing import Buffer, count_frames, frame_at, skip_frames
from .budget import Budget
from .outbox import Chunk, Outbox, Queued

MOST_ENCODED = 1 << 18
"""Bytes of frames that are encoded at once; of a frame that is larger, all."""


class Coder(Protocol):
    """How frames become bytes of the wire."""

    def encode(self, chunk: Buffer) -> bytes:
        """Whole frames, as they go on the wire. Called in the order in which the results are written, each once."""
        ...

    def whole(self, encoded: bytes, written: int) -> int:
        """How many frames the first `written` bytes of such a result hold whole."""
        ...


class Coded(NamedTuple):
    """What a coded outbox holds, for another one to go on with."""

    queued: Queued
    encoded: bytes
    """What is being written, ..."""
    written: int
    """... bytes of that, ..."""
    source: int
    """... and of the frames it was made from; 0: it was said between frames."""
    between: bytes
    """What goes out before the next frame."""


class CodedOutbox(Outbox):
    """See the module's docstring. `size` and `packets` are those of frames, whatever is on the wire; a packet counts
    until all that was encoded with it is out."""

    __slots__ = ("_between", "_coder", "_cut", "_encoded", "_out", "_source", "_written")

    def __init__(self, coder: Coder, budget: Budget | None = None, owner: object = None) -> None:
        super().__init__(budget, owner)
        self._coder = coder
        self._cut = False
        self._between = b""  # bytes of the wire that go out before the next frame
        self._encoded = b""  # what is being written: frames, or what is said between them
        self._written = 0  # bytes of that
        self._source = 0  # bytes of the frames it was made from; 0: it was said between frames
        self._out = 0  # bytes of these that `size` counts as written

    def go_on(self, chunk: Chunk, packets: int, encoded: bytes, written: int) -> None:
        """Queue a first chunk that is encoded already, and of that so many bytes, not all, are written."""
        self.append(chunk, packets)
        self._encoded, self._source = encoded, len(chunk)
        if written:
            self.advance(written)

    def say(self, words: bytes) -> None:
        """Write these bytes of the wire as soon as no frame is cut by them. They count while they wait."""
        if self._between:
            self.hold(self.held + len(words))
        else:
            self.hold_chunk(len(words))
        self._between += words
        self.size += len(words)

    @property
    def within_frame(self) -> bool:
        """Whether a part of what is being written is out, or was when the rest was taken: nothing else may be said."""
        return self._cut or self._written > 0

    def views(self) -> list[Chunk | memoryview]:
        """See Outbox."""
        if not self._encoded:
            self._encode()
        return [memoryview(self._encoded)[self._written :]]

    def advance(self, written: int) -> None:
        """See Outbox."""
        self._written += written
        total, source = len(self._encoded), self._source
        out = (source or total) * self._written // total  # of frames, as much of them as is out of what they became
        size = self.size - (out - self._out)
        exempt = max(0, self._exempt - (out - self._out))
        self._out = out
        if self._written == total:
            self._encoded, self._written, self._source, self._out = b"", 0, 0, 0
            if source:
                super().advance(source)
            else:
                self.drop_chunks(1, total)
        self.size, self._exempt = size, exempt

    def rewind(self) -> None:
        """See Outbox."""
        self._cut = self.within_frame
        source, whole = self._source, 0
        if source and self._written:
            whole = self._coder.whole(self._encoded, self._written)
        self._between = self._encoded = b""
        self._written = self._source = self._out = 0
        if whole:
            super().advance(self._size_of(whole))
        super().rewind()

    def clear(self) -> None:
        """See Outbox."""
        self._cut = self.within_frame
        self._between = self._encoded = b""
        self._written = self._source = self._out = 0
        super().clear()

    # ---- for another process

    def coded(self) -> Coded:
        """What it holds. Nothing is changed by that."""
        return Coded(self.queued(), self._encoded, self._written, self._source, self._between)

    def go_on_coded(self, coded: Coded) -> None:
        """Hold what another one held. Only while it is empty."""
        self.go_on_with(coded.queued)
        if coded.between:
            self.say(coded.between)
        total = len(coded.encoded)
        if total and not coded.source:
            self.hold_chunk(total)
            self.size += total
        self._encoded, self._written, self._source = coded.encoded, coded.written, coded.source
        self._out = (coded.source or total) * coded.written // total if total else 0
        self.size -= self._out

    # ---- encoding

    def _encode(self) -> None:
        """The next to be written: what is said between frames, else frames of the first chunks, whole ones."""
        if self._between:
            self._encoded, self._between = self._between, b""
            return
        frames: list[Chunk | memoryview] = []
        left, start = MOST_ENCODED, self._offset
        for chunk, _ in self._chunks:
            size = len(chunk) - start
            if size > left:
                part = self._fitting(chunk, start, left, bool(frames))
                if part:
                    frames.append(memoryview(chunk)[start : start + part])
                    self._source += part
                break
            frames.append(memoryview(chunk)[start:] if start else chunk)
            self._source += size
            left -= size
            start = 0
        self._encoded = self._coder.encode(frames[0] if len(frames) == 1 else b"".join(frames))

    def _size_of(self, frames: int) -> int:
        """Bytes of the first so many frames that are not written."""
        size, start = 0, self._offset
        for chunk, _ in self._chunks:
            rest = memoryview(chunk)[start:]
            count = count_frames(rest)
            if count > frames:
                return size + skip_frames(rest, frames)
            size, frames, start = size + len(rest), frames - count, 0
        return size

    def _fitting(self, chunk: Chunk, start: int, most: int, more: bool) -> int:
        """Bytes of whole frames from `start` on, no more than so many; at least one frame, where it is first."""
        end, _ = frame_at(chunk, start + most, start)
        if end == start and not more:
            return skip_frames(memoryview(chunk)[start:], 1)
        return end - start
