"""JWTs: which are let in, and every way in which one is not. Keys come from a fake issuer; time is virtual."""

import json
import logging
import sys
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry

from tests.auth.issuer import (
    AUDIENCE,
    EPOCH,
    JWKS_URL,
    URL,
    Issuer,
    b64,
    claims,
    ec_key,
    ed_key,
    hmac_token,
    now,
    rsa_key,
    signed,
    token,
)
from trio_mcp.auth import AccessToken, JWTVerifier

SECRET = b"a secret that both of us know, of 32 bytes or more"


def with_key(key: Any = None, **options: Any) -> JWTVerifier:
    """A verifier of one key."""
    key = rsa_key().as_pem(private=False) if key is None else key
    return JWTVerifier(**{"key": key, "issuer": URL, "audience": AUDIENCE, "now": now, **options})


# Let in


async def test_a_good_token_says_who_and_what(autojump_clock):
    issuer = Issuer()
    good = token(scope="read write", client_id="app", email="alice@example.org")
    found = await issuer.verifier(leeway=10).verify(good)
    assert found == AccessToken(
        "alice", scopes="read write", client_id="app", expires_at=EPOCH + trio.current_time() + 310
    )
    assert found.claims["email"] == "alice@example.org"


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        *((rsa_key(), alg) for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        *((ec_key(), "ES256"), (ed_key(), "EdDSA"), (ed_key(), "Ed25519")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_every_algorithm_with_a_private_key_is_taken(key: Any, alg: str, autojump_clock):
    issuer = Issuer(rsa_key(), ec_key(), ed_key())
    assert await issuer.verifier().verify(token(key, alg=alg)) is not None
    assert await with_key(key.as_pem(private=False)).verify(token(key, alg=alg)) is not None
    assert await with_key(key.as_dict(private=False)).verify(token(key, alg=alg)) is not None


async def test_a_shared_secret_is_taken_where_its_algorithm_is_said(autojump_clock):
    verifier = with_key(SECRET, algorithms=["HS256"])
    assert await verifier.verify(hmac_token(SECRET)) is not None
    assert await verifier.verify(hmac_token(SECRET + b"!")) is None
    assert await verifier.verify(token()) is None


@pytest.mark.parametrize("audience", [[AUDIENCE, "https://other.example"], [AUDIENCE], AUDIENCE])
async def test_one_of_several_audiences_is_enough(audience: Any, autojump_clock):
    assert await with_key().verify(token(aud=audience)) is not None
    assert await with_key(audience=["https://third.example", AUDIENCE]).verify(token(aud=audience)) is not None


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", "jwt", None])
async def test_the_type_is_that_of_an_access_token_or_says_little(typ: str | None, autojump_clock):
    assert await with_key().verify(token(head={"typ": typ})) is not None
    strict = await with_key(strict_type=True).verify(token(head={"typ": typ}))
    assert (strict is not None) == ("at+jwt" in (typ or "").lower())


@pytest.mark.parametrize("typ", ["logout+jwt", "dpop+jwt", "secevent+jwt", ""])
async def test_a_token_of_another_type_is_refused(typ: str, autojump_clock):
    assert await with_key().verify(token(head={"typ": typ})) is None


async def test_without_a_subject_the_client_speaks_for_itself_and_for_no_user_of_that_name(autojump_clock):
    found = await with_key().verify(token(sub=None, client_id="alice"))
    assert found is not None
    assert (found.subject, found.client_id) == ("client:alice", "alice")
    assert await with_key().verify(token(sub=None)) is None
    assert await with_key().verify(token(sub="")) is None


@pytest.mark.parametrize(
    ("said", "scopes"),
    [
        ({"scope": "read write"}, {"read", "write"}),
        ({"scope": ["read", "write"]}, {"read", "write"}),
        ({"scp": ["read"]}, {"read"}),
        ({"scp": "read write"}, {"read", "write"}),
        ({"scope": 'a"b  good \\ é'}, {"good"}),
        ({"scope": 7}, set()),
        ({"scope": {"read": 1}}, set()),
        ({"scope": ["read", 7, None]}, {"read"}),
        ({"scope": "", "scp": "x"}, set()),
        ({}, set()),
    ],
)
async def test_scopes_come_as_issuers_write_them(said: Any, scopes: set[str], autojump_clock):
    found = await with_key().verify(token(**said))
    assert found is not None
    assert found.scopes == scopes


async def test_a_broad_scope_holds_narrower_ones_by_way_of_others_too(autojump_clock):
    implies = {"admin": ["write"], "write": ["read"], "read": ["write"]}
    found = await with_key(implies=implies).verify(token(scope="admin"))
    assert found is not None
    assert found.scopes == {"admin", "write", "read"}


# Time


async def test_it_is_valid_from_nbf_until_exp_within_the_leeway(autojump_clock):
    verifier = with_key(leeway=5)
    text = token(nbf=now() + 100, exp=now() + 200)
    for at, valid in ((0, False), (94, False), (96, True), (204, True), (205, False), (300, False)):
        await trio.sleep_until(at)
        assert (await verifier.verify(text) is not None) is valid, at


NO_TIMES: list[Any] = [None, "soon", True, 1e300, 10**400, -1, 0, [], {}]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"exp": value} for value in NO_TIMES),
        *({"nbf": value} for value in ("then", True, 1e300, -(10**30))),
    ],
    ids=str,
)
async def test_times_that_are_none_are_refused(wrong: Any, autojump_clock):
    assert await with_key().verify(token(**wrong)) is None


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
async def test_numbers_that_are_no_json_are_refused(number: str, autojump_clock):
    payload = json.dumps(claims(exp="X")).replace('"X"', number).encode()
    assert await with_key().verify(signed(payload)) is None


# Not for us


@pytest.mark.parametrize(
    "wrong",
    [
        *({"iss": value} for value in (None, "https://evil.example", f"{URL}/", URL.upper(), [URL], 1)),
        *({"aud": value} for value in (None, "https://other.example", [], [1], {AUDIENCE: 1}, f"{AUDIENCE}/", "")),
        *({"sub": value} for value in (7, ["alice"], {"a": 1}, "x" * 2000)),
        {"cnf": {"jkt": "a key that the sender would have to prove"}},
        {"client_id": 7},
    ],
    ids=str,
)
async def test_claims_of_another_issuer_audience_or_make_are_refused(wrong: Any, autojump_clock):
    assert await with_key().verify(token(**wrong)) is None


# Not signed as it should be


def changed(text: str, part: int) -> str:
    """The same token with one character of one part altered."""
    parts = text.split(".")
    middle = len(parts[part]) // 2
    other = "A" if parts[part][middle] != "A" else "B"
    parts[part] = parts[part][:middle] + other + parts[part][middle + 1 :]
    return ".".join(parts)


@pytest.mark.parametrize("part", [0, 1, 2])
async def test_any_altered_part_is_refused(part: int, autojump_clock):
    text = token()
    assert await with_key().verify(text) is not None
    assert await with_key().verify(changed(text, part)) is None


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE"])
@pytest.mark.parametrize("signature", ["", "AAAA"])
async def test_an_unsigned_token_is_refused(alg: str, signature: str, autojump_clock):
    text = f"{b64({'alg': alg, 'kid': 'rsa-1'})}.{b64(claims())}.{signature}"
    assert await with_key().verify(text) is None
    assert await Issuer().verifier().verify(text) is None
    assert await with_key(SECRET, algorithms=["HS256"]).verify(text) is None


@pytest.mark.parametrize("kid", ["rsa-1", None])
async def test_the_public_key_is_no_shared_secret(kid: str | None, autojump_clock):
    """Algorithm confusion: a token that is signed with the published key as if it were a secret."""
    public = rsa_key().as_pem(private=False)
    published = rsa_key().as_dict(private=False)
    for secret in (public, public.strip(), json.dumps(published).encode(), str(published["n"]).encode()):
        text = hmac_token(secret, head={"kid": kid} if kid else {})
        assert await with_key(public).verify(text) is None
        assert await with_key(published).verify(text) is None
        assert await Issuer().verifier().verify(text) is None


async def test_a_shared_secret_that_is_published_is_none(autojump_clock):
    issuer = Issuer()
    issuer.extra = [{"kty": "oct", "kid": "shared", "k": b64(SECRET)}]
    assert await issuer.verifier().verify(hmac_token(SECRET, head={"kid": "shared"})) is None


async def test_an_algorithm_that_was_not_allowed_is_refused(autojump_clock):
    verifier = Issuer(rsa_key(), ec_key()).verifier(algorithms=["ES256"])
    assert await verifier.verify(token(ec_key(), alg="ES256")) is not None
    assert await verifier.verify(token(rsa_key())) is None


async def test_a_key_does_only_what_its_issuer_says(autojump_clock):
    published = {**rsa_key().as_dict(private=False), "alg": "RS512"}
    issuer = Issuer(ec_key())
    issuer.extra = [published]
    verifier = issuer.verifier()
    assert await verifier.verify(token(alg="RS256")) is None
    assert await verifier.verify(token(alg="RS512")) is not None


@pytest.mark.parametrize("use", [{"use": "enc"}, {"key_ops": ["encrypt"]}, {"key_ops": "verify"}, {"use": 7}])
async def test_a_key_for_something_else_is_none(use: Any, autojump_clock):
    issuer = Issuer(ec_key())
    issuer.extra = [{**rsa_key().as_dict(private=False), **use}]
    verifier = issuer.verifier()
    assert await verifier.verify(token()) is None
    assert await verifier.verify(token(ec_key(), alg="ES256")) is not None


async def test_a_small_rsa_key_is_none(autojump_clock):
    small = rsa_key("small", 1024)
    assert await Issuer(ec_key(), small).verifier().verify(token(small)) is None
    with pytest.raises(ValueError, match="2048 bits"):
        with_key(small.as_dict(private=False))


async def test_a_key_of_somebody_else_under_a_known_id_is_refused(autojump_clock):
    other = RSAKey.import_key(rsa_key("another").as_dict(private=True), {"kid": "rsa-1"})
    assert await Issuer().verifier().verify(token(other, head={"kid": "rsa-1"})) is None


async def test_keys_that_come_with_the_token_are_not_looked_at(autojump_clock):
    other = rsa_key("another")
    issuer = Issuer()
    for head in ({"jwk": other.as_dict(private=False)}, {"jku": "https://evil.example/keys"}, {"x5u": "https://e.x"}):
        for kid in ("rsa-1", None):
            assert await issuer.verifier().verify(token(other, head={**head, "kid": kid})) is None
    assert len(issuer.asked) == 6  # each a verifier of its own, asking for its own keys
    assert await issuer.verifier().verify(token(head={"x5t": "abc", "vendor": 1})) is not None


async def test_an_extension_that_must_be_understood_is_not(autojump_clock):
    heads: list[Any] = [{"crit": ["exp"]}, {"crit": ["b64"], "b64": True}, {"crit": []}]
    for head in heads:
        text = signed_by_hand({"alg": "RS256", "kid": "rsa-1", **head})
        assert await with_key().verify(text) is None


def signed_by_hand(head: Any) -> str:
    """A rightly signed token with any header."""
    text = f"{b64(head)}.{b64(claims())}"
    signature = JWSRegistry.algorithms["RS256"].sign(text.encode(), rsa_key())
    return f"{text}.{b64(signature)}"


async def test_without_a_key_id_the_only_key_that_fits_is_meant(autojump_clock):
    assert await Issuer(rsa_key(), ec_key()).verifier().verify(token(head={"kid": None})) is not None
    assert await Issuer(rsa_key(), rsa_key("rsa-2")).verifier().verify(token(head={"kid": None})) is None


# No token at all

NO_ALGORITHMS: list[Any] = [[], {}, 1, None, "", "RS256", "HS256", "x" * 3000]
NO_IDS: list[Any] = [[], 1, "", "\x00"]
DEEP = b'{"alg":"RS256","x":' + b"[" * 2900
JUNK = [
    *("", ".", "..", "...", "a.b.c", "a.b", "a.b.c.d", "é.é.é", "\udc80..", "\x00", "A" * 16384, "." * 16384),
    f"{b64(b'[' * 2000)}.e30.AAAA",
    f"{b64(DEEP)}.e30.AAAA",
    f"{b64(b'[]')}.e30.AAAA",
    f"{b64(b'null')}.e30.AAAA",
    f"{b64(b'{}')}.e30.AAAA",
    *(f"{b64({'alg': alg})}.e30.AAAA" for alg in NO_ALGORITHMS),
    *(f"{b64({'alg': 'RS256', 'kid': kid})}.e30.AAAA" for kid in NO_IDS),
    f"{b64({'alg': 'RS256'})}=.e30=.AAAA",
    f"{b64(b'{' + b'  ' * 3000 + b'}')}.e30.AAAA",
    f"{b64({'alg': 'RSA-OAEP', 'enc': 'A256GCM'})}.AA.AA.AA.AA",
]


@pytest.mark.parametrize("text", JUNK, ids=range(len(JUNK)))
async def test_junk_is_no_token(text: str, autojump_clock):
    assert await with_key().verify(text) is None
    assert await Issuer().verifier().verify(text) is None


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"null", b"1", b'"x"', b"\xff", b"[" * 3000, b"{", b'{"exp":' + b"9" * 5000 + b"}"]
)
async def test_a_signed_token_without_claims_is_refused(payload: bytes, autojump_clock):
    assert await with_key().verify(signed(payload)) is None


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}"))
def test_no_text_raises(text: str):
    async def verify() -> None:
        assert await with_key().verify(text) is None

    trio.run(verify)


@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "enc"]), st.none() | st.text() | st.integers())
)
def test_no_header_of_a_token_raises(head: Any):
    async def verify() -> None:
        assert await with_key().verify(f"{b64(head)}.{b64(claims())}.AAAA") is None

    trio.run(verify)


# What is refused beforehand


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"jwks_url": JWKS_URL}, "either jwks_url or key"),
        ({"key": None}, "either jwks_url or key"),
        ({"issuer": ""}, "issuer is needed"),
        ({"audience": []}, "audience is needed"),
        ({"audience": ""}, "audience is needed"),
        ({"algorithms": []}, "at least one"),
        ({"algorithms": "RS256"}, "a list"),
        ({"algorithms": ["none"]}, "'none' is not accepted"),
        ({"algorithms": ["RS256", "HS256"]}, "HS256 is for a shared secret"),
        ({"algorithms": ["RS1"]}, "'RS1' is not accepted"),
        ({"key": SECRET}, r"algorithms=\['HS256'\]"),
        ({"key": SECRET, "algorithms": ["RS256"]}, "needs a public key"),
        ({"key": b"short", "algorithms": ["HS256"]}, "32 bytes"),
        ({"key": b"-----BEGIN PUBLIC KEY-----\nbroken" + SECRET, "algorithms": ["HS256"]}, "cannot be read"),
        ({"key": {"kty": "RSA", "n": "!", "e": "AQAB"}}, "malformed key"),
        ({"key": {"kty": "magic"}}, "unknown kind"),
        ({"key": {}}, "unknown kind"),
        ({"leeway": -1}, "leeway"),
        ({"required_scopes": ['a"b']}, "not a scope"),
    ],
    ids=str,
)
def test_what_would_not_be_safe_is_refused_beforehand(wrong: Any, match: str):
    with pytest.raises(ValueError, match=match) as caught:
        JWTVerifier(**{"key": rsa_key().as_pem(private=False), "issuer": URL, "audience": AUDIENCE, **wrong})
    assert SECRET.decode() not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://issuer.example/keys", "ftp://issuer.example", "issuer.example/keys", "", "https://", "file:///etc/x"],
)
def test_keys_come_over_https_unless_from_loopback(url: str):
    with pytest.raises(ValueError, match="https://"):
        JWTVerifier(jwks_url=url, issuer=URL, audience=AUDIENCE)
    for local in ("http://localhost:1/keys", "http://127.0.0.1/keys", "http://[::1]:8080/keys"):
        JWTVerifier(jwks_url=local, issuer=URL, audience=AUDIENCE)


def test_it_tells_where_tokens_come_from():
    assert with_key().authorization_servers == (URL,)
    assert with_key(issuer="my-issuer").authorization_servers == ()
    assert repr(with_key(SECRET, algorithms=["HS256"])) == f"<JWTVerifier of {URL}>"


@pytest.mark.parametrize("missing", ["jose", "fetch"])
def test_without_the_extra_one_line_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(sys.modules["trio_mcp.auth"], missing, raising=False)
    monkeypatch.setitem(sys.modules, f"trio_mcp.auth.{missing}", None)
    with pytest.raises(ImportError, match=r"pip install 'trio-mcp\[auth\]'"):
        JWTVerifier(jwks_url=JWKS_URL, issuer=URL, audience=AUDIENCE)


async def test_the_log_says_why_and_nothing_of_the_token(caplog: pytest.LogCaptureFixture, autojump_clock):
    text = token(aud="https://other.example", sub="very-private")
    with caplog.at_level(logging.DEBUG):
        await with_key().verify(text)
    messages = [record.getMessage() for record in caplog.records if record.name == "trio_mcp.auth"]
    assert messages == ["a token was refused: it was issued for another audience"]
    assert not any(part in caplog.text for part in [*text.split("."), "very-private", "other.example"])
