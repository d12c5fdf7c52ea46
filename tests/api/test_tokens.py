"""Bearer tokens: the numbers are the invariants of ledger/api/tokens.py."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import multiprocessing
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry, serialize_compact

from ledger.api import tokens
from ledger.api.problems import Problem, TokenExpired, TokenInvalid
from ledger.api.tokens import (
    KEY_FILE,
    LEEWAY_S,
    MAX_CACHED,
    MAX_TOKEN_CHARACTERS,
    Caller,
    DevelopmentKey,
    KeyExposed,
    KeysUnusable,
    Scope,
    Verifier,
    load_keys,
    mint,
    verifier,
)
from ledger.domain.posters import Poster
from ledger.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

NOW_S = 1_800_000_000
ISSUER, AUDIENCE = "issuer", "pension-ledger"
KEY = DevelopmentKey.generate()
EC = ECKey.generate_key("P-256")
HEADER = {"alg": "Ed25519", "kid": KEY.kid, "typ": "at+jwt"}
CLAIMS = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "system:ea-core",
    "iat": NOW_S,
    "exp": NOW_S + 300,
    "jti": "1",
    "scope": "poster",
    "source": "ea-core",
}
REGISTRY = JWSRegistry(algorithms=["Ed25519", "ES256", "ES384", "RS256", "HS256", "none"], strict_check_header=False)


@pytest.fixture
def trusting() -> Verifier:
    keys = {**KEY.public_keys(), "ec": ECKey.import_key(EC.as_dict(private=False))}
    return Verifier(keys, issuer=ISSUER, audience=AUDIENCE, max_lifetime_s=300)


def signed(header: dict[str, Any] | None = None, claims: object = CLAIMS, key: Any = KEY.key) -> str:
    """A token as an issuer could write it, right or wrong."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return serialize_compact(HEADER | (header or {}), payload, key, registry=REGISTRY)


def segment(content: object) -> str:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def without(name: str) -> dict[str, Any]:
    return {claim: value for claim, value in CLAIMS.items() if claim != name}


class TestWhoCalls:
    def test_a_poster_has_its_source(self, trusting: Verifier) -> None:
        assert trusting.verify(signed(), NOW_S) == Caller(
            subject="system:ea-core",
            scopes=frozenset({Scope.POSTER}),
            poster=Poster("system:ea-core", "ea-core", None, is_steward=False),
            expires_at=NOW_S + 300,
            token_id="1",  # noqa: S106 - a token's number, no password
        )

    def test_a_posters_products_narrow_it(self, trusting: Verifier) -> None:
        found = trusting.verify(signed(claims=CLAIMS | {"products": ["personal_pension"]}), NOW_S)
        assert found.poster == Poster("system:ea-core", "ea-core", frozenset({"personal_pension"}), is_steward=False)

    def test_a_steward_posts_without_a_source(self, trusting: Verifier) -> None:
        """A source that the token names for nothing counts for nothing."""
        found = trusting.verify(signed(claims=CLAIMS | {"scope": "steward reader", "sub": "user:li"}), NOW_S)
        assert found.poster == Poster("user:li", None, None, is_steward=True)
        assert found.scopes == {Scope.STEWARD, Scope.READER}

    def test_a_purpose_is_read_where_there_is_one(self, trusting: Verifier) -> None:
        assert trusting.verify(signed(), NOW_S).purpose is None
        for purpose in ("audit", "a", "customer-service-2", "x" * 64):
            assert trusting.verify(signed(claims=CLAIMS | {"purpose": purpose}), NOW_S).purpose == purpose

    @pytest.mark.parametrize("purpose", ["", "Audit", "1", "-", "a b", "a\n", "é", "x" * 65, "a_b", 1, ["audit"], {}])
    def test_another_spelling_of_a_purpose_is_no_token(self, trusting: Verifier, purpose: object) -> None:
        with pytest.raises(TokenInvalid):
            trusting.verify(signed(claims=CLAIMS | {"purpose": purpose}), NOW_S)

    def test_who_only_reads_posts_nothing(self, trusting: Verifier) -> None:
        assert trusting.verify(signed(claims=without("source") | {"scope": "reader"}), NOW_S).poster is None

    @pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
    def test_both_keys_and_every_spelling_of_the_type_are_taken(self, trusting: Verifier, typ: str) -> None:
        assert trusting.verify(signed({"typ": typ}), NOW_S)
        assert trusting.verify(signed({"typ": typ, "alg": "ES256", "kid": "ec"}, key=EC), NOW_S)

    def test_what_is_minted_is_verified(self, trusting: Verifier) -> None:
        for scope in Scope:
            token = mint(
                KEY,
                subject="system:bank",
                scopes=[scope],
                issuer=ISSUER,
                audience=AUDIENCE,
                lifetime_s=60,
                now_s=NOW_S,
                source="bank",
                products=["personal_pension"],
            )
            found = trusting.verify(token, NOW_S + 59)
            assert (found.subject, found.scopes, found.expires_at) == ("system:bank", frozenset({scope}), NOW_S + 60)
            assert found.purpose == "development"

    def test_every_scope_has_a_meaning(self) -> None:
        assert all(scope.meaning.endswith(".") for scope in Scope)


class TestForgery:
    """Invariant 1."""

    def test_a_changed_payload_does_not_fit_its_signature(self, trusting: Verifier) -> None:
        head, _, signature = signed().split(".")
        for claims in (CLAIMS | {"source": "bank"}, CLAIMS | {"scope": "administrator"}):
            with pytest.raises(TokenInvalid):
                trusting.verify(f"{head}.{segment(claims)}.{signature}", NOW_S)

    def test_another_keys_signature_does_not_fit(self, trusting: Verifier) -> None:
        for token in (
            signed(key=OKPKey.generate_key("Ed25519")),
            signed({"alg": "ES256", "kid": "ec"}, key=ECKey.generate_key("P-256")),
        ):
            with pytest.raises(TokenInvalid):
                trusting.verify(token, NOW_S)

    def test_an_unknown_kid_is_refused(self, trusting: Verifier) -> None:
        with pytest.raises(TokenInvalid):
            trusting.verify(signed({"kid": "other"}), NOW_S)

    @pytest.mark.parametrize(
        "alg", ["none", "None", "HS256", "EdDSA", "ES256", "ES384", "RS256", "", 1, None, ["none"]]
    )
    @pytest.mark.parametrize("signature", ["", "AAAA", segment(b"\0" * 64)])
    def test_an_algorithm_that_is_not_the_keys_is_refused(
        self, trusting: Verifier, alg: object, signature: str
    ) -> None:
        with pytest.raises(TokenInvalid):
            trusting.verify(f"{segment(HEADER | {'alg': alg})}.{segment(CLAIMS)}.{signature}", NOW_S)

    def test_the_public_key_is_no_secret_of_a_mac(self, trusting: Verifier) -> None:
        public = KEY.public_keys()[KEY.kid]
        spellings = [
            public.as_bytes("PEM", private=False),
            public.as_bytes("DER", private=False),
            str(public.as_dict(private=False)["x"]).encode(),
            json.dumps(public.as_dict(private=False)).encode(),
        ]
        message = f"{segment(HEADER | {'alg': 'HS256'})}.{segment(CLAIMS)}"
        for secret in spellings:
            mac = hmac.new(secret, message.encode(), hashlib.sha256).digest()
            with pytest.raises(TokenInvalid):
                trusting.verify(f"{message}.{segment(mac)}", NOW_S)

    @pytest.mark.parametrize(
        "extra",
        [
            {"jwk": KEY.key.as_dict(private=False)},
            {"jku": "https://example.org/keys"},
            {"x5u": "https://example.org/keys"},
            {"crit": ["exp"], "exp": NOW_S},
            {"b64": False, "crit": ["b64"]},
            {"zip": "DEF"},
        ],
    )
    def test_a_header_says_nothing_but_algorithm_key_and_type(self, trusting: Verifier, extra: dict[str, Any]) -> None:
        message = f"{segment(HEADER | extra)}.{segment(CLAIMS)}"
        signature = KEY.key.private_key.sign(message.encode())  # type: ignore[union-attr]
        with pytest.raises(TokenInvalid):
            trusting.verify(f"{message}.{segment(signature)}", NOW_S)

    @pytest.mark.parametrize("name", ["alg", "kid", "typ"])
    def test_a_header_needs_all_three(self, trusting: Verifier, name: str) -> None:
        header = {key: value for key, value in HEADER.items() if key != name}
        with pytest.raises(TokenInvalid):
            trusting.verify(f"{segment(header)}.{segment(CLAIMS)}.{segment(bytes(64))}", NOW_S)

    def test_another_type_of_token_is_refused(self, trusting: Verifier) -> None:
        for typ in ("JWT", "", "dpop+jwt"):
            with pytest.raises(TokenInvalid):
                trusting.verify(signed({"typ": typ}), NOW_S)


class TestClaims:
    """Invariant 2, and what a caller needs."""

    @pytest.mark.parametrize(
        "wrong",
        [
            {"iss": "other"},
            {"aud": "other"},
            {"aud": [AUDIENCE, "other"]},
            {"aud": []},
            {"sub": ""},
            {"sub": "ea-core"},
            {"sub": "system:ea-core\n"},
            {"sub": "system:" + "x" * 96},
            {"jti": ""},
            {"scope": ""},
            {"scope": "poster owner"},
            {"scope": "poster  reader"},
            {"scope": "POSTER"},
            {"scope": ["poster"]},
            {"source": "ea:core"},
            {"source": ""},
            {"source": 7},
            {"products": []},
            {"products": "personal_pension"},
            {"products": ["Personal Pension"]},
            {"products": ["p"] * 65},
        ],
    )
    def test_a_claim_that_is_not_as_it_should_be_is_refused(self, trusting: Verifier, wrong: dict[str, Any]) -> None:
        with pytest.raises(TokenInvalid):
            trusting.verify(signed(claims=CLAIMS | wrong), NOW_S)

    @pytest.mark.parametrize("name", ["iss", "aud", "sub", "exp", "iat", "jti", "scope"])
    def test_a_claim_that_is_missing_is_refused(self, trusting: Verifier, name: str) -> None:
        with pytest.raises(TokenInvalid):
            trusting.verify(signed(claims=without(name)), NOW_S)

    def test_a_poster_without_a_source_is_refused(self, trusting: Verifier) -> None:
        with pytest.raises(TokenInvalid, match="source"):
            trusting.verify(signed(claims=without("source")), NOW_S)

    def test_one_audience_may_stand_in_a_list(self, trusting: Verifier) -> None:
        assert trusting.verify(signed(claims=CLAIMS | {"aud": [AUDIENCE]}), NOW_S)

    def test_a_token_is_valid_from_its_issue_to_its_end_give_or_take_the_leeway(self, trusting: Verifier) -> None:
        for now_s in (NOW_S - LEEWAY_S, NOW_S, NOW_S + 300, NOW_S + 299.9 + LEEWAY_S):
            assert trusting.verify(signed(), now_s)
        with pytest.raises(TokenExpired):
            trusting.verify(signed(), NOW_S + 300 + LEEWAY_S)

    def test_a_token_of_the_future_is_refused(self, trusting: Verifier) -> None:
        with pytest.raises(TokenInvalid, match="yet"):
            trusting.verify(signed(), NOW_S - LEEWAY_S - 1)
        with pytest.raises(TokenInvalid, match="yet"):
            trusting.verify(signed(claims=CLAIMS | {"nbf": NOW_S + LEEWAY_S + 1}), NOW_S)

    @pytest.mark.parametrize("lifetime_s", [301, 10**9, 10**40, 0, -1])
    def test_a_lifetime_out_of_bounds_is_refused(self, trusting: Verifier, lifetime_s: int) -> None:
        with pytest.raises(TokenInvalid, match="lifetime"):
            trusting.verify(signed(claims=CLAIMS | {"exp": NOW_S + lifetime_s}), NOW_S)

    @pytest.mark.parametrize(
        "number", ["NaN", "Infinity", "1e400", "true", f"{NOW_S + 60}.0", f'"{NOW_S + 60}"', "null"]
    )
    def test_a_time_is_a_whole_number(self, trusting: Verifier, number: str) -> None:
        """NaN is neither before nor after anything."""
        for name in ("exp", "iat"):
            claims = json.dumps(CLAIMS | {name: "HERE"}).replace('"HERE"', number).encode()
            with pytest.raises(TokenInvalid):
                trusting.verify(signed(claims=claims), NOW_S)


class TestWhateverComes:
    """Invariant 3."""

    @pytest.mark.parametrize(
        "token",
        [
            "",
            ".",
            "..",
            "....",
            "a.b.c",
            "é.é.é",
            "\x00\xff",
            "🦊",
            " " + signed(),
            signed() + "=",
            signed() + ".x",
            signed().replace(".", "..", 1),
            segment(b"[" * 2_000) + ".." + "A" * 86,
            segment(b"\xff\xfe") + ".a.b",
            segment(HEADER) + "." + segment(b"[" * 1_000) + "." + "A" * 86,
        ],
    )
    def test_garbage_is_an_invalid_token(self, trusting: Verifier, token: str) -> None:
        with pytest.raises(TokenInvalid):
            trusting.verify(token, NOW_S)

    @pytest.mark.parametrize("claims", [b"", b"[]", b"null", b"\xff", b"[" * 2_000, b'{"iss":' + b"[" * 2_000, b"{}"])
    def test_what_the_issuer_signed_may_be_garbage_too(self, trusting: Verifier, claims: bytes) -> None:
        with pytest.raises(TokenInvalid):
            trusting.verify(signed(claims=claims), NOW_S)

    def test_a_deep_nesting_in_a_claim_that_nobody_reads_is_no_bug_of_ours(self, trusting: Verifier) -> None:
        claims = json.dumps(CLAIMS)[:-1].encode() + b', "x": ' + b"[" * 1_200 + b"]" * 1_200 + b"}"
        with suppress(TokenInvalid):
            trusting.verify(signed(claims=claims), NOW_S)

    def test_an_oversized_token_is_refused_unread(self, trusting: Verifier) -> None:
        token = signed(claims=CLAIMS | {"padding": "x" * MAX_TOKEN_CHARACTERS})
        with pytest.raises(TokenInvalid, match="too long"):
            trusting.verify(token, NOW_S)

    @given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
    def test_any_text_is_a_problem(self, token: str) -> None:
        with pytest.raises(TokenInvalid):
            Verifier(KEY.public_keys(), issuer=ISSUER, audience=AUDIENCE, max_lifetime_s=300).verify(token, NOW_S)

    @given(st.integers(0, len(signed()) - 1), st.characters(max_codepoint=255))
    def test_a_token_with_one_character_changed_is_a_problem(self, at: int, character: str) -> None:
        token = signed()
        changed = token[:at] + character + token[at + 1 :]
        if changed != token:
            with pytest.raises(TokenInvalid):
                Verifier(KEY.public_keys(), issuer=ISSUER, audience=AUDIENCE, max_lifetime_s=300).verify(changed, NOW_S)

    def test_a_problem_quotes_nothing_of_the_token(self, trusting: Verifier) -> None:
        for wrong in ({"iss": "zhang-san"}, {"scope": "zhang-san"}, {"sub": "zhang-san"}, {"source": "Zhang-san"}):
            with pytest.raises(Problem) as caught:
                trusting.verify(signed(claims=CLAIMS | wrong), NOW_S)
            assert "hang-san" not in json.dumps(caught.value.as_dict())


class TestCache:
    """Invariant 4."""

    def test_a_remembered_token_is_not_verified_again(
        self, trusting: Verifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = trusting.verify(signed(), NOW_S)
        monkeypatch.setattr(tokens, "deserialize_compact", None)
        assert trusting.verify(signed(), NOW_S + 299.9) is first

    def test_it_does_not_outlive_the_token(self, trusting: Verifier) -> None:
        trusting.verify(signed(), NOW_S)
        with pytest.raises(TokenExpired):
            trusting.verify(signed(), NOW_S + 300 + LEEWAY_S)

    def test_an_invalid_token_is_not_remembered(self, trusting: Verifier) -> None:
        for _ in range(2):
            with pytest.raises(TokenInvalid):
                trusting.verify(signed(claims=CLAIMS | {"iss": "other"}), NOW_S)
        assert not trusting._cache

    def test_it_is_bounded_and_forgets_who_was_away_longest(
        self, trusting: Verifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert MAX_CACHED == 4_096
        monkeypatch.setattr(tokens, "MAX_CACHED", 3)
        a, b, c, d = (signed(claims=CLAIMS | {"jti": jti}) for jti in "abcd")
        for token in (a, b, c, a, d):
            trusting.verify(token, NOW_S)
        assert [caller.token_id for caller in trusting._cache.values()] == ["c", "a", "d"]


class TestKeyFiles:
    """Invariant 5."""

    def written(self, path: Path, *keys: object) -> Path:
        path.write_text(json.dumps({"keys": keys}))
        return path

    def test_public_keys_are_read_with_their_kids(self, tmp_path: Path) -> None:
        path = self.written(
            tmp_path / "keys.json",
            KEY.key.as_dict(private=False, kid="a", use="sig"),
            EC.as_dict(private=False, kid="b", alg="ES256"),
        )
        keys = load_keys(path)
        trusting = Verifier(keys, issuer=ISSUER, audience=AUDIENCE, max_lifetime_s=300)
        assert trusting.verify(signed({"kid": "a"}), NOW_S)
        assert trusting.verify(signed({"kid": "b", "alg": "ES256"}, key=EC), NOW_S)

    @pytest.mark.parametrize(
        "key",
        [
            KEY.key.as_dict(private=True, kid="a"),
            EC.as_dict(private=True, kid="a"),
            OctKey.generate_key(256).as_dict(private=True, kid="a"),
            RSAKey.generate_key(2048).as_dict(private=False, kid="a"),
            ECKey.generate_key("P-384").as_dict(private=False, kid="a"),
            OKPKey.generate_key("X25519").as_dict(private=False, kid="a"),
            KEY.key.as_dict(private=False),
            KEY.key.as_dict(private=False, kid=""),
            KEY.key.as_dict(private=False, kid="a", use="enc"),
            KEY.key.as_dict(private=False, kid="a", alg="EdDSA"),
            KEY.key.as_dict(private=False, kid="a") | {"key_ops": ["sign"]},
            KEY.key.as_dict(private=False, kid="a") | {"x": "AAAA"},
            KEY.key.as_dict(private=False, kid="a") | {"x": "!"},
            EC.as_dict(private=False, kid="a") | {"y": EC.as_dict()["x"]},
            EC.as_dict(private=False, kid="a") | {"y": ""},
            {"kty": ["OKP"], "crv": {}, "kid": "a"},
            "key",
        ],
    )
    def test_other_keys_are_refused_with_the_files_name_and_the_reason(self, tmp_path: Path, key: object) -> None:
        path = self.written(tmp_path / "keys.json", key)
        with pytest.raises(KeysUnusable, match=r"keys\.json: .+ It must be|keys\.json: .+ must be"):
            load_keys(path)

    @pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"keys": []}', b"\xff", b"[" * 10_000, b" " * 300_000])
    def test_a_file_that_lists_no_keys_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "keys.json"
        path.write_bytes(content)
        with pytest.raises(KeysUnusable):
            load_keys(path)

    def test_two_keys_of_one_kid_are_refused(self, tmp_path: Path) -> None:
        path = self.written(
            tmp_path / "keys.json", KEY.key.as_dict(private=False, kid="a"), EC.as_dict(private=False, kid="a")
        )
        with pytest.raises(KeysUnusable, match="two keys"):
            load_keys(path)


class TestDevelopmentKey:
    def test_it_is_made_once_and_for_its_owner_alone(self, tmp_path: Path) -> None:
        folder = tmp_path / "data"
        made = DevelopmentKey.load_or_create(folder)
        assert DevelopmentKey.load_or_create(folder).kid == made.kid
        assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
        assert [path.name for path in folder.iterdir()] == [KEY_FILE]

    def test_processes_that_race_agree(self, tmp_path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        with context.Pool(4) as pool:
            found = pool.map(_kid_of, [tmp_path] * 8)
        assert len(set(found)) == 1
        assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]

    def test_one_that_others_may_read_is_not_used(self, tmp_path: Path) -> None:
        DevelopmentKey.load_or_create(tmp_path)
        (tmp_path / KEY_FILE).chmod(0o640)
        with pytest.raises(KeyExposed):
            DevelopmentKey.load_or_create(tmp_path)

    @pytest.mark.parametrize(
        "content",
        [b"", b"{}", b"[]", json.dumps(KEY.key.as_dict(private=False)).encode(), b"[" * 10_000],
        ids=["empty", "object", "array", "public key", "deep"],
    )
    def test_a_file_that_holds_something_else_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / KEY_FILE
        path.touch(0o600)
        path.write_bytes(content)
        with pytest.raises(KeysUnusable):
            DevelopmentKey.load_or_create(tmp_path)


class TestSettings:
    def test_without_a_file_of_keys_the_development_key_is_trusted(self, tmp_path: Path) -> None:
        settings = Settings(data_folder=tmp_path)
        trusting = verifier(settings)
        key = DevelopmentKey.load_or_create(tmp_path)
        assert trusting.verify(minted(settings, key), NOW_S)

    def test_with_a_file_of_keys_only_those_are(self, tmp_path: Path) -> None:
        keys = tmp_path / "keys.json"
        keys.write_text(json.dumps({"keys": [KEY.key.as_dict(private=False, kid=KEY.kid)]}))
        settings = Settings(data_folder=tmp_path, token_keys=keys)
        trusting = verifier(settings)
        assert trusting.verify(minted(settings, KEY), NOW_S)
        with pytest.raises(TokenInvalid):
            trusting.verify(minted(settings, DevelopmentKey.load_or_create(tmp_path)), NOW_S)


def minted(settings: Settings, key: DevelopmentKey) -> str:
    return mint(
        key,
        subject="user:li",
        scopes=[Scope.READER],
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        lifetime_s=settings.token_lifetime_s,
        now_s=NOW_S,
    )


def _kid_of(folder: Path) -> str:
    return DevelopmentKey.load_or_create(folder).kid
