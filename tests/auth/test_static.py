"""Tokens from a fixed list: who is known, what is refused beforehand, and that nothing of a token is kept or shown."""

import gc
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_mcp.auth import AccessToken, StaticTokens
from trio_mcp.auth import static as module

LONG = "a-token-of-more-than-enough-characters"
OTHER = "another-token-that-is-long-enough-too"


async def test_a_known_token_speaks_for_its_subject_and_any_other_for_nobody():
    tokens = StaticTokens({LONG: "alice", OTHER: AccessToken("bob", scopes=["read"])})
    assert await tokens.verify(LONG) == AccessToken("alice")
    assert await tokens.verify(OTHER) == AccessToken("bob", scopes={"read"})
    for wrong in ("", LONG[:-1], LONG + "x", LONG.upper(), f" {LONG}", "é", "\udc80"):
        assert await tokens.verify(wrong) is None


async def test_every_entry_is_compared_whichever_it_is(monkeypatch: pytest.MonkeyPatch):
    compared = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append(a == b)
        return a == b

    tokens = StaticTokens({LONG: "alice", OTHER: "bob"})
    monkeypatch.setattr(module, "compare_digest", compare)
    await tokens.verify(LONG)
    await tokens.verify("nobody")
    assert compared == [True, False, False, False]


def test_no_token_is_kept_or_shown():
    token = "".join(["a-token-", "made-at-", "run-time-and-known-nowhere"])
    tokens = StaticTokens({token: "alice"})
    assert repr(tokens) == "<StaticTokens: 1>"
    held: list[object] = [tokens]
    for _ in range(5):
        held += gc.get_referents(*held)
        assert not any(isinstance(one, (str, bytes)) and one in (token, token.encode()) for one in held)


def test_there_must_be_one():
    with pytest.raises(ValueError, match="at least one"):
        StaticTokens({})


@pytest.mark.parametrize("token", ["", "with space" + LONG, LONG + "\n", "é" + LONG, 'quo"ted' + LONG, "a=b" + LONG])
def test_a_token_that_no_header_carries_is_refused_without_showing_it(token: str):
    with pytest.raises(ValueError, match="the token of 'alice'") as caught:
        StaticTokens({token: "alice"})
    assert LONG not in str(caught.value)


def test_a_short_token_is_taken_with_a_warning_that_does_not_show_it(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        StaticTokens({LONG: "alice", "hunter2": "bob"})
    [record] = caplog.records
    assert "'bob' is short (7 characters)" in record.getMessage()
    assert "hunter2" not in record.getMessage()


def test_an_access_token_tells_no_claims_in_its_repr():
    shown = repr(AccessToken("alice", scopes="read write", claims={"email": "alice@example.org"}))
    assert "alice@example.org" not in shown
    assert "alice" in shown
    assert AccessToken("alice", scopes="read write").scopes == {"read", "write"}


def test_what_it_allows_is_its_scopes_or_everything():
    assert AccessToken("a", scopes="read write").allows(["read"])
    assert AccessToken("a").allows([])
    assert not AccessToken("a", scopes="read").allows(["read", "write"])
    assert AccessToken("a", unrestricted=True).allows(["anything"])


@pytest.mark.parametrize("scopes", [['quo"ted'], ["two words"], ["back\\slash"], [""], ["é"]])
def test_a_scope_that_no_header_carries_is_refused(scopes: list[str]):
    with pytest.raises(ValueError, match="not a scope"):
        AccessToken("a", scopes=scopes)


def test_a_subject_is_needed():
    with pytest.raises(ValueError, match="subject"):
        AccessToken("")


@given(st.text())
def test_no_text_raises(text: str):
    tokens = StaticTokens({LONG: "alice"})
    assert tokens._digest(text) != b""
