"""The composition root: the only place that chooses parts and puts them together.

`serve_http` and `serve_stdio` are for somebody's own nursery; `mcp.run()` and `mcp` as an ASGI application come
back here through `Server.composition`.
"""

import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import attrs
import trio

from trio_mcp.http.app import McpApp
from trio_mcp.http.asgi import App, Receive, Scope, Send
from trio_mcp.http.connection import Limits
from trio_mcp.http.lifespan import run_lifespan
from trio_mcp.http.worker import HttpWorker, bind
from trio_mcp.ops.access_log import AccessLog
from trio_mcp.ops.bearer import Bearer
from trio_mcp.ops.health import Health
from trio_mcp.ops.origin import OriginGuard, is_loopback
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.replay import EventStore
from trio_mcp.server import Server
from trio_mcp.settings import Settings
from trio_mcp.transports.stdio import own_stdout, serve_stdio_pipe

_log = logging.getLogger("trio_mcp.serve")


@attrs.frozen
class Shutdown:
    """How a server is told to go: `begin` drains it, `hurry` cuts the grace short."""

    begin: trio.Event = attrs.field(factory=trio.Event)
    hurry: trio.Event = attrs.field(factory=trio.Event)


def http_app(host: Host, *, path: str | None = None, loopback: bool | None = None) -> App:
    """The whole ASGI application of a host, without lifespan; the order of its parts is decided here.

    Args:
        path: of the endpoint; None: `Settings.path`.
        loopback: whether it is bound to loopback; None asks each connection.
    """
    app: App = McpApp(host, path=path)
    if host.server.auth is not None:
        app = Bearer(app, host, host.server.auth, path=path)
    app = OriginGuard(app, host, loopback=loopback)
    return Health(app, host)


async def serve_http(
    server: Server,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    path: str | None = None,
    certfile: str | None = None,
    keyfile: str | None = None,
    event_store: EventStore | None = None,
    shutdown: Shutdown | None = None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve Streamable HTTP, all revisions on one endpoint, until `shutdown.begin` is set.

    Start it in a nursery to learn the endpoint's URLs: `urls = await nursery.start(partial(serve_http, mcp, port=0))`.

    Args:
        port: 0 lets the system choose.
        path: of the endpoint; None: `Settings.path`.
        certfile, keyfile: PEM files, for HTTPS.
        event_store: where events wait for clients that come back.
        shutdown: what to watch for a graceful end; without it only cancellation ends the server.

    Cancellation: connections are cut and calls cancelled and awaited; the lifespan's teardown runs, bounded by
    `Settings.cleanup_timeout`.

    Raises:
        OSError: the address cannot be bound.
        Exception: what the lifespan raises on entering.
    """
    settings = server.settings
    shutdown = shutdown or Shutdown()
    runtime = Host(server, event_store=event_store)
    if server.auth is None and not is_loopback(host):
        _log.warning(
            "%s answers anybody who reaches %s: protect it with Server(auth=…) or --auth-token-env NAME",
            server.name,
            host or "this machine",
        )
    access_log = AccessLog() if settings.access_log else None
    worker = HttpWorker(
        http_app(runtime, path=path, loopback=is_loopback(host)),
        bind(host, port, certfile=certfile, keyfile=keyfile),
        limits=limits_of(settings),
        max_connections=settings.max_connections,
        write_timeout=settings.write_timeout,
        log_access=None if access_log is None else access_log.take,
    )
    with worker.listening():  # before the lifespan, so that a taken port costs nothing
        async with trio.open_nursery() as serve_nursery:
            await _start(runtime, serve_nursery, shutdown)
            if runtime.running:
                if access_log is not None:
                    serve_nursery.start_soon(access_log.run, name="write the access log")
                await worker.run(
                    shutdown=shutdown.begin,
                    drain=partial(runtime.drain, shutdown.hurry),
                    close_timeout=settings.cleanup_timeout,
                    url_path=path or settings.path,
                    task_status=task_status,
                )
                runtime.stop()
                if access_log is not None:
                    access_log.stop()


def limits_of(settings: Settings) -> Limits:
    """What one connection may take."""
    return Limits(
        idle=settings.idle_timeout,
        head_time=settings.head_timeout,
        body_time=settings.body_timeout,
        max_head=settings.max_head,
        max_headers=settings.max_headers,
        http2=settings.http2_cleartext,
    )


async def serve_stdio(server: Server, *, shutdown: Shutdown | None = None) -> None:
    """Serve stdin and stdout until stdin ends, or until `shutdown.begin` is set: then calls in flight have
    `Settings.eof_grace` to finish.

    Meanwhile whatever else is written to stdout, the lifespan's words included, goes to stderr.

    Cancellation: calls are cancelled and awaited; the lifespan's teardown runs, bounded by `Settings.cleanup_timeout`.

    Raises:
        Exception: what the lifespan raises on entering.
    """
    shutdown = shutdown or Shutdown()
    host = Host(server)
    with own_stdout() as out_fd:
        async with trio.open_nursery() as serve_nursery:
            await _start(host, serve_nursery, shutdown)
            if host.running:
                await serve_stdio_pipe(host, out_fd, stop=shutdown.begin)
                host.stop()


async def _start(host: Host, serve_nursery: trio.Nursery, shutdown: Shutdown) -> None:
    """Enter the lifespan, unless told to go before that is done: then `host` does not run."""
    async with trio.open_nursery() as start_nursery:
        start_nursery.start_soon(
            _cancel_when, shutdown.begin, start_nursery.cancel_scope, name="watch for shutdown while starting"
        )
        await serve_nursery.start(host.run, name=f"run host {host.server.name}")
        start_nursery.cancel_scope.cancel("the host runs")


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel("told to shut down before the start was done")


async def run_until_signal(serve: Callable[[], Awaitable[None]], shutdown: Shutdown) -> None:
    """Run a server under SIGTERM and SIGINT: the first begins its shutdown, the second hurries it, a third cancels."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as serve_nursery:
            # A scope of its own, so that signals are still taken while what was cancelled cleans up.
            with trio.CancelScope() as serve_scope:
                serve_nursery.start_soon(_obey, signals, shutdown, serve_scope, name="watch for signals")
                await serve()
            serve_nursery.cancel_scope.cancel("the server has ended")


async def _obey(signals: Any, shutdown: Shutdown, scope: trio.CancelScope) -> None:
    async for number in signals:
        name = signal.Signals(number).name
        if not shutdown.begin.is_set():
            _log.info("received %s: shutting down (again to hurry)", name)
            shutdown.begin.set()
        elif not shutdown.hurry.is_set():
            _log.info("received %s again: hurrying", name)
            shutdown.hurry.set()
        else:
            scope.cancel(f"received {name} a third time")


@attrs.frozen
class _Composition:
    """What `Server.run` and `Server.__call__` come back to."""

    def run(self, server: Server, transport: str, options: dict[str, Any]) -> None:
        """Serve until told to stop, with signals obeyed."""
        shutdown = Shutdown()
        if transport == "stdio":
            serve = partial(serve_stdio, server, shutdown=shutdown, **options)
            trio.run(run_until_signal, serve, shutdown)
        elif transport == "http":
            serve = partial(_announced, server, options, shutdown)
            trio.run(run_until_signal, serve, shutdown)
        else:
            raise ValueError(f"transport must be 'http' or 'stdio', not {transport!r}")

    async def asgi(self, server: Server, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope; the lifespan's makes the host that the others use."""
        if scope["type"] == "lifespan":
            host = Host(server)
            server.mounted = http_app(host)
            await run_lifespan(host, receive, send)
            return
        if server.mounted is None:
            server.mounted = http_app(Host(server))  # it says that its lifespan was not run
        await server.mounted(scope, receive, send)


async def _announced(server: Server, options: dict[str, Any], shutdown: Shutdown) -> None:
    async with trio.open_nursery() as serve_nursery:
        serve = partial(serve_http, server, shutdown=shutdown, **options)
        urls = await serve_nursery.start(serve, name=f"serve {server.name}")
        for url in urls:
            sys.stderr.write(f"{server.name} is at {url} (Ctrl-C to stop)\n")


Server.composition = _Composition()
