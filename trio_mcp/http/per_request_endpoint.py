"""The per-request era over Streamable HTTP (2026-07-28, basic/transports/streamable-http).

The call runs in a nursery of the connection's own task: the client leaving cancels the call, in JSON and in SSE alike.
"""

from typing import Final

from trio_mcp.http.asgi import Exchange
from trio_mcp.http.message import PER_REQUEST_STATUS, respond_error
from trio_mcp.http.stream_response import Style, reply
from trio_mcp.protocol.errors import INVALID_REQUEST, McpError
from trio_mcp.protocol.headers import accepts
from trio_mcp.protocol.per_request import OpenedRequest, check_notification_headers, open_request
from trio_mcp.runtime.dispatch import answer
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.runtime.per_request import PerRequestCall
from trio_mcp.wire.jsonrpc import Message, Notification, Response

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
        opened = open_request(message, exchange.headers)
        _check_tool_headers(host, exchange, opened)
        if not json and not sse:
            raise McpError(INVALID_REQUEST, "Not Acceptable: accept application/json and text/event-stream")
        text_headers = exchange.headers.as_text()
        call = PerRequestCall(host, opened, outlet, headers=text_headers, principal=exchange.scope.get("principal", ""))
    except McpError as error:
        status = PER_REQUEST_STATUS.get(error.code, 400)
        id = None if isinstance(message, Notification) else message.id
        await respond_error(exchange, status, error.code, error.message, id=id, data=error.data)
        return
    listening = opened.method.name == "subscriptions/listen"
    json = json and not listening and settings.json_response is not False
    sse = sse and (listening or settings.json_response is not True)
    if not json and not sse:
        text = f"Not Acceptable: {opened.method.name} answers with {'a stream' if listening else 'JSON'} only"
        await respond_error(exchange, 406, INVALID_REQUEST, text, id=opened.id)
        return
    outlet.answers_only = not sse
    async with exchange.connected() as request_nursery:
        host.call_began(call)
        request_nursery.start_soon(call.run, answer, name=f"call {opened.method.name} {opened.id}")
        await reply(exchange, outlet, _STYLE, settings, json=json, sse=sse)


def _check_tool_headers(host: Host, exchange: Exchange, opened: OpenedRequest) -> None:
    if opened.method.name == "tools/call":
        tool = host.server.tools.get(opened.params.name)
        if tool is not None and tool.param_headers:
            tool.check_headers(exchange.headers, opened.params.arguments)
