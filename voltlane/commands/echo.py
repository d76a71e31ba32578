"""`voltlane echo`: a backend that sends every packet back to the client it came from."""

from __future__ import annotations

import signal

from ..address import Address
from ..backend import Firehose
from ..signals import unblock
from .console import say


def echo(address: Address) -> int:
    """Listen for connection servers, and echo until a signal comes. The exit code. Raises StartupError."""
    with Firehose(
        address,
        on_link=lambda link: say(f"{link.peer} is connected"),
        on_link_lost=lambda link: say(f"{link.peer} is gone"),
    ) as firehose:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: firehose.stop())
        unblock()
        say(f"echo backend: connection servers connect to {firehose.address}; Ctrl-C ends")
        for packet in firehose:
            if packet.is_data:
                packet.reply(packet.data)
    return 0
