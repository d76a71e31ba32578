"""Which openings lead to a server: by the scheme of its address."""

from __future__ import annotations

from ..address import WEB_PORTS, Address
from .openings import Opening
from .secure import Secure, Trust
from .websocket import Upgrade


def openings_for(address: Address, protocol: int, limit: int, trust: Trust | None) -> list[Opening]:
    """In their order. `protocol`: the version that is spoken behind them; `limit`: bytes of its largest message;
    `trust`: with TLS."""
    openings: list[Opening] = []
    if trust is not None:
        openings.append(Secure(trust))
    if address.scheme in WEB_PORTS:
        openings.append(Upgrade(address, protocol, limit))
    return openings
