"""What POSTs of the dialects have in common: reading what was posted, finding the session, refusing in clear words.

It refuses to answer: what comes of a message goes out on the session's stream.
"""

from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs

import attrs

from trio_mcp.auth.tokens import Authorization
from trio_mcp.http.asgi import TEXT_TYPE, Exchange
from trio_mcp.http.message import respond_error
from trio_mcp.protocol.errors import INVALID_REQUEST, UNAVAILABLE, McpError
from trio_mcp.protocol.headers import PROTOCOL_VERSION, Headers, accepts, is_json
from trio_mcp.protocol.revisions import REVISIONS
from trio_mcp.protocol.session import batch_fault
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.runtime.pipe import BatchOutlet
from trio_mcp.runtime.session import Session
from trio_mcp.wire.base import RequestId
from trio_mcp.wire.jsonrpc import Message, Request, WireError, decode, decode_batch, encode_error, is_batch

Deliver = Callable[[Session, Message, Outlet, Headers, Authorization | None], None]

#: The name of a session in a query.
SESSION_QUERY: Final = "session_id"


@attrs.frozen
class Posted:
    """One message, or a batch of them."""

    messages: list[Message | WireError]
    batch: bool = False

    @property
    def id(self) -> RequestId | None:
        """The id that a refusal echoes: that of the one request."""
        first = self.messages[0]
        return first.id if isinstance(first, Request) and not self.batch else None

    @property
    def asks(self) -> bool:
        """Whether a request is among them."""
        return any(isinstance(message, Request) for message in self.messages)


def query(exchange: Exchange, name: str) -> str | None:
    """A parameter of the query, the last where it is given twice; None where it is absent."""
    raw: bytes = exchange.scope["query_string"]
    if name.encode() not in raw:
        return None
    values = parse_qs(raw.decode("latin-1"), keep_blank_values=True).get(name)
    return values[-1] if values else None


async def read_posted(host: Host, exchange: Exchange) -> Posted | None:
    """What was posted, or None after answering what is wrong with it.

    Raises:
        BodyTooLargeError: it is larger than `Settings.max_body`.
        ClientGoneError: the client left before the end.
    """
    if not is_json(exchange.headers.get(b"content-type")):
        text = "Unsupported Media Type: send Content-Type: application/json"
        await respond_error(exchange, 415, INVALID_REQUEST, text)
        return None
    body = await exchange.read_body()
    depth = host.server.settings.max_depth
    try:
        batch = is_batch(body)
        posted = Posted(decode_batch(body, max_depth=depth) if batch else [decode(body, max_depth=depth)], batch)
    except WireError as error:
        await respond_error(exchange, 400, error.code, error.message, id=error.id)
        return None
    if host.draining and posted.asks:  # answers that running calls wait for still come in
        await respond_error(exchange, UNAVAILABLE, UNAVAILABLE, "The server is shutting down", id=posted.id)
        return None
    return posted


async def open_session(
    host: Host, exchange: Exchange, standing: Outlet, *, transport: str, key: str | None = None
) -> Session | None:
    """A new session whose every message goes out on `standing`, or None after answering why there is none.

    The one place where the dialects open sessions: who may use one later, is noted here.
    """
    try:
        return await host.open_session(standing=standing, transport=transport, key=key, principal=exchange.principal)
    except McpError as error:
        await respond_error(exchange, UNAVAILABLE, error.code, error.message)
        return None


async def find_session(
    host: Host, exchange: Exchange, session_id: str | None, *, transport: str, how: str, id: RequestId | None = None
) -> Session | None:
    """The session of that id, or None after answering 400 or 404.

    The one place where the dialects look sessions up: who may use one, is decided here.

    Args:
        how: what opens a session, for who has none.
        id: of the request to answer.
    """
    if not session_id:
        text = f"Bad Request: no session id: {how}"
        await respond_error(exchange, 400, INVALID_REQUEST, text, id=id)
        return None
    session = host.find(session_id, exchange.principal)
    if session is None or session.transport != transport:
        text = f"Session not found: it ended or never was; {how}"
        await respond_error(exchange, 404, INVALID_REQUEST, text, id=id)
        return None
    return session


async def speaks(exchange: Exchange, id: RequestId | None) -> bool:
    """Whether the version header, if there is one, names a revision that is spoken here; False after answering 400."""
    version = exchange.headers.text(PROTOCOL_VERSION)
    if version is None or version in REVISIONS:
        return True
    text = f"Bad Request: unsupported protocol version {version}; supported: {', '.join(REVISIONS)}"
    await respond_error(exchange, 400, INVALID_REQUEST, text, id=id)
    return False


async def take_in(
    host: Host, exchange: Exchange, session: Session, posted: Posted, deliver: Deliver = Session.deliver
) -> None:
    """Deliver what was posted and answer 202; answers go out on the session's stream."""
    if not await speaks(exchange, posted.id):
        return
    outlet, messages = session.standing, posted.messages
    if posted.batch:
        fault = batch_fault(session.protocol.revision, len(messages), host.server.settings.max_batch)
        if fault is not None:
            await respond_error(exchange, 400, INVALID_REQUEST, fault)
            return
        outlet = BatchOutlet(outlet, sum(isinstance(message, (Request, WireError)) for message in messages))
    for message in messages:
        if isinstance(message, WireError):
            outlet.respond(encode_error(message.id, message.code, message.message), message.code)
        else:
            deliver(session, message, outlet, exchange.headers, exchange.authorization)
    await exchange.respond(202, b"Accepted", (TEXT_TYPE,))


async def may_stream(host: Host, exchange: Exchange) -> bool:
    """Whether a GET may get a stream of events; False after answering why not. Reads the body."""
    if exchange.method != "GET":
        await not_allowed(exchange, b"GET")
    elif host.draining:
        await respond_error(exchange, UNAVAILABLE, UNAVAILABLE, "The server is shutting down")
    elif not accepts(exchange.headers.get(b"accept"))[1]:
        await respond_error(exchange, 406, INVALID_REQUEST, "Not Acceptable: accept text/event-stream")
    else:
        await exchange.read_body()
        return True
    return False


async def not_allowed(exchange: Exchange, allow: bytes) -> None:
    """405 with the methods that there are."""
    await respond_error(exchange, 405, INVALID_REQUEST, "Method Not Allowed", headers=((b"allow", allow),))
