"""`trio-mcp check`: the compliance report of a server, foreign or one's own.

It owns the options. What they set going is in `trio_mcp.cli.checking`, the checks are in `trio_mcp.check`.
"""

import os
import re
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from trio_mcp.cli.errors import FAILED, CliError, one_line, tracebacks
from trio_mcp.settings import TRANSPORTS

_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)")


@click.command("check")
@click.argument("url_or_target", required=False)
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the report to FILE, in Markdown."
)
@click.option("--json", "json_output", is_flag=True, help="Print everything as one JSON object instead of the table.")
@click.option("--only", multiple=True, type=click.Choice(TRANSPORTS), help="Check only this transport. Repeatable.")
@click.option(
    "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Send this with every request. Repeatable."
)
@click.option("--token-env", metavar="NAME", help="Send the bearer token that this environment variable holds.")
@click.option("--timeout", type=click.FloatRange(0.1, 600), default=5.0, show_default=True,
              help="Seconds to wait for each thing that the server owes.")  # fmt: skip
@click.option("--tool", metavar="NAME", help="Call this tool, whatever it does; without it only harmless ones are.")
@click.option("--arguments", metavar="JSON", default="{}", help="The arguments for --tool.")
@click.option("--debug", is_flag=True, help="Show the traceback when TARGET cannot be imported.")
def check_command(
    url_or_target: str | None,
    report: Path | None,
    json_output: bool,
    only: tuple[str, ...],
    headers: tuple[str, ...],
    token_env: str | None,
    timeout: float,
    tool: str | None,
    arguments: str,
    debug: bool,
) -> int:
    """Check a server against the specification, on every transport and in every revision that it offers.

    URL is any MCP server's endpoint. A TARGET, as for `trio-mcp serve`, is served for the time of the check; left out,
    it is the demo. Nothing is called that could change anything, unless you name it with --tool.

    Exit codes: 0 all passed, 1 something failed, 2 could not begin.
    """
    sent = _headers(headers, token_env)
    called = _arguments(arguments)
    from trio_mcp.cli.checking import check, write  # other commands need not pay for a client

    with tracebacks(debug):
        found = check(url_or_target, only, sent, timeout, tool=tool, arguments=called)
    write(found, report, json_output=json_output)
    return 0 if found.passed else FAILED


def _headers(typed: tuple[str, ...], token_env: str | None) -> dict[str, str]:
    sent = {}
    for line in typed:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise CliError("a --header is written 'Name: value', in visible ASCII")  # its value may be a secret
        sent[found[1]] = found[2].strip()
    if token_env is not None:
        token = os.environ.get(token_env, "")
        if not token or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise CliError(f"the environment variable {token_env} holds no token")
        sent["Authorization"] = f"Bearer {token}"
    return sent


def _arguments(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise CliError(f"--arguments is no JSON object: {one_line(str(error))}") from None
