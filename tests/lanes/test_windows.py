"""How much clients may send ahead: a little at first, more for who makes use of it, and together a bounded share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from voltlane.core.budget import Budget
from voltlane.lanes.windows import FIRST, SHARE, SMALLEST, Windows

MOST = 1 << 20


def test_who_uses_it_up_gets_twice_as_much_up_to_the_most():
    windows = Windows(Budget(1 << 30), MOST)
    window, sizes = windows.open(), []
    for _ in range(8):
        window = windows.renew(window, window // 2)
        sizes.append(window)
    assert sizes == [FIRST << 1, FIRST << 2, FIRST << 3, MOST, MOST, MOST, MOST, MOST]
    assert windows.promised == MOST


def test_who_uses_little_keeps_what_there_is():
    windows = Windows(Budget(1 << 30), MOST)
    assert windows.renew(windows.open(), FIRST // 2 + 1) == FIRST


def test_a_lower_limit_is_for_everybody_from_then_on_but_takes_nothing_back():
    windows = Windows(Budget(1 << 30), MOST)
    window = windows.renew(windows.open(), 0)
    windows.most = SMALLEST
    assert windows.renew(window, 10_000) == 10_000
    assert windows.renew(10_000, 0) == SMALLEST == windows.open()


@given(some.integers(1 << 16, 1 << 26), some.lists(some.tuples(some.integers(0, 30), some.floats(0, 1)), max_size=200))
def test_all_together_are_a_share_of_the_memory(limit: int, steps: list[tuple[int, float]]):
    """But for the least that everybody has."""
    windows, theirs = Windows(Budget(limit), MOST), []
    for who, left in steps:
        if who >= len(theirs):
            theirs.append(windows.open())
        elif left < 0.1:
            windows.close(theirs.pop(who))
        else:
            before = theirs[who]
            theirs[who] = windows.renew(before, int(before * left))
            assert theirs[who] >= int(before * left), "credit that was given stays"
        assert windows.promised == sum(theirs) and windows.count == len(theirs)
        assert sum(theirs) <= max(limit // SHARE, 0) + len(theirs) * SMALLEST
        assert min(theirs, default=SMALLEST) >= SMALLEST


def test_who_comes_when_nothing_is_left_gets_the_least():
    windows = Windows(Budget(SHARE * FIRST), MOST)
    assert [windows.open(), windows.open(), windows.open()] == [FIRST, SMALLEST, SMALLEST]
    windows.close(FIRST)
    assert windows.renew(SMALLEST, 0) == 2 * SMALLEST
