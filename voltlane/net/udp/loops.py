"""Which form of the loops is taken: the fastest one here, chosen once.

On CPython the one in C, where it was built and VOLTLANE_PURE_PYTHON is not set; else the plain form. Sealed datagrams
are opened in C only where libsodium can be called from there (`sodium`).
"""

from __future__ import annotations

from .plain import Channel, Channels, Peer, Peers, host_port, name_of, packed

BACKEND = "pure Python"

__all__ = ["BACKEND", "Channel", "Channels", "Peer", "Peers", "host_port", "name_of", "packed"]
