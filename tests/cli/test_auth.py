"""Options that say who may call: what they make, how they are refused, and that no secret is ever shown."""

import logging
from pathlib import Path
from typing import Any

import click
import pytest

from tests.cli.commands import INITIALIZE, SERVER, exchanged, ran, started
from trio_mcp.auth import AccessToken, JWTVerifier, StaticTokens
from trio_mcp.cli.auth import auth_options, tokens_of, verifier_of
from trio_mcp.cli.errors import CliError

ONE = "one-token-that-is-long-enough-for-this"
TWO = "two-token-that-is-long-enough-for-this"
BOTH = {"Accept": "application/json, text/event-stream"}


def parsed(*words: str) -> dict[str, Any]:
    """The options as a command gets them."""
    found: dict[str, Any] = {}

    @click.command
    @auth_options
    def command(**options: Any) -> None:
        found.update(options)

    command.main(list(words), standalone_mode=False)
    return found


# Tokens from the environment


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (ONE, ["token-1", None]),
        (f"{ONE},{TWO}", ["token-1", "token-2"]),
        (f"\n{ONE}\n{TWO}\n", ["token-1", "token-2"]),
        (f" ci:{ONE} , laptop:{TWO},", ["ci", "laptop"]),
        (f"a:b:{ONE}", ["a:b", None]),
    ],
)
async def test_a_variable_holds_one_token_or_several_with_or_without_names(
    value: str, names: list[str | None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MCP_TOKENS", value)
    verifier = verifier_of(parsed("--auth-token-env", "MCP_TOKENS"))
    assert isinstance(verifier, StaticTokens)
    for token, name in zip((ONE, TWO), names, strict=True):
        assert await verifier.verify(token) == (None if name is None else AccessToken(name, unrestricted=True))


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (None, "no such environment variable; export MCP_TOKENS=TOKEN"),
        *((value, "is empty") for value in ("", "  ", ",", "\n,\n")),
        (f"{ONE},{ONE}", "token 2 is there twice"),
        (f":{ONE}", "token 1 has an empty name"),
        (f'"{ONE}"', "the token of 'token-1' is not one"),
        (f"ci:{ONE};", "the token of 'ci' is not one"),
        ("ci:", "the token of 'ci' is not one"),
    ],
)
def test_a_variable_without_usable_tokens_is_one_line_that_shows_none(
    value: str | None, match: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("MCP_TOKENS", raising=False)
    if value is not None:
        monkeypatch.setenv("MCP_TOKENS", value)
    with pytest.raises(CliError, match=match) as caught:
        tokens_of("MCP_TOKENS")
    assert ONE not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_short_token_is_warned_about_and_not_shown(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setenv("MCP_TOKENS", "hunter2")
    with caplog.at_level(logging.WARNING):
        tokens_of("MCP_TOKENS")
    assert "short (7 characters)" in caplog.text
    assert "hunter2" not in caplog.text


# JWTs


JWKS = ("--auth-jwks", "https://issuer.example/keys")
ISSUER = ("--auth-issuer", "https://issuer.example")


def test_a_url_of_keys_makes_a_verifier_of_jwts():
    verifier = verifier_of(
        parsed(*JWKS, *ISSUER, "--auth-audience", "a", "--auth-audience", "b", "--auth-scope", "use")
    )
    assert isinstance(verifier, JWTVerifier)
    assert verifier.required_scopes == {"use"}
    assert verifier.authorization_servers == ("https://issuer.example",)
    assert verifier._expected.audiences == frozenset({"a", "b"})


def test_the_audience_is_what_clients_call_the_server_unless_told():
    verifier = verifier_of(parsed(*JWKS, *ISSUER, "--resource-url", "https://mcp.example/mcp"))
    assert isinstance(verifier, JWTVerifier)
    assert verifier._expected.audiences == frozenset({"https://mcp.example/mcp"})


def test_without_options_there_is_no_verifier():
    assert verifier_of(parsed()) is None
    assert verifier_of(parsed("--resource-url", "https://mcp.example")) is None


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("--auth-token-env", "X", *JWKS), "--auth-token-env and --auth-jwks do not go together"),
        (("--auth-token-env", "X", "--auth-scope", "a"), "--auth-token-env and --auth-scope do not go together"),
        (ISSUER, "--auth-issuer needs --auth-jwks URL"),
        (("--auth-audience", "a"), "--auth-audience needs --auth-jwks URL"),
        (JWKS, "needs --auth-issuer, and --auth-audience"),
        ((*JWKS, *ISSUER), "--auth-audience or --resource-url"),
        (
            ("--auth-jwks", "http://issuer.example/keys", *ISSUER, "--auth-audience", "a"),
            "--auth-jwks must be an https://",
        ),
        ((*JWKS, *ISSUER, "--auth-audience", "a", "--auth-scope", 'a"b'), "not a scope"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(words: tuple[str, ...], match: str):
    with pytest.raises(CliError, match=match):
        verifier_of(parsed(*words))


# The command


async def test_a_served_token_is_asked_for_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "fixture.py").write_text(SERVER)
    monkeypatch.setenv("MCP_TOKENS", f"ci:{ONE}")
    words = ("serve", "fixture.py", "--port", "0", "--auth-token-env", "MCP_TOKENS", "--access-log", "--debug")
    async with started(*words, cwd=tmp_path) as command:
        port = await command.port()
        refused = await exchanged(port, "POST", "/mcp", INITIALIZE, **BOTH)
        assert (refused.status, refused.headers["www-authenticate"]) == (401, 'Bearer realm="fixture"')
        wrong = await exchanged(port, "POST", "/mcp", INITIALIZE, **BOTH, Authorization=f"Bearer {TWO}")
        assert (wrong.status, 'error="invalid_token"' in wrong.headers["www-authenticate"]) == (401, True)
        right = await exchanged(port, "POST", "/mcp", INITIALIZE, **BOTH, Authorization=f"Bearer {ONE}")
        assert right.status == 200
        assert (await exchanged(port, "GET", "/health")).status == 200
        await command.hears("401")
        command.process.terminate()
        said = await command.said()
    assert ONE not in said
    assert TWO not in said


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--auth-token-env", "MCP_NO_SUCH"), "no such environment variable"),
        (("--auth-jwks", "https://issuer.example/keys"), "needs --auth-issuer"),
        (("--resource-url", "mcp.example"), "resource_url must be"),
        (("--authorization-server", "http://issuer.example"), "authorization_servers must be https://"),
        (("--transport", "stdio", "--auth-token-env", "X"), "--auth-token-env is for HTTP"),
    ],
)
def test_a_command_that_cannot_begin_exits_2_with_one_line(words: tuple[str, ...], what: str, tmp_path: Path):
    done = ran("serve", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert what in done.stderr
    assert done.stderr.count("\n") == 1
