"""`voltlane serve`, and the configuration that it and the demo start from."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .. import config
from ..config import Config
from .console import reason, say, show

if TYPE_CHECKING:
    from ..server import Server

DEFAULT_FILE = "connserver.toml"
"""Read from the working directory when no other file is named."""


def serve(flags: Mapping[str, str], file: str | None) -> int:
    """Run the connection server until a signal ends it. The exit code. Raises ConfigError, StartupError."""
    from ..cluster.workers.directories import check_alone
    from ..cluster.workers.parent import VARIABLE as WORKER
    from ..cluster.workers.share import count_of
    from .successor import Successor, stay

    source = Source(flags, file)
    if WORKER in os.environ:
        from .workers import work

        return work(source.load, _settle_memory)
    successor = Successor(os.environ)
    settings = source.load()
    if source.file is None:
        _write_file()
    count = count_of(settings)
    if count > 1:
        from .workers import supervise

        return supervise(source.load, settings, count, _settle_memory)
    if settings.general.state_dir:
        check_alone(settings.general.state_dir)
    server = start(settings)
    server.source = source.load
    successor.is_asked_to_stay = settings.general.stay
    server.allow_upgrades(successor.launch)
    code = _run(server)
    if server.is_followed:
        if successor.stays:
            stay()
        os._exit(code)  # at once: whoever goes on needs the processor more than what is left here has to be tidied up
    return code


class Source:
    """Where a server's settings come from, again and again. A file that was there once has to be there: without it
    they would be the defaults, which let in who was kept out."""

    def __init__(self, flags: Mapping[str, str], file: str | None) -> None:
        self._flags = flags
        self.file = file
        """The file that was read, or that is to be."""

    def load(self) -> Config:
        """The settings as they are now. Raises ConfigError."""
        self.file = self.file or find_file()
        return config.load(self.file, os.environ, self._flags)


def print_config(flags: Mapping[str, str], file: str | None) -> int:
    """Write the settings as they result from all sources, as TOML, but for secrets. Raises ConfigError."""
    show(config.to_toml(config.load(file or find_file(), os.environ, flags), hide=True).rstrip("\n"))
    return 0


def find_file() -> str | None:
    """The configuration file in the working directory, if there is one."""
    return DEFAULT_FILE if os.path.lexists(DEFAULT_FILE) else None


def start(settings: Config) -> Server:
    """A server that listens. Raises StartupError."""
    # Here, so that looking at the configuration does not wait for the cryptography to load.
    from ..cluster.handover.taker import handed_over
    from ..net.activation import inherited_sockets
    from ..ops.log import say_unraisable, setup
    from ..ops.unwritten import Unwritten
    from ..server import Server

    handler = setup(settings.general)
    sys.unraisablehook = say_unraisable
    taker = handed_over(os.environ)
    server = Server(settings) if taker is None else Server.heir(settings, taker)
    Unwritten(handler, server.reactor, server.on_unwritten)
    server.on_apply.append(lambda config: setup(config.general))
    if taker is None:
        server.start(*inherited_sockets(os.environ))
        _settle_memory()
    else:
        _settle_memory()  # now: while it takes over nobody is served
        server.take_over(taker)
    return server


def _run(server: Server) -> int:
    """Serve, under a service manager if there is one."""
    from ..ops.notify import notifier, watchdog_secs
    from ..server.service import Service

    manager = notifier(os.environ)
    try:
        Service(server, manager, watchdog_secs(os.environ))
        return server.run()
    finally:
        manager.close()


def _settle_memory() -> None:
    """What is loaded stays: the garbage collector, for whose passes everybody waits, need not look at it any more."""
    gc.collect()
    if hasattr(gc, "freeze"):  # PyPy's collector has generations of another kind
        gc.freeze()


def _write_file() -> None:
    """Write the defaults down, to be changed for the next time. Where that is not possible it is no trouble either."""
    try:
        text = config.to_toml(config.defaults())
        with open(DEFAULT_FILE, "x", encoding="utf-8") as file:
            file.write(text)
    except (OSError, ModuleNotFoundError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        say(f"cannot write {DEFAULT_FILE} ({why}); going on with the defaults")
    else:
        say(f"wrote {DEFAULT_FILE} with the defaults")
