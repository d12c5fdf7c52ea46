"""Bearer tokens: JWTs (RFC 7519, RFC 9068) that say who calls, what may be done, what for, and for which source.

1. The key decides on the algorithm, never the token: Ed25519 (RFC 9864) and ES256 are all that there is (RFC 8725).
2. A token is for this service alone, from its issuer, and short-lived; the clocks may differ by LEEWAY_S.
3. Whatever bytes come, they are a Caller or one of the problems TokenInvalid and TokenExpired.
4. A verified token is remembered, by its hash, until it expires and no longer.
5. Files with private keys are never taken for public ones, and a private key that others may read is not used.
"""

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self
from uuid import uuid4

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey
from joserfc.jws import JWSRegistry, deserialize_compact
from joserfc.util import urlsafe_b64decode
from msgspec import Meta, Struct

from ledger.api.problems import TokenExpired, TokenInvalid
from ledger.domain.posters import Poster
from ledger.settings import Settings

MAX_TOKEN_CHARACTERS = 4096
MAX_CACHED = 4096
MAX_KEYS = 64
MAX_KEYS_BYTES = 256 * 1024
MAX_PRODUCTS = 64
# Between the issuer's clock and ours.
LEEWAY_S = 5
TYPES = ("at+jwt", "application/at+jwt")
KEY_FILE = "token-key.json"
OTHERS_MAY_READ = 0o077
# A slug, of which pydantic and msgspec read the same.
PURPOSE = r"^[a-z][a-z0-9-]{0,63}$"
DEVELOPMENT_PURPOSE = "development"


class Scope(StrEnum):
    """What a token is good for; each has its meaning in a sentence."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """The value as it stands in the token, and what it means."""
        scope = str.__new__(cls, value)
        scope._value_ = value
        scope.meaning = meaning
        return scope

    POSTER = "poster", "Posts commands for the people and accounts of one source system."
    STEWARD = "steward", "Posts decisions on who is one person."
    READER = "reader", "Reads accounts, statements, people and balance sheets."
    FOLLOWER = "follower", "Follows the event feed."
    PLANNER = "planner", "Plans: taxes, retirement, what a person will live on, and what others like her have."
    AUDITOR = "auditor", "Reads everything, with control totals and what is needed to verify the journal."
    ADMINISTRATOR = "administrator", "Runs the service: its state, its projections and their rebuilding."


SCOPES: dict[str, Scope] = {scope.value: scope for scope in Scope}


class Caller(NamedTuple):
    """Who calls. `expires_at` is in seconds since 1970; `purpose` is what alone the token is good for, if it says so."""

    subject: str
    scopes: frozenset[Scope]
    poster: Poster | None
    expires_at: int
    token_id: str
    purpose: str | None = None


Key = OKPKey | ECKey
Keys = Mapping[str, Key]
"""Public keys by their `kid`."""

ALGORITHMS: dict[tuple[str, str], Literal["Ed25519", "ES256"]] = {
    ("OKP", "Ed25519"): "Ed25519",
    ("EC", "P-256"): "ES256",
}
REGISTRY = JWSRegistry(algorithms=list(ALGORITHMS.values()))

SubjectClaim = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,31}:[A-Za-z0-9._-]{1,95}\Z")]
SourceClaim = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}\Z")]
ProductClaim = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}\Z")]
PurposeClaim = Annotated[str, Meta(pattern=PURPOSE.replace("$", r"\Z"))]


class _Header(Struct, forbid_unknown_fields=True):
    """All that a header may say: no key of its own, nothing critical."""

    alg: str
    kid: str
    typ: str


class _Claims(Struct):
    """What is read of a payload; times are whole seconds since 1970."""

    iss: str
    aud: str | list[str]
    sub: SubjectClaim
    exp: int
    iat: int
    jti: Annotated[str, Meta(min_length=1, max_length=128)]
    scope: Annotated[str, Meta(min_length=1)]
    nbf: int | None = None
    purpose: PurposeClaim | None = None
    source: SourceClaim | None = None
    products: Annotated[list[ProductClaim], Meta(min_length=1, max_length=MAX_PRODUCTS)] | None = None


class _Jwk(Struct):
    """What is read of a key; `k` only so that a secret is noticed."""

    kty: str
    kid: Annotated[str, Meta(min_length=1)]
    alg: str | None = None
    crv: str = ""
    d: str | None = None
    k: str | None = None
    key_ops: tuple[str, ...] = ("verify",)
    use: str = "sig"
    x: str = ""
    y: str = ""


class _Jwks(Struct):
    keys: Annotated[list[_Jwk], Meta(min_length=1, max_length=MAX_KEYS)]


_HEADERS = msgspec.json.Decoder(_Header)
_CLAIMS = msgspec.json.Decoder(_Claims)


class KeysUnusable(ValueError):
    """The file of public keys cannot be used; it must be a JWKS (RFC 7517) of public Ed25519 and P-256 keys, each with a kid."""


class KeyExposed(PermissionError):
    """Others may read the private key; remove the file, or take their rights away and consider the key stolen."""


class Verifier:
    """Tells who calls from a bearer token."""

    def __init__(self, keys: Keys, *, issuer: str, audience: str, max_lifetime_s: int) -> None:
        """Trust these public keys, for tokens of this issuer to this audience."""
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._max_lifetime_s = max_lifetime_s
        # Measured: 1.6 us a remembered token, 167 one of Ed25519 that is verified, 120 one of ES256.
        self._cache: OrderedDict[bytes, Caller] = OrderedDict()
        self._guard = threading.Lock()

    def verify(self, token: str, now_s: float) -> Caller:
        """Who calls with this token. Raises TokenInvalid and TokenExpired."""
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise TokenInvalid("The token is too long.")
        if not token.isascii():
            raise TokenInvalid("The token is no JWT.")
        key = hashlib.sha256(token.encode()).digest()
        with self._guard:
            caller = self._cache.get(key)
            if caller is not None:
                self._cache.move_to_end(key)
        if caller is not None and now_s < caller.expires_at:
            return caller
        caller = self._verified(token.encode(), now_s)
        with self._guard:
            self._cache[key] = caller
            if len(self._cache) > MAX_CACHED:
                self._cache.popitem(last=False)
        return caller

    def _verified(self, token: bytes, now_s: float) -> Caller:
        claims = self._claims(token)
        if claims.iss != self._issuer:
            raise TokenInvalid("The token is from another issuer.")
        if claims.aud not in (self._audience, [self._audience]):
            raise TokenInvalid("The token is not for this service alone.")
        if max(claims.iat, claims.nbf or 0) > now_s + LEEWAY_S:
            raise TokenInvalid("The token is not valid yet.")
        if not 0 < claims.exp - claims.iat <= self._max_lifetime_s:
            raise TokenInvalid(f"The token's lifetime is not between 1 and {self._max_lifetime_s} seconds.")
        if claims.exp + LEEWAY_S <= now_s:
            raise TokenExpired
        scopes = _scopes(claims.scope)
        return Caller(claims.sub, scopes, _poster(claims, scopes), claims.exp, claims.jti, claims.purpose)

    def _claims(self, token: bytes) -> _Claims:
        """The payload, once the signature is verified with the key that the header names."""
        try:
            header = _HEADERS.decode(urlsafe_b64decode(token.partition(b".")[0]))
            key = self._keys[header.kid]
            if header.alg != _algorithm(key) or header.typ.lower() not in TYPES:
                raise TokenInvalid("The token's header is not one of this service.")
            payload = deserialize_compact(token, key, registry=REGISTRY).payload
            assert payload is not None
            return _CLAIMS.decode(payload)
        except KeyError:
            raise TokenInvalid("The token's key is not known here.") from None
        except JoseError:
            raise TokenInvalid("The token's signature does not fit.") from None
        # A nesting deep enough exhausts the stack of a parser.
        except (ValueError, RecursionError):
            raise TokenInvalid("The token's header or claims are not those of this service.") from None


def verifier(settings: Settings) -> Verifier:
    """The one that the settings ask for. Raises KeysUnusable, KeyExposed, OSError."""
    if settings.token_keys is None:
        keys = DevelopmentKey.load_or_create(settings.data_folder).public_keys()
    else:
        keys = load_keys(settings.token_keys)
    return Verifier(
        keys,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        max_lifetime_s=settings.token_lifetime_s,
    )


def load_keys(path: Path) -> Keys:
    """Read the public keys of a JWKS file. Raises KeysUnusable, OSError."""
    with path.open("rb") as file:
        content = file.read(MAX_KEYS_BYTES + 1)
    try:
        return _public_keys(content)
    except (ValueError, RecursionError, JoseError) as error:
        raise KeysUnusable(f"{path}: {error}. {KeysUnusable.__doc__}") from error


class DevelopmentKey(NamedTuple):
    """A private Ed25519 key that signs tokens for development and tests."""

    kid: str
    key: OKPKey

    @classmethod
    def generate(cls) -> "DevelopmentKey":
        """A new one, whose kid is its thumbprint (RFC 7638)."""
        key = OKPKey.generate_key("Ed25519")
        return cls(key.thumbprint(), key)

    @classmethod
    def load_or_create(cls, folder: Path) -> "DevelopmentKey":
        """The one of this folder, made on first use; processes that race agree. Raises KeyExposed, KeysUnusable."""
        path = folder.expanduser() / KEY_FILE
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            made = cls.generate()
            _create(path, json.dumps(made.key.as_dict(private=True, kid=made.kid)).encode())
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & OTHERS_MAY_READ:
                raise KeyExposed(f"{path}: {KeyExposed.__doc__}")
            content = file.read(MAX_KEYS_BYTES)
        try:
            key = _private_key(content)
        except (ValueError, RecursionError, JoseError) as error:
            raise KeysUnusable(f"{path}: {error}; remove it, and a new one is made") from error
        return cls(key.thumbprint(), key)

    def public_keys(self) -> Keys:
        """What a verifier needs to trust it."""
        return {self.kid: OKPKey.import_key(self.key.as_dict(private=False))}


def mint(  # noqa: PLR0913 - each is a claim of its own
    key: DevelopmentKey,
    *,
    subject: str,
    scopes: Collection[Scope],
    issuer: str,
    audience: str,
    lifetime_s: int,
    now_s: float,
    source: str | None = None,
    products: Collection[str] | None = None,
    purpose: str | None = DEVELOPMENT_PURPOSE,
) -> str:
    """Sign a token, for development and tests."""
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "client_id": subject,
        "iat": int(now_s),
        "exp": int(now_s) + lifetime_s,
        "jti": uuid4().hex,
        "scope": " ".join(scopes),
    }
    if source is not None:
        claims["source"] = source
    if purpose is not None:
        claims["purpose"] = purpose
    if products is not None:
        claims["products"] = sorted(products)
    return jwt.encode({"alg": "Ed25519", "kid": key.kid, "typ": TYPES[0]}, claims, key.key, registry=REGISTRY)


def _scopes(claim: str) -> frozenset[Scope]:
    try:
        return frozenset(SCOPES[scope] for scope in claim.split(" "))
    except KeyError:
        raise TokenInvalid("The token has a scope that is not one of this service.") from None


def _poster(claims: _Claims, scopes: frozenset[Scope]) -> Poster | None:
    """Source and products count for a poster alone."""
    is_steward = Scope.STEWARD in scopes
    if Scope.POSTER not in scopes:
        return Poster(claims.sub, None, None, is_steward=True) if is_steward else None
    if claims.source is None:
        raise TokenInvalid("A poster's token must name its source.")
    products = None if claims.products is None else frozenset(claims.products)
    return Poster(claims.sub, claims.source, products, is_steward)


def _algorithm(key: Key) -> str | None:
    return ALGORITHMS.get((key.key_type, key.curve_name))


def _public_keys(content: bytes) -> Keys:
    """Raises ValueError, RecursionError, JoseError."""
    if len(content) > MAX_KEYS_BYTES:
        raise ValueError(f"longer than {MAX_KEYS_BYTES} bytes")
    listed = msgspec.json.decode(content, type=_Jwks).keys
    keys = {jwk.kid: _public_key(jwk) for jwk in listed}
    if len(keys) < len(listed):
        raise ValueError("two keys have one kid")
    return keys


def _public_key(jwk: _Jwk) -> Key:
    """Raises ValueError, JoseError."""
    if jwk.d is not None or jwk.k is not None:
        raise ValueError("a key is private or secret; keep it with the issuer, and consider it stolen")
    algorithm = ALGORITHMS.get((jwk.kty, jwk.crv))
    if algorithm is None or (jwk.alg or algorithm) != algorithm:
        raise ValueError("a key is neither for Ed25519 nor for ES256")
    if jwk.use != "sig" or "verify" not in jwk.key_ops:
        raise ValueError("a key is not for signatures")
    if algorithm == "Ed25519":
        return OKPKey.import_key({"kty": jwk.kty, "crv": jwk.crv, "x": jwk.x})
    return ECKey.import_key({"kty": jwk.kty, "crv": jwk.crv, "x": jwk.x, "y": jwk.y})


def _private_key(content: bytes) -> OKPKey:
    """Raises ValueError, RecursionError, JoseError."""
    jwk = msgspec.json.decode(content, type=_Jwk)
    if ALGORITHMS.get((jwk.kty, jwk.crv)) != "Ed25519" or jwk.d is None:
        raise ValueError("this is no private Ed25519 key")
    return OKPKey.import_key({"kty": jwk.kty, "crv": jwk.crv, "x": jwk.x, "d": jwk.d})


def _create(path: Path, content: bytes) -> None:
    """Make a file of the owner's alone, whole or not at all; one that another process was quicker to make stays."""
    made = path.with_name(f"{path.name}.{uuid4().hex}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(made, path)
    except FileExistsError:
        pass
    finally:
        made.unlink()
