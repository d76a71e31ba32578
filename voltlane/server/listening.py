"""Opening the addresses at which clients connect."""

from __future__ import annotations

import socket
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import astuple
from math import ceil
from typing import Protocol

from ..address import ENCRYPTED, UDP, Address, parse_listener
from ..config import Config
from ..lanes.entry.entrance import Entrance
from ..net.sockets import SocketOptions, raise_descriptor_limit, set_keepalive
from ..net.udp.sockets import equip

Kept = MutableMapping[str, socket.socket]
"""Sockets that an earlier process has bound, by the addresses that it was asked for."""


class Ports(Protocol):
    """Where datagrams are received."""

    def open(self, addresses: Sequence[Address], kept: Kept | None = None) -> None:
        """See lanes.udp."""

    def adopt(self, socks: Iterable[tuple[str, socket.socket]]) -> object:
        """See lanes.udp."""


def listen(
    entrance: Entrance, config: Config, inherited: list[tuple[str, socket.socket]], kept: Kept, ports: Ports | None
) -> list[str]:
    """Listen at the addresses of the settings, or on sockets that listen already, each for the lane of a scheme; on
    `ports` for datagrams.

    What was kept and is listed goes on; what is not listed any more is closed: these addresses are returned. Raises
    StartupError.
    """
    entrance.limit_descriptors(raise_descriptor_limit())
    if inherited:
        streams = [(scheme, sock) for scheme, sock in inherited if scheme != UDP]
        entrance.adopt(streams)
        _set_options(config, [sock for _, sock in streams])
        if ports is not None:
            datagrams = [("", sock) for scheme, sock in inherited if scheme == UDP]
            for _, sock in datagrams:
                equip(sock)
            ports.adopt(datagrams)
    else:
        listen_at(entrance, config, [parse_listener(text) for text in config.listener.address], kept, ports)
    unlisted = list(kept)
    for sock in kept.values():
        sock.close()
    return unlisted


def listen_at(entrance: Entrance, config: Config, addresses: list[Address], kept: Kept, ports: Ports | None) -> None:
    """The same at some addresses more. Raises StartupError."""
    unix_mode = config.listener.unix_mode
    streams = [address for address in addresses if address.scheme != UDP]
    _set_options(config, entrance.open(streams, int(unix_mode, 8) if unix_mode else None, kept))
    if ports is not None:
        ports.open([address for address in addresses if address.scheme == UDP], kept)


def _set_options(config: Config, socks: list[socket.socket]) -> None:
    """Connections get from the sockets that listen what the settings say of sockets."""
    clients = config.clients
    for sock in socks:
        SocketOptions(*astuple(config.socket)).apply(sock)
        set_keepalive(sock, ceil(clients.keepalive_secs), ceil(clients.user_timeout_secs))


def listens_for_datagrams(config: Config) -> bool:
    """Whether there is an address for them."""
    return any(parse_listener(text).scheme == UDP for text in config.listener.address)


def encrypts(addresses: Iterable[Address]) -> bool:
    """Whether any of them needs a certificate."""
    return any(address.scheme in ENCRYPTED for address in addresses)
