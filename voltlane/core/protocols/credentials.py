"""Whose a session's credential is: the first byte tells which protocol wrote it, and so which may resume it."""

from __future__ import annotations

from ...reasons import Symbol
from ...wire.v3 import MAGIC

TOKEN = 0x45
"""The first byte of what is kept of a token: no point of the curve begins like that."""


class Kind(Symbol):
    """What a credential is."""

    NONE = "none: the session ends with its connection"
    KEY = "a public key, of version 2: a point of the curve, in any form"
    SECRETS = "secrets, of version 3"
    TOKEN = "what is kept of a token, of a client that is sent events"


_KINDS = {MAGIC: Kind.SECRETS, TOKEN: Kind.TOKEN}
PROTOCOL_NAMES = {Kind.KEY: "v2", Kind.SECRETS: "v3", Kind.NONE: "open", Kind.TOKEN: "events"}
"""The name of the protocol that writes such a credential."""


def kind_of(credential: bytes) -> Kind:
    """That of a session."""
    if not credential:
        return Kind.NONE
    first = credential[0]
    return _KINDS[first] if first in _KINDS else Kind.KEY  # noqa: SIM401 # which is a call less for every resume
