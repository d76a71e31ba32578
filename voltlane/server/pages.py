"""Whether a page can be served, for whoever would rather know before there is a server."""

from __future__ import annotations

from ..lanes.web.pages import load_pages
from ..lanes.web.site import require_extra


def require_page(name: str) -> None:
    """Raises StartupError when something is missing that `web.page` needs with this value, and says what."""
    require_extra()
    load_pages(name)
