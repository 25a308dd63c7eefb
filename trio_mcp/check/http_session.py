"""Checks of Streamable HTTP in the session era: statuses, headers, sessions, streams (basic/transports)."""

from typing import Final

from trio_mcp.check.connection import Reply, media_type
from trio_mcp.check.findings import Doubt, NotOffered, Skipped, demand, quoted
from trio_mcp.check.handshake import NOBODY_KNOWS
from trio_mcp.check.http_talk import SESSION, VERSION, HttpTalk
from trio_mcp.check.messages import EVENT_STREAM, JSON
from trio_mcp.check.messaging import harmless
from trio_mcp.check.registry import Level, check
from trio_mcp.check.scene import Scene
from trio_mcp.check.talk import Question
from trio_mcp.protocol.revisions import LATEST_SESSION, V2025_06_18, V2025_11_25

HTTP: Final = ("http",)


async def ask_with(scene: Scene, method: str = "", **changed: str | None) -> Reply:
    """POST a harmless request with some headers changed (underscores are hyphens), or left out with None."""
    talk = scene.http
    _, body = talk.encode(Question(method or harmless(scene)))
    headers = {name.lower(): value for name, value in talk.headers(method or harmless(scene)).items()}
    headers |= {name.replace("_", "-").lower(): value for name, value in changed.items()}
    return await scene.web.send("POST", talk.path, body, headers)


@check(
    "http.media-type",
    "basic/transports: Sending Messages to the Server",
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
    "basic/transports: Sending Messages to the Server",
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


@check("http.origin", "basic/transports: Security Warning", on=HTTP, until=LATEST_SESSION)
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
