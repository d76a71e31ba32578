"""Mutation fuzzing that keeps what reaches new code: a small relative of AFL, for functions of bytes.

A target must come back, or raise what it says it raises; anything else is a finding. What is kept stands as files in
`corpus/<target>/`, one input each, found by whoever ran it last; a finding is kept beside them, to be run for ever.
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Callable, NamedTuple

CORPUS = Path(__file__).resolve().parent / "corpus"
PACKAGE = str(Path(__file__).resolve().parents[2] / "voltlane")
LONGEST = 4096
MOST_KEPT = 60
"""Inputs of one target in the corpus: it is read in every run of the tests."""
ODD_NUMBERS = [
    0,
    1,
    2,
    8,
    9,
    127,
    128,
    250,
    251,
    252,
    253,
    254,
    255,
    1 << 16,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 63,
]
SLOW_SECS = 2.0
"""One input may take so long."""
ENOUGH = 3
"""Findings, after which a target is given up: they tend to be one."""

Edge = tuple  # (code, line before, line)


class Target(NamedTuple):
    """What is fuzzed. `run` raises for everything that must not be."""

    name: str
    run: Callable[[bytes], object]
    seeds: Sequence[bytes]
    tokens: Sequence[bytes] = ()
    """What inputs are made of, for the mutations."""


class Finding(AssertionError):
    """An input that a target does not stand."""


def corpus(target: Target) -> list[bytes]:
    """The target's seeds and what was kept."""
    kept = sorted((CORPUS / target.name).glob("*")) if (CORPUS / target.name).is_dir() else []
    return [*target.seeds, *(path.read_bytes() for path in kept)]


def check(target: Target, data: bytes) -> None:
    """Run one input. Raises Finding with all that is needed to run it again."""
    began = time.monotonic()
    try:
        target.run(data)
    except Exception as error:
        raise Finding(f"{target.name} does not stand {data!r}: {type(error).__name__}: {error}") from error
    if time.monotonic() - began > SLOW_SECS:
        raise Finding(f"{target.name} takes {time.monotonic() - began:.1f} s for {data!r}")


# ---- mutations


def mutated(choose: random.Random, data: bytes, others: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """A few changes to an input."""
    found = bytearray(data)
    for _ in range(choose.choice([1, 1, 2, 3, 5, 8])):
        choose.choice(_MUTATIONS)(choose, found, others, tokens)
    return bytes(found[:LONGEST])


def _flip(choose: random.Random, data: bytearray, *_: Any) -> None:
    if data:
        data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)


def _set(choose: random.Random, data: bytearray, *_: Any) -> None:
    if data:
        data[choose.randrange(len(data))] = choose.choice([choose.randrange(256), *(n & 255 for n in ODD_NUMBERS)])


def _number(choose: random.Random, data: bytearray, *_: Any) -> None:
    number, size = choose.choice(ODD_NUMBERS), choose.choice([1, 2, 4, 8])
    at = choose.randrange(len(data) + 1)
    data[at : at + choose.choice([0, size])] = (number & ((1 << 8 * size) - 1)).to_bytes(
        size, choose.choice(["little", "big"])
    )


def _insert(choose: random.Random, data: bytearray, *_: Any) -> None:
    at = choose.randrange(len(data) + 1)
    data[at:at] = bytes(choose.randrange(256) for _ in range(choose.randrange(1, 12)))


def _delete(choose: random.Random, data: bytearray, *_: Any) -> None:
    if data:
        at = choose.randrange(len(data))
        del data[at : at + choose.choice([1, 1, 2, 4, 16, len(data)])]


def _repeat(choose: random.Random, data: bytearray, *_: Any) -> None:
    if data:
        at = choose.randrange(len(data))
        part = data[at : at + choose.choice([1, 2, 8, 40])]
        data[at:at] = part * choose.choice([1, 2, 30])


def _splice(choose: random.Random, data: bytearray, others: Sequence[bytes], *_: Any) -> None:
    other = choose.choice(others)
    at = choose.randrange(len(data) + 1)
    data[at:] = other[choose.randrange(len(other) + 1) :]


def _token(choose: random.Random, data: bytearray, others: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    if tokens:
        token = choose.choice(tokens)
        at = choose.randrange(len(data) + 1)
        data[at : at + choose.choice([0, len(token)])] = token


_MUTATIONS = [_flip, _set, _number, _insert, _delete, _repeat, _splice, _token, _token]


def seeded(target: Target, count: int, seed: int) -> Iterator[bytes]:
    """So many mutations of the corpus, the same ones for the same seed."""
    choose = random.Random(f"{target.name} {seed}")
    entries = corpus(target)
    for _ in range(count):
        yield mutated(choose, choose.choice(entries), entries, target.tokens)


# ---- guided by what the inputs reach


class Reach:
    """Which steps from line to line of the package a call has taken."""

    def __init__(self) -> None:
        self.edges: set[Edge] = set()

    def of(self, call: Callable[[], None]) -> set[Edge]:
        """The steps of one call."""
        self.edges = set()
        sys.settrace(self._enter)
        try:
            call()
        finally:
            sys.settrace(None)
        return self.edges

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        before, code, edges = 0, frame.f_code, self.edges

        def step(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal before
            if event == "line":
                edges.add((code, before, frame.f_lineno))
                before = frame.f_lineno
            elif event == "exception":
                edges.add((code, before, argument[0].__name__))
            return step

        return step


class Session:
    """One target's fuzzing for a while."""

    def __init__(self, target: Target, seed: int) -> None:
        self.target = target
        self.runs = 0
        self.findings: list[Finding] = []
        self._choose = random.Random(seed)
        self._reach = Reach()
        self._seen: set[Edge] = set()
        self.entries: list[bytes] = []
        for data in corpus(target):
            self._try(data)
        self._kept_before = len(self.entries)

    @property
    def reached(self) -> int:
        """Steps in the package that some input has taken."""
        return len(self._seen)

    def run(self, seconds: float) -> None:
        """Mutate what reaches most, and look for more."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and len(self.findings) < ENOUGH:
            recent = self._choose.random() < 0.5
            data = self._choose.choice(self.entries[-20:] if recent else self.entries)
            self._try(mutated(self._choose, data, self.entries, self.target.tokens))

    def _try(self, data: bytes) -> None:
        self.runs += 1
        try:
            new = self._reach.of(lambda: check(self.target, data)) - self._seen
        except Finding as finding:
            self.findings.append(finding)
            keep(self.target, data, "finding-")
            return
        if new or not self.entries:
            self._seen |= new
            self.entries.append(data)

    def keep(self) -> int:
        """Write what is new to the corpus, as far as there is room. How many that were."""
        new = self.entries[self._kept_before :]
        room = max(0, MOST_KEPT - len(list((CORPUS / self.target.name).glob("*"))))
        for data in sorted(new, key=len)[:room]:
            keep(self.target, data)
        return min(room, len(new))


def keep(target: Target, data: bytes, kind: str = "") -> None:
    """Write an input to the corpus."""
    folder = CORPUS / target.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / (kind + hashlib.sha256(data).hexdigest()[:16])).write_bytes(data)
