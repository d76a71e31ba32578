"""Where the store is, as whom to speak to it, and whom to believe that it is the store."""

from __future__ import annotations

from typing import NamedTuple

from ...config import Cluster, RedisUrl, parse_redis_url
from ...errors import StartupError
from ...net.openssl import MISSING, ssl
from .resp import AVAILABLE

ANSWER_SECS = 2.0
"""How long the store may take for an answer ..."""
LEASE_SHARE = 4
"""... but no longer than this part of a lease, which has to be renewed before it ends."""
EXIT_CONFIG = 2


class Options(NamedTuple):
    """Everything that a connection to the store needs to know."""

    url: RedisUrl
    prefix: str
    """Of the names of all keys and channels."""
    answer_secs: float = ANSWER_SECS
    context: ssl.SSLContext | None = None
    """For TLS."""


def options_of(settings: Cluster) -> Options:
    """Those of a configuration in which `cluster.url` is set. Raises StartupError."""
    if not AVAILABLE:
        raise StartupError("cluster.url is set, which needs hiredis: pip install hiredis", EXIT_CONFIG)
    url = parse_redis_url(settings.url)
    answer_secs = min(ANSWER_SECS, settings.lease_secs / LEASE_SHARE)
    return Options(url, settings.prefix, answer_secs, _context(settings.ca_file) if url.encrypted else None)


def _context(ca_file: str) -> ssl.SSLContext:
    if ssl is None:
        raise StartupError(f"cluster.url = rediss://… cannot be used: {MISSING}", EXIT_CONFIG)
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:  # an SSLError is one
        why = "it holds no certificates in PEM" if isinstance(error, ssl.SSLError) else _words(error)
        raise StartupError(f"cluster.ca_file: {ca_file} cannot be used: {why}", EXIT_CONFIG) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
