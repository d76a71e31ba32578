"""What is known of a peer that numbers its datagrams, and a table of those."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltlane.quality import Arrival, DatagramQuality, PeerQuality, Peers

# ---- totals that are counted elsewhere


def test_loss_and_order_from_totals():
    quality = DatagramQuality(0.0)
    quality.count(-1, 0, 0)
    assert quality.loss is None and quality.reordered is None
    quality.count(99, 90, 9)
    assert (quality.loss, quality.reordered) == (100, 100)
    quality.count(199, 195, 9)  # five of the lost ones have come, and all of the new ones
    assert (quality.loss, quality.reordered) == (25, 46)


def test_a_bad_minute_is_forgotten():
    quality, highest, received = DatagramQuality(0.0), -1, 0
    for came in [50] * 20 + [100] * 100:
        highest, received = highest + 100, received + came
        quality.count(highest, received, 0)
        if highest == 1_999:
            assert 490 < quality.loss <= 500
    assert quality.loss == 0, "a lifetime would have 83"


def test_totals_that_begin_anew():
    quality = DatagramQuality(0.0)
    quality.count(99, 100, 0)
    quality.count(9, 5, 3)
    assert (quality.loss, quality.reordered) == (0, 0)
    quality.count(19, 10, 3)
    assert quality.loss == 5 * 1000 // 110


@given(st.lists(st.tuples(*[st.integers(-1, 3_000)] * 3), max_size=30))
def test_no_totals_lead_out_of_bounds(totals):
    quality = DatagramQuality(0.0)
    for highest, received, late in totals:
        quality.count(highest, received, late)
        assert quality.loss is None or 0 <= quality.loss <= 1000
        assert quality.reordered is None or 0 <= quality.reordered <= 1000


# ---- a peer


def test_all_of_it_together():
    peer, now = PeerQuality(0.0, bits=16), 0.0
    for number in range(65_436, 65_636):
        now += 0.02
        if number % 10 == 0:
            continue
        way = 0.03 + 0.01 * (number % 2)
        assert peer.came(100, now + way, number=number % 65_536, sent=now) is Arrival.NEWEST
        peer.echoed(now - way, now + way)
        peer.went(50)
        if number % 50 == 0:
            peer.look(now)
    peer.look(now)
    assert peer.loss == 100
    assert peer.reordered == 0
    assert peer.jitter == pytest.approx(0.01, rel=0.3) and peer.latency == pytest.approx(0.07, rel=0.1)
    assert (peer.bytes_in, peer.bytes_out) == (18_000, 9_000)
    assert not peer.timed_out(now + 30) and peer.timed_out(now + 31)
    assert 0 < peer.score < 200


def test_bandwidth_needs_two_looks():
    peer = PeerQuality(0.0)
    peer.look(0.0)
    peer.came(1_000, 0.5)
    peer.went(3_000)
    peer.look(2.0)
    assert (peer.bandwidth_in, peer.bandwidth_out) == (500, 1_500)
    assert (peer.loss, peer.jitter, peer.latency, peer.reordered) == (None, None, None, None)


def test_late_and_repeated_ones():
    peer = PeerQuality(0.0)
    arrivals = [peer.came(10, 1.0, number=number, sent=0.9) for number in (0, 1, 3, 3, 2, 5)]
    assert arrivals[3:5] == [Arrival.REPEATED, Arrival.LATE]
    peer.look(1.0)
    assert (peer.loss, peer.reordered) == (1000 // 6, 200)
    assert peer.came(10, 1.1, number=4, sent=0.9) is Arrival.LATE
    peer.look(2.0)
    assert (peer.loss, peer.reordered) == (0, 2000 // 6)


def test_a_copy_is_not_a_datagram_that_was_under_way_for_longer():
    peer = PeerQuality(0.0)
    peer.came(10, 1.0, number=0, sent=0.9)
    peer.came(10, 2.0, number=1, sent=1.9)
    for copy in range(5):
        peer.came(10, 3.0 + copy, number=1, sent=1.9)
    peer.came(10, 9.0, number=2, sent=8.9)
    peer.look(9.0)
    assert peer.jitter == pytest.approx(0)


def test_a_peer_that_was_started_again_is_not_worse_for_that():
    peer = PeerQuality(0.0)
    for number in range(50_000, 50_100):
        peer.came(10, number / 100, number=number, sent=number / 100)
    peer.look(501.0)
    for number in range(100):
        peer.came(10, 502 + number / 100, number=number, sent=number / 100)
        if number % 10 == 9:
            peer.look(502 + number / 100)
    assert peer.loss == 0 and peer.jitter == pytest.approx(0)


# ---- many


def test_who_is_silent_is_gone():
    peers: Peers[str] = Peers(timeout=10)
    ada, eve = peers.add("ada", 0.0), peers.add("eve", 1.0)
    assert ada is not None and peers.get("ada") is ada and len(peers) == 2
    assert peers.expire(10.0) == []
    ada.came(10, 9.0)
    assert peers.expire(11.5) == [("eve", eve)]
    assert "eve" not in peers and list(peers) == ["ada"] and peers.items() == [("ada", ada)]
    assert peers.expire(18.9) == []
    assert peers.expire(19.1) == [("ada", ada)] and peers.expire(1e9) == []


def test_who_is_heard_costs_a_look_in_a_timeout():
    peers: Peers[int] = Peers(timeout=10)
    for number in range(100):
        peers.add(number, 0.0)
    looks = 0
    for turn in range(1, 1_001):
        for _, peer in peers.items():
            peer.heard(turn / 10)
        before = peers._added
        assert not peers.expire(turn / 10)
        looks += peers._added - before
    assert 900 <= looks <= 1_100


def test_there_are_no_more_than_there_may_be():
    peers: Peers[tuple[str, int]] = Peers(most=2)
    assert peers.add(("10.0.0.1", 1), 0.0) and peers.add(("10.0.0.1", 2), 0.0)
    assert peers.add(("10.0.0.1", 3), 0.0) is None and len(peers) == 2
    peers.remove(("10.0.0.1", 1))
    assert peers.add(("10.0.0.1", 3), 0.0)


def test_one_that_is_there_is_not_added():
    peers: Peers[int] = Peers()
    peers.add(1, 0.0)
    with pytest.raises(ValueError, match="a peer at 1 already"):
        peers.add(1, 1.0)


def test_without_a_timeout_nobody_goes():
    peers: Peers[int] = Peers(timeout=0)
    peers.add(1, 0.0)
    assert not peers.expire(1e9) and not peers._due


def test_who_was_removed_and_came_again_is_another():
    peers: Peers[int] = Peers(timeout=10)
    peers.add(1, 0.0)
    assert peers.remove(1) and peers.remove(1) is None
    again = peers.add(1, 9.0)
    assert peers.expire(12.0) == [] and peers.expire(19.5) == [(1, again)]


def test_nothing_grows_by_who_comes_and_goes():
    peers: Peers[int] = Peers()
    for number in range(10_000):
        peers.add(number, 0.0)
        peers.remove(number)
    assert len(peers._due) <= 66


def test_the_best_link_is_first_and_one_that_nobody_knows_in_the_middle():
    peers: Peers[str] = Peers()
    for name, latency in (("far", 0.8), ("new", None), ("near", 0.02), ("lost", 1.0)):
        peer = peers.add(name, 0.0)
        assert peer is not None
        peer.set_latency(latency)
    assert [name for name, _ in peers.by_score()] == ["near", "new", "far", "lost"]


def test_everybody_is_looked_at():
    peers: Peers[int] = Peers()
    one, other = peers.add(1, 0.0), peers.add(2, 0.0)
    for peer in (one, other):
        for number in (0, 3):
            peer.came(10, 0.5, number=number)
    peers.look(1.0)
    assert one.loss == other.loss == 500
