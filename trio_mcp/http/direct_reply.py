"""`POST /message`: one message, answered in its own response, without a session (docs/transports.md).

Answers are shaped by the revision that the client names: `protocolVersion` of `initialize`, else the header
`MCP-Protocol-Version`, else the newest that has an `initialize`. A request that carries its own metadata is one of
2026-07-28. The client leaving cancels the call. It refuses batches and streams.
"""

from functools import partial
from typing import Final

from trio_mcp.http.asgi import Exchange
from trio_mcp.http.forbidden import respond_forbidden
from trio_mcp.http.message import PER_REQUEST_STATUS, SESSION_STATUS, respond_error
from trio_mcp.http.posting import not_allowed, read_posted, speaks
from trio_mcp.http.stream_response import Style, respond_json
from trio_mcp.protocol.errors import INVALID_REQUEST, METHOD_NOT_FOUND, UNAVAILABLE, McpError
from trio_mcp.protocol.headers import PROTOCOL_VERSION
from trio_mcp.protocol.inbound import carries_version, names_per_request
from trio_mcp.protocol.per_request import open_request
from trio_mcp.protocol.revisions import REVISIONS
from trio_mcp.runtime.call import Call
from trio_mcp.runtime.direct import DirectCall
from trio_mcp.runtime.dispatch import answer
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.runtime.per_request import PerRequestCall
from trio_mcp.runtime.scopes import InsufficientScopeError
from trio_mcp.wire.jsonrpc import Notification, Request

MESSAGE_PATH: Final = "/message"
_SESSION: Final = Style(statuses=SESSION_STATUS)
_PER_REQUEST: Final = Style(statuses=PER_REQUEST_STATUS)


async def post(host: Host, exchange: Exchange) -> None:
    """Answer one request; take one notification in."""
    if exchange.method != "POST":
        await not_allowed(exchange, b"POST")
        return
    posted = await read_posted(host, exchange)
    if posted is None:
        return
    message = posted.messages[0]
    if not posted.batch and isinstance(message, Notification):
        await exchange.respond(202)
        return
    if posted.batch or not isinstance(message, Request):
        text = "Invalid Request: post one request or notification; nothing was asked here, and batches have no place"
        await respond_error(exchange, 400, INVALID_REQUEST, text)
        return
    if not await speaks(exchange, message.id):
        return
    outlet = Outlet(host.server.settings.stream_buffer)
    outlet.answers_only = outlet.attended = True
    try:
        call = _call(host, exchange, message, outlet)
    except InsufficientScopeError as error:
        await respond_forbidden(host, exchange, error, message.id)
        return
    except McpError as error:
        per_request = carries_version(message.params) or names_per_request(exchange.headers.text(PROTOCOL_VERSION))
        status = PER_REQUEST_STATUS.get(error.code, 400) if per_request else 200
        await respond_error(exchange, status, error.code, error.message, id=message.id, data=error.data)
        return

    def gone(reason: str) -> None:
        call.cancel(reason)
        outlet.leave(reason)

    await exchange.while_connected(gone, partial(_run, host, exchange, call))


def _call(host: Host, exchange: Exchange, request: Request, outlet: Outlet) -> Call:
    """The call that a request is.

    Raises:
        McpError: it cannot be one.
    """
    if carries_version(request.params):
        opened = open_request(request, None)
        if opened.method.name == "subscriptions/listen":
            raise McpError(METHOD_NOT_FOUND, "Method not found: subscriptions/listen needs a stream; use /mcp")
        return PerRequestCall(
            host,
            opened,
            outlet,
            headers=exchange.headers,
            principal=exchange.principal,
            authorization=exchange.authorization,
        )
    revision = REVISIONS.get(exchange.headers.text(PROTOCOL_VERSION) or "")
    return DirectCall(
        host,
        request,
        outlet,
        revision,
        exchange.headers,
        principal=exchange.principal,
        authorization=exchange.authorization,
    )


async def _run(host: Host, exchange: Exchange, call: Call) -> None:
    """Run the call in the connection's own task, and answer as JSON."""
    outlet = call.outlet
    host.call_began(call)
    await call.run(answer)
    if outlet.gone:
        return
    if len(outlet):
        await respond_json(exchange, outlet, _PER_REQUEST if call.revision.per_request else _SESSION)
    else:  # the drain cut it: nobody else cancels such a call
        await respond_error(exchange, UNAVAILABLE, UNAVAILABLE, "The server is shutting down", id=call.id)
