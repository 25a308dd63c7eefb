"""Checks of HTTP+SSE, of the two dialects of our sources, and of WebSocket, beside those that hold everywhere."""

import re
from typing import Final

from wsproto.events import BytesMessage

from trio_mcp.check.connection import media_type
from trio_mcp.check.findings import Doubt, Fault, Skipped, demand, quoted
from trio_mcp.check.http_session import refuses_origin
from trio_mcp.check.messages import EVENT_STREAM, JSON, Events, read_message
from trio_mcp.check.registry import Level, check
from trio_mcp.check.scene import KNOWN, Scene
from trio_mcp.check.stream_talk import GREETING, ListeningTalk, NotificationsTalk, SocketTalk
from trio_mcp.check.talk import Question
from trio_mcp.check.websocket import SUBPROTOCOL
from trio_mcp.wire.jsonrpc import Response

TRANSPORT: Final = "basic/transports: HTTP with SSE"
DIALECT: Final = "docs/transports: The notifications dialect"
DIRECT: Final = "docs/transports: Direct replies"
SOCKET: Final = "docs/transports: WebSocket"
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


# HTTP+SSE and what it shares with the notifications dialect


def _listening(scene: Scene) -> ListeningTalk:
    assert isinstance(scene.talk, ListeningTalk), "the check is only for transports with a stream"
    return scene.talk


@check("sse.endpoint", TRANSPORT, on=("sse",))
async def endpoint(scene: Scene) -> str | None:
    """The first event is endpoint, with a URI of the same origin."""
    return quoted(_listening(scene).path_of_target)


@check("sse.message", TRANSPORT, on=("sse",))
async def message_event(scene: Scene) -> str | None:
    """Answers come as message events, and the POST is answered with 2xx."""
    talk = _listening(scene)
    await talk.result("ping")
    assert talk.posted is not None
    assert talk.stream is not None
    demand(talk.stream.seen[-1].event == "message", f"the event is called {quoted(talk.stream.seen[-1].event)}")
    if talk.posted.status != 202:
        raise Doubt(f"the POST was answered with {talk.posted.status}, not 202")
    return None


@check("sse.unknown-session", TRANSPORT, level=Level.SHOULD, on=("sse",))
async def unknown_sse_session(scene: Scene) -> str | None:
    """A POST for an unknown session is refused."""
    talk = _listening(scene)
    changed = re.sub(r"(?<==)[^&=]{8,}", lambda found: "0" * len(found[0]), talk.target)
    if changed == talk.target:
        raise Skipped("the URI names no session that could be changed")
    _, body = talk.encode(Question("ping", id="unknown"))
    talk.protocol.abandon("unknown")
    reply = await scene.web.send("POST", changed, body, {"Content-Type": JSON})
    demand(400 <= reply.status < 500, f"it was answered with {reply.status}")
    return f"{reply.status}"


@check("stream.origin", "basic/transports: Security Warning", on=("sse", "notifications"))
async def stream_origin(scene: Scene) -> str | None:
    """A foreign Origin is refused."""
    if not scene.options.loopback:
        raise Skipped("what is a foreign Origin is only known on loopback")
    headers = {"Accept": EVENT_STREAM, "Origin": scene.options.origin}
    async with scene.web.open("GET", _listening(scene).path, headers=headers) as incoming:
        demand(400 <= incoming.status < 500, f"Origin: {scene.options.origin} was answered with {incoming.status}")
        return f"{incoming.status}"


# The notifications dialect


def _dialect(scene: Scene) -> NotificationsTalk:
    assert isinstance(scene.talk, NotificationsTalk), "the check is only for the dialect"
    return scene.talk


@check("dialect.greeting", DIALECT, on=("notifications",))
async def greeting(scene: Scene) -> str | None:
    """The stream begins with "Connected to session <uuid>"."""
    if not _UUID.fullmatch(_dialect(scene).session.lower()):
        raise Doubt("the session id is no UUID")
    return None


@check(
    "dialect.accepted",
    DIALECT,
    on=("notifications",),
)
async def accepted(scene: Scene) -> str | None:
    """A POST is answered with 202, and the answer comes on the stream."""
    talk = _dialect(scene)
    await talk.result("ping")
    assert talk.posted is not None
    demand(talk.posted.status == 202, f"it was answered with {talk.posted.status}")
    return None


@check("dialect.initialize", DIALECT, on=("notifications",))
async def snake_case(scene: Scene) -> str | None:
    """An initialize in snake_case is answered with server_info."""
    info, capabilities = scene.opening.get("server_info"), scene.opening.get("capabilities")
    if not isinstance(info, dict) or not isinstance(info.get("name"), str):
        raise Fault("server_info has no name")
    if not isinstance(capabilities, dict) or capabilities.get("tools") is not True:
        raise Fault('capabilities do not say "tools": true')
    return quoted(info["name"])


@check("dialect.by-name", DIALECT, on=("notifications",))
async def by_name(scene: Scene) -> str | None:
    """A tool can be called by its name."""
    called = []
    for name, arguments in KNOWN.items():
        answer = await scene.talk.ask(name, arguments)
        if answer.error is None:
            called.append(name)
    if not called:
        raise Skipped("there is neither echo(message) nor add(a, b)")
    return ", ".join(called)


@check("dialect.fan-out", DIALECT, on=("notifications",))
async def fan_out(scene: Scene) -> str | None:
    """Every connection of a session hears its answers."""
    talk = _dialect(scene)
    path = f"{talk.path.partition('?')[0]}?session_id={talk.session}"
    async with scene.web.open("GET", path, headers={"Accept": EVENT_STREAM}) as incoming:
        demand(incoming.status == 200, f"a second GET of the session was answered with {incoming.status}")
        stream = Events(incoming)
        first = await stream.next()
        demand(first is not None and GREETING.fullmatch(first.data), "the second stream begins with another event")
        answer = await talk.ask("ping", id="fan-out")
        answer.expect_result()
        while (event := await stream.next()) is not None:
            message = read_message(event.data.encode("utf-8", "replace"))
            if isinstance(message, Response) and message.id == "fan-out":
                return None
    raise Fault("the second connection did not hear the answer")


@check("dialect.header", DIALECT, on=("notifications",))
async def named_by_header(scene: Scene) -> str | None:
    """The session may be named by X-Session-ID."""
    talk = _dialect(scene)
    _, body = talk.encode(Question("ping", id="by-header"))
    headers = {"Content-Type": JSON, "X-Session-ID": talk.session}
    reply = await scene.web.send("POST", talk.path_of_target, body, headers)
    demand(reply.status == 202, f"it was answered with {reply.status}")
    data = await talk.read()
    message = read_message(data or b"")
    demand(isinstance(message, Response) and message.id == "by-header", "no answer came on the stream")
    return None


@check("dialect.unknown-session", DIALECT, on=("notifications",))
async def unknown_dialect_session(scene: Scene) -> str | None:
    """An unknown session is a clear error."""
    talk = _dialect(scene)
    _, body = talk.encode(Question("ping", id="unknown"))
    path = f"{talk.path_of_target}?session_id=00000000-0000-4000-8000-000000000000"
    reply = await scene.web.send("POST", path, body, {"Content-Type": JSON})
    demand(400 <= reply.status < 500, f"it was answered with {reply.status}")
    if not reply.body:
        raise Doubt(f"{reply.status} came without a word")
    return f"{reply.status}"


# Direct replies


@check("direct.json", DIRECT, on=("message",))
async def direct(scene: Scene) -> str | None:
    """A request is answered with JSON in the response."""
    answer = await scene.talk.ask("ping")
    answer.expect_result()
    answer.expect_status(200)
    said = media_type(answer.headers)
    demand(said == JSON, f"Content-Type is {quoted(said)}")
    return None


@check("direct.plain", DIRECT, on=("message",))
async def direct_plain(scene: Scene) -> str | None:
    """No header but Content-Type is needed, and no initialize."""
    talk = scene.http
    id, body = talk.encode(Question("tools/list", id="plain"))
    answer = await talk.ask_encoded("tools/list", id, body, {"Content-Type": JSON})
    answer.expect_result()
    return None


@check("direct.notification", DIRECT, on=("message",))
async def direct_notification(scene: Scene) -> str | None:
    """A notification is answered with 202 and no body."""
    talk = scene.http
    body = talk.encode_told("notifications/initialized", None)
    reply = await scene.web.send("POST", talk.path, body, talk.headers())
    demand(reply.status == 202 and not reply.body, f"it was answered with {reply.status}, {len(reply.body)} bytes")
    return None


@check("direct.origin", "basic/transports: Security Warning", on=("message",))
async def direct_origin(scene: Scene) -> str | None:
    """A foreign Origin is refused."""
    return await refuses_origin(scene, strict=False)


# WebSocket


def _socket(scene: Scene) -> SocketTalk:
    assert isinstance(scene.talk, SocketTalk), "the check is only for WebSocket"
    return scene.talk


@check("websocket.subprotocol", SOCKET, on=("websocket",))
async def subprotocol(scene: Scene) -> str | None:
    """The subprotocol mcp is taken."""
    socket = _socket(scene).socket
    chosen = None if socket is None else socket.subprotocol
    demand(chosen == SUBPROTOCOL, f"the server chose {quoted(chosen)}")
    return None


@check(
    "websocket.binary",
    SOCKET,
    level=Level.SHOULD,
    on=("websocket",),
)
async def binary(scene: Scene) -> str | None:
    """A binary message is refused with a close code that says why."""
    async with scene.another() as other:
        assert isinstance(other, SocketTalk)
        assert other.socket is not None
        await other.socket.send_event(BytesMessage(b"\x00\x01"))
        while await other.socket.receive() is not None:
            pass
        closed = other.socket.closed
    if closed is None or closed[0] not in (1003, 1007, 1008):
        raise Fault(f"the server closed with {closed}")
    return f"{closed[0]} {quoted(closed[1])}"
