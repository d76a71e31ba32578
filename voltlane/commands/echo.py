"""`voltlane echo`: a backend that sends every packet back to the client it came from."""

from __future__ import annotations

import logging
import signal

from ..address import Address
from ..backend import Firehose
from ..signals import unblock
from .console import say


def echo(address: Address) -> int:
    """Listen for connection servers, and echo until a signal comes. The exit code. Raises StartupError."""
    logging.getLogger("voltlane").addHandler(Said())
    with Firehose(
        address,
        on_link=lambda link: say(f"{link.peer} is connected", patience=0.0),
        on_link_lost=lambda link: say(f"{link.peer} is gone", patience=0.0),
    ) as firehose:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: firehose.stop())
        unblock()
        say(f"echo backend: connection servers connect to {firehose.address}; Ctrl-C ends")
        for packet in firehose:
            if packet.is_data:
                packet.reply(packet.data)
    return 0


class Said(logging.Handler):
    """What the backend library has to say, from warnings on, as messages for the person at the terminal."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """One line. Nobody waits for it to be read."""
        say(record.getMessage(), patience=0.0)
