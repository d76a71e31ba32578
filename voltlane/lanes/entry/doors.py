"""What the stages of lanes go by, one server's: what its listeners have to offer beside a socket."""

from __future__ import annotations

from ...net.certificates import Certificates
from ..web.site import Site
from .proxies import Proxies


class Doors:
    """One server's. What no address of `listener.address` needs is there, and empty."""

    __slots__ = ("certificates", "proxies", "site")

    def __init__(self, certificates: Certificates, site: Site, proxies: Proxies) -> None:
        self.certificates = certificates
        self.site = site
        self.proxies = proxies
