"""Opening the addresses at which clients connect."""

from __future__ import annotations

import socket
from collections.abc import Iterable, MutableMapping
from dataclasses import astuple
from math import ceil

from ..address import ENCRYPTED, Address, parse_listener
from ..config import Config
from ..lanes.entry.entrance import Entrance
from ..net.sockets import SocketOptions, raise_descriptor_limit, set_keepalive

Kept = MutableMapping[str, socket.socket]
"""Sockets that an earlier process has bound, by the addresses that it was asked for."""


def listen(entrance: Entrance, config: Config, inherited: list[tuple[str, socket.socket]], kept: Kept) -> list[str]:
    """Listen at the addresses of the settings, or on sockets that listen already, each for the lane of a scheme.

    What was kept and is listed goes on; what is not listed any more is closed: these addresses are returned. Raises
    StartupError.
    """
    entrance.limit_descriptors(raise_descriptor_limit())
    if inherited:
        entrance.adopt(inherited)
        _set_options(config, [sock for _, sock in inherited])
    else:
        listen_at(entrance, config, [parse_listener(text) for text in config.listener.address], kept)
    unlisted = list(kept)
    for sock in kept.values():
        sock.close()
    return unlisted


def listen_at(entrance: Entrance, config: Config, addresses: list[Address], kept: Kept) -> None:
    """The same at some addresses more. Raises StartupError."""
    unix_mode = config.listener.unix_mode
    _set_options(config, entrance.open(addresses, int(unix_mode, 8) if unix_mode else None, kept))


def _set_options(config: Config, socks: list[socket.socket]) -> None:
    """Connections get from the sockets that listen what the settings say of sockets."""
    clients = config.clients
    for sock in socks:
        SocketOptions(*astuple(config.socket)).apply(sock)
        set_keepalive(sock, ceil(clients.keepalive_secs), ceil(clients.user_timeout_secs))


def encrypts(addresses: Iterable[Address]) -> bool:
    """Whether any of them needs a certificate."""
    return any(address.scheme in ENCRYPTED for address in addresses)
