"""Link quality: averages, loss, the score and when it is computed, and addresses that can be a peer's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltlane.quality import (
    LOSS_HISTORY,
    WORST,
    LinkQuality,
    LossTracker,
    validate_address,
)

# ---- loss


def test_the_lost_of_a_thousand():
    tracker = LossTracker()
    assert tracker.rate() == 0
    for number in range(200):
        tracker.record(number % 4 != 0)
    assert tracker.rate() == 250
    tracker.record_many(0, 200)
    assert tracker.rate() == 625


def test_both_counters_are_halved_past_the_history():
    tracker = LossTracker()
    tracker.record_many(LOSS_HISTORY - 100, 100)
    assert (tracker.expected, tracker.lost) == (10_000, 100)
    tracker.record(True)
    assert (tracker.expected, tracker.lost) == (5_000, 50)


def test_what_is_long_ago_fades():
    old, new = LossTracker(), LossTracker()
    for tracker in (old, new):
        tracker.record_many(9_000, 1_000)
    assert old.rate() == 100
    for _ in range(50_000):
        old.record(True)
    assert old.rate() < 10
    for _ in range(20_000):
        new.record(False)
    assert new.rate() > 800


@given(st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 30_000))))
def test_loss_stays_within_its_bounds(records):
    tracker = LossTracker()
    for received, lost in records:
        tracker.record_many(received, lost)
        assert 0 <= tracker.lost <= tracker.expected <= LOSS_HISTORY
        assert 0 <= tracker.rate() <= 1000


@given(st.lists(st.booleans(), max_size=300))
def test_one_by_one_is_the_same_as_at_once(packets):
    single, bulk = LossTracker(), LossTracker()
    for received in packets:
        single.record(received)
    bulk.record_many(sum(packets), len(packets) - sum(packets))
    assert (single.expected, single.lost) == (bulk.expected, bulk.lost)


# ---- bandwidth


def test_bandwidth_is_averaged_over_what_was_added():
    link = LinkQuality(100.0)
    assert not link.sample(5_000, 700, 100.0)  # where to count from
    assert link.bandwidth_in is None and link.bandwidth_out is None
    assert link.sample(6_000, 900, 101.0)
    assert (link.bandwidth_in, link.bandwidth_out) == (1_000, 200)
    assert link.sample(8_000, 900, 103.0)  # 1,000 and 0 a second
    assert (link.bandwidth_in, link.bandwidth_out) == (1_000, pytest.approx(140))
    assert link.sample(8_000, 1_900, 104.0)
    assert (link.bandwidth_in, link.bandwidth_out) == (pytest.approx(700), pytest.approx(0.7 * 140 + 300))


def test_one_sample_a_second_at_most():
    link = LinkQuality(0.0)
    link.sample(0, 0, 0.0)
    for step in range(1, 10):
        assert not link.sample(100 * step, 0, step / 10)
    assert link.bandwidth_in is None
    assert link.sample(1_000, 0, 1.0)
    assert link.bandwidth_in == 1_000


def test_totals_that_begin_anew():
    link = LinkQuality(0.0)
    link.sample(10_000, 10_000, 0.0)
    link.sample(11_000, 10_000, 1.0)
    assert not link.sample(500, 0, 2.0)
    assert link.bandwidth_in == 1_000
    assert link.sample(1_500, 0, 3.0)
    assert link.bandwidth_in == pytest.approx(1_000)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.floats(0, 5)), min_size=1))
def test_bandwidth_never_leaves_the_range_of_its_samples(steps):
    link, total, now, rates, since, counted = LinkQuality(0.0), 0, 0.0, [], 0.0, 0
    link.sample(0, 0, 0.0)
    for more, seconds in steps:
        total, now = total + more, now + seconds
        if link.sample(total, total, now):
            rates.append((total - counted) / (now - since))
            since, counted = now, total
    if rates:
        assert link.bandwidth_in is not None
        assert min(rates) * (1 - 1e-9) <= link.bandwidth_in <= max(rates) * (1 + 1e-9)
        assert link.bandwidth_in == link.bandwidth_out
    else:
        assert link.bandwidth_in is None


# ---- the score


def scored(loss: int | None = None, latency: float | None = None, bandwidth: float | None = None) -> int | None:
    link = LinkQuality(0.0)
    if loss is not None:
        link.record(1000 - loss, loss)
    link.set_latency(latency)
    if bandwidth is not None:
        link.sample(0, 0, 0.0)
        link.sample(0, int(bandwidth), 1.0)
    return link.score


def test_the_formula():
    assert scored() is None  # unknown, and not the best
    assert scored(0, 0.0, 0) == 0
    assert scored(1000, 1.0) == WORST
    assert scored(100, 0.2, 1 << 20) == (5 * 100 + 3 * 200 + 2 * 500) / 10
    assert scored(latency=0.08) == 80  # the only one that is known
    assert scored(loss=10, latency=0.05) == round((5 * 10 + 3 * 50) / 8)
    assert scored(latency=7.0) == WORST


parts = {
    "loss": st.integers(0, 1000),
    "latency": st.floats(0, 5),
    "bandwidth": st.integers(0, 1 << 30),
}


@given(**parts, worse=st.sampled_from(sorted(parts)), by=st.integers(0, 400))
def test_worse_is_never_better(loss, latency, bandwidth, worse, by):
    link = {"loss": loss, "latency": latency, "bandwidth": bandwidth}
    other = dict(link)
    other[worse] = min(1000, loss + by) if worse == "loss" else link[worse] + by
    assert 0 <= scored(**link) <= scored(**other) <= WORST


def test_it_is_computed_when_asked_for_and_only_after_a_change(monkeypatch):
    computed = []
    compute = LinkQuality._compute
    monkeypatch.setattr(LinkQuality, "_compute", lambda link: computed.append(1) or compute(link))
    link = LinkQuality(0.0)
    link.sample(0, 0, 0.0)
    link.set_latency(0.1)
    link.record(10, 0)
    link.sample(10, 10, 1.0)
    link.heard(5.0)
    assert not computed
    assert link.score == link.score is not None
    assert len(computed) == 1
    link.set_latency(0.1)
    link.record(10, 0)
    link.sample(20, 20, 2.0)  # the same rate again
    link.heard(6.0)
    assert link.score and len(computed) == 1
    link.set_latency(0.2)
    assert link.score and len(computed) == 2
    link.record(0, 10)
    assert link.score and len(computed) == 3
    link.sample(9_000, 20, 3.0)
    assert link.score and len(computed) == 4


# ---- time


def test_silence_and_age():
    link = LinkQuality(50.0, timeout=10.0)
    assert not link.timed_out(60.0)
    assert link.timed_out(60.1)
    link.heard(60.0)
    assert not link.timed_out(70.0) and link.timed_out(70.5)
    assert (link.age(70.0), link.idle(70.0)) == (20.0, 10.0)
    link.heard(55.0)  # heard late of what was before
    assert link.last_receive == 60.0


def test_no_timeout():
    assert not LinkQuality(0.0, timeout=0).timed_out(1e9)


# ---- addresses


@pytest.mark.parametrize(
    "host",
    ["1.2.3.4", "10.0.0.1", "192.168.1.255", "::ffff:1.2.3.4", "2001:db8::1", "fe80::1", "fe80::1%eth0", "0.0.0.1"],
)
def test_addresses_that_a_peer_can_have(host):
    assert validate_address(host, 5678)


def test_a_mapped_address_is_the_one_that_it_stands_for():
    assert str(validate_address("::ffff:1.2.3.4", 1)) == "1.2.3.4"


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("127.0.0.1", "a loopback"),
        ("127.255.3.4", "a loopback"),
        ("::1", "a loopback"),
        ("::ffff:127.0.0.1", "a loopback"),
        ("0.0.0.0", "the unspecified"),
        ("::", "the unspecified"),
        ("::ffff:0.0.0.0", "the unspecified"),
        ("255.255.255.255", "the broadcast"),
        ("::ffff:255.255.255.255", "the broadcast"),
        ("224.0.0.1", "a multicast"),
        ("239.255.255.255", "a multicast"),
        ("ff02::1", "a multicast"),
        ("::ffff:224.0.0.1", "a multicast"),
        ("::ffff:e000:1", "a multicast"),
    ],
)
def test_addresses_that_no_peer_has(host, kind):
    with pytest.raises(ValueError, match=f"is {kind} address"):
        validate_address(host, 5678)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_ports_that_no_peer_has(port):
    with pytest.raises(ValueError, match=f"port {port}"):
        validate_address("1.2.3.4", port)


@pytest.mark.parametrize("host", ["", "localhost", "1.2.3", "1.2.3.4.5", "::g", "1.2.3.4:5"])
def test_what_is_no_address(host):
    with pytest.raises(ValueError):
        validate_address(host, 1)


@given(st.integers(0, 2**32 - 1))
def test_mapped_or_not_is_the_same(number):
    from ipaddress import IPv4Address

    def outcome(host: str) -> str:
        try:
            return str(validate_address(host, 9))
        except ValueError as error:
            return str(error).partition(" is ")[2]

    address = str(IPv4Address(number))
    assert outcome(address) == outcome(f"::ffff:{address}")
