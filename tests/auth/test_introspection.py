"""Tokens that only their issuer can read: what is asked, what is taken from the answer, and what a failure does."""

import logging
import math
import sys
from typing import Any

import pytest
import trio

from tests.auth.issuer import AUDIENCE, URL, Issuer, claims, now
from trio_mcp.auth import AccessToken, Introspection, VerifierUnavailableError

SECRET = "the-client's secret: 100%"


def introspecting(server: Issuer, **options: Any) -> Introspection:
    return Introspection(
        f"{URL}/introspect",
        "mcp server",
        SECRET,
        **{"audience": AUDIENCE, "now": now, "transport": server.transport, **options},
    )


def issued(**more: Any) -> Issuer:
    """An issuer that knows one token, `opaque`."""
    issuer = Issuer()
    issuer.active["opaque"] = {"active": True, **claims(**more)}
    return issuer


async def test_an_active_token_says_who_and_what(autojump_clock):
    issuer = issued(scope="read write", client_id="app", token_type="Bearer")
    found = await introspecting(issuer, leeway=0).verify("opaque")
    expected = AccessToken("alice", scopes="read write", client_id="app", expires_at=now() + 300)
    assert found == expected
    assert issuer.forms == [{"token": "opaque", "token_type_hint": "access_token"}]
    assert issuer.credentials == ["mcp+server:the-client%27s+secret%3A+100%25"]


async def test_an_unknown_token_is_not_valid(autojump_clock):
    assert await introspecting(issued()).verify("another") is None


@pytest.mark.parametrize(
    "wrong",
    [
        *({"active": value} for value in (False, None, 1, "true")),
        {"active": []},
        *({"aud": None}, {"aud": "https://other.example"}, {"exp": 1}, {"nbf": 1e12}, {"exp": "soon"}),
        *({"sub": None}, {"token_type": "DPoP"}, {"token_type": "refresh_token"}, {"cnf": {"jkt": "x"}}),
        {"iss": "https://evil.example"},
    ],
    ids=str,
)
async def test_an_answer_that_does_not_fit_is_no_token(wrong: Any, autojump_clock):
    issuer = issued()
    issuer.active["opaque"] = {**issuer.active["opaque"], **wrong}
    assert await introspecting(issuer, issuer=URL).verify("opaque") is None


async def test_audience_and_issuer_may_be_left_to_the_issuer(autojump_clock):
    issuer = issued(aud=None, iss=None, exp=None)
    found = await introspecting(issuer, audience=None).verify("opaque")
    assert found == AccessToken("alice")


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 5000, b" " * 600_000])
async def test_an_answer_that_cannot_be_read_is_503(body: bytes, autojump_clock):
    issuer = Issuer()
    issuer.body = body
    with pytest.raises(VerifierUnavailableError):
        await introspecting(issuer).verify("opaque")


async def test_after_a_failure_nobody_is_asked_for_a_few_seconds(autojump_clock):
    issuer = issued(exp=1e12)
    issuer.status = 401
    verifier = introspecting(issuer)
    pauses = []
    for _ in range(12):
        with pytest.raises(VerifierUnavailableError) as caught:
            await verifier.verify("opaque")
        pauses.append(caught.value.retry_after)
        await trio.sleep(1)
    assert issuer.asked == [0, 5, 10]
    assert pauses[:6] == [5, 4, 3, 2, 1, 5]
    issuer.status = 200
    await trio.sleep(3)
    assert await verifier.verify("opaque") is not None
    assert await verifier.verify("opaque") is not None


async def test_a_hanging_issuer_is_given_up(autojump_clock):
    issuer = issued()
    issuer.takes = math.inf
    with pytest.raises(VerifierUnavailableError):
        await introspecting(issuer, timeout=4).verify("opaque")
    assert trio.current_time() == 4


async def test_ten_are_asked_at_a_time_and_who_waits_too_long_is_told(autojump_clock):
    issuer = issued(exp=1e12)
    issuer.takes = 3
    verifier = introspecting(issuer, timeout=4)
    outcomes: list[str] = []

    async def ask(number: int) -> None:
        try:
            outcomes.append("known" if await verifier.verify("opaque") else "unknown")
        except VerifierUnavailableError as error:
            outcomes.append(f"{error.retry_after:g}")

    async with trio.open_nursery() as nursery:
        for number in range(25):
            nursery.start_soon(ask, number)
    assert issuer.asked == [0] * 10 + [3] * 10
    assert sorted(outcomes) == ["1"] * 5 + ["known"] * 20
    assert await verifier.verify("opaque") is not None  # waiting in line is no failure of the issuer


@pytest.mark.parametrize("url", ["http://issuer.example/introspect", "introspect", ""])
def test_secrets_go_over_https_unless_on_loopback(url: str):
    with pytest.raises(ValueError, match="https://"):
        Introspection(url, "us", SECRET, audience=AUDIENCE)
    Introspection("http://127.0.0.1:9/introspect", "us", SECRET, audience=AUDIENCE)


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(sys.modules["trio_mcp.auth"], "fetch", raising=False)
    monkeypatch.setitem(sys.modules, "trio_mcp.auth.fetch", None)
    with pytest.raises(ImportError, match=r"pip install 'trio-mcp\[auth\]'"):
        Introspection(f"{URL}/introspect", "us", SECRET, audience=None)


async def test_neither_secret_nor_token_is_shown_or_logged(caplog: pytest.LogCaptureFixture, autojump_clock):
    issuer = issued(exp=1)
    verifier = introspecting(issuer)
    assert repr(verifier) == f"<Introspection at {URL}/introspect>"
    with caplog.at_level(logging.DEBUG):
        await verifier.verify("opaque")
        issuer.status = 500
        with pytest.raises(VerifierUnavailableError) as caught:
            await verifier.verify("opaque")
    said = " ".join([*(r.getMessage() for r in caplog.records if r.name.startswith("trio_mcp")), str(caught.value)])
    assert "it has expired" in said
    assert "it answered 500" in said
    assert "opaque" not in said
    assert "secret" not in said
