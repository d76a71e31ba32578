"""A link: averages, the score and when it is computed, and silence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltlane.quality import WORST, LinkQuality

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


def scored(
    loss: int | None = None, latency: float | None = None, bandwidth: float | None = None, jitter: float | None = None
) -> int | None:
    link = LinkQuality(0.0)
    if loss is not None:
        link.record(1000 - loss, loss)
    link.set_latency(latency)
    link.set_jitter(jitter)
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


def test_jitter_is_a_part_of_the_latency():
    assert scored(latency=0.08, jitter=0.01) == 80 + 4 * 10
    assert scored(10, 0.05, jitter=0.02) == round((5 * 10 + 3 * (50 + 4 * 20)) / 8)
    assert scored(latency=0.9, jitter=0.1) == WORST
    assert scored(jitter=0.01) == 40  # the only thing that is known


@given(st.none() | st.integers(0, 1000), st.none() | st.floats(0, 5), st.none() | st.integers(0, 1 << 30))
def test_no_jitter_and_jitter_that_is_not_known_score_alike(loss, latency, bandwidth):
    steady = scored(loss, latency, bandwidth, 0.0)
    if latency is None:  # then jitter is all that is known of the time
        assert steady is not None and steady <= (scored(loss, 0.0, bandwidth) or 0)
    else:
        assert steady == scored(loss, latency, bandwidth)


parts = {
    "loss": st.integers(0, 1000),
    "latency": st.floats(0, 5),
    "bandwidth": st.integers(0, 1 << 30),
    "jitter": st.floats(0, 2),
}


@given(**parts, worse=st.sampled_from(sorted(parts)), by=st.integers(0, 400))
def test_worse_is_never_better(loss, latency, bandwidth, jitter, worse, by):
    link = {"loss": loss, "latency": latency, "bandwidth": bandwidth, "jitter": jitter}
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
    link.set_jitter(0.01)
    assert link.score and len(computed) == 5
    link.set_jitter(0.01)
    link.record_order(10, 10)  # which is no part of it
    assert link.score and len(computed) == 5


# ---- order


def test_the_reordered_of_a_thousand():
    link = LinkQuality(0.0)
    assert link.reordered is None
    link.record_order(0, 0)
    assert link.reordered is None
    link.record_order(95, 5)
    assert (link.reordered, link.loss, link.score) == (50, None, None)


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
