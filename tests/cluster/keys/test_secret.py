"""What is sealed opens with the same secret, for the same purpose, and for the same one."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("hiredis", reason="hiredis is not here: pip install hiredis")

from voltlane.cluster.keys.secret import Sealer, read_secret
from voltlane.config import Cluster
from voltlane.errors import BadProof, StartupError

SECRET = "0123456789abcdef0123456789abcdef"


def test_sealed_and_opened():
    sealed = Sealer(SECRET).seal("credential", b"7", b"something")
    assert len(sealed) == 9 + 40 and b"something" not in sealed
    assert sealed != Sealer(SECRET).seal("credential", b"7", b"something")
    assert Sealer(SECRET).open("credential", b"7", sealed) == b"something"


def test_nothing_else_opens():
    sealed = Sealer(SECRET).seal("credential", b"7", b"something")
    for secret, purpose, whose in (("x" * 32, "credential", b"7"), (SECRET, "k", b"7"), (SECRET, "credential", b"8")):
        with pytest.raises(BadProof):
            Sealer(secret).open(purpose, whose, sealed)
    with pytest.raises(BadProof):
        Sealer(SECRET).open("credential", b"7", sealed[:-1])
    for position in range(len(sealed)):
        damaged = bytearray(sealed)
        damaged[position] ^= 1
        with pytest.raises(BadProof):
            Sealer(SECRET).open("credential", b"7", bytes(damaged))


def test_it_is_in_the_settings_or_in_a_file(tmp_path: Path):
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    sealed = read_secret(Cluster(secret=SECRET)).seal("a", b"", b"x")
    assert read_secret(Cluster(secret_file=str(file))).open("a", b"", sealed) == b"x"
    assert SECRET not in repr(read_secret(Cluster(secret=SECRET)))


@pytest.mark.parametrize("text", ["", "short", "two\n" + SECRET, SECRET + " " + SECRET, "ü" * 40, "x" * 1025])
def test_a_file_that_holds_none(tmp_path: Path, text: str):
    file = tmp_path / "secret"
    file.write_text(text)
    with pytest.raises(StartupError, match="has to hold one line of 32 to 1024") as caught:
        read_secret(Cluster(secret_file=str(file)))
    assert SECRET not in str(caught.value) and caught.value.exit_code == 2


def test_a_file_that_is_not_there():
    with pytest.raises(StartupError, match="cannot be read: No such file"):
        read_secret(Cluster(secret_file="/nowhere/secret"))
