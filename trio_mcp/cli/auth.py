"""Options of the command line that say who may call, as a `TokenVerifier`. Refuses to show what it read."""

import os
import re
from collections.abc import Callable
from typing import Any, Final

import click

from trio_mcp.auth import AccessToken, JWTVerifier, StaticTokens, TokenVerifier
from trio_mcp.cli.errors import CliError

#: The parameters below; they mean nothing to a pipe.
AUTH_OPTIONS: Final = ("auth_token_env", "auth_jwks", "auth_issuer", "auth_audience", "auth_scope")

_OPTIONS: Final = (
    click.option(
        "--auth-token-env",
        metavar="NAME",
        help="Let in only who sends a bearer token from this environment variable: one, or several separated by commas"
        " or lines, each may have a name in front (ci:TOKEN). Whoever has one may call everything.",
    ),
    click.option(
        "--auth-jwks",
        metavar="URL",
        help="Let in only who sends a JWT signed with a key from this URL; needs --auth-issuer and --auth-audience.",
    ),
    click.option("--auth-issuer", metavar="ISSUER", help="The exact issuer (iss) of those JWTs, usually a URL."),
    click.option(
        "--auth-audience",
        multiple=True,
        metavar="AUDIENCE",
        help="The audience (aud) that those JWTs are for; may be repeated.  [default: --resource-url]",
    ),
    click.option(
        "--auth-scope",
        multiple=True,
        metavar="SCOPE",
        help="A scope that every request needs, such as mcp:use; may be repeated.",
    ),
    click.option(
        "--resource-url",
        metavar="URL",
        help="What clients call the MCP endpoint, such as https://mcp.example.org/mcp.  [default: as requests say]",
    ),
    click.option(
        "--authorization-server",
        multiple=True,
        metavar="URL",
        help="Where clients get their tokens; may be repeated.  [default: --auth-issuer]",
    ),
)


def auth_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options, for the decorators of a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def verifier_of(options: dict[str, Any]) -> TokenVerifier | None:
    """The verifier that the options ask for; None where they ask for none.

    Raises:
        CliError: they do not go together, or what they name cannot be used.
    """
    name, jwks_url = options["auth_token_env"], options["auth_jwks"]
    given = [option for option in AUTH_OPTIONS[2:] if options[option]]
    if name is not None and (jwks_url is not None or given):
        other = "auth_jwks" if jwks_url is not None else given[0]
        raise CliError(f"--auth-token-env and --{other.replace('_', '-')} do not go together: choose one way")
    if name is not None:
        return tokens_of(name)
    if jwks_url is None:
        if given:
            raise CliError(f"--{given[0].replace('_', '-')} needs --auth-jwks URL")
        return None
    audience = options["auth_audience"] or tuple(filter(None, [options["resource_url"]]))
    if not options["auth_issuer"] or not audience:
        raise CliError("--auth-jwks needs --auth-issuer, and --auth-audience or --resource-url")
    try:
        return JWTVerifier(
            jwks_url=jwks_url,
            issuer=options["auth_issuer"],
            audience=audience,
            required_scopes=options["auth_scope"],
        )
    except (ValueError, ImportError) as error:
        raise CliError(str(error).replace("jwks_url", "--auth-jwks")) from None


def tokens_of(name: str) -> StaticTokens:
    """The tokens in an environment variable; each is an operator's.

    Raises:
        CliError: the variable is missing, empty or malformed; says nothing of what is in it.
    """
    value = os.environ.get(name)
    if value is None:
        raise CliError(f"--auth-token-env {name}: there is no such environment variable; export {name}=TOKEN")
    tokens: dict[str, str | AccessToken] = {}
    for number, entry in enumerate(filter(None, re.split(r"[,\s]+", value)), 1):
        label, colon, token = entry.rpartition(":")
        if token in tokens:
            raise CliError(f"--auth-token-env {name}: token {number} is there twice")
        if colon and not label:
            raise CliError(f"--auth-token-env {name}: token {number} has an empty name")
        tokens[token] = AccessToken(label or f"token-{number}", unrestricted=True)
    if not tokens:
        raise CliError(f"--auth-token-env {name}: the variable is empty; export {name}=TOKEN")
    try:
        return StaticTokens(tokens)
    except ValueError as error:
        raise CliError(f"--auth-token-env {name}: {error}") from None
