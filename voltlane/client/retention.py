"""What a client has sent, until it is safe (SPEC 15): the packets, their numbers, where a connection stands in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ..errors import BadNumbers, Uncertain
from ..wire.framing import PREFIX, PREFIX_SIZE, frame
from .inbox import LAST_NUMBER


class Retention:
    """The packets that are not known to be safe, in order. Between two of them there may be numbers that nobody has
    used: behind a restore, new packets are numbered higher than any that a life which was not kept can have used (SPEC
    17)."""

    __slots__ = (
        "_ahead", "_frame", "_most_bytes", "_most_packets", "_offset", "_order", "_packets", "acked", "bytes", "last",
        "sent", "settled", "whole",
    )  # fmt: skip

    def __init__(self, most_packets: int, most_bytes: int) -> None:
        self._most_packets = most_packets
        self._most_bytes = most_bytes
        self._packets: dict[int, bytes] = {}
        self._order: deque[int] = deque()
        self.bytes = 0
        """Of the retained packets, with four each for its size."""
        self.last = 0
        """The last number that was given out."""
        self.sent = 0
        """The last that may have been put on any connection."""
        self.acked = 0
        """The highest ack there was."""
        self.settled = 0
        """The last whose fate is known: safe, or told as uncertain."""
        self.whole = 0
        """The last that the server of this connection can have taken."""
        self._ahead: deque[int] = deque()
        """What this connection has to send yet; of the first one it may have sent a part."""
        self._offset = 0
        self._frame = b""

    def __len__(self) -> int:
        return len(self._order)

    # ---- the application's side

    def full(self, size: int) -> str:
        """What there is no room for another packet of so many bytes for; empty while there is. One always fits."""
        count = len(self._order)
        if not count:
            return ""
        if count >= self._most_packets:
            return f"{count} packets are not known to be safe, at most {self._most_packets} are retained"
        if self.bytes + PREFIX_SIZE + size > self._most_bytes:
            return f"{self.bytes} bytes are not known to be safe, at most {self._most_bytes} are retained"
        return ""

    def add(self, packet: bytes) -> int:
        """Queue it; its number."""
        number = self.last + 1
        self._put(number, packet)
        self._ahead.append(number)
        return number

    def _put(self, number: int, packet: bytes) -> None:
        # In this order: a signal's handler may raise between any two, and then the number is one that nobody used.
        self.last = number
        self._packets[number] = packet
        self._order.append(number)
        self.bytes += PREFIX_SIZE + len(packet)

    # ---- the connection's side

    def resume(self, taken: int, ack: int, *, forgot: bool, ahead: int, again: bool) -> Uncertain | None:
        """A connection begins: the server has taken up to `taken`, and calls `ack` safe.

        `forgot`: it has lost its memory. `ahead`: 0, or we may have lost ours, and new packets are numbered above this.
        `again`: what is uncertain is sent anew, as new packets. Returned is what the application must be told.
        Raises BadNumbers: somebody else has sent under our numbers, or the server has forgotten and does not say so.
        """
        if taken > LAST_NUMBER:
            raise BadNumbers(f"the server has taken packets up to {taken}; numbers end at {LAST_NUMBER}")
        if taken > self.sent and not ahead:
            raise BadNumbers(f"the server has taken packets up to {taken}, and {self.sent} were sent")
        if taken < self.acked:
            raise BadNumbers(f"the server has taken packets up to {taken}, and had called {self.acked} safe")
        if ack > taken:
            raise BadNumbers(f"packets up to {ack} are acknowledged, and {taken} were taken")
        if ahead:  # what was queued since the restore
            self._renumber(max(self.sent, taken), max(self.last, taken, ahead))
        self.sent = max(self.sent, taken)
        self.whole, self._offset, self._frame = taken, 0, b""
        self.acknowledge(ack)
        uncertain = None
        if forgot and again:
            self._renumber(0, max(taken, self.last if ahead else 0))
            self.settled = max(self.settled, taken)
        elif forgot:
            uncertain = self.give_up(taken)
        self._ahead = deque(number for number in self._order if number > taken)
        return uncertain

    def acknowledge(self, number: int) -> None:
        """The server will not need them again up to this one. Raises BadNumbers for what it cannot have."""
        if number > self.whole:
            raise BadNumbers(f"packets up to {number} are acknowledged, and {self.whole} were sent")
        self.acked = max(self.acked, number)
        self.settled = max(self.settled, number)
        self._release(number)

    def give_up(self, last: int) -> Uncertain | None:
        """Nobody can know whether those up to this one have arrived. None if that was said before, or there are
        none."""
        first = self.settled + 1
        if last < first:
            return None
        packets = tuple(self._release(last))
        self.settled = last
        return Uncertain(first, last, packets)

    @property
    def unused(self) -> tuple[int, int] | None:
        """The numbers in front of the packet that comes next which nobody has used; the server must be told."""
        if self._ahead and self._ahead[0] > self.whole + 1:
            return self.whole + 1, self._ahead[0] - 1
        return None

    def skip(self, last: int) -> None:
        """The server was told that there are none up to this one."""
        self.whole = last
        self.sent = max(self.sent, last)

    @property
    def unsent(self) -> bool:
        """Whether there is something for this connection to send."""
        return bool(self._ahead)

    def read(self, room: int) -> list[bytes | memoryview]:
        """The next bytes of the stream of packets, at most `room` of them, up to the next unused number."""
        parts: list[bytes | memoryview] = []
        ahead = self._ahead
        while room > 0 and ahead and ahead[0] == self.whole + 1:
            number = ahead[0]
            packet = self._packets[number]
            size = PREFIX_SIZE + len(packet)
            self.sent = max(self.sent, number)
            if not self._offset and size <= room:
                parts += (PREFIX.pack(len(packet)), packet)
                room -= size
            else:
                self._frame = self._frame or frame(packet)
                piece = memoryview(self._frame)[self._offset : self._offset + room]
                parts.append(piece)
                room -= len(piece)
                self._offset += len(piece)
                if self._offset < size:
                    break
                self._offset, self._frame = 0, b""
            ahead.popleft()
            self.whole = number
        return parts

    def _release(self, last: int) -> Iterable[bytes]:
        released = []
        while self._order and self._order[0] <= last:
            packet = self._packets.pop(self._order.popleft())
            self.bytes -= PREFIX_SIZE + len(packet)
            released.append(packet)
        return released

    def _renumber(self, behind: int, above: int) -> None:
        """Those behind this number, in their order, are numbered above that one."""
        packets, last = {}, above
        for number in self._order:
            if number > behind:
                last += 1
            packets[number if number <= behind else last] = self._packets[number]
        self._packets, self._order, self.last = packets, deque(packets), last

    # ---- states

    def packets(self) -> list[tuple[int, bytes]]:
        """All that is retained, in order, with its numbers."""
        return [(number, self._packets[number]) for number in self._order]

    def restore(self, packets: list[tuple[int, bytes]], last: int, sent: int, acked: int, settled: int) -> None:
        """As it was."""
        for number, packet in packets:
            self._put(number, packet)
        self.last, self.sent, self.acked, self.settled = last, sent, acked, settled
