"""Points of secp256k1 (SPEC 4): both curve libraries give the golden bytes, and refuse the same points."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from typing import NamedTuple

import pytest
from kit.vectors import VECTORS, cuts, unhex, why

from voltlane.errors import BadPublicKey
from voltlane.reasons import CloseReason
from voltlane.wire import curve

CRYPTO = VECTORS["crypto"]
SERVER, CLIENT = unhex(CRYPTO, "server_private"), unhex(CRYPTO, "client_private")
SERVER_POINT, CLIENT_POINT = unhex(CRYPTO, "server_public"), unhex(CRYPTO, "client_public")
SHARED = unhex(CRYPTO, "ecdh_shared_x")
[UNCOMPRESSED] = (
    point
    for point in (unhex(entry, "sec1") for entry in VECTORS["handshake_packets"] if entry["packet"] == "PubKey")
    if len(point) == 65
)
FIELD = 2**256 - 2**32 - 977


class Library(NamedTuple):
    PrivateKey: type
    check_point: object


LIBRARIES = {
    "ecdsa": Library(curve._PrivateKeyEcdsa, curve._check_point_ecdsa),
    "coincurve": Library(curve._PrivateKeyCoincurve, curve._check_point_coincurve),
}


@pytest.fixture(params=LIBRARIES)
def library(request):
    if request.param == "coincurve" and not curve.coincurve:
        pytest.skip("coincurve is not installed, or VOLTLANE_PURE_PYTHON is set")
    return LIBRARIES[request.param]


def not_points():
    """Each with a name: what is refused as a public key."""
    for entry in VECTORS["malformed_public_keys"]:
        yield why(entry), unhex(entry, "sec1")
    yield "uncompressed-off-the-curve", UNCOMPRESSED[:-1] + bytes([UNCOMPRESSED[-1] ^ 1])
    yield "uncompressed-y-over-the-field", UNCOMPRESSED[:33] + b"\xff" * 32
    yield "uncompressed-x-over-the-field", b"\x04" + b"\xff" * 32 + UNCOMPRESSED[33:]
    yield "hybrid-06", b"\x06" + UNCOMPRESSED[1:]
    yield "hybrid-07", b"\x07" + UNCOMPRESSED[1:]
    yield "uncompressed-prefix-on-33-bytes", b"\x04" + SERVER_POINT[1:]
    yield "compressed-prefix-on-65-bytes", b"\x02" + UNCOMPRESSED[1:]
    yield "raw-64-bytes", UNCOMPRESSED[1:]
    yield "all-zero-33", bytes(33)
    yield "all-zero-65", bytes(65)
    yield "x-is-the-field", b"\x02" + FIELD.to_bytes(32, "big")
    # x = 1 is on the curve; x = p + 1 would be the same number, in a second spelling.
    yield "x-wraps-round-the-field", b"\x02" + (FIELD + 1).to_bytes(32, "big")
    yield "trailing-byte-33", SERVER_POINT + b"\x00"
    yield "trailing-byte-65", UNCOMPRESSED + b"\x00"


class TestGolden:
    def test_public_keys(self, library):
        assert library.PrivateKey(SERVER).public == SERVER_POINT
        assert library.PrivateKey(CLIENT).public == CLIENT_POINT

    def test_both_sides_agree_on_the_golden_secret(self, library):
        assert library.PrivateKey(SERVER).exchange(CLIENT_POINT) == SHARED
        assert library.PrivateKey(CLIENT).exchange(SERVER_POINT) == SHARED

    def test_an_uncompressed_point_is_as_good(self, library):
        library.check_point(UNCOMPRESSED)
        assert UNCOMPRESSED[1:33] == CLIENT_POINT[1:], "the vectors give one point in both forms"
        assert library.PrivateKey(SERVER).exchange(UNCOMPRESSED) == SHARED

    def test_points_of_either_sign_are_on_the_curve(self, library):
        for point in (SERVER_POINT, CLIENT_POINT):
            for prefix in (b"\x02", b"\x03"):
                library.check_point(prefix + point[1:])


@pytest.mark.parametrize("point", [pytest.param(point, id=name) for name, point in not_points()])
class TestNotAPoint:
    def test_refused(self, library, point):
        with pytest.raises(BadPublicKey) as refused:
            library.check_point(point)
        assert refused.value.reason is CloseReason.BAD_PUBLIC_KEY
        assert str(refused.value).startswith("a public key ")
        with pytest.raises(BadPublicKey):
            library.PrivateKey(SERVER).exchange(point)

    def test_cut_at_every_byte(self, library, point):
        for piece in cuts(point):
            # 33 bytes of one with a byte too many, or with a compressed one's first byte, are a good point.
            if piece not in (SERVER_POINT, UNCOMPRESSED, b"\x02" + UNCOMPRESSED[1:33]):
                with pytest.raises(BadPublicKey):
                    library.check_point(piece)


@pytest.mark.parametrize("point", [SERVER_POINT, UNCOMPRESSED], ids=["compressed", "uncompressed"])
def test_a_good_point_cut_at_every_byte(library, point):
    for piece in cuts(point):
        with pytest.raises(BadPublicKey):
            library.check_point(piece)


def test_new_keys_are_new_and_work(library):
    ours, theirs = library.PrivateKey(), library.PrivateKey()
    assert ours.public != theirs.public
    for key in (ours, theirs):
        library.check_point(key.public)
        assert len(key.public) == 33
    secret = ours.exchange(theirs.public)
    assert secret == theirs.exchange(ours.public)
    assert len(secret) == 32


def test_a_key_does_not_show_its_secret(library):
    key = library.PrivateKey(SERVER)
    assert SERVER.hex() not in repr(key)
    assert str(int.from_bytes(SERVER, "big")) not in repr(key)


def test_the_libraries_agree_on_every_point():
    if not curve.coincurve:
        pytest.skip("coincurve is not installed, or VOLTLANE_PURE_PYTHON is set")
    pytest.importorskip("hypothesis")
    from hypothesis import example, given
    from hypothesis import strategies as st

    def accepted(library: Library, point: bytes) -> bool:
        try:
            library.check_point(point)
        except BadPublicKey:
            return False
        return True

    compressed = st.tuples(st.integers(0, 7), st.binary(min_size=32, max_size=32))
    points = st.one_of(compressed.map(lambda two: bytes([two[0]]) + two[1]), st.binary(max_size=70))

    @given(points)
    @example(b"\x02" + bytes(32))
    @example(b"\x02" + (FIELD - 1).to_bytes(32, "big"))
    def check(point: bytes) -> None:
        verdicts = {name: accepted(library, point) for name, library in LIBRARIES.items()}
        assert len(set(verdicts.values())) == 1, verdicts
        if verdicts["ecdsa"]:
            secrets = {library.PrivateKey(SERVER).exchange(point) for library in LIBRARIES.values()}
            assert len(secrets) == 1

    check()


@pytest.mark.parametrize("pure", [True, False])
def test_which_library_is_used(pure):
    script = (
        "from voltlane.wire import curve; print(curve.BACKEND, curve.PrivateKey.__name__, curve.check_point.__name__)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "VOLTLANE_PURE_PYTHON"}
    if pure:
        environment["VOLTLANE_PURE_PYTHON"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, check=True, timeout=60
    )
    try:
        import coincurve  # noqa: F401
    except ImportError:
        pure = True
    name = "ecdsa" if pure else "coincurve"
    assert done.stdout.decode().split() == [name, f"_PrivateKey{name.capitalize()}", f"_check_point_{name}"]


ORDER = int("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141", 16)


@pytest.mark.parametrize("scalar", [1, 2, 3, 2**127, 2**128, 2**128 + 1, 2**255, ORDER // 2, ORDER - 2, ORDER - 1])
@pytest.mark.parametrize("point", [SERVER_POINT, CLIENT_POINT, UNCOMPRESSED], ids=["02", "03", "04"])
def test_the_split_multiplication_is_the_plain_one(scalar: int, point: bytes):
    """The two halves of the secret, of either sign, give what multiplying by the whole gives."""
    key = curve._PrivateKeyEcdsa(scalar.to_bytes(32, "big"))
    plain = curve.PointJacobi.from_bytes(curve.SECP256k1.curve, point) * scalar
    assert int.from_bytes(key.exchange(point), "big") == plain.x()
    assert max(abs(half).bit_length() for half in curve._halves(scalar)) <= 129


def test_whether_there_is_a_square_root() -> None:
    field, random_ = curve._FIELD, random.Random(7)
    numbers = [1, 2, 3, 4, 5, 7, 8, field - 1, field - 2, 1 << 255, *[random_.randrange(1, field) for _ in range(2000)]]
    for number in numbers:
        root = pow(number, (field + 1) // 4, field)
        assert curve._is_square(number) == (root * root % field == number)
    assert not curve._is_square(0), "no point of the curve has y = 0"
