"""Time limits that are the same for all, against a list of deadlines."""

from __future__ import annotations

import random
from collections import OrderedDict

import pytest

from voltlane.core.timeouts import Timeouts


def test_the_oldest_is_due_first_and_never_early():
    timeouts: Timeouts[str] = Timeouts(10)
    assert timeouts.next_deadline() is None and timeouts.due(100) == []
    for name, now in (("a", 0.0), ("b", 3.0), ("c", 3.0)):
        timeouts.begin(name, now)
    assert timeouts.next_deadline() == 10 and timeouts.due(9.99) == []
    assert timeouts.due(10) == ["a"] and len(timeouts) == 3, "who is due is not ended by that"
    assert timeouts.end("a") == 0 and timeouts.next_deadline() == 13
    assert timeouts.due(13) == ["b", "c"] == timeouts.items()


def test_who_has_ended_cannot_end():
    timeouts: Timeouts[str] = Timeouts(1)
    timeouts.begin("a", 0)
    timeouts.end("a")
    with pytest.raises(KeyError):
        timeouts.end("a")


@pytest.mark.parametrize("seed", range(10))
def test_as_a_list_would(seed: int):
    random_ = random.Random(seed)
    timeouts: Timeouts[int] = Timeouts(5)
    model: dict[int, float] = {}
    now = 0.0
    for number in range(500):
        now += random_.choice([0, 0, 0.1, 1])
        act = random_.randrange(4)
        if act < 2:
            timeouts.begin(number, now)
            model[number] = now
        elif act == 2 and model:
            item = random_.choice(list(model))
            assert timeouts.end(item) == model.pop(item)
        else:
            timeouts.secs = random_.choice([1, 5, 9])
        secs = timeouts.secs
        assert timeouts.due(now) == [item for item, began in model.items() if began + secs <= now]
        assert timeouts.next_deadline() == (min(model.values()) + secs if model else None)
        assert len(timeouts) == len(model)


def test_the_oldest_is_found_in_one_step():
    """However many there were: a plain dictionary looks at the places of all who are gone."""
    assert isinstance(Timeouts(5)._began, OrderedDict)


@pytest.mark.parametrize("seed", range(10))
def test_who_began_elsewhere_has_its_place(seed: int):
    """Among those who began before it and later, whenever it comes."""
    random_ = random.Random(seed)
    timeouts: Timeouts[int] = Timeouts(5)
    model: list[tuple[float, int]] = []
    for number in range(200):
        now = number * 0.1
        began = max(0.0, now - random_.choice([0, 0.05, 1, 4, 30]))
        if random_.random() < 0.5:
            timeouts.begin(number, now)
            began = now
        else:
            timeouts.join(number, began)
        model.append((began, number))
        model.sort(key=lambda one: one[0])
        assert timeouts.next_deadline() == model[0][0] + 5
        assert timeouts.due(now) == [one for began, one in model if began + 5 <= now]
        if random_.random() < 0.3:
            began, one = model.pop(random_.randrange(len(model)))
            assert timeouts.end(one) == began
