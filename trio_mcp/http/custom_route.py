"""A custom route's request and response over HTTP: the body bounded, the function's time bounded, its faults kept in.

It is one of the places that catch `Exception`: what a route's function raises becomes a 500 without its text, and one
traceback in the log. It refuses to know MCP.
"""

import functools
import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import trio

from trio_mcp.handlers import Place, name_of
from trio_mcp.http.asgi import TEXT_TYPE, BodyTooLargeError, Exchange, Header
from trio_mcp.routes import HttpRequest, HttpResponse, MalformedRequestError, Query, RegisteredRoute, to_response
from trio_mcp.runtime.host import Host
from trio_mcp.schema import ArgumentsError

_log = logging.getLogger("trio_mcp.http")
_RETRY: Final[Header] = (b"retry-after", b"1")


async def respond(
    host: Host, exchange: Exchange, path: str, routes: Mapping[str, RegisteredRoute], values: Sequence[str]
) -> None:
    """Answer a request of a path that belongs to custom routes; `values` stand for the names in theirs.

    The body is read before the function runs. The client leaving cancels the function; one that runs in a thread is
    abandoned: its result is thrown away and its place among `Settings.threads` comes back when it ends.
    """
    route = routes.get(exchange.method)
    if route is None:
        await respond_not_allowed(exchange, sorted(routes))
        return
    if host.draining:
        await _say(exchange, 503, "The server is shutting down", _RETRY)
        return
    try:
        body = await exchange.read_body()
    except BodyTooLargeError:
        text = f"Content Too Large: a body may have {host.server.settings.max_body} bytes"
        await _say(exchange, 413, text, (b"connection", b"close"))
        return
    scope = exchange.scope
    try:
        request = HttpRequest(
            method=exchange.method,
            path=path,
            path_params=dict(zip(route.names, values, strict=True)),
            query=Query(scope.get("query_string", b"").decode("latin-1")),
            headers=exchange.headers.as_text(),
            client=(scope.get("client") or (None,))[0],
            principal=scope.get("principal") or "",
            lifespan=host.lifespan,
            body=body,
        )
        kwargs = route.arguments(request)
    except (MalformedRequestError, ArgumentsError) as error:
        await _say(exchange, 400, f"Bad Request: {error}")
        return
    request_scope = trio.CancelScope()

    async def work() -> None:
        with request_scope:
            await _answer(host, exchange, route, kwargs)

    await exchange.while_connected(request_scope.cancel, work)


async def respond_not_allowed(exchange: Exchange, methods: list[str]) -> None:
    """405: what the path has instead (RFC 9110 section 15.5.6)."""
    allow = ", ".join(methods)
    await _say(exchange, 405, f"Method Not Allowed: {allow}", (b"allow", allow.encode("ascii")))


async def _say(exchange: Exchange, status: int, text: str, *headers: Header) -> None:
    await exchange.respond(status, f"{text}\n".encode(), (TEXT_TYPE, *headers))


async def _answer(host: Host, exchange: Exchange, route: RegisteredRoute, kwargs: dict[str, Any]) -> None:
    seconds = host.server.settings.tool_deadline(route.timeout)
    try:
        with trio.move_on_after(seconds) as timeout_scope:
            status, headers, body = _encoded(to_response(await _run(host, route, kwargs)))
        if timeout_scope.cancelled_caught:
            status, headers, body = _plain(503, f"{route.path} took longer than {seconds:g} s")
    except MalformedRequestError as error:
        status, headers, body = _plain(400, f"Bad Request: {error}")
    except (Exception, SystemExit) as error:  # a function's exit() must not take the server along
        status, headers, body = _failed(exchange, route, error)
    except BaseExceptionGroup as group:  # of a nursery: exits, or what a clean-up raised beside Cancelled
        failures, passing = group.split((Exception, SystemExit))
        if failures is not None:
            status, headers, body = _failed(exchange, route, failures)
        if passing is not None:
            raise passing from None
    await exchange.respond(status, body, headers)


def _failed(exchange: Exchange, route: RegisteredRoute, error: BaseException) -> tuple[int, tuple[Header, ...], bytes]:
    _log.error("%s %s failed", exchange.method, route.path, exc_info=error)
    return _plain(500, "Internal Server Error: see the server's log")


def _plain(status: int, text: str) -> tuple[int, tuple[Header, ...], bytes]:
    return status, (TEXT_TYPE, _RETRY) if status == 503 else (TEXT_TYPE,), f"{text}\n".encode()


def _encoded(response: HttpResponse) -> tuple[int, tuple[Header, ...], bytes]:
    body, content_type = response.encoded()
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.headers]
    if content_type is not None and not any(name == b"content-type" for name, _ in headers):
        headers.insert(0, (b"content-type", content_type.encode("latin-1")))
    return response.status, tuple(headers), body


async def _run(host: Host, route: RegisteredRoute, kwargs: dict[str, Any]) -> Any:
    function = functools.partial(route.function, **kwargs)
    if route.place is Place.THREAD:

        def boxed() -> tuple[Any]:
            return (function(),)  # trio refuses a bare coroutine

        [value] = await trio.to_thread.run_sync(
            boxed, abandon_on_cancel=True, limiter=host.server.limiter, thread_name=name_of(route.function)
        )
    else:
        value = function()
    return await value if inspect.isawaitable(value) else value
