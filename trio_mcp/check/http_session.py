"""Checks of Streamable HTTP in the session era: statuses, headers, sessions, streams (basic/transports)."""

from typing import Final

from trio_mcp.check.connection import Reply, media_type
from trio_mcp.check.findings import Doubt, Fault, NotOffered, Silence, Skipped, demand, quoted
from trio_mcp.check.handshake import NOBODY_KNOWS
from trio_mcp.check.http_talk import SESSION, VERSION, HttpTalk
from trio_mcp.check.messages import EVENT_STREAM, JSON, Answer, Events
from trio_mcp.check.messaging import harmless
from trio_mcp.check.registry import Level, check
from trio_mcp.check.scene import Scene
from trio_mcp.check.talk import Question
from trio_mcp.protocol.revisions import LATEST_SESSION, V2025_06_18, V2025_11_25
from trio_mcp.wire.jsonrpc import Response
from trio_mcp.wire.sse import Event

HTTP: Final = ("http",)
#: A call that reports progress, and so needs a stream, where there is such a tool.
_SLEEP: Final = Question(
    "tools/call",
    {"name": "sleep", "arguments": {"seconds": 0.05}},
    meta={"progressToken": "trio-mcp-check-stream"},
)


async def ask_with(scene: Scene, method: str = "", **changed: str | None) -> Reply:
    """POST a harmless request with some headers changed (underscores are hyphens), or left out with None."""
    talk = scene.http
    _, body = talk.encode(Question(method or harmless(scene)))
    headers = {name.lower(): value for name, value in talk.headers(method or harmless(scene)).items()}
    headers |= {name.replace("_", "-").lower(): value for name, value in changed.items()}
    return await scene.web.send("POST", talk.path, body, headers)


@check(
    "http.media-type",
    "basic/transports: Sending Messages",
    on=HTTP,
)
async def answer_type(scene: Scene) -> str | None:
    """A request is answered as JSON or as a stream of events."""
    answer = await scene.talk.ask(harmless(scene))
    said = media_type(answer.headers)
    demand(said in (JSON, EVENT_STREAM), f"Content-Type is {quoted(said)}")
    return said


@check(
    "http.notification",
    "basic/transports: Sending Messages",
    on=HTTP,
)
async def notification(scene: Scene) -> str | None:
    """A notification is answered with 202 and no body."""
    talk = scene.http
    method = "notifications/trio-mcp-check" if scene.revision.per_request else "notifications/initialized"
    reply = await scene.web.send("POST", talk.path, talk.encode_told(method, None), talk.headers(method))
    if scene.revision.per_request and 400 <= reply.status < 500:
        return f"not accepted: {reply.status}"
    demand(reply.status == 202, f"it was answered with {reply.status}")
    demand(not reply.body, f"202 came with a body of {len(reply.body)} bytes")
    return None


@check("http.origin", "basic/transports: Security Warning", on=HTTP)
async def origin(scene: Scene) -> str | None:
    """A foreign Origin is refused."""
    return await refuses_origin(scene, strict=scene.revision.rank >= V2025_11_25.rank)


async def refuses_origin(scene: Scene, *, strict: bool) -> str:
    """A request from a page of somebody else's gets nowhere; `strict` asks for 403."""
    if not scene.options.loopback:
        raise Skipped("what is a foreign Origin is only known on loopback")
    reply = await ask_with(scene, origin=scene.options.origin)
    demand(400 <= reply.status < 500, f"Origin: {scene.options.origin} was answered with {reply.status}")
    demand(not strict or reply.status == 403, f"it was answered with {reply.status}, not 403")
    return f"{reply.status}"


@check("http.put", "RFC 9110: 15.5.6", level=Level.SHOULD, on=HTTP)
async def put(scene: Scene) -> str | None:
    """Other methods are answered with 405 and Allow."""
    talk = scene.http
    reply = await scene.web.send("PUT", talk.path, b"{}", talk.headers("ping"))
    demand(reply.status in (405, 501), f"PUT was answered with {reply.status}")
    demand("allow" in reply.headers or reply.status == 501, "405 came without Allow")
    return reply.headers.get("allow") and quoted(reply.headers["allow"])


@check(
    "http.content-type",
    "RFC 9110: 15.5.16",
    level=Level.SHOULD,
    on=HTTP,
)
async def content_type(scene: Scene) -> str | None:
    """A body that is not application/json is refused."""
    reply = await ask_with(scene, content_type="text/plain")
    demand(400 <= reply.status < 500, f"Content-Type: text/plain was answered with {reply.status}")
    if reply.status != 415:
        raise Doubt(f"it was answered with {reply.status}, not 415")
    return None


@check(
    "http.accept",
    "RFC 9110: 15.5.7",
    level=Level.SHOULD,
    on=HTTP,
)
async def accept(scene: Scene) -> str | None:
    """A client that takes neither JSON nor events is refused."""
    reply = await ask_with(scene, accept="text/html")
    demand(400 <= reply.status < 500, f"Accept: text/html was answered with {reply.status}")
    if reply.status != 406:
        raise Doubt(f"it was answered with {reply.status}, not 406")
    return None


# The version header


@check(
    "http.version-unsupported",
    "basic/transports: Protocol Version Header",
    on=HTTP,
    since=V2025_06_18,
    until=LATEST_SESSION,
)
async def unsupported_version(scene: Scene) -> str | None:
    """An unsupported MCP-Protocol-Version is answered with 400."""
    reply = await ask_with(scene, MCP_Protocol_Version=NOBODY_KNOWS)
    demand(reply.status == 400, f"{VERSION}: {NOBODY_KNOWS} was answered with {reply.status}")
    return None


@check(
    "http.version-absent",
    "basic/transports: Protocol Version Header",
    level=Level.SHOULD,
    on=HTTP,
    since=V2025_06_18,
    until=LATEST_SESSION,
)
async def absent_version(scene: Scene) -> str | None:
    """A request without MCP-Protocol-Version is served."""
    reply = await ask_with(scene, MCP_Protocol_Version=None)
    demand(reply.status == 200, f"it was answered with {reply.status}")
    return None


# Sessions


def _session_of(talk: HttpTalk) -> str:
    if talk.session_id is None:
        raise NotOffered("the server gives no session id")
    return talk.session_id


@check("session.id", "basic/transports: Session Management", on=HTTP, until=LATEST_SESSION)
async def session_id(scene: Scene) -> str | None:
    """A session id is visible ASCII."""
    id = _session_of(scene.http)
    demand(id and all("\x21" <= c <= "\x7e" for c in id), "it holds other characters, or none")
    return f"{len(id)} characters"


@check(
    "session.id-unique",
    "basic/transports: Session Management",
    level=Level.SHOULD,
    on=HTTP,
    until=LATEST_SESSION,
)
async def unique_session_id(scene: Scene) -> str | None:
    """Two sessions have two ids, too long to be guessed."""
    id = _session_of(scene.http)
    async with scene.another() as other:
        assert isinstance(other, HttpTalk)
        demand(other.session_id != id, "two sessions have the same id")
    demand(len(id) >= 16, f"it has only {len(id)} characters")
    return None


@check(
    "session.missing",
    "basic/transports: Session Management",
    level=Level.SHOULD,
    on=HTTP,
    until=LATEST_SESSION,
)
async def missing_session(scene: Scene) -> str | None:
    """A request without its session id is answered with 400."""
    _session_of(scene.http)
    reply = await ask_with(scene, "tools/list", Mcp_Session_Id=None)
    demand(reply.status == 400, f"it was answered with {reply.status}")
    return None


@check(
    "session.unknown",
    "basic/transports: Session Management",
    level=Level.SHOULD,
    on=HTTP,
    until=LATEST_SESSION,
)
async def unknown_session(scene: Scene) -> str | None:
    """An unknown session id is answered with 404."""
    id = _session_of(scene.http)
    reply = await ask_with(scene, Mcp_Session_Id="0" * len(id))
    demand(reply.status == 404, f"it was answered with {reply.status}")
    return None


@check(
    "session.delete",
    "basic/transports: Session Management",
    on=HTTP,
    until=LATEST_SESSION,
)
async def delete(scene: Scene) -> str | None:
    """An ended session is answered with 404."""
    _session_of(scene.http)
    async with scene.another() as other:
        assert isinstance(other, HttpTalk)
        headers = {name: value for name, value in other.headers("DELETE").items() if name in (SESSION, VERSION)}
        reply = await scene.web.send("DELETE", other.path, headers=headers)
        if reply.status == 405:
            raise NotOffered("DELETE is answered with 405")
        demand(200 <= reply.status < 300, f"DELETE was answered with {reply.status}")
        _, body = other.encode(Question("ping"))
        after = await scene.web.send("POST", other.path, body, other.headers("ping"))
        demand(after.status == 404, f"after DELETE the session is answered with {after.status}")
    return None


# Streams


def _listening(talk: HttpTalk) -> dict[str, str | None]:
    headers = {name: value for name, value in talk.headers("GET").items() if name in (SESSION, VERSION)}
    return {**headers, "Accept": EVENT_STREAM}


@check(
    "stream.get",
    "basic/transports: Listening for Messages from the Server",
    on=HTTP,
    until=LATEST_SESSION,
)
async def get_stream(scene: Scene) -> str | None:
    """GET opens a stream of events, or is answered with 405."""
    talk = scene.http
    async with scene.web.open("GET", talk.path, headers=_listening(talk)) as incoming:
        if incoming.status == 405:
            raise NotOffered("GET is answered with 405")
        said = media_type(incoming.headers)
        demand(incoming.status == 200, f"GET was answered with {incoming.status}")
        demand(said == EVENT_STREAM, f"Content-Type is {quoted(said)}")
    return None


@check(
    "stream.get-accept",
    "basic/transports: Listening for Messages from the Server",
    level=Level.SHOULD,
    on=HTTP,
    until=LATEST_SESSION,
)
async def get_accept(scene: Scene) -> str | None:
    """GET without text/event-stream in Accept is refused."""
    talk = scene.http
    async with scene.web.open("GET", talk.path, headers={**_listening(talk), "Accept": JSON}) as incoming:
        demand(400 <= incoming.status < 500, f"it was answered with {incoming.status}")
        return f"{incoming.status}"


@check(
    "stream.ends",
    "basic/transports: Sending Messages",
    level=Level.SHOULD,
    on=HTTP,
)
async def stream_ends(scene: Scene) -> str | None:
    """The stream of a request ends with its answer."""
    talk = scene.http
    answer = await _streamed(scene)
    question = _SLEEP if answer.method == "tools/call" else Question(answer.method)
    id, body = talk.encode(question)
    headers = talk.headers(question.method, question.params)
    async with scene.web.open("POST", talk.path, body, headers) as incoming:
        stream = Events(incoming)
        answered = False
        try:
            while (message := await stream.next_message()) is not None:
                talk.take(message)
                answered = answered or (isinstance(message, Response) and message.id == id)
        except Silence:
            raise Fault("it was still open after the answer" if answered else "no answer came") from None
    demand(answered, "it ended without an answer")
    return None


@check(
    "stream.headers",
    "basic/transports: Sending Messages",
    level=Level.SHOULD,
    on=HTTP,
)
async def stream_headers(scene: Scene) -> str | None:
    """A stream is not to be kept or collected on the way."""
    headers = (await _streamed(scene)).headers
    demand(
        "no-cache" in headers.get("cache-control", "") or "no-store" in headers.get("cache-control", ""),
        "Cache-Control does not say no-cache",
    )
    demand(
        not scene.revision.per_request or headers.get("x-accel-buffering") == "no", "X-Accel-Buffering: no is missing"
    )
    return None


@check(
    "stream.priming",
    "basic/transports: Sending Messages",
    level=Level.SHOULD,
    on=HTTP,
    since=V2025_11_25,
    until=LATEST_SESSION,
)
async def priming(scene: Scene) -> str | None:
    """A stream that can be resumed begins with an event with an id and no data."""
    events = (await _resumable(scene)).events
    demand(events[0].id and not events[0].data, "the first event has data")
    return None


@check(
    "stream.event-ids",
    "basic/transports: Resumability and Redelivery",
    on=HTTP,
    until=LATEST_SESSION,
)
async def event_ids(scene: Scene) -> str | None:
    """Event ids are unique in their session."""
    first, second = await _resumable(scene), await _resumable(scene)
    ids = [event.id for answer in (first, second) for event in answer.events if event.data and event.id is not None]
    demand(len(ids) == len(set(ids)), "an id came twice")
    return f"{len(ids)} ids"


@check(
    "stream.resume",
    "basic/transports: Resumability and Redelivery",
    on=HTTP,
    until=LATEST_SESSION,
)
async def resume(scene: Scene) -> str | None:
    """Last-Event-ID brings what came after it on that stream, and nothing else."""
    talk = scene.http
    answer = await _resumable(scene)
    await _resumable(scene)  # another stream, of which nothing may come
    after, expected = answer.events[0].id, [event for event in answer.events[1:] if event.data]
    async with scene.web.open("GET", talk.path, headers={**_listening(talk), "Last-Event-ID": after}) as incoming:
        if incoming.status != 200 or media_type(incoming.headers) != EVENT_STREAM:
            raise NotOffered(f"GET with Last-Event-ID is answered with {incoming.status}")
        stream = Events(incoming)
        got: list[Event] = []
        while len(got) < len(expected):
            event = await stream.next()
            if event is None:
                break
            if event.data:
                got.append(event)
    demand([event.id for event in got] == [event.id for event in expected], "other events came than those after it")
    demand([event.data for event in got] == [event.data for event in expected], "the events came with other data")
    return f"{len(got)} events"


async def _streamed(scene: Scene) -> Answer:
    """An answer on a stream of its own.

    Raises:
        NotOffered: there is none: the server answers as JSON whatever was tried.
    """
    answer = await scene.talk.ask(harmless(scene))
    if answer.streamed:
        return answer
    try:
        await scene.sleeper()
    except Skipped:
        raise NotOffered("the server answered as JSON") from None
    [answer] = await scene.talk.ask_all([_SLEEP])
    if not answer.streamed:
        raise NotOffered("the server answered as JSON")
    return answer


async def _resumable(scene: Scene) -> Answer:
    answer = await _streamed(scene)
    if not answer.events or answer.events[0].id is None:
        raise NotOffered("its events have no ids")
    return answer
