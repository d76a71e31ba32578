"""The live page: one file with its style and script in it, which a browser runs because their hashes are in the policy.

https://www.w3.org/TR/CSP3/
"""

from __future__ import annotations

import base64
import hashlib
import re
from http import HTTPStatus
from importlib.resources import files

from ..wire.http1.answers import Response

FILE = "page.html"
"""Beside this module, which may be in a zip file."""


class Page:
    """The page as it is answered. Read once, when the endpoint is made."""

    def __init__(self) -> None:
        text = files(__name__.rpartition(".")[0]).joinpath(FILE).read_text(encoding="utf-8")
        policy = "; ".join(
            [
                "default-src 'none'",
                f"script-src {_hash_of('script', text)}",
                f"style-src {_hash_of('style', text)}",
                "connect-src 'self'",
                "img-src data:",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            ]
        )
        headers = (("Content-Security-Policy", policy),)
        self.response = Response(HTTPStatus.OK, text.encode(), "text/html; charset=utf-8", headers)


def _hash_of(element: str, text: str) -> str:
    (body,) = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
    return f"'sha256-{digest}'"
