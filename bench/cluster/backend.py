"""The master of all nodes: it answers each packet, and keeps an account of each client over all its links."""

from __future__ import annotations

import struct
import threading

from voltlane.backend import Firehose, Packet

from ..wires import Fault

UP = struct.Struct("<Q")
"""A client's packet: its number, and filling."""
DOWN = struct.Struct("<QQ")
"""An answer: its own number, and that of the packet."""


class Account:
    """One client's."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()
        self.last: dict[int, int] = {}
        """By link, the last number there."""
        self.highest = 0
        self.sent = 0
        self.overtaken = 0
        """Packets that came by an old link behind one that came by a newer link."""
        self.moves = 0
        self.reasons: list[str] = []
        """Of failures."""


class Backend:
    """It lives in a thread of its own."""

    def __init__(self) -> None:
        self._firehose = Firehose("127.0.0.1:0")
        self.address = str(self._firehose.address)
        self.accounts: dict[int, Account] = {}
        self.fault = ""
        self._thread = threading.Thread(target=self._run, name="backend")
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._firehose.stop()
        self._thread.join()

    def check(self) -> None:
        """Raises Fault, if something came twice or out of order."""
        if self.fault:
            raise Fault(self.fault)

    def _run(self) -> None:
        with self._firehose as firehose:
            for packet in firehose:
                account = self.accounts.setdefault(packet.client_id, Account())
                if packet.is_data:
                    self._take(account, packet)
                elif packet.is_reconnection:
                    account.moves += 1
                else:
                    account.reasons.append(packet.reason)

    def _take(self, account: Account, packet: Packet) -> None:
        (number,), link = UP.unpack_from(packet.data), id(packet.link)
        if number in account.numbers:
            self.fault = self.fault or f"client {packet.client_id}: packet {number} came twice"
        if number <= account.last.get(link, 0):
            self.fault = self.fault or f"client {packet.client_id}: packet {number} came behind {account.last[link]}"
        account.overtaken += number < account.highest
        account.highest = max(account.highest, number)
        account.numbers.add(number)
        account.last[link] = number
        account.sent += 1
        packet.reply(DOWN.pack(account.sent, number))
