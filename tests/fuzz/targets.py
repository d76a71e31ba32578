"""Everything that is fuzzed."""

from __future__ import annotations

import importlib.util

from fuzz import clients, datagram_client, datagrams, servers, store, version3, websocket
from fuzz.parsers import PARSERS
from fuzz.servers import SERVERS

_DATAGRAMS = [*datagrams.TARGETS, *datagram_client.TARGETS]
_MORE = [*version3.TARGETS, *_DATAGRAMS, *websocket.TARGETS, *clients.TARGETS, *store.TARGETS]
TARGETS = {target.name: target for target in [*PARSERS, *SERVERS, *_MORE]}

if importlib.util.find_spec("h11") and importlib.util.find_spec("prometheus_client"):  # the extra `web`
    from fuzz import site, web

    TARGETS.update((target.name, target) for target in [*web.TARGETS, *site.TARGETS])
else:
    web = None  # type: ignore[assignment]


def close() -> None:
    """Give back what the targets took."""
    servers.close()
    version3.close()
    datagrams.close()
    if web is not None:
        web.close()


__all__ = ["TARGETS", "close"]
