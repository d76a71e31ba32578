"""The process that plays the backend where that tells the server once what is for all clients."""

from __future__ import annotations

import socket
import time
from functools import partial
from typing import Any

from .backend import Backend
from .board import Board
from .nchan import Answers
from .traffic import Cycle, published_cycle
from .wires import Fault
from .workloads import Job

LAST_SECS = 10
"""How long the last answers may take."""


class Publisher(Backend):
    """A backend that connects to the server, and posts on that connection what is for all, as far ahead of the slowest
    client as other backends; it does not wait for the answer to one before it posts the next."""

    def __init__(self, job: Job, port: int, board: Board) -> None:
        super().__init__(job, partial(_connected, port), board)
        self._answers = Answers()

    def run(self) -> dict[str, Any]:
        report, deadline = super().run(), time.monotonic() + LAST_SECS
        while self._answers.count < report["rounds"] and time.monotonic() < deadline:
            self._hear(0.05)
        if self._answers.count != report["rounds"]:
            raise Fault(f"{report['rounds']} messages were published, {self._answers.count} were answered")
        return report

    def _meet(self) -> None:
        """Nobody has to be known."""

    def _rounds(self) -> Cycle:
        return published_cycle(self.job.wire, self.job.sizes)

    def _hear(self, timeout: float) -> None:
        self._answers.take(bytes(self.view[: self._receive(timeout)]))


def _connected(port: int) -> socket.socket:
    try:
        return socket.create_connection(("127.0.0.1", port), 20)
    except OSError as error:
        raise Fault(f"the publisher cannot connect: {error.strerror or error}") from None
