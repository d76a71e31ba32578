"""Opening the addresses at which clients connect."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import astuple
from math import ceil

from ..address import ENCRYPTED, Address, parse_listener
from ..config import Config
from ..lanes.entry.entrance import Entrance
from ..net.sockets import SocketOptions, raise_descriptor_limit, set_keepalive


def listen(entrance: Entrance, config: Config, inherited: list[tuple[str, socket.socket]]) -> None:
    """Listen at the addresses of the settings, or on sockets that listen already, each for the lane of a scheme.
    Connections get from them what the settings say of sockets. Raises StartupError."""
    entrance.limit_descriptors(raise_descriptor_limit())
    clients, listener = config.clients, config.listener
    if inherited:
        entrance.adopt(inherited)
        socks = [sock for _, sock in inherited]
    else:
        mode = int(listener.unix_mode, 8) if listener.unix_mode else None
        socks = entrance.open([parse_listener(text) for text in listener.address], mode)
    for sock in socks:
        SocketOptions(*astuple(config.socket)).apply(sock)
        set_keepalive(sock, ceil(clients.keepalive_secs), ceil(clients.user_timeout_secs))


def encrypts(addresses: Iterable[Address]) -> bool:
    """Whether any of them needs a certificate."""
    return any(address.scheme in ENCRYPTED for address in addresses)
