"""What the stages of lanes go by, one server's: what its listeners have to offer beside a socket."""

from __future__ import annotations

from ...net.certificates import Certificates


class Doors:
    """One server's. What no address of `listener.address` needs is there, and empty."""

    __slots__ = ("certificates",)

    def __init__(self, certificates: Certificates) -> None:
        self.certificates = certificates
