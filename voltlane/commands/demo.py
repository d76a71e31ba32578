"""`voltlane demo`: the server, with a backend as its child process and a page to chat, so that it works with nothing
else."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from .. import config
from ..address import Address, parse_listener
from ..backend import Firehose
from ..config import Config
from ..errors import StartupError
from ..signals import unblock
from .chat import Chat
from .console import command_line, note, say
from .echo import Said
from .serve import find_file, start

_ANY_PORT = Address("tcp", "127.0.0.1", 0, "")
_PAGE_AT = Address("tcp", "127.0.0.1", 42080, "", "ws")
_WEB = {"ws": "http", "wss": "https"}
"""The schemes of listeners that serve pages, and how a browser calls them."""
_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""What to connect to from here, when a server listens on every interface."""


def demo(flags: Mapping[str, str], file: Path | None) -> int:
    """Run both until a signal comes. The exit code. Raises ConfigError, StartupError."""
    settings = _with_page(config.load(file or find_file(), os.environ, flags))
    with _backend_child() as backend:
        server = start(replace(settings, master=replace(settings.master, address=(backend,))))
        for address in server.listen_addresses:
            note(f"voltlane: clients connect to {address}")
        note(f"voltlane: the backend, an echo and a chat, is at {backend}")
        _invite(settings, server.listen_addresses)
        unblock([signal.SIGHUP, signal.SIGUSR2])  # which nobody here acts on
        return server.run()


def _with_page(settings: Config) -> Config:
    """The settings with the chat page, on a listener of its own where none of them serves pages; as they are, where
    there is nothing to serve it with."""
    # Here, so that other commands do not wait for what a server needs.
    from ..server.pages import require_page

    try:
        require_page("chat")
    except StartupError as error:
        note(f"voltlane: without the page for browsers: {error}")
        return settings
    listener = settings.listener
    if not any(parse_listener(text).scheme in _WEB for text in listener.address):
        listener = replace(listener, address=(*listener.address, str(_page_listener())))
    return replace(settings, listener=listener, web=replace(settings.web, page="chat"))


def _page_listener() -> Address:
    """Where the page's listener is to be: any port, where the usual one is taken."""
    from ..net.sockets import listening_socket

    try:
        listening_socket(_PAGE_AT).close()
    except StartupError:
        note(f"voltlane: port {_PAGE_AT.port} is taken, so the page gets another one")
        return _PAGE_AT._replace(port=0)
    return _PAGE_AT


def _invite(settings: Config, listening: Iterable[Address]) -> None:
    """Say what to try, and where."""
    nearby = [
        address._replace(host=_LOOPBACK.get(parse_listener(text).host, address.host))
        for address, text in zip(listening, settings.listener.address)
    ]
    for address in nearby:
        if not address.scheme:  # `connect` speaks no other lane
            note(f"voltlane: try it in a second terminal:  {command_line('connect', str(address))}")
            break
    for address in nearby:
        if address.scheme in _WEB and address.kind == "tcp" and settings.web.page != "off":
            note(f"voltlane: or in two windows of a browser:  {address._replace(scheme=_WEB[address.scheme])}/")
            break


@contextlib.contextmanager
def _backend_child() -> Iterator[str]:
    """A child process that runs the backend; its address. It ends with the block, and with this process."""
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
            raise StartupError("the backend did not start")
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
            _serve_until_end(firehose, watched)
        code = 0
    except Exception as error:
        say(f"the backend: {error}")
    finally:
        os._exit(code)


def _serve_until_end(firehose: Firehose, watched: int) -> None:
    """Echo, and let the page's clients chat, until the pipe's other end is closed, which the kernel does
    however the parent ends."""
    chat = Chat()
    while True:
        readable, _, _ = select.select([firehose.fileno(), watched], [], [])
        if watched in readable:
            return
        for packet in firehose.poll(0):
            chat.handle(packet)
        firehose.flush()
