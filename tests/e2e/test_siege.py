"""A short, small siege (`make siege` is the long one): the good clients must notice nothing, whatever the others do."""

from __future__ import annotations

import select

import pytest

if not hasattr(select, "epoll"):
    pytest.skip("the attackers need epoll", allow_module_level=True)

from bench.siege.attacks import attacks_on
from bench.siege.lanes import LANES
from bench.siege.run import besiege
from voltlane.reasons import DatagramDrop

SECONDS = 2.0
SHARE = 0.06
SETTINGS: dict[str, object] = {"clients.handshake_secs": 1}
_OF_STREAMS = ["handshake deadline passed", "connection lost", "malformed handshake packet"]
_OF_VERSION_2 = ["challenge sent back as its own proof", "proof of the key failed"]
_EVERYWHERE = [*_OF_STREAMS, *_OF_VERSION_2]
REFUSED = {
    "tcp": [*_EVERYWHERE, "frame over the size limit"],
    "tls": [*_EVERYWHERE, "frame over the size limit", "TLS handshake failed"],
    "ws": [
        *_EVERYWHERE,
        "malformed HTTP request",
        "frame that breaks the rules of WebSocket",
        "page that may not connect",
    ],
    "udp": [*_OF_STREAMS, "no session with that id"],
    "udp-open": [],
}
"""What there is to be refused on each lane."""
DROPPED = {
    "udp": [
        DatagramDrop.SHORT,
        DatagramDrop.TOO_LARGE,
        DatagramDrop.UNKNOWN_ID,
        DatagramDrop.UNSEALED,
        DatagramDrop.REPLAYED,
    ],
    "udp-open": [DatagramDrop.TOO_LARGE, DatagramDrop.STRANGER_RATE],
}
MOST_PEERS = 5000
"""As the lane udp-open has it."""


@pytest.fixture(scope="module", params=list(REFUSED))
def lane(request):
    if request.param == "ws":
        pytest.importorskip("h11", reason="WebSockets need the extra web")
    return LANES[request.param]


@pytest.fixture(scope="module")
def siege(lane):
    """Raises Fault when a good client loses, repeats or reorders a packet, or is closed."""
    refused = {
        "closed": REFUSED[lane.scheme],
        "datagrams_dropped": [reason.value for reason in DROPPED.get(lane.scheme, ())],
    }
    attacks = attacks_on(lane)
    return besiege(SECONDS, lane=lane, good=20, share=SHARE, attacks=attacks, settings=SETTINGS, refused=refused)


def test_the_good_have_every_packet_back_once_and_in_order(siege) -> None:
    assert siege.siege.count + siege.siege.lost == 20 * SECONDS * 10
    assert siege.siege.lost <= siege.siege.count // 100, "only datagrams may be, and few"


def test_every_attack_was_under_way(siege, lane) -> None:
    assert set(siege.attacks) == set(attacks_on(lane))
    done = [counts.get("as far as it goes", counts.get("datagrams")) for counts in siege.attacks.values()]
    assert all(done), siege.attacks


def test_what_was_refused_is_counted_by_its_reason(siege, lane) -> None:
    missing = [reason for reason in REFUSED[lane.scheme] if not siege.closed.get(reason)]
    assert not missing, siege.closed
    dropped = [reason for reason in DROPPED.get(lane.scheme, ()) if not siege.dropped.get(reason.value)]
    assert not dropped, siege.dropped


def test_nobody_who_has_no_right_to_it_is_answered_much(siege) -> None:
    for counts in siege.attacks.values():
        if "datagrams" in counts:
            assert counts["bytes of them"] <= 3 * counts["bytes"]
    assert siege.peers <= MOST_PEERS


def test_no_session_was_lost_or_taken_over_and_nothing_failed_inside(siege) -> None:
    assert "replaced by the same client's new connection" not in siege.closed
    assert siege.ended == {}
    assert siege.internal_errors == 0
