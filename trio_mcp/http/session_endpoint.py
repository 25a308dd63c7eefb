"""The session era over Streamable HTTP: POST, GET and DELETE of one endpoint (2025-11-25, basic/transports).

A dropped connection takes a reader off a stream and cancels nothing.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from trio_mcp.http.asgi import Exchange, Header
from trio_mcp.http.forbidden import respond_forbidden
from trio_mcp.http.message import SESSION_STATUS, respond_error
from trio_mcp.http.stream_response import Style, reply, stream
from trio_mcp.protocol.errors import INVALID_REQUEST, UNAVAILABLE, McpError
from trio_mcp.protocol.headers import LAST_EVENT_ID, PROTOCOL_VERSION, SESSION_ID, accepts
from trio_mcp.protocol.revisions import REVISIONS
from trio_mcp.protocol.session import State, batch_fault
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.runtime.scopes import InsufficientScopeError, check_message
from trio_mcp.runtime.session import Session
from trio_mcp.wire.base import RequestId
from trio_mcp.wire.jsonrpc import Message, Request, WireError, encode_error

_PLAIN: Final = Style(statuses=SESSION_STATUS)
_POLLING: Final = Style(statuses=SESSION_STATUS, polling=True)


async def post(host: Host, exchange: Exchange, message: Message) -> None:
    """Take one message in and answer it."""
    session = await _session_of(host, exchange, message)
    if session is None:
        return
    try:
        check_message(host, exchange.authorization, message)
    except InsufficientScopeError as error:
        await respond_forbidden(host, exchange, error, message.id if isinstance(message, Request) else None)
        return
    if not isinstance(message, Request):
        session.deliver(message, Outlet(1))
        await exchange.respond(202)
        return
    await _answer(host, exchange, session, [message], batch=False)


async def post_batch(host: Host, exchange: Exchange, messages: list[Message | WireError]) -> None:
    """Take a batch in and answer it (2025-03-26, basic/transports: Sending Messages)."""
    session = await _session_of(host, exchange, None)
    if session is None:
        return
    fault = batch_fault(session.protocol.revision, len(messages), host.server.settings.max_batch)
    if fault is not None:
        await respond_error(exchange, 400, INVALID_REQUEST, fault)
        return
    if not any(isinstance(message, (Request, WireError)) for message in messages):
        for message in messages:
            if not isinstance(message, WireError):
                session.deliver(message, Outlet(1))
        await exchange.respond(202)
        return
    await _answer(host, exchange, session, messages, batch=True)


async def _answer(
    host: Host, exchange: Exchange, session: Session, messages: list[Message | WireError], *, batch: bool
) -> None:
    settings = host.server.settings
    json, sse = accepts(exchange.headers.get(b"accept"))
    json = json and settings.json_response is not False
    sse = sse and settings.json_response is not True
    if not json and not sse:
        if session.protocol.state is State.NEW:
            session.end("initialize was refused")
        first = messages[0]
        await _not_acceptable(exchange, first.id if isinstance(first, Request) and not batch else None)
        return
    owed = sum(isinstance(message, (Request, WireError)) for message in messages) if batch else 1
    outlet = session.open_stream(owed)
    outlet.answers_only = not sse
    outlet.attended = True
    for message in messages:
        if isinstance(message, WireError):
            outlet.respond(encode_error(message.id, message.code, message.message), message.code)
        else:
            session.deliver(message, outlet, exchange.headers, exchange.authorization)
    if session.protocol.state is State.NEW:  # a refused initialize: there is no session
        session.end("initialize was refused")
    style = _POLLING if session.protocol.revision.polling else _PLAIN
    headers = _session_header(session)
    work = partial(reply, exchange, outlet, style, settings, json=json, batch=batch, headers=headers)
    await _read(session, exchange, outlet, work)


async def _read(session: Session, exchange: Exchange, outlet: Outlet, work: Callable[[], Awaitable[None]]) -> None:
    """Write one of the session's streams to a client for as long as it is there."""

    def gone(reason: str) -> None:
        if outlet.reader_scope is exchange.reader_scope:  # else another took over, and stays
            outlet.leave(reason)

    session.reading(+1)
    try:
        await exchange.while_connected(gone, work)
    finally:
        session.reading(-1)
        if outlet is not session.standing:
            session.drop_stream(outlet)


async def get(host: Host, exchange: Exchange) -> None:
    """Open the session's standing stream, or resume a stream from `Last-Event-ID`."""
    if not accepts(exchange.headers.get(b"accept"))[1]:
        await _not_acceptable(exchange)
        return
    session = await _session_of(host, exchange, None)
    if session is None:
        return
    await exchange.read_body()
    last_event_id = exchange.headers.text(LAST_EVENT_ID)
    outlet = session.standing
    if last_event_id:
        try:
            outlet = await session.resume(last_event_id)
        except ValueError as error:
            await respond_error(exchange, 400, INVALID_REQUEST, f"Cannot resume: {error}")
            return
    # No waiting between `resume` and the reader: what is replayed must not go to a reader that was there before.
    polling, settings = session.protocol.revision.polling, host.server.settings
    headers = _session_header(session)
    work = partial(stream, exchange, outlet, settings, polling=polling, headers=headers, until=exchange.until)
    await _read(session, exchange, outlet, work)


async def delete(host: Host, exchange: Exchange) -> None:
    """End the session (basic/transports: Session Management). Waits for its clean-up, within the host's bound."""
    session = await _session_of(host, exchange, None)
    if session is None:
        return
    await host.end_session(session, "the client ended it")
    await exchange.respond(204)


async def _session_of(host: Host, exchange: Exchange, message: Message | None) -> Session | None:
    """The session a request belongs to, a new one for `initialize`, or None after answering what is wrong."""
    id = message.id if isinstance(message, Request) else None
    session_id = exchange.headers.text(SESSION_ID)
    if session_id is None:
        if not isinstance(message, Request) or message.method != "initialize":
            text = "Missing Mcp-Session-Id header: send initialize first, then its Mcp-Session-Id with every request"
            await respond_error(exchange, 400, INVALID_REQUEST, f"Bad Request: {text}", id=id)
            return None
        try:
            return await host.open_session(principal=exchange.principal)
        except McpError as error:
            await respond_error(exchange, UNAVAILABLE, error.code, error.message, id=id)
            return None
    try:
        session = host.find(session_id, exchange.principal) or await host.revive(session_id, exchange.principal)
    except McpError as error:
        await respond_error(exchange, UNAVAILABLE, error.code, error.message, id=id)
        return None
    if session is None or session.transport != "http":  # those of other transports answer elsewhere
        text = "Session not found: it ended or never was; send initialize without a session id"
        await respond_error(exchange, 404, INVALID_REQUEST, text, id=id)
        return None
    version = exchange.headers.text(PROTOCOL_VERSION)
    if version is not None and version not in REVISIONS:
        text = f"Bad Request: unsupported protocol version {version}; supported: {', '.join(REVISIONS)}"
        await respond_error(exchange, 400, INVALID_REQUEST, text, id=id)
        return None
    return session


def _session_header(session: Session) -> tuple[Header, ...]:
    if session.protocol.state is not State.READY:
        return ()
    return ((SESSION_ID, session.key.encode("ascii")),)


async def _not_acceptable(exchange: Exchange, id: RequestId | None = None) -> None:
    text = "Not Acceptable: accept application/json and text/event-stream"
    await respond_error(exchange, 406, INVALID_REQUEST, text, id=id)
