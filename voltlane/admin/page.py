"""The live page: one file with its style and script in it."""

from __future__ import annotations

from http import HTTPStatus
from pkgutil import get_data

from ..wire.http1.answers import Response
from ..wire.http1.policy import content_policy

FILE = "page.html"
"""Beside this module, which may be in a zip file."""


class Page:
    """The page as it is answered. Read once, when the endpoint is made."""

    def __init__(self) -> None:
        page = get_data(__name__.rpartition(".")[0], FILE)
        assert page is not None  # every importer that Python comes with has it, or raises OSError
        headers = (content_policy(page.decode()),)
        self.response = Response(HTTPStatus.OK, page, "text/html; charset=utf-8", headers)
