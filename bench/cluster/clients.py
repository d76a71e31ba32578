"""Clients, one a thread, with the library that anybody would use."""

from __future__ import annotations

import random
import threading
import time
from typing import Union

from voltlane.client import Connection
from voltlane.errors import ConnectionLost, Gap, ProtocolError, SessionLost, Uncertain

from .backend import DOWN, UP

PAUSE = 0.02, 0.2
"""Seconds between two packets."""
LAST_SECS = 60.0
"""For everything to be safe at the end."""
FILLING = bytes(40)
Told = Union[Gap, Uncertain]


class Client(threading.Thread):
    """One, over all its connections."""

    def __init__(self, index: int, protocol: int, lane: str, address: str, seed: int) -> None:
        super().__init__(name=f"client {index} (v{protocol}, {lane})")
        self.protocol = protocol
        self.lane = lane
        self.id = 0
        self.sent = 0
        self.got = 0
        """The number of the last answer."""
        self.missing = 0
        """Answers that did not come, ..."""
        self.silent = 0
        """... and of which that was not told."""
        self.told: list[Told] = []
        self.uncertain: list[tuple[int, int]] = []
        self.lost = 0
        """Sessions that were not resumed: a new one was begun."""
        self.reconnects = 0
        self.fault = ""
        self.past: list[tuple[int, int, list[tuple[int, int]]]] = []
        """Of sessions that were lost: id, packets sent, uncertain."""
        self._address = address
        self._dice = random.Random(seed)
        self._gap = False
        self.ending = threading.Event()

    def run(self) -> None:
        """Until it is told to end, and all is safe."""
        try:
            self._live()
        except Exception as error:
            self.fault = f"{self.name}: {type(error).__name__}: {error}"

    def _connect(self) -> Connection:
        end = time.monotonic() + LAST_SECS
        while True:
            try:
                if self.protocol == 2:
                    return Connection(self._address, protocol=2, timeout=3.0)
                return Connection(
                    self._address, timeout=10.0, reconnect="auto", gaps="return", encrypted=False, heartbeat=3.0
                )
            except (ConnectionLost, ProtocolError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def _live(self) -> None:
        while True:
            connection = self._connect()
            self.id = connection.client_id
            try:
                if self.protocol == 2:
                    self._speak_2(connection)
                else:
                    self._speak_3(connection)
                return
            except SessionLost as error:
                if self.ending.is_set() and self.protocol == 2:
                    return
                self.lost += 1
                self.past.append((self.id, self.sent, self.uncertain))
                if self.protocol == 3:
                    self.fault = self.fault or f"{self.name}: its session is lost: {error}"
                self.sent = self.got = 0
                self.uncertain = []

    # ---- version 3: the library sees to connections

    def _speak_3(self, connection: Connection) -> None:
        while not self.ending.is_set():
            self._send(connection)
            self._receive(connection, self._dice.uniform(*PAUSE))
        end = time.monotonic() + LAST_SECS
        while time.monotonic() < end:
            try:
                connection.flush(0.5)
                break
            except TimeoutError:
                self._receive(connection, 0.01)
            except ConnectionLost:
                time.sleep(0.1)
        else:
            self.fault = self.fault or f"{self.name}: not everything is safe after {LAST_SECS:g} s"
        self._receive(connection, 1.0)
        connection.close()

    def _send(self, connection: Connection) -> None:
        self.sent += 1
        packet = UP.pack(self.sent) + FILLING
        while True:
            try:
                number = connection.send(packet, timeout=LAST_SECS if self.protocol == 3 else None)
                if number is not None and number != self.sent:
                    self.fault = self.fault or f"{self.name}: packet {self.sent} has number {number}"
                return
            except ConnectionLost:
                self._heal(connection)
                if self.protocol == 2:  # it may have gone out: it is not said again
                    return

    def _receive(self, connection: Connection, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            try:
                item: bytes | Told = connection.recv(max(0.0, end - time.monotonic()))
            except TimeoutError:
                return
            except ConnectionLost:
                self._heal(connection)
                continue
            if isinstance(item, bytes):
                self._take(item)
            else:
                self.told.append(item)
                if isinstance(item, Gap):
                    self._gap = True
                else:
                    self.uncertain.append((item.first, item.last))

    def _take(self, packet: bytes) -> None:
        number, _ = DOWN.unpack(packet)
        if number <= self.got:
            self.fault = self.fault or f"{self.name}: answer {number} came behind {self.got}"
        elif number > self.got + 1:
            self.missing += number - self.got - 1
            if not self._gap:
                self.silent += number - self.got - 1
        self.got, self._gap = number, False

    # ---- version 2: the program sees to connections

    def _speak_2(self, connection: Connection) -> None:
        while not self.ending.is_set():
            self._send(connection)
            self._receive(connection, self._dice.uniform(*PAUSE))
        self._receive(connection, 1.0)
        connection.close()

    def _heal(self, connection: Connection) -> None:
        """Come back, sooner or later. Raises SessionLost."""
        end = time.monotonic() + LAST_SECS
        while True:
            try:
                connection.reconnect(3.0)
                self.reconnects += 1
                return
            except SessionLost:
                raise
            except (ConnectionLost, ProtocolError, TimeoutError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
