"""Which form of the loops is taken: the fastest one here, chosen once.

On CPython the one in C, where it was built and VOLTLANE_PURE_PYTHON is not set; else the plain form.
"""

from __future__ import annotations

import os

if os.environ.get("VOLTLANE_PURE_PYTHON"):
    from .plain import Channel, Channels, Peer, Peers, host_port, name_of, packed

    BACKEND = "pure Python"
else:
    try:
        from .native import Channel, Channels, Peer, Peers, host_port, name_of, packed

        BACKEND = "native"
    except ImportError:
        from .plain import Channel, Channels, Peer, Peers, host_port, name_of, packed

        BACKEND = "pure Python"

__all__ = ["BACKEND", "Channel", "Channels", "Peer", "Peers", "host_port", "name_of", "packed"]
