"""The first words in the log: what is running, and where it can be reached."""

from __future__ import annotations

import calendar
import platform
import time
from collections.abc import Iterable
from typing import Protocol

from ..address import Address, nearby, parse_address
from ..ops.log import log
from ..version import RELEASED, __version__
from ..wire import batch, curve


class Admin(Protocol):
    """The admin endpoint."""

    address: Address


def say_program() -> None:
    """Which version of what."""
    log.info(
        "voltlane %s, %s %s, wire loops: %s, curve: %s",
        __version__,
        platform.python_implementation(),
        platform.python_version(),
        batch.BACKEND,
        curve.BACKEND,
    )
    if time.time() < calendar.timegm(time.strptime(RELEASED, "%Y-%m-%d")):
        log.warning(
            "the clock says %s, and this version is of %s: ids of earlier processes may come again, but for those "
            "that general.state_dir knows",
            time.strftime("%Y-%m-%d", time.gmtime()),
            RELEASED,
        )


def say_listening(addresses: Iterable[Address]) -> None:
    """Where clients connect to."""
    for address in addresses:
        log.info("clients connect to %s", address)


def say_datagrams(backend: str) -> None:
    """In which form datagrams are taken and sent."""
    log.info("datagrams by the batch: %s", backend)


def say_keys(public: bytes, following: Iterable[bytes]) -> None:
    """What clients know it by."""
    log.info("the server's key for version 3 is %s", public.hex())
    for key in following:
        log.info("the key that is to follow it, of which clients are told, is %s", key.hex())


def say_admin(admin: Admin | None, url: str) -> None:
    """Where operators look at it."""
    if admin is not None:
        log.info("the admin endpoint is at %s", admin.address)
        if url:
            log.info("the live page is at %s", url)


def page_url(configured: str, admin: Admin) -> str:
    """What a browser on this machine opens to see the live page; "" where there is none that it could."""
    if admin.address.kind == "unix":
        return ""
    return f"http://{nearby(parse_address(configured), admin.address)}/"
