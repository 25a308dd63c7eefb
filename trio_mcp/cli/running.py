"""Running a server from the command line: signals to exit codes, faults to one line, and the banner.

As one process, as the parent of several, as one of these, with `--reload`, or on stdio. It refuses to read options and
to put servers together: `trio_mcp.serve` does.
"""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import click
import trio

from trio_mcp.cli.address import check_address, check_certificate, listening
from trio_mcp.cli.errors import CANNOT_BEGIN, FAILED, CliError, leaves, told
from trio_mcp.cli.options import flags_of
from trio_mcp.cli.reload import run_reloading
from trio_mcp.cli.sources import Given
from trio_mcp.cli.supervisor import Bounds
from trio_mcp.cli.target import SHOW_WHERE, Target
from trio_mcp.cli.values import applied
from trio_mcp.cli.watch import check_watcher
from trio_mcp.cli.workers import Worker, check_platform, run_workers
from trio_mcp.runtime.sqlite_store import SQLiteEventStore
from trio_mcp.serve import Shutdown, run_until_signal, serve_http, serve_stdio
from trio_mcp.server import Lifespan, Server
from trio_mcp.settings import Settings


def run_http(server: Server, options: dict[str, Any]) -> None:
    """Serve Streamable HTTP until a signal ends it.

    Raises:
        CliError: it could not begin, or failed.
    """
    check_certificate(options["certfile"], options["keyfile"])
    check_address(options["host"], options["port"])
    redirect_port = options["redirect_port"]
    if redirect_port is not None:
        if options["certfile"] is None:
            raise CliError("--redirect-port sends clients to HTTPS: give --certfile and --keyfile, too")
        check_address(options["host"], redirect_port)
    shutdown, banner = Shutdown(), Banner(server)
    serve = partial(
        serve_http, server, **_address(options), redirect_port=redirect_port, shutdown=shutdown, task_status=banner
    )
    _run(server, _kept(options, server, serve), shutdown, begun=lambda: banner.shown)


def _address(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("host", "port", "certfile", "keyfile")}


def run_parent(options: dict[str, Any]) -> int:
    """Serve Streamable HTTP with several processes until a signal ends it; the exit code.

    The target is not loaded here: what fails in it fails in a worker, and a worker says so.

    Raises:
        CliError: it could not begin.
    """
    check_platform()
    return run_workers(options["workers"], listening(**_address(options)), partial(click.echo, err=True))


def run_reloader(
    context: click.Context, target: str | None, given: Mapping[str, Given], options: dict[str, Any]
) -> int:
    """Serve Streamable HTTP with one process, a new one at each change, until a signal ends it; the exit code.

    Raises:
        CliError: it could not begin.
    """
    if options["workers"] > 1:
        raise click.UsageError("--reload is for one process: leave out --workers", context)
    check_platform("--reload")
    check_watcher()
    folders = [Path(folder) for folder in options["reload_dir"]] or folders_of(target)
    settings = applied(Settings(), given, flags_of(options))
    sockets = listening(**_address(options))
    click.echo(f"watching {', '.join(map(str, folders))} for changes", err=True)
    return run_reloading(sockets, folders, options["reload_include"], settings, partial(click.echo, err=True))


def folders_of(target: str | None) -> list[Path]:
    """Where the source of a target is: the working directory, and the folder of a file that is elsewhere."""
    here = Path.cwd()
    parsed = None if target is None else Target.parse(target)
    if parsed is not None and parsed.is_file:
        folder = Path(parsed.source).resolve().parent
        if not folder.is_relative_to(here.resolve()):
            return [here, folder]
    return [here]


def run_as_worker(worker: Worker, server: Server, options: dict[str, Any]) -> None:
    """Be one of several processes that serve Streamable HTTP.

    Raises:
        CliError: it could not begin, or failed.
    """
    worker.prepare(server)
    bounds = Bounds.of(server.settings)
    shutdown, banner = Shutdown(), Banner(server, tell=partial(worker.is_up, bounds=bounds))
    serve = partial(
        serve_http,
        server,
        **_address(options),
        sockets=worker.sockets,
        worker=worker.number or None,
        load=worker.load,
        shutdown=shutdown,
        task_status=banner,
    )
    _run(server, _kept(options, server, serve), shutdown, begun=lambda: banner.shown, under=partial(worker.run, bounds))


def _kept(
    options: dict[str, Any], server: Server, serve: Callable[..., Awaitable[None]]
) -> Callable[..., Awaitable[None]]:
    """`serve` with `--event-store`, where that was given."""
    path = options["event_store"]
    return serve if path is None else partial(with_event_store, path, server, serve)


async def with_event_store(path: str, server: Server, serve: Callable[..., Awaitable[None]]) -> None:
    """Serve with events and sessions in a file, bounded as in memory.

    Raises:
        EventStoreError: the file cannot be used.
    """
    settings = server.settings
    limits = {"session_events": settings.replay_events, "session_bytes": settings.replay_bytes}
    async with SQLiteEventStore.open(path, **limits) as store:
        await serve(event_store=store)


def run_stdio(server: Server) -> None:
    """Serve stdin and stdout until stdin ends or a signal comes.

    Raises:
        CliError: it could not begin, or failed.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise CliError("stdin is closed: a client starts this command and speaks through its stdin and stdout")
    if sys.stdin.isatty():
        what = (
            f"{server.name} speaks JSON-RPC on stdin and stdout, a message a line; a client starts it. Ctrl-C to stop"
        )
        click.echo(what, err=True)
    shutdown = Shutdown()
    server.lifespan = watched = _Watched(server.lifespan)
    _run(server, partial(serve_stdio, server, shutdown=shutdown), shutdown, begun=lambda: watched.entered)


@attrs.define
class Banner:
    """A task status that tells people what is served where, once it is."""

    server: Server
    tell: Callable[[str], None] = lambda text: click.echo(f"{text}. Ctrl-C to stop", err=True)
    shown: bool = False

    def started(self, value: list[str] | None = None) -> None:
        """Say it, on stderr or to whoever takes it; the value are the URLs."""
        self.shown = True
        server = self.server
        counts = (
            _count(len(server.tools), "tool"),
            _count(len(server.resources) + len(server.templates), "resource"),
            _count(len(server.prompts), "prompt"),
        )
        what = f"{server.name} {server.info.version} at {' and '.join(value or ())}"
        self.tell(f"{what} ({', '.join(counts)})")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@attrs.define
class _Watched:
    """A lifespan that remembers whether it was entered: what fails before that could not begin."""

    lifespan: Lifespan
    entered: bool = False

    @asynccontextmanager
    async def __call__(self, server: Server) -> AsyncIterator[Any]:
        async with self.lifespan(server) as value:
            self.entered = True
            yield value


def _run(
    server: Server,
    serve: Callable[[], Awaitable[None]],
    shutdown: Shutdown,
    *,
    begun: Callable[[], bool],
    under: Callable[..., Awaitable[None]] = run_until_signal,
) -> None:
    try:
        trio.run(under, serve, shutdown)
    except BaseException as error:
        if all(isinstance(leaf, KeyboardInterrupt) for leaf in leaves(error)):
            return  # a Ctrl-C that came after the end, or before the beginning
        happened, code = ("failed", FAILED) if begun() else ("did not start", CANNOT_BEGIN)
        raise CliError(f"{server.name} {happened}: {told(error)} ({SHOW_WHERE})", exit_code=code) from error
