"""The per-request era over Streamable HTTP (2026-07-28, basic/transports/streamable-http).

The call runs in the connection's own task: the client leaving cancels the call, in JSON and in SSE alike.
"""

from typing import Final

import trio

from trio_mcp.http.asgi import ClientGoneError, Exchange
from trio_mcp.http.forbidden import respond_forbidden
from trio_mcp.http.message import PER_REQUEST_STATUS, respond_error
from trio_mcp.http.stream_response import Style, respond_json, stream
from trio_mcp.protocol.errors import INVALID_REQUEST, UNAVAILABLE, McpError
from trio_mcp.protocol.headers import accepts
from trio_mcp.protocol.per_request import OpenedRequest, check_notification_headers, open_request
from trio_mcp.runtime.dispatch import answer
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.runtime.per_request import PerRequestCall
from trio_mcp.runtime.scopes import InsufficientScopeError
from trio_mcp.wire.jsonrpc import Message, Notification, Request, Response

_STYLE: Final = Style(statuses=PER_REQUEST_STATUS)


async def post(host: Host, exchange: Exchange, message: Message) -> None:
    """Answer one request; take one notification in."""
    if isinstance(message, Response):
        text = "Invalid Request: responses are not posted in this protocol version"
        await respond_error(exchange, 400, INVALID_REQUEST, text)
        return
    settings = host.server.settings
    json, sse = accepts(exchange.headers.get(b"accept"))
    outlet = Outlet(settings.stream_buffer)
    try:
        if isinstance(message, Notification):
            check_notification_headers(exchange.headers, message.method)
            await exchange.respond(202)
            return
        opened = open_request(message, exchange.headers, sessions=settings.sessions)
        _check_tool_headers(host, exchange, opened)
        call = PerRequestCall(
            host,
            opened,
            outlet,
            headers=exchange.headers,
            principal=exchange.principal,
            authorization=exchange.authorization,
        )
    except InsufficientScopeError as error:
        await respond_forbidden(host, exchange, error, message.id if isinstance(message, Request) else None)
        return
    except McpError as error:
        status = PER_REQUEST_STATUS.get(error.code, 400)
        id = None if isinstance(message, Notification) else message.id
        if host.tally is not None and isinstance(message, Request):
            host.tally.instant(message.method, "refused")
        await respond_error(exchange, status, error.code, error.message, id=id, data=error.data)
        return
    listening = opened.method.name == "subscriptions/listen"
    json = json and not listening and settings.json_response is not False
    sse = sse and (listening or settings.json_response is not True)
    if not json and not sse:
        text = "Not Acceptable: accept application/json and text/event-stream"
        await respond_error(exchange, 406, INVALID_REQUEST, text, id=opened.id)
        return
    outlet.answers_only = not sse
    outlet.attended = True
    runner = _Runner(exchange, call, host)
    await exchange.while_connected(runner.gone, runner.run if json else runner.run_streaming)


class _Runner:
    """One call in the connection's own task, and the task that writes its stream, once it turns out to have one."""

    def __init__(self, exchange: Exchange, call: PerRequestCall, host: Host) -> None:
        self._exchange = exchange
        self._call = call
        self._host = host
        self._written: trio.Event | None = None

    async def run(self) -> None:
        """Answer as JSON, unless the call sends something else first."""
        call, outlet = self._call, self._call.outlet
        if self._written is None:
            outlet.on_stream = self._begin_stream
        self._host.call_began(call)
        await call.run(answer)
        outlet.on_stream = None
        if self._written is not None:
            await self._written.wait()
        elif outlet.gone:
            return
        elif len(outlet):
            await respond_json(self._exchange, outlet, _STYLE)
        else:  # the drain cut it: nobody else cancels a call of this era
            await respond_error(self._exchange, 503, UNAVAILABLE, "The server is shutting down", id=call.id)

    async def run_streaming(self) -> None:
        """Answer as a stream from the beginning."""
        self._begin_stream()
        await self.run()

    def gone(self, reason: str) -> None:
        """The client left: that is the cancellation (basic/patterns/cancellation)."""
        self._call.cancel(reason)
        self._call.outlet.leave(reason)

    def _begin_stream(self) -> None:
        self._written = trio.Event()
        self._exchange.spawn(self._write, f"write the stream of {self._call.method.name} {self._call.id}")

    async def _write(self) -> None:
        assert self._written is not None
        try:
            await stream(self._exchange, self._call.outlet, self._host.server.settings)
        except ClientGoneError:
            self.gone("the client did not read")
        finally:
            self._written.set()


def _check_tool_headers(host: Host, exchange: Exchange, opened: OpenedRequest) -> None:
    if opened.method.name == "tools/call":
        tool = host.server.tools.get(opened.params.name)
        if tool is not None and tool.param_headers:
            tool.check_headers(exchange.headers, opened.params.arguments)
