"""Pages that listeners of ws:// and wss:// serve, by name: their files, as they are answered."""

from __future__ import annotations

from http import HTTPStatus
from pkgutil import get_data

from ...errors import StartupError
from ...wire.http1.answers import Response
from ...wire.http1.policy import content_policy

Pages = dict[tuple[str, ...], Response]
"""By the segments of their paths."""
SCRIPT = "voltlane.js"
"""The client in JavaScript. In a checkout it is a link to where its tests are, clients/js; in a wheel it is a file."""
_HEADERS = (
    ("Cache-Control", "no-store"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
)


def load_pages(name: str) -> Pages:
    """What to serve for the setting `web.page`. Raises StartupError where this copy of the package lacks it."""
    if name == "off":
        return {}
    page = _read(f"{name}.html")
    headers = (content_policy(page.decode(), "'self'"), *_HEADERS)
    return {
        ("",): Response(HTTPStatus.OK, page, "text/html; charset=utf-8", headers),
        (SCRIPT,): Response(HTTPStatus.OK, _read(SCRIPT), "text/javascript; charset=utf-8", _HEADERS),
    }


def _read(name: str) -> bytes:
    """A file beside this module, which may be in a zip file."""
    try:
        data = get_data(__name__.rpartition(".")[0], name)
    except OSError:
        data = None
    if data is None:
        raise StartupError(f"web.page: there is no {name} in this copy of the package")
    return data
