"""`voltlane demo`: the server, with a backend as its child process and a page to chat, so that it works with nothing
else."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from .. import config
from ..address import ENCRYPTED, UDP, Address, nearby, parse_listener
from ..backend import Firehose
from ..config import Config
from ..errors import StartupError
from ..signals import unblock
from .chat import Chat
from .console import command_line, complain, note, say
from .echo import Said
from .serve import find_file, start

if TYPE_CHECKING:
    from ..server import Server

ENDED = 1
"""The exit code when the backend has ended."""

_ANY_PORT = Address("tcp", "127.0.0.1", 0, "")
_PAGE_AT = Address("tcp", "127.0.0.1", 42080, "", "ws")
_WEB = {"ws": "http", "wss": "https"}
"""The schemes of listeners that serve pages, and how a browser calls them."""


def demo(flags: Mapping[str, str], file: str | None) -> int:
    """Run both until a signal comes, or the backend ends. The exit code. Raises ConfigError, StartupError."""
    settings = _with_page(config.load(file or find_file(), os.environ, flags))
    with _backend_child() as (backend, line):
        server = start(replace(settings, master=replace(settings.master, address=(backend,))))
        for address in server.listen_addresses:
            note(f"clients connect to {address}")
        note(f"the backend, an echo and a chat, is at {backend}")
        _invite(settings, server.listen_addresses)
        if server.page_url:
            note(f"the live page, for operators, is at  {server.page_url}")
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # an upgrade: there is none here, and it need not end for that
        unblock([signal.SIGHUP, signal.SIGUSR2])  # which nobody here acts on
        _end_with(server, line)
        return server.run()


def _end_with(server: Server, line: socket.socket) -> None:
    """Let the server end when the backend does, whose address nobody else will take. `line`: to the child, which never
    says anything more there."""
    from ..net.poller import WRITE
    from ..net.reactor import Handler

    class Watch(Handler):
        def on_event(self, mask: int) -> None:
            if mask == WRITE:
                return
            server.reactor.release(line)
            complain("the demo's backend has ended")
            server.exit_code = ENDED
            server.stop()

    server.reactor.add(line.fileno(), Watch())


def _with_page(settings: Config) -> Config:
    """The settings with the chat page, on a listener of its own where none of them serves pages; as they are, where
    there is nothing to serve it with."""
    # Here, so that other commands do not wait for what a server needs.
    from ..server.pages import require_page

    try:
        require_page("chat")
    except StartupError as error:
        note(f"without the page for browsers: {error}")
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
        note(f"port {_PAGE_AT.port} is taken, so the page gets another one")
        return _PAGE_AT._replace(port=0)
    return _PAGE_AT


def _invite(settings: Config, listening: Iterable[Address]) -> None:
    """Say what to try, and where."""
    asked = sorted(map(parse_listener, settings.listener.address), key=lambda address: address.scheme == UDP)
    near = [nearby(wanted, address) for wanted, address in zip(asked, listening)]  # these have datagrams last, too
    close = [address for address in near if address.scheme != UDP]
    for address in sorted(close, key=lambda address: bool(address.scheme))[:1]:  # TCP, else the first there is
        note(f"try it in a second terminal:  {command_line('connect', str(address), *_trust(settings, address))}")
    for address in close:
        if address.scheme in _WEB and address.kind == "tcp" and settings.web.page != "off":
            note(f"or in two windows of a browser:  {address._replace(scheme=_WEB[address.scheme])}/")
            break
    for address in near:
        if address.scheme == UDP and settings.udp.mode == "open":
            note(f"or with any program for UDP:  nc -u {address.host} {address.port}")
            break


def _trust(settings: Config, address: Address) -> list[str]:
    """What makes `connect` believe the certificate, which for trying has nobody else to sign it."""
    return ["--ca", settings.tls.certificate[0]] if address.scheme in ENCRYPTED else []


@contextlib.contextmanager
def _backend_child() -> Iterator[tuple[str, socket.socket]]:
    """A child process that runs the backend; its address, and a socket whose other end is closed when it ends. It ends
    with the block, and with this process."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        _run_child(theirs)
    theirs.close()
    try:
        with ours.makefile(encoding="ascii") as answer:
            address = answer.readline().strip()
        if not address:
            raise StartupError("the backend did not start")
        yield address, ours
    finally:
        ours.close()
        os.waitpid(child, 0)


def _run_child(line: socket.socket) -> NoReturn:
    code = 1
    try:
        logging.getLogger("voltlane").addHandler(Said())
        os.setsid()  # Ctrl-C at the terminal is for the parent, which still has packets to deliver then
        unblock()
        with Firehose(_ANY_PORT) as firehose:
            line.sendall(f"{firehose.address}\n".encode("ascii"))
            _serve_until_end(firehose, line)
        code = 0
    except Exception as error:
        say(f"the backend: {error}")
    finally:
        os._exit(code)


def _serve_until_end(firehose: Firehose, line: socket.socket) -> None:
    """Echo, and let the page's clients chat, until the line's other end is closed, which the kernel does
    however the parent ends."""
    chat = Chat()
    while True:
        readable, _, _ = select.select([firehose.fileno(), line.fileno()], [], [])
        if line.fileno() in readable:
            return
        for packet in firehose.poll(0):
            chat.handle(packet)
        firehose.flush()
