"""The composition root: the only place that chooses parts and puts them together.

`serve_http` and `serve_stdio` are for somebody's own nursery; `mcp.run()` and `mcp` as an ASGI application come
back here through `Server.composition`.
"""

import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import attrs
import trio

from trio_mcp.http import direct_reply, http_sse, notifications, websocket
from trio_mcp.http.app import Endpoint, McpApp
from trio_mcp.http.asgi import App, Receive, Scope, Send
from trio_mcp.http.connection import Limits
from trio_mcp.http.lifespan import run_lifespan
from trio_mcp.http.worker import HttpWorker, Load, bind
from trio_mcp.ops import openapi
from trio_mcp.ops.access_log import AccessLog
from trio_mcp.ops.bearer import Bearer
from trio_mcp.ops.call_log import CallLog
from trio_mcp.ops.cors import Cors
from trio_mcp.ops.docs_page import PATH as DOCS_PATH
from trio_mcp.ops.docs_page import DocsPage
from trio_mcp.ops.documents import Document, listings
from trio_mcp.ops.health import OPEN_PATHS, Health
from trio_mcp.ops.https import HttpsOnly, RedirectToHttps
from trio_mcp.ops.introspection import Introspection
from trio_mcp.ops.metrics import Metrics
from trio_mcp.ops.operator import is_operator
from trio_mcp.ops.origin import OriginGuard, is_loopback
from trio_mcp.ops.proxy import TrustedProxy
from trio_mcp.ops.rate_limit import RateLimit, by_principal
from trio_mcp.ops.traffic import CountTraffic, Traffic
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
    settings = host.server.settings
    traffic = Traffic()
    app = mcp_app(host, path=path, traffic=traffic)
    rate, auth = settings.rate_limit, host.server.auth
    if rate is not None:
        app = RateLimit(app, settings, rate, key=by_principal)
    if auth is not None:
        # The page is a shell that tells nothing of the server, and has the field for the token.
        app = Bearer(app, host, auth, path=path, open_paths=(DOCS_PATH,) if settings.docs_page else ())
        if rate is not None:  # who guesses tokens
            app = RateLimit(app, settings, rate, failures_only=True)
    app = OriginGuard(app, host, loopback=loopback, browsers=Cors(app, settings))
    if settings.https_redirect or settings.hsts is not None:
        app = HttpsOnly(app, settings)
    if settings.operational_routes:  # outside of it all: probes come as they can
        app = Health(CountTraffic(app, traffic), host, active=lambda: traffic.active)
    if settings.trusted_proxies:
        app = TrustedProxy(app, settings.trusted_proxies)
    return app


def mcp_app(host: Host, *, path: str | None = None, traffic: Traffic | None = None) -> App:
    """The transports and dialects that `Settings.transports` names, each at its paths, and what tells about them."""
    settings = host.server.settings
    on = set(settings.transports)
    if not settings.sessions:
        on -= {"sse", "notifications"}  # they are nothing but sessions
    own_path = (path or settings.path).rstrip("/") or "/"
    endpoints: dict[str, Endpoint] = {}
    sockets: dict[str, App] = {}
    divert = None
    if "sse" in on:
        endpoints[http_sse.SSE_PATH] = partial(http_sse.get, host)
        endpoints[http_sse.MESSAGES_PATH] = partial(http_sse.post, host)
    if "notifications" in on:
        endpoints[notifications.NOTIFICATIONS_PATH] = partial(notifications.get, host)
        post_to_session = partial(notifications.post, host)
        if "http" in on:
            divert = (notifications.names_session, post_to_session)
        else:
            endpoints[own_path] = post_to_session
    if "message" in on:
        endpoints[direct_reply.MESSAGE_PATH] = partial(direct_reply.post, host)
    if "websocket" in on:
        endpoints[websocket.PATH] = websocket.upgrade_required
        sockets[websocket.PATH] = websocket.websocket_app(host)
    if settings.operational_routes:
        endpoints |= _operational(host, traffic or Traffic(), endpoints, own_path)
    endpoints |= _endpoints(host, own_path)
    return McpApp(
        host,
        path=own_path,
        endpoints=endpoints,
        sockets=sockets,
        named=OPEN_PATHS if settings.operational_routes else (),
        divert=divert,
        streamable="http" in on,
    )


def _operational(host: Host, traffic: Traffic, endpoints: Mapping[str, Endpoint], path: str) -> dict[str, Endpoint]:
    """What tells about the server itself; `endpoints` will hold all that is served beside `path`."""
    server = host.server
    found: dict[str, Endpoint] = {**listings(server)}
    if server.settings.metrics:
        found["/metrics"] = Metrics(host, traffic)
    found["/openapi.json"] = Document(server, partial(openapi.document, server, path=path, mounted=endpoints))
    return found


def main_path(settings: Settings, path: str | None = None) -> str:
    """The path that people are told: that of the first transport which is served."""
    paths = {
        "http": path or settings.path,
        "sse": http_sse.SSE_PATH,
        "notifications": notifications.NOTIFICATIONS_PATH,
        "message": direct_reply.MESSAGE_PATH,
        "websocket": websocket.PATH,
    }
    return paths[settings.transports[0]]


def _endpoints(host: Host, path: str | None) -> dict[str, Endpoint]:
    """What is served beside the MCP endpoint."""
    settings = host.server.settings
    found: dict[str, Endpoint] = {}
    if settings.introspection:
        found |= Introspection(host, may=lambda scope, settings: is_operator(scope)).endpoints
    if settings.docs_page and "http" in settings.transports:  # it calls the endpoint
        found[DOCS_PATH] = DocsPage(host, path=path).respond
    return found


async def serve_http(
    server: Server,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    path: str | None = None,
    certfile: str | None = None,
    keyfile: str | None = None,
    redirect_port: int | None = None,
    event_store: EventStore | None = None,
    sockets: Sequence[socket.socket] | None = None,
    worker: int | None = None,
    load: Load | None = None,
    shutdown: Shutdown | None = None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve Streamable HTTP, all revisions on one endpoint, until `shutdown.begin` is set.

    Start it in a nursery to learn the endpoint's URLs: `urls = await nursery.start(partial(serve_http, mcp, port=0))`.

    Args:
        port: 0 lets the system choose.
        path: of the endpoint; None: `Settings.path`.
        certfile, keyfile: PEM files, for HTTPS.
        redirect_port: with them, send what comes to this port over plain HTTP to HTTPS.
        event_store: where events wait for clients that come back.
        sockets: bound ones to accept from, instead of binding `host` and `port`; they are closed at the end.
        worker: the number of this process among those that share the sockets, for `/health`.
        load: where such processes say how many connections they have, so that each gets its part.
        shutdown: what to watch for a graceful end; without it only cancellation ends the server.

    Cancellation: connections are cut and calls cancelled and awaited; the lifespan's teardown runs, bounded by
    `Settings.cleanup_timeout`.

    Raises:
        OSError: the address cannot be bound.
        ValueError: a `redirect_port` without a certificate.
        Exception: what the lifespan raises on entering.
    """
    settings = server.settings
    shutdown = shutdown or Shutdown()
    if redirect_port is not None and certfile is None:
        raise ValueError("redirect_port sends clients to HTTPS, which needs certfile and keyfile")
    runtime = Host(server, event_store=event_store, worker=worker)
    if server.auth is None and not is_loopback(host):
        _log.warning(
            "%s answers anybody who reaches %s: protect it with Server(auth=…) or --auth-token-env NAME",
            server.name,
            host or "this machine",
        )
    access_log = AccessLog() if settings.access_log else None
    call_log = _watch_calls(runtime)
    http_worker = HttpWorker(
        http_app(runtime, path=path, loopback=is_loopback(host)),
        bind(host, port, certfile=certfile, keyfile=keyfile),
        limits=limits_of(settings),
        max_connections=settings.max_connections,
        write_timeout=settings.write_timeout,
        log_access=None if access_log is None else access_log.take,
        sockets=sockets,
        load=load,
    )
    runtime.connections = http_worker.count
    with ExitStack() as listening:  # before the lifespan, so that a taken port costs nothing
        listening.enter_context(http_worker.listening())
        redirecting = None
        if redirect_port is not None:
            to_https = RedirectToHttps(settings, port=http_worker.port)
            guarded = OriginGuard(to_https, runtime, loopback=is_loopback(host))
            redirecting = HttpWorker(guarded, bind(host, redirect_port), limits=limits_of(settings))
            listening.enter_context(redirecting.listening())
        beside = [
            Beside(f"write {what}", log.run, log.stop)
            for what, log in (("the access log", access_log), ("the call log", call_log))
            if log is not None
        ]
        if redirecting is not None:
            redirect = partial(redirecting.run, shutdown=shutdown.begin, drain=trio.lowlevel.checkpoint)
            beside.append(Beside("redirect to HTTPS", partial(redirect, close_timeout=settings.cleanup_timeout)))
        await serve_worker(
            runtime,
            http_worker,
            shutdown=shutdown,
            beside=beside,
            url_path=main_path(settings, path),
            task_status=task_status,
        )


class Beside(NamedTuple):
    """What runs beside a server for as long as it serves: `run` ends after `stop`, or with the shutdown."""

    title: str
    run: Callable[[], Awaitable[None]]
    stop: Callable[[], None] = lambda: None


async def serve_worker(
    runtime: Host,
    http_worker: HttpWorker,
    *,
    shutdown: Shutdown,
    beside: Sequence[Beside] = (),
    url_path: str = "",
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a host with a worker that listens: from the lifespan's start to its end, in the order of `docs/design.md`.

    `serve_http` puts a worker on real sockets here, simulation one on its own. Cancellation: as `serve_http`.
    """
    async with trio.open_nursery() as serve_nursery:
        await _start(runtime, serve_nursery, shutdown)
        if runtime.running:
            for one in beside:
                serve_nursery.start_soon(one.run, name=one.title)
            await http_worker.run(
                shutdown=shutdown.begin,
                drain=partial(runtime.drain, shutdown.hurry),
                close_timeout=runtime.server.settings.cleanup_timeout,
                url_path=url_path,
                task_status=task_status,
            )
            runtime.stop()
            for one in beside:
                one.stop()


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
    call_log = _watch_calls(host)
    with own_stdout() as out_fd:
        async with trio.open_nursery() as serve_nursery:
            await _start(host, serve_nursery, shutdown)
            if host.running:
                if call_log is not None:
                    serve_nursery.start_soon(call_log.run, name="write the call log")
                await serve_stdio_pipe(host, out_fd, stop=shutdown.begin)
                host.stop()
                if call_log is not None:
                    call_log.stop()


def _watch_calls(host: Host) -> CallLog | None:
    """A log of the host's calls, if it is wanted; whoever serves runs it."""
    if not host.server.settings.call_log:
        return None
    call_log = CallLog()
    host.call_watchers = (*host.call_watchers, call_log.take)
    return call_log


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
