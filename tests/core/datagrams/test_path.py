"""At which address a client is: challenged, validated, roaming; and nobody is sent much who has not answered."""

from __future__ import annotations

import random
from itertools import count

import pytest

from voltlane.core.datagrams.path import Candidate, answers, challenge, heard
from voltlane.wire.datagram import CHALLENGE_EVERY_SECS, UNVALIDATED_FACTOR, WORDS_SIZE

A, B, C = ("192.0.2.1", 1), ("192.0.2.2", 1), ("192.0.2.2", 2)


def words():
    """Random bytes that differ each time, and are known."""
    numbers = count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


def test_the_newest_from_elsewhere_is_the_candidate():
    random_ = words()
    candidate = heard(None, A, True, 1, 50, random_)
    assert candidate is not None and candidate.name == A and candidate.received == 50
    assert heard(candidate, A, False, 1, 30, random_) is candidate and candidate.received == 80
    other = heard(candidate, B, True, 2, 40, random_)
    assert other is not None and other is not candidate and (other.name, other.received) == (B, 40)
    assert other.words != candidate.words and len(other.words) == WORDS_SIZE


def test_an_old_one_from_elsewhere_says_nothing():
    random_ = words()
    assert heard(None, A, False, 1, 50, random_) is None
    candidate = heard(None, A, True, 1, 50, random_)
    assert heard(candidate, B, False, 2, 50, random_) is candidate
    assert candidate is not None and candidate.received == 50


@pytest.mark.parametrize(
    ("name", "sent", "good"),
    [(A, b"right its", True), (B, b"right its", False), (A, b"wrong its", False), (A, b"", False)],
)
def test_who_answers_has_to_be_there_and_to_have_read_it(name, sent: bytes, good: bool):
    assert answers(Candidate(A, b"right its"), name, sent, 0) is good


def test_who_has_left_again_is_not_there():
    """The words may have been caught on their way, and be said by somebody else."""
    candidate = heard(None, A, True, 7, 50, words())
    assert candidate is not None and answers(candidate, A, candidate.words, 7)
    assert heard(candidate, A, False, 8, 50, words()) is candidate, "8 came from its path"
    assert not answers(candidate, A, candidate.words, 8)
    assert heard(candidate, A, True, 9, 50, words()) is candidate, "it is back"
    assert answers(candidate, A, candidate.words, 9)


def test_nobody_answers_what_was_not_asked():
    assert not answers(None, A, b"", 0)


def test_it_is_challenged_at_once_and_then_not_all_the_time():
    candidate = Candidate(A, b"12345678")
    candidate.received = 1000
    assert challenge(candidate, 45, 7.0)
    assert not challenge(candidate, 45, 7.0 + CHALLENGE_EVERY_SECS / 2)
    assert challenge(candidate, 45, 7.0 + 2 * CHALLENGE_EVERY_SECS)
    assert candidate.sent == 90


def test_whatever_comes_it_is_sent_at_most_three_times_that():
    random_ = random.Random(4)
    candidate, now = Candidate(A, b"12345678"), 0.0
    for _ in range(1000):
        candidate.received += random_.choice([0, 0, 0, 37, 45, 1200])
        now += random_.random()
        size = random_.choice([37, 45, 1200])
        if random_.random() < 0.5:
            candidate.spend(size)
        else:
            challenge(candidate, size, now)
        assert candidate.sent <= UNVALIDATED_FACTOR * candidate.received


def test_what_is_too_much_is_not_counted():
    candidate = Candidate(A, b"12345678")
    candidate.received = 20
    assert candidate.spend(60) and not candidate.spend(1) and candidate.sent == 60
    assert not challenge(candidate, 45, 1.0)
    candidate.received += 15
    assert challenge(candidate, 45, 1.0), "one that could not be sent was none"
