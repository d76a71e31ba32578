"""`voltlane demo`: the server, with an echo backend as its child process, so that it works with nothing else."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from .. import config
from ..address import Address, parse_listener
from ..backend import Firehose
from ..errors import StartupError
from ..signals import unblock
from .console import command_line, note, say
from .echo import Said
from .serve import find_file, start

_ANY_PORT = Address("tcp", "127.0.0.1", 0, "")
_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""What to connect to from here, when a server listens on every interface."""


def demo(flags: Mapping[str, str], file: Path | None) -> int:
    """Run both until a signal comes. The exit code. Raises ConfigError, StartupError."""
    settings = config.load(file or find_file(), os.environ, flags)
    with _echo_child() as backend:
        server = start(replace(settings, master=replace(settings.master, address=(backend,))))
        for address in server.listen_addresses:
            note(f"voltlane: clients connect to {address}")
        note(f"voltlane: echo backend at {backend}")
        for address, text in zip(server.listen_addresses, settings.listener.address):
            if not address.scheme:  # `connect` speaks no other lane
                nearby = address._replace(host=_LOOPBACK.get(parse_listener(text).host, address.host))
                note(f"voltlane: try it in a second terminal:  {command_line('connect', str(nearby))}")
                break
        unblock([signal.SIGHUP])  # which nobody here acts on
        return server.run()


@contextlib.contextmanager
def _echo_child() -> Iterator[str]:
    """A child process that runs the echo backend; its address. It ends with the block, and with this process."""
    ready, tell_ready = os.pipe()
    watched, held = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ready)
        os.close(held)
        _run_child(tell_ready, watched)
    os.close(tell_ready)
    os.close(watched)
    try:
        with open(ready, encoding="ascii") as answer:
            address = answer.readline().strip()
        if not address:
            raise StartupError("the echo backend did not start")
        yield address
    finally:
        os.close(held)
        os.waitpid(child, 0)


def _run_child(tell_ready: int, watched: int) -> NoReturn:
    code = 1
    try:
        logging.getLogger("voltlane").addHandler(Said())
        os.setsid()  # Ctrl-C at the terminal is for the parent, which still has packets to deliver then
        unblock()
        with Firehose(_ANY_PORT) as firehose:
            os.write(tell_ready, f"{firehose.address}\n".encode("ascii"))
            os.close(tell_ready)
            _echo_until_end(firehose, watched)
        code = 0
    except Exception as error:
        say(f"echo backend: {error}")
    finally:
        os._exit(code)


def _echo_until_end(firehose: Firehose, watched: int) -> None:
    """Echo until the pipe's other end is closed, which the kernel does however the parent ends."""
    while True:
        readable, _, _ = select.select([firehose.fileno(), watched], [], [])
        if watched in readable:
            return
        for packet in firehose.poll(0):
            if packet.is_data:
                packet.reply(packet.data)
        firehose.flush()
