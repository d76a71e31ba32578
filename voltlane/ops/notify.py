"""Telling the service manager how we are: the sd_notify protocol of systemd (man 3 sd_notify).

A message is a datagram of NAME=VALUE lines to the unix socket that $NOTIFY_SOCKET names. Nobody answers, and a manager
that does not listen must not disturb the service: what cannot be sent is dropped.
"""

from __future__ import annotations

import array
import os
import socket
import time
from collections.abc import MutableMapping

from ..numerals import parse_count
from .log import log


class Notifier:
    """The way to the service manager. Without one, all of this does nothing."""

    def __init__(self, address: str = "") -> None:
        self._sock: socket.socket | None = None
        self._address = "\0" + address[1:] if address.startswith("@") else address
        if address.startswith(("/", "@")):
            self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sock.setblocking(False)
        elif address:
            log.warning("NOTIFY_SOCKET=%s is no unix socket: the service manager is told nothing", address)

    def __bool__(self) -> bool:
        """Whether there is a service manager."""
        return self._sock is not None

    def send(self, *lines: str) -> None:
        """One message."""
        if self._sock is not None:
            try:
                self._sock.sendto("\n".join(lines).encode(), self._address)
            except OSError as error:
                log.debug("the service manager was not told: %s", error.strerror)

    def keep(self, name: str, descriptor: int) -> None:
        """Have it keep this descriptor by that name, and pass it to the next process, whatever becomes of this one. It
        does so where the service's settings allow for it (FileDescriptorStoreMax=)."""
        if self._sock is not None:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
            try:
                self._sock.sendmsg([f"FDSTORE=1\nFDNAME={name}".encode()], rights, 0, self._address)
            except OSError as error:
                log.debug("the service manager was not told: %s", error.strerror)

    def forget(self, name: str) -> None:
        """It need not keep what it keeps by that name."""
        self.send("FDSTOREREMOVE=1", f"FDNAME={name}")

    def reloading(self) -> None:
        """The settings are being read again; the manager waits for READY=1. It tells reloads apart by the time."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def close(self) -> None:
        """Give the socket back."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def notifier(environ: MutableMapping[str, str]) -> Notifier:
    """To whom $NOTIFY_SOCKET points. The variable is taken away: it is not meant for child processes."""
    return Notifier(environ.pop("NOTIFY_SOCKET", ""))


def watchdog_secs(environ: MutableMapping[str, str]) -> float:
    """How long the service manager waits for a sign of life before it ends us; 0 where it does not watch us.

    The variables are taken away.
    """
    microseconds, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
    if pid not in ("", str(os.getpid())):
        return 0.0
    return (parse_count(microseconds) or 0) / 1_000_000
