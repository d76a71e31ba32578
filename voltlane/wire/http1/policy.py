"""What a browser may do for a page: its style and script stand in it, and run because their hashes are in the policy.

https://www.w3.org/TR/CSP3/
"""

from __future__ import annotations

import base64
import hashlib
import re


def content_policy(page: str, scripts: str = "") -> tuple[str, str]:
    """The header for a page with one `<style>` and one `<script>` in it, which talks to its own host only. `scripts`:
    sources of scripts that it may load besides."""
    policy = [
        "default-src 'none'",
        f"script-src {_hash_of('script', page)} {scripts}".rstrip(),
        f"style-src {_hash_of('style', page)}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return "Content-Security-Policy", "; ".join(policy)


def _hash_of(element: str, page: str) -> str:
    (body,) = re.findall(rf"<{element}\b[^>]*>(.*?)</{element}>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
    return f"'sha256-{digest}'"
