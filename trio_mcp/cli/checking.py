"""What `trio-mcp check` sets going: the server of a target, the checks, and where the report goes.

It is imported only when it is wanted: it brings a client. It refuses to know options.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path

import attrs
import click
import msgspec
import trio

from trio_mcp import demo
from trio_mcp.check.connection import Web
from trio_mcp.check.place import BadUrlError, Place, parse
from trio_mcp.check.report import Report, as_json, markdown, table
from trio_mcp.check.runner import CannotBeginError, Section, run_checks
from trio_mcp.check.scene import Options
from trio_mcp.cli.errors import CliError, leaves, told
from trio_mcp.cli.target import load
from trio_mcp.ops.origin import is_loopback
from trio_mcp.serve import Shutdown, serve_http
from trio_mcp.server import Server
from trio_mcp.wire.base import JsonObject

Checked = Callable[[Place], Awaitable[list[Section]]]


def check(
    typed: str | None,
    only: Sequence[str],
    headers: Mapping[str, str],
    seconds: float,
    *,
    tool: str | None,
    arguments: JsonObject,
) -> Report:
    """Run the checks, in a trio of their own.

    Raises:
        CliError: nothing could be checked.
        KeyboardInterrupt: somebody pressed Ctrl-C; the conversation was ended.
    """
    url, place, server = _what(typed)
    checked = partial(_checked, headers, seconds, Options(tool, arguments), only)
    try:
        return trio.run(partial(_run, url, place, server, checked))
    except BaseExceptionGroup as group:
        if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves(group)):
            raise KeyboardInterrupt from None
        raise CliError(f"the server failed: {told(group)}") from group
    except CannotBeginError as error:
        raise CliError(str(error)) from None


def _what(typed: str | None) -> tuple[str, Place | None, Server | None]:
    """What is checked: its name, and where it is or what is to be served."""
    if typed is not None and "://" in typed:
        try:
            return typed, parse(typed), None
        except BadUrlError as error:
            raise CliError(str(error)) from None
    return typed or "the demo", None, demo.mcp if typed is None else load(typed)


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
    headers: Mapping[str, str], seconds: float, options: Options, only: Sequence[str], place: Place
) -> list[Section]:
    web = Web(place, headers=headers, timeout=seconds)
    try:
        return await run_checks(web, attrs.evolve(options, loopback=is_loopback(place.host)), only)
    finally:
        await web.aclose()


def write(report: Report, file: Path | None, *, json_output: bool) -> None:
    """Print what was found, and write it to a file where one was named.

    Raises:
        CliError: the file cannot be written.
    """
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
