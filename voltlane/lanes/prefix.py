"""The length prefix: u32 little-endian size, then the message (SPEC 2). Its bytes are a chunk as they are.

With protocol version 2, whose messages are packets as they are, nothing stands between the socket and the queues, and
the two loops of `wire.batch` do all there is to do for a packet.
"""

from __future__ import annotations

import socket

from ..core.outbox import Queued
from ..core.session import Session
from ..errors import FrameTooLarge
from ..wire.batch import retag
from ..wire.framing import GOODBYE, PREFIX, PREFIX_SIZE, Buffer, count_frames, frame_at
from ..wire.tagged import HEADER, TAG_SIZE
from .connection import ClientConnection
from .fairness.turns import FIRST_QUANTUM, LOUD
from .framing import EVERY, PLAIN, Framing
from .moved import Moved
from .partial import LargeFrame, Rest, keep

READER = "length prefix"
"""The batch reader of these connections: see `quiet`."""


class LengthPrefix(Framing):
    """The framing by itself, for protocols whose messages are no packets as they are."""

    __slots__ = ()

    name = PLAIN
    plain = True

    def decode(self, data: Buffer, start: int, stop: int, limit: int, most: int = EVERY) -> tuple[bytes, int]:
        """See Framing."""
        position, last, size_at = start, stop - PREFIX_SIZE, PREFIX.unpack_from
        while most and position <= last:
            (size,) = size_at(data, position)
            if size > limit:
                if position == start:
                    raise FrameTooLarge(size, limit)
                break
            end = position + PREFIX_SIZE + size
            if end > stop:
                break
            position = end
            most -= 1
        return bytes(data[start:position]), position

    def encode(self, chunk: Buffer) -> bytes:
        """See Framing."""
        return bytes(chunk)

    def whole(self, encoded: bytes, written: int) -> int:
        """See Framing."""
        return frame_at(encoded, written)[1] if written < len(encoded) else count_frames(encoded)


class PrefixConnection(ClientConnection):
    """A client that speaks version 2 over the length prefix."""

    __slots__ = ()

    batch_reader = READER

    def finish_handshake(self, unsent: bytes, answer: bytes) -> None:
        """See ClientConnection: in one write."""
        self.try_send(unsent + answer, 0)

    def take_behind(self, rest: bytes) -> None:
        """See ClientConnection."""
        stop = TAG_SIZE + len(rest)
        self.shared.scratch[TAG_SIZE:stop] = rest
        self._take_rest(TAG_SIZE, stop, self.client_id)

    @property
    def framing_name(self) -> str:
        """See ClientConnection."""
        return LengthPrefix.name

    def move_in(self, moved: Moved, session: Session) -> None:
        """See ClientConnection."""
        super().move_in(moved, session)
        if isinstance(moved.queued, Queued):
            self.open_outbox().go_on_with(moved.queued)

    def said_goodbye(self) -> bool:
        """See ClientConnection. No cut leaves just these bytes of a frame."""
        return isinstance(self.partial, Rest) and self.partial.data == GOODBYE

    def take(self, received: int) -> None:
        """So much was received for it, behind the place for a tag, as the first of a quantum."""
        self._received(TAG_SIZE, received, FIRST_QUANTUM)
        self.after_read(received)

    def receive(self, most: int) -> int:
        """See Client."""
        if not self.flags & LOUD:
            most = FIRST_QUANTUM
        shared, sock, partial, start = self.shared, self.sock, self.partial, TAG_SIZE
        assert sock is not None
        try:
            if partial is None:
                received = sock.recv_into(shared.behind_tag, most)
            elif isinstance(partial, Rest):
                start += len(partial.data)
                shared.scratch[TAG_SIZE:start] = partial.data
                received = sock.recv_into(shared.view[start : start + most])
            else:
                assert isinstance(partial, LargeFrame)
                return self._receive_large(sock, partial, most)
        except BlockingIOError:
            received = -1
        self._received(start, received, most)
        return received

    def _received(self, start: int, received: int, most: int) -> None:
        """A recv for `most` bytes behind what was kept: who filled it is loud, since there may be more."""
        self.flags = self.flags | LOUD if received == most else self.flags & ~LOUD
        if received > 0:
            self.shared.turns.spend(received)
            self._take(start + received)

    def _take(self, stop: int) -> None:
        """Pass on the whole frames in the scratch buffer, and keep the part of one."""
        shared, session = self.shared, self.session
        if session is None:
            return  # it is over for this one
        chunk, position, packets = retag(shared.scratch, TAG_SIZE, stop, session.id, shared.small)
        if packets:
            shared.trunk.push(chunk, packets)
        if position != stop:
            self._take_rest(position, stop, session.id)
        elif self.partial is not None:
            self.keep(None)

    def _take_rest(self, position: int, stop: int, client_id: int) -> None:
        """What the batch loop left: large frames, and the part of a frame."""
        shared = self.shared
        position = self.pass_on(shared.scratch, shared.view, position, stop, client_id)
        rest = shared.view[position:stop]
        self.keep(keep(rest, shared.budget, self) if rest and self.sock is not None else None)

    def _receive_large(self, sock: socket.socket, large: LargeFrame, most: int) -> int:
        self.flags &= ~LOUD
        with large.space(most) as space:
            received = sock.recv_into(space)
            if received == len(space):  # the read ended with the frame, perhaps, and not with what there is to read
                self.flags |= LOUD
        large.advance(received)
        self.shared.turns.spend(received)
        if large.complete and self.session is not None:
            self.keep(None)
            data = large.payload()
            self.shared.trunk.push_views([HEADER.pack(len(data) + TAG_SIZE, self.session.id, 0), data], 1)
        return received
