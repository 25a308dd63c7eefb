"""HTTP with SSE (2024-11-05, basic/transports: HTTP with SSE): GET is the session, POST speaks into it.

The stream's end, for whatever reason, ends the session with everything in it. While the client is
`Settings.stream_buffer` frames behind in reading, its POSTs wait. It refuses to resume: a client that comes back begins
anew.
"""

from functools import partial
from typing import Final

from trio_mcp.http.asgi import Exchange
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
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.outlet import Frame, Outlet
from trio_mcp.runtime.session import Session
from trio_mcp.wire.sse import KEEPALIVE, encode_event

TRANSPORT: Final = "sse"
SSE_PATH: Final = "/sse"
MESSAGES_PATH: Final = "/messages"
_HOW: Final = f"open GET {SSE_PATH}, and post to the URI of its first event"
_STATUS: Final = b'{"status":"connected"}'


async def get(host: Host, exchange: Exchange) -> None:
    """Open a session and write its stream, `endpoint` first; its end is the session's."""
    if not await may_stream(host, exchange):
        return
    settings = host.server.settings
    outlet = Outlet(settings.stream_buffer, expected=None)
    session = await open_session(host, exchange, outlet, transport=TRANSPORT)
    if session is None:
        return

    def gone(reason: str) -> None:
        outlet.leave(reason)
        session.end(reason)

    session.reading(+1)
    try:
        await exchange.while_connected(
            gone, partial(stream, exchange, outlet, settings, form=_form(host, exchange, session), until=exchange.until)
        )
    finally:
        session.reading(-1)
        await host.end_session(session, "its stream ended")


async def post(host: Host, exchange: Exchange) -> None:
    """Take messages in; what comes of them goes out on the session's stream."""
    if exchange.method != "POST":
        await not_allowed(exchange, b"POST")
        return
    posted = await read_posted(host, exchange)
    if posted is None:
        return
    find = partial(find_session, host, exchange, query(exchange, SESSION_QUERY), transport=TRANSPORT, how=_HOW)
    session = await find(id=posted.id)
    if session is not None:
        await session.standing.room()
        if session.ending:  # its client left while we waited
            session = await find(id=posted.id)
    if session is not None:
        await take_in(host, exchange, session, posted)


def _form(host: Host, exchange: Exchange, session: Session) -> Form:
    settings = host.server.settings
    uri = f"{exchange.scope.get('root_path', '')}{MESSAGES_PATH}?{SESSION_QUERY}={session.key}"
    greeting, keepalive = encode_event(uri.encode(), event="endpoint"), KEEPALIVE
    if settings.sse_heartbeat == "event":
        greeting += encode_event(_STATUS, event="connected")
        keepalive = encode_event(_STATUS, event="heartbeat")
    return Form(silence=settings.sse_keepalive, greeting=greeting, encode=_encode, keepalive=keepalive)


def _encode(frames: list[Frame]) -> bytes:
    return b"".join(encode_event(frame.data, event="message") for frame in frames)
