"""The sockets for datagrams of a server with workers: for each address one for each worker, all of them on one port.

The parent has bound them, and receives nothing there. What comes for a worker that is being started again waits.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, MutableMapping, Sequence
from typing import NamedTuple

from ...address import UDP, Address
from ...errors import StartupError
from ...net.sockets import EXIT_CANNOT_LISTEN, local_address
from ...net.udp.groups import socket_group


class _Group(NamedTuple):
    asked: str
    sockets: list[socket.socket]


class Groups:
    """One parent's. `mode`: as `udp.mode` has it; sealed datagrams find their worker by their ids, others by where they
    come from."""

    def __init__(self, workers: int, mode: str) -> None:
        self._workers = workers
        self._mode = mode
        self._groups: list[_Group] = []
        self.not_to_be_kept: list[str] = []
        """Addresses whose socket a process before has had kept. Of a group none is: beside what workers that have lost
        their parent still have, others would come into another order."""

    def open(self, addresses: Sequence[Address], kept: MutableMapping[str, socket.socket] | None = None) -> None:
        """Bind sockets for all of these; what is bound already is taken out of `kept`. Raises StartupError."""
        for address in addresses:
            first = None if kept is None else kept.pop(str(address), None)
            if first is not None:
                self.not_to_be_kept.append(str(address))
            sockets = socket_group(address, self._workers, self._mode == "sessions", first)
            self._groups.append(_Group(str(address), sockets))

    def adopt(self, socks: Iterable[tuple[str, socket.socket]]) -> None:
        """Sockets that others have bound are one for each address, which several workers cannot share. Raises
        StartupError."""
        for _, sock in socks:
            raise StartupError(
                f"cannot listen on {local_address(sock)._replace(scheme=UDP)}, which was passed: that goes with "
                "general.workers = 1 only",
                EXIT_CANNOT_LISTEN,
            )

    @property
    def mode(self) -> str:
        """What datagrams are, where there is an address for them; else ""."""
        return self._mode if self._groups else ""

    def of(self, worker: int) -> list[socket.socket]:
        """The sockets of one worker, by its index: one for each address."""
        return [group.sockets[worker] for group in self._groups]

    @property
    def addresses(self) -> list[Address]:
        """Where datagrams are received."""
        return [local_address(group.sockets[0])._replace(scheme=UDP) for group in self._groups]

    def close(self) -> None:
        """Bind nothing any more."""
        groups, self._groups = self._groups, []
        for group in groups:
            for sock in group.sockets:
                sock.close()
