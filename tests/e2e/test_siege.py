"""A short, small siege (`make siege` is the long one): the good clients must notice nothing, whatever the others do."""

from __future__ import annotations

import select

import pytest

if not hasattr(select, "epoll"):
    pytest.skip("the attackers need epoll", allow_module_level=True)

from bench.siege.attacks import ATTACKS
from bench.siege.run import besiege

SECONDS = 3.0
SHARE = 0.06
SETTINGS: dict[str, object] = {"clients.handshake_secs": 1}


@pytest.fixture(scope="module")
def siege():
    """Raises Fault when a good client loses, repeats or reorders a packet, or is closed."""
    return besiege(SECONDS, good=20, share=SHARE, attacks=list(ATTACKS), settings=SETTINGS)


def test_the_good_have_every_packet_back_once_and_in_order(siege) -> None:
    assert siege.siege.count == 20 * SECONDS * 10


def test_every_attack_was_under_way(siege) -> None:
    assert set(siege.attacks) == set(ATTACKS)
    assert all(counts["connected"] > 0 for counts in siege.attacks.values()), siege.attacks


@pytest.mark.parametrize(
    "reason",
    [
        "handshake deadline passed",
        "connection lost",
        "frame over the size limit",
        "malformed handshake packet",
        "challenge sent back as its own proof",
        "proof of the key failed",
    ],
)
def test_what_was_refused_is_counted_by_its_reason(siege, reason: str) -> None:
    assert siege.closed.get(reason, 0) > 0, siege.closed


def test_no_session_was_lost_or_taken_over_and_nothing_failed_inside(siege) -> None:
    assert "replaced by the same client's new connection" not in siege.closed
    assert siege.ended == {}
    assert siege.internal_errors == 0
