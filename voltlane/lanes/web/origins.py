"""Whose pages may connect (RFC 6454; RFC 6455, section 10.2): a browser says of every WebSocket from which page it is.

It connects for any page, and sends along what its user has for this host.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...ops.log import log

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_MOST_NAMED = 256
"""Refused origins that the log names, each once."""


class Origins:
    """Those that are allowed: as `web.origins` lists them, or where it lists none, the host that is asked itself."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._named: set[str] = set()
        self.configure(allowed)

    def configure(self, allowed: Iterable[str]) -> None:
        """Go by this list from now on."""
        self._allowed = frozenset(allowed)
        self._domains = tuple([origin.partition("*")[::2] for origin in self._allowed if "//*." in origin])

    def allows(self, origin: str | None, authority: str | None) -> bool:
        """Whether a page of this origin may connect; None: it is no page. `authority`: the host that was asked, with
        its port if that was named."""
        if origin is None or "*" in self._allowed:
            return True
        scheme, _, host = origin.lower().partition("://")
        port = _DEFAULT_PORTS.get(scheme, "")
        host = _without(host, port)
        if not self._allowed:
            return bool(host) and host == _without((authority or "").lower(), port)
        known = f"{scheme}://{host}" if host else scheme
        return known in self._allowed or any(
            known.startswith(before) and known.endswith(behind) and len(known) > len(before) + len(behind)
            for before, behind in self._domains
        )

    def note_refused(self, origin: str) -> None:
        """Say in the log, once, that this one was refused."""
        if origin not in self._named and len(self._named) < _MOST_NAMED:
            self._named.add(origin)
            log.warning("pages of %.200r may not connect: see web.origins", origin)


def _without(host: str, port: str) -> str:
    return host[: -len(port)] if port and host.endswith(port) else host
