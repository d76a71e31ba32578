"""The live page: its markup, with its style and its scripts put into it, which are files of their own beside it."""

from __future__ import annotations

from http import HTTPStatus
from pkgutil import get_data

from ..wire.http1.answers import Response
from ..wire.http1.policy import content_policy

MARKUP, STYLE = "page.html", "page.css"
SCRIPTS = ("words.js", "plots.js", "clients.js", "page.js")
"""In this order: each uses what stands in those before."""


class Page:
    """The page as it is answered. Put together once, when the endpoint is made; the files may be in a zip file."""

    def __init__(self) -> None:
        style, script = _read(STYLE), "".join(map(_read, SCRIPTS))
        text = _read(MARKUP).replace("<style></style>", f"<style>\n{style}</style>", 1)
        text = text.replace("<script></script>", f"<script>\n{script}</script>", 1)
        self.response = Response(HTTPStatus.OK, text.encode(), "text/html; charset=utf-8", (content_policy(text),))


def _read(name: str) -> str:
    data = get_data(__name__.rpartition(".")[0], name)
    assert data is not None  # every importer that Python comes with has it, or raises OSError
    return data.decode()
