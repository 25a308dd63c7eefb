"""`trio-mcp check`: the compliance report of a server, foreign or one's own.

It owns the options, the in-process server of a TARGET, and what goes where. The checks are in `trio_mcp.check`.
"""

import os
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import click
import msgspec
import trio

from trio_mcp import demo
from trio_mcp.check.connection import Web
from trio_mcp.check.place import BadUrlError, Place, parse
from trio_mcp.check.report import Report, as_json, markdown, table
from trio_mcp.check.runner import TRANSPORTS, CannotBeginError, Section, run_checks
from trio_mcp.check.scene import Options
from trio_mcp.cli.errors import FAILED, CliError, leaves, one_line, told, tracebacks
from trio_mcp.cli.target import load
from trio_mcp.ops.origin import is_loopback
from trio_mcp.serve import Shutdown, serve_http
from trio_mcp.server import Server

_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)")


@click.command("check")
@click.argument("url_or_target", required=False)
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the report to FILE, in Markdown."
)
@click.option("--json", "json_output", is_flag=True, help="Print everything as one JSON object instead of the table.")
@click.option(
    "--only", multiple=True, type=click.Choice(list(TRANSPORTS)), help="Check only this transport. Repeatable."
)
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
    with tracebacks(debug):
        url, place, server = _what(url_or_target)
        checked = partial(_checked, sent, timeout, Options(tool, called), only)
        run = partial(_run, url, place, server, checked)
        try:
            found = trio.run(run)
        except BaseExceptionGroup as group:
            if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves(group)):
                raise KeyboardInterrupt from None
            raise CliError(f"the server failed: {told(group)}") from group
        except CannotBeginError as error:
            raise CliError(str(error)) from None
    _write(found, report, json_output=json_output)
    return 0 if found.passed else FAILED


def _what(typed: str | None) -> tuple[str, Place | None, Server | None]:
    """What is checked: its name, and where it is or what is to be served."""
    if typed is not None and "://" in typed:
        try:
            return typed, parse(typed), None
        except BadUrlError as error:
            raise CliError(str(error)) from None
    return typed or "the demo", None, demo.mcp if typed is None else load(typed)


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


Checked = Callable[[Place], Awaitable[list[Section]]]


async def _run(url: str, place: Place | None, server: Server | None, checked: Checked) -> Report:
    """Check what is there, or what is served for the time of it."""
    if place is not None:
        return Report(url, date.today().isoformat(), await checked(place))
    assert server is not None, "there is a place or a server"
    shutdown = Shutdown()
    problem: CannotBeginError | None = None
    sections: list[Section] = []
    async with trio.open_nursery() as check_nursery:
        serve = partial(serve_http, server, port=0, shutdown=shutdown)
        urls = await check_nursery.start(serve, name=f"serve {server.name}")
        try:
            sections = await checked(parse(urls[0]).with_endpoint(server.settings.path))
        except CannotBeginError as error:
            problem = error
        shutdown.begin.set()
        shutdown.hurry.set()
    if problem is not None:
        raise problem
    return Report(url, date.today().isoformat(), sections)


async def _checked(
    headers: Mapping[str, str], seconds: float, options: Options, only: tuple[str, ...], place: Place
) -> list[Section]:
    web = Web(place, headers=headers, timeout=seconds)
    try:
        return await run_checks(web, attrs.evolve(options, loopback=is_loopback(place.host)), only)
    finally:
        await web.aclose()


def _write(report: Report, file: Path | None, *, json_output: bool) -> None:
    if file is not None:
        try:
            file.write_text(markdown(report), encoding="utf-8")
        except OSError as error:
            raise CliError(f"cannot write {file}: {error.strerror}") from None
    if json_output:
        click.echo(msgspec.json.format(msgspec.json.encode(as_json(report)), indent=2))
        return
    for line in table(report):
        click.echo("".join(click.style(span.text, fg=span.colour) for span in line))
