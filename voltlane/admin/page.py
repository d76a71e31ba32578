"""The live page: one file with its style and script in it."""

from __future__ import annotations

from http import HTTPStatus
from importlib.resources import files

from ..wire.http1.answers import Response
from ..wire.http1.policy import content_policy

FILE = "page.html"
"""Beside this module, which may be in a zip file."""


class Page:
    """The page as it is answered. Read once, when the endpoint is made."""

    def __init__(self) -> None:
        text = files(__name__.rpartition(".")[0]).joinpath(FILE).read_text(encoding="utf-8")
        self.response = Response(HTTPStatus.OK, text.encode(), "text/html; charset=utf-8", (content_policy(text),))
