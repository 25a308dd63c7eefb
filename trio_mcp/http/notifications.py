"""The notifications dialect: `GET /notifications` is a stream, `POST /mcp?session_id=…` speaks, the stream answers.

Older than the standard transports, and ours to keep (docs/transports.md). A session has any number of connections, and
all of them get every message; it lives without any for `Settings.session_idle`. A tool may be called by its own name,
before `initialize` too; methods of MCP go by MCP's rules.
"""

from functools import partial
from typing import Final
from uuid import uuid4

from trio_mcp.auth.tokens import Authorization
from trio_mcp.http.asgi import Exchange
from trio_mcp.http.message import respond_error
from trio_mcp.http.posting import (
    SESSION_QUERY,
    find_session,
    may_stream,
    not_allowed,
    open_session,
    query,
    read_posted,
    take_in,
)
from trio_mcp.http.stream_response import Form, stream
from trio_mcp.protocol.errors import INVALID_REQUEST, METHOD_NOT_FOUND, McpError
from trio_mcp.protocol.headers import LAST_EVENT_ID, PROTOCOL_VERSION, SESSION_ID, Headers
from trio_mcp.protocol.inbound import names_per_request
from trio_mcp.protocol.methods import METHODS
from trio_mcp.protocol.notifications_dialect import initialize_result, standard_initialize
from trio_mcp.runtime.fanout import Fanout, Reader
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.outlet import Frame, Outlet
from trio_mcp.runtime.session import Session
from trio_mcp.wire.jsonrpc import Message, Request, encode_error

TRANSPORT: Final = "notifications"
NOTIFICATIONS_PATH: Final = "/notifications"
SESSION_HEADER: Final = b"x-session-id"
_HOW: Final = f"open GET {NOTIFICATIONS_PATH}, which says its id"


def names_session(exchange: Exchange) -> bool:
    """Whether a POST is of this dialect: by `session_id` in its query or `X-Session-ID`, unless it is plainly MCP's."""
    if b"session_id=" in exchange.scope["query_string"]:
        return True
    headers = exchange.headers
    if SESSION_HEADER not in headers or SESSION_ID in headers:
        return False
    return not names_per_request(headers.text(PROTOCOL_VERSION))


async def get(host: Host, exchange: Exchange) -> None:
    """Write a session's stream, a new session's unless the request names one; its end ends nothing else."""
    if not await may_stream(host, exchange):
        return
    last_event_id = exchange.headers.text(LAST_EVENT_ID) or None
    named, _, event_id = (last_event_id or "").rpartition(":")
    session_id = query(exchange, SESSION_QUERY) or exchange.headers.text(SESSION_HEADER) or named or None
    fanout: Outlet
    if session_id is None and last_event_id is None:
        fanout = Fanout(host.server.settings.stream_buffer)
        session = await open_session(host, exchange, fanout, transport=TRANSPORT, key=str(uuid4()))
        if session is not None:
            fanout.record_in(session.history)
    else:
        session = await find_session(host, exchange, session_id, transport=TRANSPORT, how=_HOW)
    if session is None:
        return
    fanout = session.standing
    assert isinstance(fanout, Fanout)
    try:
        if named not in ("", session.key):
            raise ValueError(f"{last_event_id} is an event of another session")
        reader = await fanout.attach(event_id or None)
    except ValueError as error:
        await respond_error(exchange, 400, INVALID_REQUEST, f"Cannot resume: {error}")
        return
    await _write(host, exchange, session, fanout, reader)


async def _write(host: Host, exchange: Exchange, session: Session, fanout: Fanout, reader: Reader) -> None:
    settings = host.server.settings
    connected = Frame(f"Connected to session {session.key}".encode(), reader.after)
    greeting = _event(session.key, connected, b"retry: %d\n" % round(settings.retry * 1000))
    form = Form(silence=settings.sse_keepalive, greeting=greeting, encode=partial(_encode, session.key))
    session.reading(+1)
    try:
        await exchange.while_connected(
            reader.leave, partial(stream, exchange, reader, settings, form=form, until=exchange.until)
        )
    finally:
        session.reading(-1)
        fanout.detach(reader)


def _encode(key: str, frames: list[Frame]) -> bytes:
    return b"".join(_event(key, frame) for frame in frames)


def _event(key: str, frame: Frame, more: bytes = b"") -> bytes:
    """An unnamed event, data first; its id names the session, for a browser comes back to a URL that does not."""
    return b"data: %b\nid: %b:%b\n%b\n" % (frame.data, key.encode(), (frame.event_id or "").encode(), more)


async def post(host: Host, exchange: Exchange) -> None:
    """Take messages in; what comes of them goes out on the session's stream."""
    if exchange.method != "POST":
        await not_allowed(exchange, b"POST")
        return
    posted = await read_posted(host, exchange)
    if posted is None:
        return
    session_id = query(exchange, SESSION_QUERY)
    if session_id is None:
        session_id = exchange.headers.text(SESSION_HEADER)
    session = await find_session(host, exchange, session_id, transport=TRANSPORT, how=_HOW, id=posted.id)
    if session is not None:
        await take_in(host, exchange, session, posted, _deliver)


def _deliver(
    session: Session, message: Message, outlet: Outlet, headers: Headers, authorization: Authorization | None
) -> None:
    """As `Session.deliver`, with the words of this dialect."""
    if not isinstance(message, Request):
        session.deliver(message, outlet, headers, authorization)
    elif message.method == "initialize":
        _initialize(session, message, outlet)
    elif message.method in METHODS:
        session.deliver(message, outlet, headers, authorization)
    elif message.method in session.host.server.tools:
        session.call_tool(message, outlet, headers, authorization)
    else:
        text = f"Method not found: {message.method} is neither a method of MCP nor a tool of this server"
        outlet.respond(encode_error(message.id, METHOD_NOT_FOUND, text), METHOD_NOT_FOUND)


def _initialize(session: Session, request: Request, outlet: Outlet) -> None:
    try:
        standard = standard_initialize(request)
    except McpError as error:
        outlet.respond(encode_error(request.id, error.code, error.message, error.data), error.code)
        return
    if standard is None:
        session.deliver(request, outlet)
        return
    answered = Outlet(1)
    session.deliver(standard, answered)  # `initialize` is answered at once
    if answered.error_code is None:
        outlet.respond(initialize_result(request.id, session.host.server.info))
    else:
        outlet.respond(answered.take()[0].data, answered.error_code)
