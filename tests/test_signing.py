"""Signatures of messages: who sent what, and what is never taken for it. Numbers in names are the module's invariants."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.posters import Poster
from ledger.settings import Settings
from ledger.signing import (
    DEVELOPMENT_FILE,
    SignatureInvalid,
    SignerUnknown,
    SigningKey,
    SourceKeys,
    SourceKeysExposed,
    SourceKeysUnusable,
    development_signing_key,
    hmac_signing_key,
    sign,
    signed_bytes,
    source_keys,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TOPIC = "pension.commands"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ED25519 = SigningKey("ea-1", PRIVATE.sign)
SECRET = bytes(range(32, 64))
HMAC = hmac_signing_key("pp-1", SECRET)


def spelled(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


ED25519_JWK = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": spelled(PRIVATE.public_key().public_bytes_raw()),
    "kid": "ea-1",
    "sub": "system:ea-core",
    "source": "ea-core",
    "products": ["enterprise_annuity"],
}
HMAC_JWK = {"kty": "oct", "k": spelled(SECRET), "kid": "pp-1", "sub": "system:pp-bank", "source": "pp-bank"}
EA_CORE = Poster("system:ea-core", "ea-core", frozenset(["enterprise_annuity"]), is_steward=False)
PP_BANK = Poster("system:pp-bank", "pp-bank", None, is_steward=False)


def written(folder: Path, *keys: Mapping[str, object], mode: int = 0o600) -> Settings:
    path = folder / "keys.json"
    path.write_text(json.dumps({"keys": keys}), encoding="utf-8")
    path.chmod(mode)
    return Settings(source_keys=path, data_folder=folder)


@pytest.fixture
def keys(tmp_path: Path) -> SourceKeys:
    return source_keys(written(tmp_path, ED25519_JWK, HMAC_JWK))


@pytest.mark.parametrize(("signing", "poster"), [(ED25519, EA_CORE), (HMAC, PP_BANK)], ids=["ed25519", "hmac"])
class TestBothAlgorithms:
    def test_a_signature_says_who_posts(self, keys: SourceKeys, signing: SigningKey, poster: Poster) -> None:
        signature = sign(signing, topic=TOPIC, key=b"k", value=b"{}")
        assert keys.poster_of(signature, topic=TOPIC, key=b"k", value=b"{}") == poster

    @pytest.mark.parametrize(
        "changed",
        [
            {"value": b"{ }"},
            {"key": b"other"},
            {"key": None},
            {"topic": "pension.commands2"},
            {"key": b"", "value": b"k{}"},
            {"key": b"k{", "value": b"}"},
        ],
    )
    def test_topic_key_and_value_are_signed_1(
        self, keys: SourceKeys, signing: SigningKey, poster: Poster, changed: dict[str, object]
    ) -> None:
        del poster
        signature = sign(signing, topic=TOPIC, key=b"k", value=b"{}")
        with pytest.raises(SignatureInvalid):
            keys.poster_of(signature, **({"topic": TOPIC, "key": b"k", "value": b"{}"} | changed))  # type: ignore[arg-type]

    def test_the_name_of_another_key_does_not_help_2(
        self, keys: SourceKeys, signing: SigningKey, poster: Poster
    ) -> None:
        del poster
        other = "pp-1" if signing.kid == "ea-1" else "ea-1"
        signature = sign(signing._replace(kid=other), topic=TOPIC, key=None, value=b"{}")
        with pytest.raises(SignatureInvalid):
            keys.poster_of(signature, topic=TOPIC, key=None, value=b"{}")


def test_the_public_key_is_no_secret_for_hmac_2(keys: SourceKeys) -> None:
    """The classic confusion: signing with HMAC under the bytes of a public key."""
    forged = hmac_signing_key("ea-1", PRIVATE.public_key().public_bytes_raw())
    with pytest.raises(SignatureInvalid):
        keys.poster_of(sign(forged, topic=TOPIC, key=None, value=b"{}"), topic=TOPIC, key=None, value=b"{}")


@given(st.binary(max_size=600))
def test_whatever_bytes_a_signature_has_they_are_refused(signature: bytes) -> None:
    keys = SourceKeys({})
    with pytest.raises((SignatureInvalid, SignerUnknown)):
        keys.poster_of(signature, topic=TOPIC, key=None, value=b"{}")


@given(st.binary(max_size=200))
def test_whatever_follows_the_name_of_a_key_is_refused(rest: bytes) -> None:
    signers = source_keys_of(ED25519_JWK, HMAC_JWK)
    for kid in (b"ea-1", b"pp-1"):
        with pytest.raises(SignatureInvalid):
            signers.poster_of(kid + b"." + rest, topic=TOPIC, key=None, value=b"{}")


def source_keys_of(*keys: Mapping[str, object]) -> SourceKeys:
    import tempfile  # noqa: PLC0415 - hypothesis runs one test function many times, and its folder is made for each
    from pathlib import Path  # noqa: PLC0415 - as above

    with tempfile.TemporaryDirectory() as folder:
        return source_keys(written(Path(folder), *keys))


@given(st.tuples(st.binary(max_size=8), st.binary(max_size=8)), st.tuples(st.binary(max_size=8), st.binary(max_size=8)))
def test_no_two_messages_are_spelled_the_same_1(one: tuple[bytes, bytes], other: tuple[bytes, bytes]) -> None:
    spellings = {signed_bytes(topic=TOPIC, key=key, value=value) for key, value in (one, other)}
    assert len(spellings) == len({one, other})


def test_an_unknown_key_is_told_from_a_wrong_signature(keys: SourceKeys) -> None:
    signature = sign(ED25519._replace(kid="ea-9"), topic=TOPIC, key=None, value=b"{}")
    with pytest.raises(SignerUnknown):
        keys.poster_of(signature, topic=TOPIC, key=None, value=b"{}")


class TestFiles:
    @pytest.mark.parametrize(
        ("keys", "says"),
        [
            ([], "length"),
            ([ED25519_JWK, ED25519_JWK], "two keys have one kid"),
            ([ED25519_JWK | {"d": spelled(bytes(32))}], "private"),
            ([ED25519_JWK | {"crv": "X25519"}], "neither for Ed25519 nor a secret"),
            ([ED25519_JWK | {"x": "AAAA"}], "keys.json"),
            ([ED25519_JWK | {"source": None}], "could post nothing"),
            ([ED25519_JWK | {"kid": "a.b"}], "kid"),
            ([HMAC_JWK | {"k": spelled(bytes(31))}], "fewer than 32 bytes"),
            ([{"kty": "OKP"}], "kid"),
        ],
    )
    def test_what_is_no_set_of_keys_is_refused_with_the_reason(
        self, tmp_path: Path, keys: list[Mapping[str, object]], says: str
    ) -> None:
        with pytest.raises(SourceKeysUnusable, match=says):
            source_keys(written(tmp_path, *keys))

    def test_a_file_with_secrets_that_others_may_read_is_not_used_4(self, tmp_path: Path) -> None:
        with pytest.raises(SourceKeysExposed):
            source_keys(written(tmp_path, HMAC_JWK, mode=0o640))
        source_keys(written(tmp_path, ED25519_JWK, mode=0o644))

    def test_the_development_key_is_made_once_and_is_the_owners_alone(self, tmp_path: Path) -> None:
        settings = Settings(data_folder=tmp_path)
        signature = sign(development_signing_key(settings), topic=TOPIC, key=None, value=b"{}")
        assert source_keys(settings).poster_of(signature, topic=TOPIC, key=None, value=b"{}") is None
        assert (tmp_path / DEVELOPMENT_FILE).stat().st_mode & 0o777 == 0o600
