"""Admission: each limit on its own, the table when it is full, and all of it against a model that keeps everything."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from voltlane.config import Limits
from voltlane.core.admission import _NOT_THEIR_FAULT, Admission, Source
from voltlane.reasons import CloseReason

GONE = CloseReason.PEER_CLOSED
A, B = (ip_address(text).packed for text in ("192.0.2.1", "192.0.2.2"))
LONG = 1e6


def v6(text: str) -> bytes:
    return ip_address(text).packed


class Yard:
    """An admission, a clock, and those inside."""

    def __init__(self, **limits: Any) -> None:
        self.admission = Admission(Limits(**limits))
        self.now = 1000.0
        self.inside: list[tuple[Source, bool, float]] = []

    def come(self, packed: bytes = A) -> CloseReason | Source:
        return self.admission.admit(packed, self.now)

    def let_in(self, packed: bytes = A) -> Source:
        answer = self.come(packed)
        assert isinstance(answer, Source), answer
        return answer

    def visit(self, packed: bytes = A, *, greet: bool = True, lasts: float = 0.0, why: CloseReason = GONE) -> None:
        """Come, stay so long, and go."""
        source = self.let_in(packed)
        if greet:
            source.greeted()
        self.now += lasts
        source.left(why, greet, lasts, self.now)

    def is_empty(self) -> bool:
        return (self.admission.connections, self.admission.handshakes) == (0, 0)


def test_without_limits_everybody_comes_in_and_nothing_is_kept():
    yard = Yard()
    assert not yard.admission.wants_addresses
    sources = {yard.let_in(bytes([10, 0, n, 0])) for n in range(200)}
    assert len(sources) == 1 and yard.admission.sources == {}
    assert yard.admission.connections == yard.admission.handshakes == 200


def test_connections_in_all():
    yard = Yard(connections=2)
    first, _ = yard.let_in(A), yard.let_in(b"")
    assert yard.come(B) is yard.come(b"") is CloseReason.SERVER_FULL
    first.greeted()
    assert yard.come(B) is CloseReason.SERVER_FULL
    first.left(GONE, True, 1, yard.now)
    yard.let_in(B)
    assert yard.admission.connections == 2


def test_handshakes_under_way():
    yard = Yard(handshakes=2)
    first, second = yard.let_in(A), yard.let_in(b"")
    assert yard.come(B) is CloseReason.TOO_MANY_HANDSHAKES
    first.greeted()
    yard.let_in(B)
    assert yard.come(B) is CloseReason.TOO_MANY_HANDSHAKES
    second.left(GONE, False, 1, yard.now)
    yard.let_in(B)
    first.left(GONE, True, 1, yard.now)
    assert yard.come(B) is CloseReason.TOO_MANY_HANDSHAKES
    assert (yard.admission.connections, yard.admission.handshakes) == (2, 2)


def test_who_is_on_the_lists():
    yard = Yard(allow=["10.0.0.0/8", "2001:db8::/32"], deny=["10.6.0.0/16", "2001:db8:6::/48"])
    for inside in ("10.1.2.3", "2001:db8::1", "::ffff:10.1.2.3"):
        yard.visit(v6(inside))
    for outside in ("11.1.1.1", "10.6.6.6", "2001:db8:6::1", "::1", "::ffff:10.6.6.6"):
        assert yard.come(v6(outside)) is CloseReason.ADDRESS_DENIED
    yard.visit(b"")
    assert yard.is_empty() and yard.admission.sources == {}


def test_deny_alone_lets_all_others_in():
    yard = Yard(deny="192.0.2.1")
    assert yard.come(A) is CloseReason.ADDRESS_DENIED
    yard.visit(B)


def test_connections_of_one_address():
    yard = Yard(address_connections=2)
    first = yard.let_in()
    assert yard.let_in() is first
    assert yard.come() is CloseReason.ADDRESS_FULL
    yard.let_in(B)
    for _ in range(5):
        yard.let_in(b"")
    first.left(GONE, False, 1, yard.now)
    yard.let_in()
    assert yard.come() is CloseReason.ADDRESS_FULL


def test_what_counts_as_one_address():
    yard = Yard(address_connections=1)
    yard.let_in(v6("2001:db8:1:1::1"))
    assert yard.come(v6("2001:db8:1:1:ffff::2")) is CloseReason.ADDRESS_FULL
    yard.let_in(v6("2001:db8:1:2::1"))
    yard.let_in(A)
    yard.let_in(B)
    assert yard.come(v6("::ffff:192.0.2.1")) is CloseReason.ADDRESS_FULL
    wide = Yard(address_connections=1, ipv4_prefix=24, ipv6_prefix=128)
    wide.let_in(A)
    assert wide.come(B) is CloseReason.ADDRESS_FULL
    wide.let_in(bytes([192, 0, 3, 1]))
    wide.let_in(v6("2001:db8::1"))
    wide.let_in(v6("2001:db8::2"))


def test_an_ipv4_address_is_not_the_ipv6_address_of_the_same_bytes():
    yard = Yard(address_connections=1, ipv6_prefix=32)
    yard.let_in(bytes([0x20, 1, 13, 0xB8]))
    yard.let_in(v6("2001:db8::"))


def test_new_connections_a_second():
    yard = Yard(address_rate=2, address_burst=3)
    for _ in range(3):
        yard.visit()
    assert yard.come() is CloseReason.ADDRESS_RATE
    yard.visit(B)
    yard.now += 0.4
    assert yard.come() is CloseReason.ADDRESS_RATE
    yard.now += 0.15
    yard.visit()
    assert yard.come() is CloseReason.ADDRESS_RATE, "who was refused has taken nothing, and gained nothing"
    yard.now += 60
    for _ in range(3):
        yard.visit()
    assert yard.come() is CloseReason.ADDRESS_RATE


def test_failed_handshakes_a_minute():
    yard = Yard(address_failures=3)
    for _ in range(20):
        yard.visit(greet=True)
    for reason in (GONE, CloseReason.BAD_PROOF, CloseReason.HANDSHAKE_TIMEOUT):
        yard.visit(greet=False, why=reason)
    assert yard.come() is CloseReason.ADDRESS_FAILURES
    yard.visit(B)
    yard.now += 19.9
    assert yard.come() is CloseReason.ADDRESS_FAILURES
    yard.now += 0.2
    yard.visit(greet=False)
    assert yard.come() is CloseReason.ADDRESS_FAILURES
    yard.now += 60
    for _ in range(3):
        yard.visit(greet=False)
    assert yard.come() is CloseReason.ADDRESS_FAILURES


@pytest.mark.parametrize("reason", sorted(_NOT_THEIR_FAULT, key=str))
def test_what_is_our_fault_is_no_failure_of_theirs(reason: CloseReason):
    yard = Yard(address_failures=1)
    for _ in range(5):
        yard.visit(greet=False, why=reason)
    yard.visit()


def test_flapping():
    yard = Yard(flap_count=3, flap_secs=10, ban_secs=100)
    told: list[str] = []
    yard.admission.on_ban = told.append
    for _ in range(5):
        yard.visit(lasts=10)  # none of these is short
    yard.visit(lasts=1)
    yard.visit(lasts=1)
    yard.now += 10
    for _ in range(3):
        yard.visit(lasts=1)  # the two before are out of the window
    assert yard.come() is CloseReason.ADDRESS_BANNED
    assert told == ["192.0.2.1"] and yard.admission.banned_now(yard.now) == 1
    yard.visit(B)
    yard.now += 99
    for _ in range(10):
        assert yard.come() is CloseReason.ADDRESS_BANNED, "trying does not make it longer"
    yard.now += 1.1
    assert yard.admission.banned_now(yard.now) == 0
    yard.visit()
    yard.visit()
    assert told == ["192.0.2.1"]


def test_a_ban_is_no_reason_to_close_and_others_ending_does_not_make_it_longer():
    yard = Yard(flap_count=2, flap_secs=10, ban_secs=100)
    staying = [yard.let_in() for _ in range(3)]
    yard.visit(lasts=1)
    yard.visit(lasts=1)
    assert yard.come() is CloseReason.ADDRESS_BANNED
    for source in staying:
        yard.now += 1
        source.left(GONE, True, 5, yard.now)
    assert yard.come() is CloseReason.ADDRESS_BANNED
    yard.now += 97.1
    yard.visit()


def test_an_address_that_is_told_later():
    """As behind a proxy: the totals count from the beginning, the rest from then on."""
    yard = Yard(connections=5, handshakes=5, address_connections=1, deny="192.0.2.2")
    before = yard.let_in(b"")
    assert yard.admission.identify(B, yard.now) is CloseReason.ADDRESS_DENIED
    source = yard.admission.identify(A, yard.now)
    assert isinstance(source, Source) and source is not before
    assert (yard.admission.connections, yard.admission.handshakes) == (1, 1)
    assert yard.admission.identify(A, yard.now) is CloseReason.ADDRESS_FULL
    source.left(GONE, False, 1, yard.now)
    assert yard.is_empty() and yard.admission.sources == {}


# ---- the table


def number(n: int) -> bytes:
    return (0x0A000000 + n).to_bytes(4, "big")


def test_a_flood_of_addresses_does_not_grow_the_table():
    yard = Yard(address_rate=1, address_burst=1, table_size=50)
    for n in range(5000):
        yard.visit(number(n))
        assert len(yard.admission.sources) <= 50
    assert yard.come(number(4999)) is CloseReason.ADDRESS_RATE, "the last ones are remembered"
    assert yard.come(number(4951)) is CloseReason.ADDRESS_RATE
    yard.visit(number(4900))
    assert yard.admission.untracked == 0


def test_who_is_connected_stays_in_the_table():
    yard = Yard(address_connections=1, address_rate=1, address_burst=9, table_size=10)
    staying = [yard.let_in(number(n)) for n in range(9)]
    for n in range(100, 300):
        yard.visit(number(n))
    for n in range(9):
        assert yard.come(number(n)) is CloseReason.ADDRESS_FULL
    for source in staying:
        source.left(GONE, True, 1, yard.now)
    assert len(yard.admission.sources) == 10


def test_a_table_full_of_connected_addresses_lets_others_in_untracked():
    yard = Yard(address_connections=1, table_size=3, connections=6)
    inside = [yard.let_in(number(n)) for n in range(3)]
    assert yard.come(number(0)) is CloseReason.ADDRESS_FULL
    strangers = [yard.let_in(number(7)) for _ in range(3)]
    assert yard.admission.untracked == 3 and len(yard.admission.sources) == 3
    assert yard.come(number(8)) is CloseReason.SERVER_FULL
    for source in inside + strangers:
        source.left(GONE, False, 1, yard.now)
    assert yard.is_empty() and yard.admission.sources == {}


def test_bans_are_kept_while_others_rest_and_the_oldest_goes_first():
    yard = Yard(flap_count=2, flap_secs=10, ban_secs=1000, table_size=4)
    for n in (1, 2, 3):
        yard.visit(number(n))
        yard.visit(number(n))
        yard.now += 1
    for n in range(100, 200):
        yard.visit(number(n))
    assert [yard.come(number(n)) for n in (1, 2, 3)] == [CloseReason.ADDRESS_BANNED] * 3
    yard.let_in(number(300))
    yard.let_in(number(301))
    assert isinstance(yard.come(number(1)), Source)
    assert yard.come(number(3)) is CloseReason.ADDRESS_BANNED


def test_an_address_is_forgotten_when_there_is_nothing_to_remember():
    yard = Yard(address_rate=1, address_burst=5, flap_count=3, flap_secs=30, ban_secs=60)
    for n in range(200):
        yard.visit(number(n))
    for n in range(200, 300):
        for _ in range(3):
            yard.visit(number(n))
    assert len(yard.admission.sources) == 300
    yard.now += 61
    for _ in range(160):
        yard.visit(number(999), lasts=30)
    assert len(yard.admission.sources) == 1


def test_limits_can_be_changed():
    yard = Yard(address_connections=2, address_rate=1, address_burst=2, address_failures=1)
    source = yard.let_in(A)
    yard.visit(A, greet=False)
    yard.visit(B)
    assert yard.come() is CloseReason.ADDRESS_FAILURES
    yard.admission.configure(Limits(address_connections=2))
    yard.admission.catch_up()
    yard.let_in(A)
    assert yard.come() is CloseReason.ADDRESS_FULL
    yard.admission.configure(Limits())
    yard.admission.catch_up()
    yard.let_in(A)
    source.left(GONE, False, 1, yard.now)
    source.left(GONE, False, 1, yard.now)
    assert yard.admission.sources == {}
    assert (yard.admission.connections, yard.admission.handshakes) == (1, 1)


# ---- against a model


class Past:
    """What a naive model remembers of an address: everything."""

    def __init__(self) -> None:
        self.live = 0
        self.connects: list[float] = []
        self.failures: list[float] = []
        self.flaps: list[float] = []
        self.bans: list[float] = []


def tokens(events: list[float], rate: float, burst: float, now: float) -> float:
    """What a bucket holds after all of these."""
    held, at = burst, -LONG
    for when in events:
        held, at = min(burst, held + (when - at) * rate) - 1, when
    return min(burst, held + (now - at) * rate)


ADDRESSES = [b"", A, B, v6("::ffff:192.0.2.1"), v6("2001:db8::1"), v6("2001:db8::2"), v6("2001:db8:0:1::1")]


class Doors(RuleBasedStateMachine):
    """Connections that come, greet and go, at any time. Times and rates are such that floating point is exact."""

    @initialize(
        connections=st.sampled_from([0, 3]),
        handshakes=st.sampled_from([0, 2]),
        address_connections=st.sampled_from([0, 2]),
        address_rate=st.sampled_from([0, 0.5]),
        address_burst=st.integers(1, 3),
        address_failures=st.sampled_from([0, 1, 2]),
        flap_count=st.sampled_from([0, 1, 3]),
        deny=st.sampled_from([(), ("192.0.2.2",)]),
        allow=st.sampled_from([(), ("192.0.0.0/8", "2001:db8::/64")]),
    )
    def begin(self, **limits: Any) -> None:
        self.limits = Limits(flap_secs=16, ban_secs=32, **limits)
        self.admission = Admission(self.limits)
        self.now = 0.0
        self.inside: list[list[Any]] = []  # [source, key, since, greeted]
        self.past: dict[object, Past] = {}

    def key_of(self, packed: bytes) -> object:
        if not packed:
            return None
        address = ip_address(packed)
        if address.version == 4:
            return address
        return address.ipv4_mapped or packed[:8]  # type: ignore[union-attr]

    def patience(self, past: Past) -> float:
        """What failures have left; where rounding would decide, time goes on a little."""
        failures = self.limits.address_failures
        left = tokens(past.failures, failures / 60, failures, self.now)
        if abs(left - 1) < 1e-6 and left < failures:
            self.now += 0.25
            left = tokens(past.failures, failures / 60, failures, self.now)
        return left

    def expected(self, packed: bytes) -> CloseReason | None:
        limits, key = self.limits, self.key_of(packed)
        if limits.connections and len(self.inside) >= limits.connections:
            return CloseReason.SERVER_FULL
        if limits.handshakes and sum(not greeted for *_, greeted in self.inside) >= limits.handshakes:
            return CloseReason.TOO_MANY_HANDSHAKES
        if key is None:
            return None
        text = str(key)
        if limits.deny and text == "192.0.2.2":
            return CloseReason.ADDRESS_DENIED
        if limits.allow and packed == ADDRESSES[-1]:
            return CloseReason.ADDRESS_DENIED
        past = self.past.setdefault(key, Past())
        if past.bans and past.bans[-1] + limits.ban_secs > self.now:
            return CloseReason.ADDRESS_BANNED
        if limits.address_connections and past.live >= limits.address_connections:
            return CloseReason.ADDRESS_FULL
        failures = limits.address_failures
        if failures and self.patience(past) < 1:
            return CloseReason.ADDRESS_FAILURES
        if limits.address_rate and tokens(past.connects, limits.address_rate, limits.address_burst, self.now) < 1:
            return CloseReason.ADDRESS_RATE
        return None

    @rule(packed=st.sampled_from(ADDRESSES))
    def come(self, packed: bytes) -> None:
        expected = self.expected(packed)
        answer = self.admission.admit(packed, self.now)
        if expected is not None:
            assert answer is expected
            return
        assert isinstance(answer, Source), answer
        key = self.key_of(packed)
        self.inside.append([answer, key, self.now, False])
        if key is not None:
            self.past[key].live += 1
            self.past[key].connects.append(self.now)

    @rule(which=st.integers(0, 10))
    def greet(self, which: int) -> None:
        waiting = [one for one in self.inside if not one[3]]
        if waiting:
            one = waiting[which % len(waiting)]
            one[3] = True
            one[0].greeted()

    @rule(which=st.integers(0, 10))
    def go(self, which: int) -> None:
        if not self.inside:
            return
        source, key, since, greeted = self.inside.pop(which % len(self.inside))
        source.left(GONE, greeted, self.now - since, self.now)
        if key is None:
            return
        past, limits = self.past[key], self.limits
        past.live -= 1
        failures = limits.address_failures
        if not greeted and failures and self.patience(past) >= 1:
            past.failures.append(self.now)
        banned = past.bans and past.bans[-1] + limits.ban_secs > self.now
        if limits.flap_count and self.now - since < limits.flap_secs and not banned:
            if past.flaps and self.now - past.flaps[0] >= limits.flap_secs:
                past.flaps.clear()
            past.flaps.append(self.now)
            if len(past.flaps) >= limits.flap_count:
                past.flaps.clear()
                past.bans.append(self.now)

    @rule(seconds=st.sampled_from([0.5, 1, 2, 7.5, 31, 61]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def counts(self) -> None:
        if not hasattr(self, "admission"):
            return
        assert self.admission.connections == len(self.inside)
        assert self.admission.handshakes == sum(not greeted for *_, greeted in self.inside)
        live = {source.key: source.live for source in self.admission.sources.values() if source.live}
        assert sum(live.values()) <= len(self.inside)
        waiting = {**self.admission._resting, **self.admission.banned}
        assert set(waiting) == {key for key, source in self.admission.sources.items() if not source.live}


TestDoors = Doors.TestCase
TestDoors.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
