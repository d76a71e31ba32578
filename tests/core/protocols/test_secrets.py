"""Secrets that are replaced with each resume: which are good when, and that of several copies one goes on."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as some

from voltlane.core.protocols.secrets import CREDENTIAL_SIZES, Secrets, decode_secrets, first_secrets
from voltlane.errors import BadProof, ProofAhead, Superseded
from voltlane.wire.v3 import MAGIC, branch_secret

OWN = b"o" * 32


def opened() -> Secrets:
    return first_secrets(1, b"h" * 16, OWN, os.urandom)


def good(secrets: Secrets, generation: int, branch: int, secret: bytes) -> bool:
    """Whether who has that secret is let in."""
    try:
        return secrets.select(generation, branch) == secret
    except BadProof:
        return False


class TestWhichAreGood:
    def test_of_who_has_opened(self):
        secrets = opened()
        assert secrets.select(0, 0) == OWN
        assert secrets.select(1, 7) == branch_secret(secrets.root, 7)

    def test_until_one_is_confirmed_the_old_one_and_every_new_one(self):
        secrets = opened()
        for branch in (3, 4, 5):
            assert good(secrets, 1, branch, branch_secret(secrets.root, branch))
        assert good(secrets, 0, 0, OWN)

    def test_once_one_is_confirmed_that_one_only(self):
        before = opened()
        secrets = before.confirmed(4)
        assert good(secrets, 1, 4, branch_secret(before.root, 4))
        for generation, branch in ((0, 0), (1, 3), (1, 0)):
            with pytest.raises(Superseded):
                secrets.select(generation, branch)
        with pytest.raises(BadProof, match="not there yet"):
            secrets.select(2, 1)
        assert secrets.root == secrets.handle == b"", "of no more use"

    def test_once_one_is_proven_that_one_and_those_behind_it(self):
        before = opened()
        secrets = before.offered(1, 4, os.urandom)
        assert (secrets.generation, secrets.branch) == (1, 4) and secrets.suite == before.suite
        assert secrets.root != before.root and secrets.handle == b""
        assert good(secrets, 1, 4, branch_secret(before.root, 4))
        assert good(secrets, 2, 9, branch_secret(secrets.root, 9))
        for generation, branch in ((0, 0), (1, 3), (1, 0)):
            with pytest.raises(Superseded):
                secrets.select(generation, branch)

    def test_a_welcome_to_who_has_confirmed(self):
        """It has the present secret, and is offered a new one."""
        settled = opened().confirmed(4)
        secrets = settled.offered(1, 4, os.urandom)
        assert secrets.root and secrets.present == settled.present and secrets.generation == 1
        assert good(secrets, 1, 4, settled.present)
        assert good(secrets, 2, 9, branch_secret(secrets.root, 9))

    def test_one_that_is_proven_again_changes_nothing(self):
        secrets = opened().offered(1, 4, os.urandom)
        assert secrets.offered(1, 4, os.urandom) is secrets

    @pytest.mark.parametrize("generation", [2, 3, 2**32 - 1])
    def test_one_that_is_not_there_yet(self, generation: int):
        with pytest.raises(ProofAhead):
            opened().select(generation, 1)

    def test_a_branch_that_no_welcome_had(self):
        """Nobody knows its secret, since nobody knows the root."""
        secrets = opened()
        assert secrets.select(1, 0) == branch_secret(secrets.root, 0) not in (OWN, secrets.root)


class TestKept:
    @pytest.mark.parametrize("root", [b"", b"r" * 32])
    @pytest.mark.parametrize("handle", [b"", b"h" * 16])
    def test_there_and_back(self, root: bytes, handle: bytes):
        if handle and not root:
            return  # an opening has been offered something

        @given(some.integers(0, 255), some.integers(0, 2**32 - 1), some.integers(0, 2**64 - 1))
        def check(suite: int, generation: int, branch: int) -> None:
            secrets = Secrets(suite, generation, branch, OWN, root, handle)
            credential = secrets.encode()
            assert decode_secrets(credential) == secrets
            assert len(credential) in CREDENTIAL_SIZES and credential[0] == MAGIC

        check()

    def test_no_two_kinds_have_one_size(self):
        """By which they are told apart; nor has a key of version 2."""
        assert len(set(CREDENTIAL_SIZES)) == 3 and not {33, 65} & set(CREDENTIAL_SIZES)

    def test_no_secret_is_shown(self):
        secrets = Secrets(1, 2, 3, b"SECRET", b"SECRET", b"SECRET")
        assert repr(secrets) == str(secrets) == "<Secrets of generation 2>"


@given(some.lists(some.tuples(some.integers(0, 2), some.sampled_from(["resume", "confirm", "lose"])), max_size=30))
def test_of_copies_one_goes_on(steps: list[tuple[int, str]]):
    """Three copies of a client come and go in any order. The server hears of one connection at a time; who is let in
    had the session last, or nobody has confirmed anything since it did."""
    secrets = opened()
    copies = [(0, 0, OWN)] * 3
    told: dict[int, tuple[int, int, bytes]] = {}  # welcomes that are not confirmed, of the connection that is there
    went_on: int | None = None  # whose secret is the only one that is good
    branch = 0
    for who, what in steps:
        if what == "resume":
            generation, its_branch, secret = copies[who]
            if good(secrets, generation, its_branch, secret):
                assert went_on in (None, who), "another copy has gone on"
                secrets = secrets.offered(generation, its_branch, os.urandom)
                branch += 1
                told = {who: (secrets.generation + 1, branch, branch_secret(secrets.root, branch))}
            else:
                assert went_on not in (None, who), "nobody has, and it is shut out"
        elif what == "confirm" and who in told:
            copies[who] = told.pop(who)
            secrets = secrets.confirmed(copies[who][1])
            went_on = who
        elif what == "lose":
            told.pop(who, None)
