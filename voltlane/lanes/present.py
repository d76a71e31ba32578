"""What may be seen of how clients are here, by whoever only looks."""

from __future__ import annotations

import socket
from typing import Protocol

from ..core.outbox import Outbox
from ..quality import LinkQuality


class Present(Protocol):
    """How a client is here, as far as it is of interest to whoever looks at it: by a connection of its own, or by none,
    as who is nothing but an address from which datagrams come."""

    @property
    def peer(self) -> str:
        """Its address."""
        ...

    @property
    def lane(self) -> str:
        """The name of the lane that it came by."""
        ...

    @property
    def since(self) -> float:
        """When it came."""
        ...

    @property
    def quality(self) -> LinkQuality | None:
        """That of its link, where it is known."""
        ...

    @property
    def outbox(self) -> Outbox | None:
        """What waits for it, if something does."""
        ...

    @property
    def sock(self) -> socket.socket | None:
        """That of its own, which the kernel can be asked about."""
        ...
