"""The short version of `make fuzz`: the whole corpus, and some mutations of it that are the same in every run."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from fuzz.engine import CORPUS, Finding, Reach, Session, Target, check, corpus, mutated, seeded
from fuzz.targets import TARGETS, close

MUTATIONS = {"handshake": 40, "firehose": 40, "records": 60, "setting": 40, "toml": 20, "group": 100, "retag": 200}
MUTATIONS.update(batch=150, sessions=50, relay=50)
USUAL = 400
every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close()


@every_target
def test_every_input_of_the_corpus_is_stood(target: Target) -> None:
    for data in corpus(target):
        check(target, data)


@every_target
def test_mutations_of_it_are_stood(target: Target) -> None:
    for data in seeded(target, MUTATIONS.get(target.name, USUAL), seed=1):
        check(target, data)


def test_the_corpus_is_of_targets_that_there_are() -> None:
    optional = {"proxy", "http"}
    assert {folder.name for folder in CORPUS.iterdir()} <= set(TARGETS) | optional


# ---- the fuzzer itself


def narrow(data: bytes) -> None:
    """Fails where only somebody who follows the code gets by chance."""
    if data[:1] == b"a" and data[1:2] == b"b" and data[2:3] == b"c":
        raise ZeroDivisionError


def test_what_a_target_does_not_raise_on_purpose_is_a_finding() -> None:
    with pytest.raises(Finding, match="narrow does not stand b'abc': ZeroDivisionError"):
        check(Target("narrow", narrow, []), b"abc")


def test_it_follows_what_reaches_new_code(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr("fuzz.engine.PACKAGE", __file__)
    monkeypatch.setattr("fuzz.engine.CORPUS", tmp_path)
    session = Session(Target("narrow", _steps, [b"...."]), seed=3)
    session.run(20.0 if not session.findings else 0)
    assert session.findings
    assert next((tmp_path / "narrow").glob("finding-*")).read_bytes().startswith(b"\x00\xff\xfe")


def _steps(data: bytes) -> None:
    if data[:1] != b"\x00":
        return
    if data[1:2] != b"\xff":
        return
    if data[2:3] != b"\xfe":
        return
    raise ZeroDivisionError


def test_mutations_are_the_same_for_the_same_seed() -> None:
    target = TARGETS["packet"]
    assert list(seeded(target, 50, 7)) == list(seeded(target, 50, 7)) != list(seeded(target, 50, 8))


def test_a_mutation_of_nothing_is_something_now_and_then() -> None:
    choose = random.Random(1)
    assert any(mutated(choose, b"", [b""], []) for _ in range(50))


def test_reach_is_of_the_package_alone() -> None:
    from voltlane.wire.v2 import encode_varint

    reach = Reach()
    assert reach.of(lambda: sorted([2, 1])) == set()
    small = reach.of(lambda: encode_varint(1))  # type: ignore[arg-type, return-value]
    assert small and small != reach.of(lambda: encode_varint(300))  # type: ignore[arg-type, return-value]
