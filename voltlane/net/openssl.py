"""The standard library's `ssl`, where this Python has it."""

from __future__ import annotations

try:
    import ssl
except ImportError:  # a small system, which has it as a package of its own
    ssl = None  # type: ignore[assignment]

MISSING = "this Python has no module ssl; where that is a package of its own, it is called like python3-openssl"
"""What to say to whoever asks for TLS then."""

__all__ = ["MISSING", "ssl"]
