"""Voltlane: a connection server. N clients over TCP on one side, one tagged stream to a backend on the other.

The names most programs need: `voltlane.client.Connection` (be a client), `voltlane.backend` (be the backend), and
`voltlane.server.Server` (run the connection server inside another program).
"""

from .version import __version__

__all__ = ["__version__"]
