"""Signatures of messages: which source system sent a message over Kafka, and what it may post.

1. A signature covers topic, key and value, so that no message is changed, moved to another topic or given another key.
2. The key decides on the algorithm, never the message: Ed25519 (RFC 8032), or HMAC with SHA-256 (RFC 2104) for a secret.
3. A signed message may come again: its commands have ids, and what was recorded once is not recorded again.
4. A file with secrets that others may read is not used.

The header is `<kid>.<signature in base64url without padding>`.
"""

import hmac
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta, Struct

from ledger.domain.posters import Poster
from ledger.keys import OTHERS_MAY_READ, write_whole
from ledger.settings import Settings, is_secret_file

HEADER = "ledger-signature"
CONTEXT = b"pension-ledger/command/v1"
MAX_KEYS = 1_024
MAX_KEYS_BYTES = 1024 * 1024
MAX_SIGNATURE_BYTES = 512
MIN_SECRET_BYTES = 32
DEVELOPMENT_FILE = "source-key.json"
DEVELOPMENT_KID = "development"


class SourceKeysUnusable(ValueError):
    """The file of LEDGER_SOURCE_KEYS cannot be used; it must be a JWKS (RFC 7517) of Ed25519 and oct keys, as the README says."""


class SourceKeysExposed(PermissionError):
    """Others may read the file of source keys, which holds secrets; take their rights away and change the secrets."""


class SignerUnknown(Exception):
    """No key of this name is known here."""


class SignatureInvalid(Exception):
    """The signature does not fit topic, key and value."""


class _Jwk(Struct):
    """A key of a source system; `sub`, `source`, `products` and `steward` say what its messages may post."""

    kty: str
    kid: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    sub: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,31}:[A-Za-z0-9._-]{1,95}$")]
    source: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$")] | None = None
    products: Annotated[list[str], Meta(min_length=1, max_length=64)] | None = None
    steward: bool = False
    crv: str = ""
    d: str | None = None
    k: str = ""
    x: str = ""


class _Jwks(Struct):
    keys: Annotated[list[_Jwk], Meta(min_length=1, max_length=MAX_KEYS)]


class Signer(NamedTuple):
    """Whom a key speaks for: None is a trusted caller, as the development key is."""

    poster: Poster | None
    verifies: Callable[[bytes, bytes], bool]


class SourceKeys:
    """The keys of all source systems."""

    def __init__(self, signers: Mapping[str, Signer]) -> None:
        """By their `kid`."""
        self._signers = signers

    def poster_of(self, signature: bytes, *, topic: str, key: bytes | None, value: bytes) -> Poster | None:
        """Who sent this. Raises SignerUnknown, SignatureInvalid."""
        if len(signature) > MAX_SIGNATURE_BYTES:
            raise SignatureInvalid
        kid, _, spelled = signature.partition(b".")
        signer = self._signers.get(kid.decode("ascii", "replace"))
        if signer is None:
            raise SignerUnknown
        try:
            given = urlsafe_b64decode(spelled + b"=" * (-len(spelled) % 4))
        except NotBase64:
            raise SignatureInvalid from None
        if not signer.verifies(given, signed_bytes(topic=topic, key=key, value=value)):
            raise SignatureInvalid
        return signer.poster


class SigningKey(NamedTuple):
    """What a source system signs with."""

    kid: str
    sign: Callable[[bytes], bytes]


def hmac_signing_key(kid: str, secret: bytes) -> SigningKey:
    """For a source whose key is a secret that it shares with the ledger."""
    return SigningKey(kid, lambda signed: hmac.digest(secret, signed, "sha256"))


def signed_bytes(*, topic: str, key: bytes | None, value: bytes) -> bytes:
    """What is signed. No two messages are spelled the same: a topic has no line end, and the key's length stands before it."""
    key = key or b""
    return b"%b\n%b\n%d\n%b%b" % (CONTEXT, topic.encode(), len(key), key, value)


def sign(signing: SigningKey, *, topic: str, key: bytes | None, value: bytes) -> bytes:
    """The value of the header."""
    made = signing.sign(signed_bytes(topic=topic, key=key, value=value))
    return f"{signing.kid}.".encode() + urlsafe_b64encode(made).rstrip(b"=")


def source_keys(settings: Settings) -> SourceKeys:
    """Those that the settings ask for. Raises SourceKeysUnusable, SourceKeysExposed, OSError."""
    if settings.source_keys is None:
        secret = development_key(settings.data_folder)
        public = Ed25519PrivateKey.from_private_bytes(secret).public_key()
        return SourceKeys({DEVELOPMENT_KID: Signer(None, _ed25519(public))})
    content = _content(settings.source_keys)
    try:
        listed = msgspec.json.decode(content, type=_Jwks).keys
        signers = {jwk.kid: _signer(jwk) for jwk in listed}
        if len(signers) < len(listed):
            raise ValueError("two keys have one kid")  # noqa: TRY301 - as what a key itself raises
    except (ValueError, RecursionError) as error:
        raise SourceKeysUnusable(f"{settings.source_keys}: {error}. {SourceKeysUnusable.__doc__}") from error
    return SourceKeys(signers)


def development_signing_key(settings: Settings) -> SigningKey:
    """For development and tests: the key of the data folder, which speaks for every source."""
    key = Ed25519PrivateKey.from_private_bytes(development_key(settings.data_folder))
    return SigningKey(DEVELOPMENT_KID, key.sign)


def development_key(folder: Path) -> bytes:
    """The secret of the data folder's development key, made on first use."""
    path = folder.expanduser() / DEVELOPMENT_FILE
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = {"crv": "Ed25519", "d": _spelled(os.urandom(32)), "kid": DEVELOPMENT_KID, "kty": "OKP"}
        write_whole(path, json.dumps(made) + "\n")
    try:
        return _bytes(msgspec.json.decode(_content(path), type=dict[str, str])["d"])
    except (ValueError, KeyError) as error:
        raise SourceKeysUnusable(f"{path}: {error}; remove it, and a new one is made") from error


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_KEYS_BYTES + 1)
        exposed = os.fstat(file.fileno()).st_mode & OTHERS_MAY_READ
    if len(content) > MAX_KEYS_BYTES:
        raise SourceKeysUnusable(f"{path}: longer than {MAX_KEYS_BYTES} bytes. {SourceKeysUnusable.__doc__}")
    if exposed and not is_secret_file(path) and (b'"oct"' in content or b'"d"' in content):
        raise SourceKeysExposed(f"{path}: {SourceKeysExposed.__doc__}")
    return content


def _signer(jwk: _Jwk) -> Signer:
    """Raises ValueError."""
    if jwk.d is not None:
        raise ValueError(f"key {jwk.kid} is private; keep it with the source system, and consider it stolen")
    if jwk.source is None and not jwk.steward:
        raise ValueError(f"key {jwk.kid} names neither a source nor a steward, and could post nothing")
    products = None if jwk.products is None else frozenset(jwk.products)
    poster = Poster(jwk.sub, jwk.source, products, jwk.steward)
    if (jwk.kty, jwk.crv) == ("OKP", "Ed25519"):
        return Signer(poster, _ed25519(Ed25519PublicKey.from_public_bytes(_bytes(jwk.x))))
    if jwk.kty != "oct":
        raise ValueError(f"key {jwk.kid} is neither for Ed25519 nor a secret")
    secret = _bytes(jwk.k)
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"the secret of key {jwk.kid} has fewer than {MIN_SECRET_BYTES} bytes")
    return Signer(poster, _hmac(secret))


def _ed25519(public: Ed25519PublicKey) -> Callable[[bytes, bytes], bool]:
    def verifies(signature: bytes, signed: bytes) -> bool:
        try:
            public.verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    return verifies


def _hmac(secret: bytes) -> Callable[[bytes, bytes], bool]:
    return lambda signature, signed: hmac.compare_digest(signature, hmac.digest(secret, signed, "sha256"))


def _bytes(spelled: str) -> bytes:
    return urlsafe_b64decode(spelled + "=" * (-len(spelled) % 4))


def _spelled(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
