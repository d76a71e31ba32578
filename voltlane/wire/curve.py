"""Points of secp256k1: check one, agree on one. The one place that knows which library does the arithmetic.

`coincurve` (libsecp256k1) where it is installed and VOLTLANE_PURE_PYTHON is not set, `ecdsa` otherwise; both give the
same bytes, which the golden vectors hold them to.
"""

from __future__ import annotations

import os

from ecdsa import SECP256k1, SigningKey
from ecdsa.ellipticcurve import CurveFp, PointJacobi

from ..errors import BadPublicKey

try:
    if os.environ.get("VOLTLANE_PURE_PYTHON"):
        raise ImportError
    import coincurve
except ImportError:
    coincurve = None

BACKEND = "coincurve" if coincurve else "ecdsa"

_FIELD = SECP256k1.curve.p()
_B = SECP256k1.curve.b()
_COMPRESSED, _UNCOMPRESSED = 33, 65


def _check_shape(point: bytes) -> None:
    """SEC1: 02 or 03 and 32 bytes, or 04 and 64 bytes. Anything else is named before any arithmetic is done."""
    prefixes = {_COMPRESSED: b"\x02\x03", _UNCOMPRESSED: b"\x04"}.get(len(point))
    if prefixes is None:
        raise BadPublicKey(f"a public key of {len(point)} bytes; SEC1 points have {_COMPRESSED} or {_UNCOMPRESSED}")
    if point[0] not in prefixes:
        raise BadPublicKey(f"a public key of {len(point)} bytes that begins with {point[0]:#04x}")


def _check_point_ecdsa(point: bytes) -> None:
    """The curve's cofactor is 1, so being on it is all there is to check."""
    _check_shape(point)
    x, y = int.from_bytes(point[1:33], "big"), int.from_bytes(point[33:], "big")
    if x >= _FIELD or y >= _FIELD:
        raise BadPublicKey("a public key with a coordinate outside the field")
    if len(point) == _COMPRESSED:
        on_curve = _is_square((x * x * x + _B) % _FIELD)
    else:
        on_curve = SECP256k1.curve.contains_point(x, y)
    if not on_curve:
        raise BadPublicKey("a public key that is not on secp256k1")


def _is_square(number: int) -> bool:
    """Whether a number of the field other than 0 has a square root in it: its Jacobi symbol (Cohen 1993, 1.4.10), which
    takes a quarter of the time of the root. `ecdsa` has it as a recursion, so deep that Python may map and unmap memory
    for its frames each time."""
    modulus, sign = _FIELD, 1
    while number:
        zeros = (number & -number).bit_length() - 1
        number >>= zeros
        if zeros & 1 and modulus & 7 in (3, 5):
            sign = -sign
        if number & modulus & 3 == 3:
            sign = -sign
        number, modulus = modulus % number, number
    return sign == 1 and modulus == 1


def check_secret(secret: bytes) -> None:
    """Raises ValueError unless the bytes, big-endian, are a scalar of the curve other than 0."""
    if not 0 < int.from_bytes(secret, "big") < SECP256k1.order:
        raise ValueError("a secret outside the curve's order")


class _PrivateKeyEcdsa:
    """A secret scalar and its public point, by `ecdsa`."""

    __slots__ = ("_halves", "public", "secret")

    def __init__(self, secret: bytes | None = None) -> None:
        key = SigningKey.from_string(secret, SECP256k1) if secret else SigningKey.generate(SECP256k1)
        self.secret: bytes = key.to_string()
        """32 bytes, big-endian."""
        self._halves = _halves(key.privkey.secret_multiplier)
        self.public: bytes = key.verifying_key.to_string("compressed")
        """SEC1, 33 bytes."""

    def exchange(self, point: bytes) -> bytes:
        """x coordinate (32 bytes, big-endian) of the shared point. Raises BadPublicKey."""
        _check_point_ecdsa(point)
        x = int.from_bytes(point[1:33], "big")
        # Only the shared x is wanted, so y need not be known: with d = x³ + 7 = y², (x, y) ↦ (dx, d²) leads to the
        # curve Y² = X³ + 7d³, where points add up in the same way; back from there, x is X/d. It saves a square root.
        d = (x * x * x + _B) % _FIELD
        x, y = d * x % _FIELD, d * d % _FIELD
        curve = CurveFp(_FIELD, 0, _B * d * y % _FIELD)
        low, high = self._halves
        # secret · P = low · P + high · λP, where λP is (βx, y): two multiplications at once, each half as long.
        one = PointJacobi(curve, x, y if low >= 0 else _FIELD - y, 1)
        two = PointJacobi(curve, _BETA * x % _FIELD, y if high >= 0 else _FIELD - y, 1)
        shared: int = int(one.mul_add(abs(low), two, abs(high)).x()) * pow(d, -1, _FIELD) % _FIELD
        return shared.to_bytes(32, "big")


# The curve's endomorphism (Gallant, Lambert, Vanstone 2001): β³ = 1 in the field, λ³ = 1 modulo the order, two short
# vectors (a, b) with a + b·λ = 0 modulo the order.
_BETA = 0x7AE96A2B657C07106E64479EAC3434E99CF0497512F58995C1396C28719501EE
_A1, _B1 = 0x3086D221A7D46BCDE86C90E49284EB15, -0xE4437ED6010E88286F547FA90ABFE4C3
_A2, _B2 = 0x114CA50F7A8E2F3F657C1108D9D44CFD8, _A1


def _halves(scalar: int) -> tuple[int, int]:
    """(low, high), each of half the length, with low + high · λ = scalar modulo the order."""
    order = SECP256k1.order
    one = (2 * _B2 * scalar + order) // (2 * order)
    two = (-2 * _B1 * scalar + order) // (2 * order)
    return scalar - one * _A1 - two * _A2, -one * _B1 - two * _B2


def _check_point_coincurve(point: bytes) -> None:
    _check_shape(point)
    try:
        coincurve.PublicKey(point)
    except ValueError:
        raise BadPublicKey("a public key that is not on secp256k1") from None


class _PrivateKeyCoincurve:
    """A secret scalar and its public point, by libsecp256k1."""

    __slots__ = ("public", "secret")

    def __init__(self, secret: bytes | None = None) -> None:
        key = coincurve.PrivateKey(secret)
        self.secret: bytes = key.secret
        """32 bytes, big-endian."""
        self.public: bytes = key.public_key.format(compressed=True)
        """SEC1, 33 bytes."""

    def exchange(self, point: bytes) -> bytes:
        """x coordinate (32 bytes, big-endian) of the shared point. Raises BadPublicKey."""
        _check_shape(point)
        try:
            shared: bytes = coincurve.PublicKey(point).multiply(self.secret).format(compressed=True)
        except ValueError:
            raise BadPublicKey("a public key that is not on secp256k1") from None
        return shared[1:]


check_point = _check_point_coincurve if coincurve else _check_point_ecdsa
"""check_point(point): raises BadPublicKey unless the bytes are a SEC1 point of the curve."""

PrivateKey = _PrivateKeyCoincurve if coincurve else _PrivateKeyEcdsa
"""PrivateKey(secret=None): a key from 32 bytes, or a new random one."""
