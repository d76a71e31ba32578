"""A short, small siege (`make siege` is the long one): the good clients must notice nothing, whatever the others do."""

from __future__ import annotations

import select

import pytest

if not hasattr(select, "epoll"):
    pytest.skip("the attackers need epoll", allow_module_level=True)

from bench.siege.attacks import attacks_on
from bench.siege.lanes import LANES
from bench.siege.run import besiege

SECONDS = 2.0
SHARE = 0.06
SETTINGS: dict[str, object] = {"clients.handshake_secs": 1}
REFUSED = {
    "tcp": ["frame over the size limit"],
    "tls": ["frame over the size limit", "TLS handshake failed"],
    "ws": ["malformed HTTP request", "frame that breaks the rules of WebSocket", "page that may not connect"],
}
"""What there is to be refused on each lane, besides what there is on all."""
REFUSED_EVERYWHERE = [
    "handshake deadline passed",
    "connection lost",
    "malformed handshake packet",
    "challenge sent back as its own proof",
    "proof of the key failed",
]


@pytest.fixture(scope="module", params=list(REFUSED))
def lane(request):
    if request.param == "ws":
        pytest.importorskip("h11", reason="WebSockets need the extra web")
    return LANES[request.param]


@pytest.fixture(scope="module")
def siege(lane):
    """Raises Fault when a good client loses, repeats or reorders a packet, or is closed."""
    return besiege(SECONDS, lane=lane, good=20, share=SHARE, attacks=attacks_on(lane), settings=SETTINGS)


def test_the_good_have_every_packet_back_once_and_in_order(siege) -> None:
    assert siege.siege.count == 20 * SECONDS * 10


def test_every_attack_was_under_way(siege, lane) -> None:
    assert set(siege.attacks) == set(attacks_on(lane))
    assert all(counts["as far as it goes"] > 0 for counts in siege.attacks.values()), siege.attacks


def test_what_was_refused_is_counted_by_its_reason(siege, lane) -> None:
    missing = [reason for reason in REFUSED_EVERYWHERE + REFUSED[lane.scheme] if not siege.closed.get(reason)]
    assert not missing, siege.closed


def test_no_session_was_lost_or_taken_over_and_nothing_failed_inside(siege) -> None:
    assert "replaced by the same client's new connection" not in siege.closed
    assert siege.ended == {}
    assert siege.internal_errors == 0
