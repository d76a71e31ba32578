"""What two sides agree on when a session resumes: each case by hand, and against lists of what was sent and kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from voltlane.core.delivery import EPOCH_SPAN, MOST, Agreement, Claims, Delivery, agree, decode_delivery
from voltlane.errors import BadNumbers
from voltlane.wire.v3 import Gap, Uncertain, Why


def claims(taken: int = 0, safe: int | None = None, sent: int = 0, acked: int = 0, epoch: int = 1) -> Claims:
    return Claims(epoch, taken, taken if safe is None else safe, sent, acked)


def delivery_gap(delivery: Delivery) -> Gap:
    return Gap(1, delivery.floor, Why.RESTART)


class TestOneEpoch:
    def test_a_client_that_opens(self):
        assert agree(Delivery(1), 0, None) == Agreement(0, 0, None, None)

    def test_an_opening_that_is_told_again(self):
        """Its welcome was lost, and something has come for it since."""
        assert agree(Delivery(1, taken=0), 3, None) == Agreement(0, 0, None, None)

    def test_it_has_some_of_what_is_kept(self):
        assert agree(Delivery(1, floor=10), 5, claims(taken=12, safe=11)) == Agreement(0, 2, None, None)

    def test_it_has_all(self):
        assert agree(Delivery(1, floor=10), 5, claims(taken=15)) == Agreement(0, 5, None, None)

    def test_it_has_none(self):
        assert agree(Delivery(1, floor=10), 5, claims(taken=10)) == Agreement(0, 0, None, None)

    def test_what_is_not_kept_any_more_is_a_gap(self):
        delivery = Delivery(1, floor=10)
        assert agree(delivery, 5, claims(taken=7)).gap == Gap(8, 10, Why.FORGOTTEN)
        delivery.drop(2)
        assert agree(delivery, 3, claims(taken=12)).gap is None
        assert agree(delivery, 3, claims(taken=11)).gap == Gap(12, 12, Why.LIMIT)
        delivery.acked(13)
        assert agree(delivery, 2, claims(taken=12, safe=12)).gap == Gap(13, 13, Why.FORGOTTEN)

    def test_upwards_our_own_number_counts(self):
        agreement = agree(Delivery(1, taken=7), 0, claims(sent=20, acked=3))
        assert (agreement.taken, agreement.uncertain) == (7, None)

    def test_an_older_state_is_told_of_more_than_it_knows(self):
        assert agree(Delivery(1, taken=7), 0, claims(sent=4)).taken == 7


class TestAnotherEpoch:
    """Our memory of it was lost, or is older than what was."""

    def test_a_new_epoch_has_numbers_of_its_own(self):
        """What is kept from then on has those; what was kept before is given up, and a part of the gap."""
        delivery = Delivery(1, floor=10)
        delivery.forget(3)
        assert delivery.floor == 3 * EPOCH_SPAN
        agreement = agree(delivery, 5, claims(taken=9))
        assert (agreement.skip, agreement.gap) == (0, Gap(10, 3 * EPOCH_SPAN, Why.RESTART))

    def test_who_has_some_of_the_new_epoch(self):
        delivery = Delivery(1, floor=10)
        delivery.forget(2)
        again = agree(delivery, 5, claims(taken=2 * EPOCH_SPAN + 1, epoch=2))
        assert (again.skip, again.gap) == (1, None)

    @pytest.mark.parametrize("drops", [1, 2, 3])
    def test_what_was_dropped_behind_that_is_a_part_of_it(self, drops: int):
        """However often: with that why nobody counts its numbers."""
        delivery = Delivery(1, floor=10)
        delivery.forget(2)
        for _ in range(drops):
            delivery.drop(1)
        assert agree(delivery, 4, claims(taken=3)).gap == Gap(4, 2 * EPOCH_SPAN + drops, Why.RESTART)

    def test_a_client_that_has_some_of_the_new_epoch_is_told_of_limits(self):
        delivery = Delivery(1, floor=10)
        delivery.forget(2)
        delivery.drop(2)
        again = claims(taken=2 * EPOCH_SPAN, epoch=2)
        assert agree(delivery, 3, again).gap == Gap(2 * EPOCH_SPAN + 1, 2 * EPOCH_SPAN + 2, Why.LIMIT)

    def test_who_opens_in_a_later_epoch_counts_from_1(self):
        delivery = Delivery(7)
        delivery.drop(2)
        assert agree(delivery, 3, claims(taken=1, epoch=7)).gap == Gap(2, 2, Why.LIMIT)

    def test_what_nobody_confirmed_is_told_again(self):
        """A welcome took it over, and was lost."""
        delivery = Delivery(1, taken=5)
        delivery.forget(2)
        delivery.taken = agree(delivery, 0, claims(sent=9)).taken
        assert agree(delivery, 0, claims(sent=9)) == Agreement(9, 0, delivery_gap(delivery), Uncertain(6, 9))

    @pytest.mark.parametrize(
        ("known", "sent", "acked", "taken", "uncertain"),
        [
            (5, 9, 0, 9, Uncertain(6, 9)),
            (5, 9, 7, 9, Uncertain(8, 9)),
            (5, 9, 9, 9, None),
            (9, 9, 0, 9, None),
            (12, 9, 0, 12, None),
            (0, 0, 0, 0, None),
            (0, 1, 0, 1, Uncertain(1, 1)),
        ],
    )
    def test_upwards(self, known: int, sent: int, acked: int, taken: int, uncertain: Uncertain | None):
        """Everything behind the larger of what we know and what we had called safe may have been passed on, or not."""
        delivery = Delivery(1, taken=known)
        delivery.forget(2)
        agreement = agree(delivery, 0, claims(sent=sent, acked=acked))
        assert (agreement.taken, agreement.uncertain) == (taken, uncertain)


class TestRefusals:
    @pytest.mark.parametrize(
        "wrong",
        [
            claims(taken=3, safe=4),
            claims(sent=3, acked=4),
            claims(taken=16),
            claims(taken=MOST),
            claims(sent=MOST + 1),
            claims(sent=MOST + 1, epoch=2),
            claims(sent=2**64 - 1, epoch=2),
        ],
    )
    def test_what_cannot_be(self, wrong: Claims):
        with pytest.raises(BadNumbers):
            agree(Delivery(1, floor=10), 5, wrong)

    def test_the_last_numbers_that_can(self):
        assert agree(Delivery(1, floor=10), 5, claims(taken=15, sent=MOST, epoch=2)).taken == MOST


@given(some.integers(0, 30), some.integers(0, 30), some.integers(0, 30), some.integers(0, 10), some.booleans())
def test_every_packet_comes_once_or_is_a_gap(floor: int, kept: int, taken: int, dropped: int, lost: bool):
    """The client's numbers behind the resume: what it had, a gap, what is sent; none twice, none left out."""
    delivery = Delivery(1, floor=floor)
    if lost:
        delivery.forget(2)
    begins = delivery.floor
    dropped = min(dropped, kept)
    if dropped:
        delivery.drop(dropped)
    taken = min(taken, delivery.floor + kept - dropped)
    numbers = list(range(delivery.floor + 1, begins + kept + 1))  # of what is kept
    agreement = agree(delivery, len(numbers), claims(taken=taken))
    sent = numbers[agreement.skip :]
    assert numbers[: agreement.skip] == [number for number in numbers if number <= taken]
    behind = agreement.gap.last if agreement.gap else taken
    assert sent == list(range(behind + 1, begins + kept + 1))
    if agreement.gap:
        assert agreement.gap.first == taken + 1 <= agreement.gap.last == delivery.floor
        assert agreement.gap.why == (Why.RESTART if lost else Why.LIMIT if dropped else Why.FORGOTTEN)


@given(
    some.integers(0, 2**40),
    some.integers(0, MOST),
    some.integers(0, MOST),
    some.integers(0, MOST),
    some.sampled_from(list(Why)),
)
def test_it_is_kept_over_an_end_in_order(epoch: int, floor: int, taken: int, safe: int, why: Why):
    delivery = Delivery(epoch, floor, taken, why)
    delivery.safe = safe
    again = decode_delivery(delivery.encode())
    assert (again.epoch, again.floor, again.taken, again.safe, again.why) == (epoch, floor, taken, safe, why)


def test_what_was_sent_is_spare_as_far_as_it_is_kept():
    delivery = Delivery(1, floor=10)
    assert delivery.spare == 0
    delivery.sent = 15
    assert delivery.spare == 5
    delivery.drop(2)
    assert (delivery.floor, delivery.spare) == (12, 3)
    again = decode_delivery(delivery.encode())
    assert (again.sent, again.spare) == (15, 3)
    delivery.drop(9)
    assert delivery.spare == 0
