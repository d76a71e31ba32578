"""What a client of version 3 may be told about itself, and what of it is allowed."""

from __future__ import annotations

from typing import Callable, NamedTuple

from ..errors import ConfigError
from ..wire.aead import KEY_SIZE
from ..wire.framing import MAX_TAGGED
from ..wire.tagged import TAG_SIZE
from ..wire.v3 import Retained, Suite

PACKET_LIMIT = MAX_TAGGED - TAG_SIZE
"""Bytes of the largest packet either way: tagged, it just fits into what backends accept."""

_CHOICES = {
    "reconnect": ("manual", "auto"),
    "acks": ("taken", "manual"),
    "gaps": ("raise", "return"),
    "uncertain": ("tell", "resend"),
}


class Options(NamedTuple):
    """A row for each keyword of `Connection` that is about version 3 only; there they are explained."""

    reconnect: str = "manual"
    encrypted: bool = True
    acks: str = "taken"
    gaps: str = "raise"
    uncertain: str = "tell"
    retained_packets: int = 8192
    retained_bytes: int = 8 << 20
    window_bytes: int = 256 << 10
    heartbeat: float | None = 30.0
    on_state: Callable[[bytes], object] | None = None

    def checked(self) -> Options:
        """Itself. Raises ConfigError."""
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name}: {getattr(self, name)!r} was given, {' or '.join(allowed)} is needed")
        for name in ("retained_packets", "retained_bytes", "window_bytes"):
            if not 1 <= getattr(self, name) < 1 << 32:
                raise ConfigError(f"{name}: {getattr(self, name)!r} was given, at least 1, less than 2^32 is needed")
        if self.heartbeat is not None and self.heartbeat <= 0:
            raise ConfigError(f"heartbeat: {self.heartbeat!r} was given, more than 0, or None, is needed")
        return self

    @property
    def suite(self) -> int:
        """The one that is offered."""
        return Suite.NOISE if self.encrypted else Suite.CLEAR

    @property
    def retained(self) -> Retained:
        """As the server is told."""
        return Retained(self.retained_packets, self.retained_bytes)


DEFAULTS = Options()


def check_server_key(key: bytes | None, size: int) -> None:
    """Raises ConfigError for what can be no public key of that many bytes."""
    if key is not None and len(key) != size:
        version = 3 if size == KEY_SIZE else 2
        raise ConfigError(f"server_key: {len(key)} bytes were given; version {version} of the protocol has {size}")
