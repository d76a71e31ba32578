"""`voltlane serve` with `general.workers`: the parent, and each worker, which is the same command once more."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from typing import Callable

from ..cluster.handover.taker import VARIABLE as HANDOVER
from ..cluster.handover.taker import handed_over
from ..cluster.workers.parent import VARIABLE, parent_of
from ..cluster.workers.share import share_of
from ..config import Config
from ..errors import StateError
from ..net.activation import inherited_sockets
from ..ops.log import setup
from ..ops.notify import notifier, watchdog_secs
from ..ops.unwritten import Unwritten
from ..server.parts import memory_for_queues
from ..server.service import Service
from ..server.supervisor import Supervisor
from ..server.worker import WorkerServer
from ..signals import block, unblock
from .successor import command_line

_NOT_THEIRS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
"""The environment's variables that are for the parent alone."""


def supervise(load: Callable[[], Config], settings: Config, count: int, settle: Callable[[], None]) -> int:
    """Run the parent of so many workers until a signal ends it. The exit code. Raises StartupError."""
    handler = setup(settings.general)
    memory = memory_for_queues(settings)
    share_of(settings, 0, count, memory)  # what is too little for each is told here, once
    supervisor = Supervisor(settings, count, _Launcher(os.environ).launch)
    supervisor.source = load
    supervisor.on_apply.append(lambda config: setup(config.general))
    Unwritten(handler, supervisor.reactor, supervisor.on_unwritten)
    supervisor.start(*inherited_sockets(os.environ))
    settle()
    watchdog = watchdog_secs(os.environ)
    manager = notifier(os.environ)
    try:
        Service(supervisor, manager, watchdog)
        if manager and watchdog:
            supervisor.crew.watch(watchdog)
        return supervisor.run()
    finally:
        manager.close()


class _Launcher:
    """How workers are started. To be made before the environment is changed."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = {name: value for name, value in environ.items() if name not in _NOT_THEIRS}
        self._command = command_line()

    def launch(self, index: int, theirs: socket.socket, heir: socket.socket | None) -> subprocess.Popen[bytes]:
        """See crew.Launch. Signals for it wait until it has handlers."""
        environ = {**self._environ, VARIABLE: str(theirs.fileno())}
        block()
        theirs.set_inheritable(True)
        if heir is not None:
            heir.set_inheritable(True)
            environ[HANDOVER] = str(heir.fileno())
        try:
            return subprocess.Popen(self._command, env=environ, close_fds=False)
        finally:
            unblock()


def work(load: Callable[[], Config], settle: Callable[[], None]) -> int:
    """Run one worker until its parent ends it. The exit code. Raises ConfigError, StartupError."""
    parent = parent_of(os.environ)
    if parent is None:
        raise StateError(f"{VARIABLE} is set, and is no number")
    hello = parent.hello
    index, workers = hello.which, hello.workers

    def load_share() -> Config:
        settings = load()
        settings = replace(
            settings,
            general=replace(settings.general, node=hello.first_node, state_dir=hello.state_dir, workers=workers),
            udp=replace(settings.udp, mode=hello.datagrams or settings.udp.mode),
        )
        return share_of(settings, index, workers, memory_for_queues(settings))

    settings = load_share()
    handler = setup(settings.general, index)
    taker = handed_over(os.environ)
    server = WorkerServer(settings, parent) if taker is None else WorkerServer.heir_at(settings, taker, parent)
    server.source = load_share
    server.on_apply.append(lambda config: setup(config.general, index))
    Unwritten(handler, server.reactor, server.on_unwritten)
    if taker is None:
        server.start()
        settle()
    else:
        settle()
        server.take_over(taker)
    code = server.run()
    if server.is_followed:
        os._exit(code)  # see serve
    return code
