"""What the stages of lanes go by, one server's: what its listeners have to offer beside a socket."""

from __future__ import annotations


class Doors:
    """Empty where no address of `listener.address` needs any of it."""

    __slots__ = ()
