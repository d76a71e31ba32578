"""What the stages of lanes go by, one server's: what its listeners have to offer beside a socket."""

from __future__ import annotations

from ..web.site import Site
from .proxies import Proxies


class Doors:
    """What stages ask for."""

    __slots__ = ("proxies", "site")

    def __init__(self, site: Site, proxies: Proxies) -> None:
        self.site = site
        self.proxies = proxies
