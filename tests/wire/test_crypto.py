"""Keys, sealed blobs and the proof of a key (SPEC 4, 5.2)."""

from __future__ import annotations

import pytest
from kit.vectors import VECTORS, cuts, unhex, why

from voltlane.errors import BadProof, BadPublicKey, ReflectedProof
from voltlane.reasons import CloseReason
from voltlane.wire import crypto
from voltlane.wire.crypto import (
    CHALLENGE_SIZE,
    KEY_SIZE,
    NONCE_SIZE,
    check_proof,
    generate_key,
    hkdf_sha256,
    open_sealed,
    seal,
    session_key,
)
from voltlane.wire.curve import PrivateKey

CRYPTO = VECTORS["crypto"]
KEY = unhex(CRYPTO, "key")
SEALED = CRYPTO["seal"]
PLAINTEXT = unhex(SEALED[0], "plaintext")
CHALLENGE, RESPONSE = unhex(SEALED[0], "blob"), unhex(SEALED[1], "blob")
TAG_SIZE = 16


class TestKeys:
    def test_the_session_key_of_both_sides(self):
        server, client = PrivateKey(unhex(CRYPTO, "server_private")), PrivateKey(unhex(CRYPTO, "client_private"))
        assert session_key(server, client.public) == KEY
        assert session_key(client, server.public) == KEY

    def test_salt_and_info_are_those_of_the_vectors(self):
        assert unhex(CRYPTO, "hkdf_salt") == crypto.SALT
        assert unhex(CRYPTO, "hkdf_info") == crypto.INFO
        assert hkdf_sha256(unhex(CRYPTO, "ecdh_shared_x"), crypto.SALT, crypto.INFO) == KEY

    def test_hkdf_against_the_rfc(self):
        """RFC 5869, test case 1, of which one block is what we make."""
        secret, salt, info = b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA))
        expected = bytes.fromhex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf")
        assert hkdf_sha256(secret, salt, info) == expected
        assert hkdf_sha256(secret, salt, info, size=7) == expected[:7]

    @pytest.mark.parametrize(
        "point", [pytest.param(unhex(entry, "sec1"), id=why(entry)) for entry in VECTORS["malformed_public_keys"]]
    )
    def test_no_key_with_what_is_no_point(self, point):
        with pytest.raises(BadPublicKey):
            session_key(PrivateKey(unhex(CRYPTO, "server_private")), point)

    def test_new_keys_agree(self):
        ours, theirs = generate_key(), generate_key()
        assert session_key(ours, theirs.public) == session_key(theirs, ours.public)
        assert len(session_key(ours, theirs.public)) == KEY_SIZE


@pytest.mark.parametrize("entry", SEALED, ids=["challenge", "response"])
class TestGoldenBlobs:
    def test_seal(self, entry):
        assert seal(KEY, unhex(entry, "plaintext"), unhex(entry, "nonce")) == unhex(entry, "blob")

    def test_open(self, entry):
        assert open_sealed(KEY, unhex(entry, "blob")) == unhex(entry, "plaintext")

    def test_the_nonce_is_its_end(self, entry):
        assert unhex(entry, "blob")[-NONCE_SIZE:] == unhex(entry, "nonce")
        assert len(unhex(entry, "blob")) == CHALLENGE_SIZE + TAG_SIZE + NONCE_SIZE

    def test_cut_at_every_byte(self, entry):
        blob = unhex(entry, "blob")
        for piece in cuts(blob):
            with pytest.raises(BadProof):
                open_sealed(KEY, piece)
        for at in range(1, len(blob)):
            with pytest.raises(BadProof):
                open_sealed(KEY, blob[at:])

    def test_trailing_data(self, entry):
        for extra in (b"\x00", b"\xff" * 24):
            with pytest.raises(BadProof):
                open_sealed(KEY, unhex(entry, "blob") + extra)

    def test_every_flipped_bit(self, entry):
        blob = unhex(entry, "blob")
        for at in range(len(blob)):
            for bit in range(8):
                changed = bytearray(blob)
                changed[at] ^= 1 << bit
                with pytest.raises(BadProof):
                    open_sealed(KEY, bytes(changed))

    def test_another_key(self, entry):
        with pytest.raises(BadProof, match="does not open under this session's key"):
            open_sealed(bytes(32), unhex(entry, "blob"))


class TestMustNotOpen:
    @pytest.mark.parametrize(
        "blob", [pytest.param(unhex(entry, "blob"), id=why(entry)) for entry in CRYPTO["open_must_fail"]]
    )
    def test_refused_whole_and_cut_at_every_byte(self, blob):
        for piece in (blob, *cuts(blob)):
            with pytest.raises(BadProof) as refused:
                open_sealed(KEY, piece)
            assert refused.value.reason is CloseReason.BAD_PROOF

    @pytest.mark.parametrize("size", [0, 1, NONCE_SIZE - 1, NONCE_SIZE, NONCE_SIZE + TAG_SIZE - 1])
    def test_too_short_is_said(self, size):
        with pytest.raises(BadProof, match=f"a sealed blob of {size} bytes; at least 40 are needed"):
            open_sealed(KEY, bytes(size))

    def test_the_message_holds_no_secret(self):
        with pytest.raises(BadProof) as refused:
            open_sealed(KEY, CHALLENGE[:-1] + b"\x00")
        assert KEY.hex() not in str(refused.value) and repr(KEY) not in str(refused.value)
        assert refused.value.__cause__ is None


def test_an_empty_plaintext_is_sealed_as_well():
    blob = seal(KEY, b"")
    assert len(blob) == NONCE_SIZE + TAG_SIZE
    assert open_sealed(KEY, blob) == b""


def test_nonces_are_fresh():
    assert len({seal(KEY, PLAINTEXT)[-NONCE_SIZE:] for _ in range(100)}) == 100


class TestProof:
    def test_the_same_bytes_under_a_fresh_nonce(self):
        check_proof(KEY, PLAINTEXT, CHALLENGE, RESPONSE)
        check_proof(KEY, PLAINTEXT, CHALLENGE, seal(KEY, PLAINTEXT))

    def test_the_refused_vector(self):
        entry = VECTORS["refused_responses"]
        with pytest.raises(ReflectedProof) as refused:
            check_proof(KEY, PLAINTEXT, unhex(entry, "challenge_blob"), unhex(entry, "response_blob"))
        assert refused.value.reason is CloseReason.REFLECTED_PROOF

    def test_the_challenges_nonce_is_refused_whatever_stands_in_front_of_it(self):
        nonce = CHALLENGE[-NONCE_SIZE:]
        for front in (b"", b"\x00" * 48, RESPONSE[:-NONCE_SIZE], CHALLENGE[:-NONCE_SIZE], b"\x00" + CHALLENGE):
            with pytest.raises(ReflectedProof):
                check_proof(KEY, PLAINTEXT, CHALLENGE, front + nonce)

    def test_it_is_refused_before_anything_is_decrypted(self, monkeypatch):
        def decrypted(*_: object) -> bytes:
            raise AssertionError("the reflected challenge was decrypted")

        monkeypatch.setattr(crypto, "open_sealed", decrypted)
        with pytest.raises(ReflectedProof):
            check_proof(KEY, PLAINTEXT, CHALLENGE, CHALLENGE)

    def test_other_bytes_under_the_right_key(self):
        for plaintext in (b"", PLAINTEXT[:-1], PLAINTEXT + b"\x00", bytes(32)):
            with pytest.raises(BadProof, match="holds other bytes than the challenge"):
                check_proof(KEY, PLAINTEXT, CHALLENGE, seal(KEY, plaintext))

    def test_the_right_bytes_under_another_key(self):
        with pytest.raises(BadProof):
            check_proof(KEY, PLAINTEXT, CHALLENGE, seal(bytes(32), PLAINTEXT))

    def test_a_response_cut_at_every_byte(self):
        for piece in cuts(RESPONSE):
            with pytest.raises(BadProof):
                check_proof(KEY, PLAINTEXT, CHALLENGE, piece)

    def test_an_answer_to_another_challenge(self):
        with pytest.raises(BadProof):
            check_proof(KEY, bytes(32), seal(KEY, bytes(32)), RESPONSE)


def test_any_bytes_come_back_and_only_under_their_key():
    pytest.importorskip("hypothesis")
    from hypothesis import assume, given
    from hypothesis import strategies as st

    keys = st.binary(min_size=32, max_size=32)

    @given(keys, keys, st.binary(max_size=200))
    def check(key: bytes, other: bytes, plaintext: bytes) -> None:
        assume(key != other)
        blob = seal(key, plaintext)
        assert open_sealed(key, blob) == plaintext
        with pytest.raises(BadProof):
            open_sealed(other, blob)

    check()
