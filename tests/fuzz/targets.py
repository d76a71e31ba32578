"""Everything that is fuzzed."""

from __future__ import annotations

import importlib.util

from fuzz import clients, datagram_client, datagrams, servers, store, version3, websocket
from fuzz.parsers import PARSERS
from fuzz.servers import SERVERS

_MODULES = (version3, datagrams, datagram_client, websocket, clients, store)
_ALL = [*PARSERS, *SERVERS, *(target for module in _MODULES for target in module.TARGETS)]

if importlib.util.find_spec("h11") and importlib.util.find_spec("prometheus_client"):  # the extra `web`
    from fuzz import site, web

    _ALL += [*web.TARGETS, *site.TARGETS]
else:
    web = None  # type: ignore[assignment]

TARGETS = {target.name: target for target in _ALL}
assert len(TARGETS) == len(_ALL), "two of a name, of which one would never run"


def close() -> None:
    """Give back what the targets took."""
    servers.close()
    version3.close()
    datagrams.close()
    if web is not None:
        web.close()


__all__ = ["TARGETS", "close"]
