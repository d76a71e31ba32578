"""What the stages of lanes go by, one server's: what its listeners have to offer beside a socket."""

from __future__ import annotations

from ..web.site import Site


class Doors:
    """What stages ask for."""

    __slots__ = ("site",)

    def __init__(self, site: Site) -> None:
        self.site = site
