"""`trio-mcp install`: put a server into the configuration of a client, or print what belongs there.

It owns how a server is named and started. The clients are rows of `clients`; files are changed by `json_file`. It
refuses to replace an entry without --force, and to expand `${VAR}`: that is the client's to do.
"""

import importlib.util
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from trio_mcp import demo
from trio_mcp.cli.clients import CLIENTS, Client, Local, Remote
from trio_mcp.cli.errors import CliError, tracebacks
from trio_mcp.cli.json_file import JsonFile, UnusableFileError
from trio_mcp.cli.target import Target, load
from trio_mcp.server import Server

URL: Final = "http://127.0.0.1:8000/mcp"
SSE_URL: Final = "http://127.0.0.1:8000/sse"


def _pairs(separator: str, what: str) -> Any:
    """A callback that makes a dict of repeated texts."""

    def read(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
        found = {}
        for text in values:
            name, middle, value = text.partition(separator)
            if not middle or not re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name.strip()):
                raise click.BadParameter(f"{text!r} is no {what}", context, parameter)
            found[name.strip()] = value.strip() if separator == ":" else value
        return found

    return read


@click.command("install")
@click.argument("client", type=click.Choice([*CLIENTS]))
@click.argument("target", required=False)
@click.option("--name", help="Name of the entry.  [default: that of the server]")
@click.option(
    "--transport",
    type=click.Choice(["stdio", "http", "sse"]),
    help="stdio: the client starts the server; http: it connects to one that runs; sse: the same over HTTP+SSE."
    "  [default: sse where --url ends with /sse, http with another or with --header, else stdio]",
)
@click.option("--url", help=f"Where the server is.  [default for http: {URL}, for sse: {SSE_URL}]")
@click.option(
    "--env",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_pairs("=", "NAME=VALUE"),
    help="Environment variable for a server that the client starts; may be repeated.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    callback=_pairs(":", "'NAME: VALUE'"),
    help="HTTP header for a server that runs; may be repeated. In single quotes, so that ${VAR} stays as it is and the"
    " secret out of the file: 'Authorization: Bearer ${TOKEN}'.",
)
@click.option("--config", "file", type=click.Path(dir_okay=False), help="The file.  [default: the client's own]")
@click.option("--print", "only_print", is_flag=True, help="Print what belongs into the file, and write nothing.")
@click.option("--force", is_flag=True, help="Replace an entry of the same name that says something else.")
@click.option("--debug", is_flag=True, help="Show the traceback when TARGET cannot be imported.")
def install_command(
    client: str,
    target: str | None,
    name: str | None,
    transport: str | None,
    url: str | None,
    env: dict[str, str],
    headers: dict[str, str],
    file: str | None,
    only_print: bool,
    force: bool,
    debug: bool,
) -> None:
    """Put TARGET into the configuration of CLIENT.

    TARGET is as for `trio-mcp serve`; the demo where it is left out. All other entries of the file stay as they are;
    the file as it was is kept beside it, as NAME.bak.

    \b
    claude-desktop   claude_desktop_config.json of this user; stdio only
    claude-code      .mcp.json here, for everyone who works on this project
    cursor           ~/.cursor/mcp.json
    vscode           .vscode/mcp.json here
    mcp-json         .mcp.json here, for any client that reads it

    \b
    trio-mcp install claude-desktop server.py
    trio-mcp install claude-code --name notes --url https://mcp.example.org/mcp \\
        --header 'Authorization: Bearer ${TOKEN}'
    trio-mcp install cursor server.py --print
    """
    row = CLIENTS[client]
    transport = transport or _transport_of(url, headers)
    _refuse_contradictions(row, transport, url, env, headers)
    with tracebacks(debug):
        # Loaded for its faults, too: a client would show them nowhere that one looks.
        served = None if target is None and url is not None else _server_of(target).name
    name = entry_name(name, served)
    sse = transport == "sse"
    address = url or (SSE_URL if sse else URL)
    server = local(target, env) if transport == "stdio" else Remote(address, headers, sse)
    entry = row.entry(server)
    literal = row.unexpanded([*headers.values(), *env.values()])
    if literal is not None:
        click.echo(f"trio-mcp: {_about_variables(row, literal)}", err=True)
    path = Path(file) if file else row.place(sys.platform, Path.home(), Path.cwd(), os.environ)
    if only_print:
        click.echo(f"{row.title} reads this from {path}", err=True)
        click.echo(_document(row, name, entry))
    else:
        _write(row, name, entry, path, force=force)


def _transport_of(url: str | None, headers: Mapping[str, str]) -> str:
    if url is not None and urlsplit(url).path.rstrip("/").endswith("/sse"):
        return "sse"
    return "http" if url or headers else "stdio"


def _refuse_contradictions(
    row: Client, transport: str, url: str | None, env: Mapping[str, str], headers: Mapping[str, str]
) -> None:
    if transport != "stdio" and not row.remote:
        raise CliError(
            f"{row.title} starts the servers of its file itself: leave out --url and --header, or add the server's"
            " address in its settings, under Connectors"
        )
    if transport != "stdio" and env:
        raise CliError("--env is for a server that the client starts: one that runs has its environment already")
    if transport == "stdio" and (url or headers):
        raise CliError("--url and --header are for a server that runs: leave them out, or give --transport http")


def _server_of(target: str | None) -> Server:
    return demo.mcp if target is None else load(target)


def entry_name(name: str | None, server: str | None) -> str:
    """What to call the entry: letters, digits, - and _, as all clients take it; the server's name where none is given.

    Raises:
        CliError: the name has others, or there is nothing to take one from.
    """
    if name is not None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise CliError(f"{name!r} is no name for an entry: it may have letters, digits, - and _")
        return name
    if server is None:
        raise CliError("give the entry a name: --name notes")
    return re.sub(r"[^A-Za-z0-9_-]+", "-", server).strip("-") or "server"


def local(target: str | None, env: Mapping[str, str]) -> Local:
    """How a client starts a target, wherever it is started itself: with full paths, by this very Python."""
    command = Path(sys.executable).parent / ("trio-mcp.exe" if sys.platform == "win32" else "trio-mcp")
    start = [str(command)] if command.is_file() else [sys.executable, "-m", "trio_mcp"]
    whole = dict(env)
    targets = []
    if target is not None:
        parsed = Target.parse(target)
        source = str(Path(parsed.source).absolute()) if parsed.is_file else parsed.source
        targets.append(source if parsed.name is None else f"{source}:{parsed.name}")
        if not parsed.is_file and _is_here(parsed.source):
            whole.setdefault("PYTHONPATH", str(Path.cwd()))
    return Local(start[0], [*start[1:], "serve", *targets, "--transport", "stdio"], whole)


def _is_here(module: str) -> bool:
    """Whether a module was found because this is the working directory, which the client's will not be."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
    here = Path.cwd()
    # A virtual environment in the working directory is found by this Python anyway.
    return any(Path(place).parent == here for place in places if place is not None)


def _about_variables(row: Client, literal: str) -> str:
    if row.variable is None:
        return f"{row.title} takes {literal} literally: it replaces no variables in its file"
    return f"{row.title} takes {literal} literally: it replaces {row.variable}"


def _document(row: Client, name: str, entry: dict[str, Any]) -> str:
    return json.dumps(row.document(name, entry), indent=2, ensure_ascii=False)


def _write(row: Client, name: str, entry: dict[str, Any], path: Path, *, force: bool) -> None:
    """Change the file, or print what belongs into it and say why it was not changed."""
    try:
        file = JsonFile.read(path)
        known = file.entry(row.key, name)
        if known == entry:
            click.echo(f"{name} is in {path} already")
            return
        if known is not None and not force:
            raise UnusableFileError(f"it has another {name}; --force replaces it, --name gives another name")
        backup = file.write(file.with_entry(row.key, name, entry), private=row.private)
    except (UnusableFileError, OSError) as error:
        click.echo(_document(row, name, entry))
        why = str(error) if isinstance(error, UnusableFileError) else f"it cannot be written ({error})"
        raise CliError(f"{path} was left as it is: {why}. What belongs there stands above") from error
    kept = "" if backup is None else f", which was kept as {backup.name}"
    click.echo(f"{name} is in {path}{kept}. Next: {row.after}")
