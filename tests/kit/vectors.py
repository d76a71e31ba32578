"""The golden vectors of wire protocol v2 (tests/vectors/v2.json), and the ways to feed bytes to a parser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CERTIFICATES = Path(__file__).parent.parent / "vectors" / "tls"
"""Certificates and keys, and the script that made them."""
VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors" / "v2.json").read_text(encoding="utf-8"))


def unhex(entry: dict[str, Any], field: str = "hex") -> bytes:
    """A field of a vector, as bytes."""
    return bytes.fromhex(entry[field])


def why(entry: dict[str, Any]) -> str:
    """What a malformed vector is called in a test's name."""
    return str(entry["why"]).replace(" ", "-")


def cuts(data: bytes) -> Iterator[bytes]:
    """The data cut at every byte: every proper prefix, the empty one first."""
    return (data[:size] for size in range(len(data)))
