"""Checks of the streams of Streamable HTTP: GET, the stream of a request, resumption (basic/transports)."""

from typing import Final

from trio_mcp.check.connection import media_type
from trio_mcp.check.findings import Fault, NotOffered, Silence, Skipped, demand, quoted
from trio_mcp.check.http_session import HTTP
from trio_mcp.check.http_talk import SESSION, VERSION, HttpTalk
from trio_mcp.check.messages import EVENT_STREAM, JSON, Answer, Events
from trio_mcp.check.messaging import harmless
from trio_mcp.check.registry import Level, check
from trio_mcp.check.scene import Scene
from trio_mcp.check.talk import Question
from trio_mcp.protocol.revisions import LATEST_SESSION, V2025_11_25, V2026_07_28
from trio_mcp.wire.jsonrpc import Response
from trio_mcp.wire.sse import Event

#: A call that reports progress, and so needs a stream, where there is such a tool.
_SLEEP: Final = Question(
    "tools/call",
    {"name": "sleep", "arguments": {"seconds": 0.05}},
    meta={"progressToken": "trio-mcp-check-stream"},
)


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
    "basic/transports: Sending Messages to the Server",
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
    "stream.unbuffered",
    "basic/transports/streamable-http: Receiving Messages",
    level=Level.SHOULD,
    on=HTTP,
    since=V2026_07_28,
)
async def unbuffered(scene: Scene) -> str | None:
    """A stream asks proxies not to collect it."""
    found = (await _streamed(scene)).headers.get("x-accel-buffering", "")
    demand(found == "no", "X-Accel-Buffering: no is missing")
    return None


@check(
    "stream.priming",
    "basic/transports: Sending Messages to the Server",
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
