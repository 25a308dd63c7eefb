"""Who is an operator: a scope where tokens are asked for, else only somebody at the machine."""

import math
from typing import Any

import pytest

from trio_mcp.auth import AccessToken
from trio_mcp.auth.tokens import AUTHORIZATION, OPERATOR_SCOPE, Authorization
from trio_mcp.ops.operator import is_operator


def scope(
    host: str | None = "127.0.0.1:8000", server: Any = ("127.0.0.1", 8000), client: Any = ("127.0.0.1", 5), **more: Any
) -> dict[str, Any]:
    headers = [] if host is None else [(b"host", host.encode("latin-1"))]
    headers += [(name.encode(), value.encode()) for name, value in more.pop("headers", {}).items()]
    return {"type": "http", "headers": headers, "server": server, "client": client, **more}


def bearing(token: AccessToken) -> dict[str, Any]:
    return {AUTHORIZATION: Authorization(token, math.inf), "principal": token.subject}


def test_with_a_token_its_scope_decides_wherever_it_comes_from():
    operator = bearing(AccessToken("o", scopes=[OPERATOR_SCOPE]))
    everything = bearing(AccessToken("o", unrestricted=True))
    other = bearing(AccessToken("o", scopes=["trio_mcp", "operator"]))
    places: list[dict[str, Any]] = [
        {},
        {"server": ("192.0.2.1", 80), "client": ("192.0.2.2", 5), "host": "mcp.example"},
    ]
    for at in places:
        assert is_operator(scope(**at, **operator))
        assert is_operator(scope(**at, **everything))
        assert not is_operator(scope(**at, **other))


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000"])
def test_without_tokens_it_is_who_sits_at_the_machine(host: str):
    assert is_operator(scope(host))


@pytest.mark.parametrize(
    "other",
    [
        *({"host": host} for host in (None, "", "mcp.example", "localhost@evil", "127.0.0.1.evil.example")),
        *({"server": end} for end in (None, ("192.0.2.1", 80), ("", 0), (None, None), ("0.0.0.0", 1))),
        *({"client": end} for end in (None, ("192.0.2.1", 80))),
        *({"headers": {name: "x"}} for name in ("x-forwarded-for", "forwarded", "via", "x-real-ip")),
        {"headers": {"host": "localhost"}},
        {"principal": "somebody that another wrapper knows"},
    ],
    ids=str,
)
def test_and_nobody_else(other: dict[str, Any]):
    assert not is_operator(scope(**other))
