"""Checks of 2026-07-28 over Streamable HTTP: metadata, headers against the body, statuses, subscriptions."""

from typing import Final

from trio_mcp.check.connection import Reply
from trio_mcp.check.findings import Doubt, Fault, NotOffered, demand, kind, quoted
from trio_mcp.check.handshake import NOBODY_KNOWS
from trio_mcp.check.http_session import HTTP, refuses_origin
from trio_mcp.check.http_talk import METHOD, NAME, SESSION, VERSION, header_value
from trio_mcp.check.messages import Answer, Events, read_messages
from trio_mcp.check.registry import Level, check
from trio_mcp.check.scene import Scene
from trio_mcp.check.talk import Json, Question, params_of
from trio_mcp.protocol.errors import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    UNSUPPORTED_PROTOCOL_VERSION,
    legal_code,
)
from trio_mcp.protocol.revisions import V2025_03_26, V2026_07_28, WITHOUT_VERSION_HEADER
from trio_mcp.wire.base import CLIENT_CAPABILITIES_KEY, PROTOCOL_VERSION_KEY, SUBSCRIPTION_ID_KEY
from trio_mcp.wire.jsonrpc import Notification, Response, encode_request

PAGE: Final = "basic/transports/streamable-http"
DISCOVER: Final = "server/discover"
#: Names that need the sentinels, and their meaning is known to nobody.
ODD_NAME: Final = "trio-mcp-check-ünknown"


async def ask(
    scene: Scene,
    method: str = DISCOVER,
    params: Json | None = None,
    *,
    meta: Json | None = None,
    headers: dict[str, str | None] | None = None,
) -> Answer:
    """Ask with some headers changed (None: left out), or with another `_meta`."""
    talk = scene.http
    params = params or {}
    body = encode_request("per-request", method, {**params, "_meta": talk.meta() if meta is None else meta})
    return await talk.ask_encoded(method, "per-request", body, {**talk.headers(method, params), **(headers or {})})


def _refused(answer: Answer, code: int) -> None:
    answer.expect_error(code)
    answer.expect_status(400)


@check(
    "version.unsupported",
    "basic/versioning: Protocol Version Negotiation",
    on=("http", "websocket"),
    since=V2026_07_28,
)
async def unsupported(scene: Scene) -> str | None:
    """An unsupported version is -32022 with those that are supported."""
    meta = scene.talk.meta({PROTOCOL_VERSION_KEY: NOBODY_KNOWS})
    if scene.talk.transport == "http":
        answer = await ask(scene, meta=meta, headers={VERSION: NOBODY_KNOWS})
    else:
        answer = await scene.talk.ask(DISCOVER, **meta)
    data = answer.expect_error(UNSUPPORTED_PROTOCOL_VERSION).data
    answer.expect_status(400)
    supported = data.get("supported") if isinstance(data, dict) else None
    demand(isinstance(supported, list), f"data.supported is {kind(supported)}, not an array")
    demand(scene.revision.version in (supported or []), f"data.supported is {quoted(supported)}")
    demand(data.get("requested") == NOBODY_KNOWS, f"data.requested is {quoted(data.get('requested'))}")
    return None


@check(
    "meta.missing",
    "basic/index: _meta",
    on=("http", "websocket"),
    since=V2026_07_28,
)
async def missing_meta(scene: Scene) -> str | None:
    """A request without clientCapabilities in _meta is -32602."""
    if scene.talk.transport == "http":
        meta = {key: value for key, value in scene.talk.meta().items() if key != CLIENT_CAPABILITIES_KEY}
        _refused(await ask(scene, meta=meta), INVALID_PARAMS)
    else:
        answer = await scene.talk.ask(DISCOVER, **{CLIENT_CAPABILITIES_KEY: None})
        answer.expect_error(INVALID_PARAMS)
    return None


@check(
    "headers.version",
    f"{PAGE}: Server Validation",
    on=HTTP,
    since=V2026_07_28,
)
async def version_header(scene: Scene) -> str | None:
    """MCP-Protocol-Version that contradicts the body is -32020."""
    _refused(await ask(scene, headers={VERSION: V2025_03_26.version}), HEADER_MISMATCH)
    return None


@check(
    "headers.version-missing",
    f"{PAGE}: Protocol Version Header",
    on=HTTP,
    since=V2026_07_28,
)
async def missing_version_header(scene: Scene) -> str | None:
    """A request without MCP-Protocol-Version is refused."""
    answer = await ask(scene, headers={VERSION: None})
    if answer.error is None:
        raise Doubt(f"it is served; only as {WITHOUT_VERSION_HEADER.version} it may be")
    demand(answer.status is None or 400 <= answer.status < 500, f"it was answered with {answer.status}")
    if answer.error.code != HEADER_MISMATCH:
        raise Doubt(f"it was answered with {answer.told()}, not {HEADER_MISMATCH}")
    return None


@check(
    "headers.method",
    f"{PAGE}: Server Validation",
    on=HTTP,
    since=V2026_07_28,
)
async def method_header(scene: Scene) -> str | None:
    """Mcp-Method that is missing or contradicts the body is -32020."""
    for value in (None, "tools/list", DISCOVER.upper()):
        _refused(await ask(scene, headers={METHOD: value}), HEADER_MISMATCH)
    return None


@check(
    "headers.name",
    f"{PAGE}: Server Validation",
    on=HTTP,
    since=V2026_07_28,
)
async def name_header(scene: Scene) -> str | None:
    """Mcp-Name that is missing or contradicts the body is -32020."""
    params: Json = {"name": "trio-mcp-check-no-such-tool", "arguments": {}}
    for value in (None, "another"):
        _refused(await ask(scene, "tools/call", params, headers={NAME: value}), HEADER_MISMATCH)
    return None


@check(
    "headers.base64",
    f"{PAGE}: Value Encoding",
    on=HTTP,
    since=V2026_07_28,
)
async def encoded_name(scene: Scene) -> str | None:
    """Mcp-Name in base64 is decoded, and refused where it is no base64."""
    params: Json = {"name": ODD_NAME, "arguments": {}}
    answer = await ask(scene, "tools/call", params)
    demand(answer.error is None or answer.error.code != HEADER_MISMATCH, f"it was answered with {answer.told()}")
    broken = header_value(ODD_NAME).replace("?=", "!?=")
    _refused(await ask(scene, "tools/call", params, headers={NAME: broken}), HEADER_MISMATCH)
    return None


@check(
    "methods.removed",
    f"{PAGE}: Protocol Version Header",
    on=("http", "websocket"),
    level=Level.SHOULD,
    since=V2026_07_28,
)
async def removed(scene: Scene) -> str | None:
    """Ping and logging/setLevel are unknown methods."""
    for method in ("ping", "logging/setLevel"):
        answer = await scene.talk.ask(method, {"level": "info"} if method != "ping" else None)
        answer.expect_error(METHOD_NOT_FOUND)
        answer.expect_status(404)
    return None


@check(
    "http.origin-403",
    f"{PAGE}: Security & Endpoint",
    on=HTTP,
    since=V2026_07_28,
)
async def origin(scene: Scene) -> str | None:
    """A foreign Origin is answered with 403."""
    return await refuses_origin(scene, strict=True)


@check(
    "http.no-session",
    f"{PAGE}: Earlier Streamable HTTP Revisions",
    level=Level.SHOULD,
    on=HTTP,
    since=V2026_07_28,
)
async def no_session(scene: Scene) -> str | None:
    """No session id is minted."""
    answer = await ask(scene)
    demand(SESSION.lower() not in answer.headers, f"{SESSION} came with the answer")
    return None


@check(
    "http.get-405",
    f"{PAGE}: Earlier Streamable HTTP Revisions",
    level=Level.SHOULD,
    on=HTTP,
    since=V2026_07_28,
)
async def no_get(scene: Scene) -> str | None:
    """GET without a session is refused."""
    headers = {VERSION: scene.revision.version, "Accept": "text/event-stream"}
    async with scene.web.open("GET", scene.http.path, headers=headers) as incoming:
        demand(400 <= incoming.status < 500, f"it was answered with {incoming.status}")
        return f"{incoming.status}"


@check(
    "messages.posted-answers-refused",
    f"{PAGE}: Sending Messages",
    level=Level.SHOULD,
    on=HTTP,
    since=V2026_07_28,
)
async def posted_answer(scene: Scene) -> str | None:
    """An answer is not taken: the client never sends one."""
    headers = {**scene.http.headers(), METHOD: None}
    body = b'{"jsonrpc":"2.0","id":"nobody-asked","result":{"resultType":"complete"}}'
    reply: Reply = await scene.web.send("POST", scene.http.path, body, headers)
    demand(400 <= reply.status < 500, f"it was answered with {reply.status}")
    return f"{reply.status}"


# Subscriptions


@check(
    "subscriptions.acknowledged",
    "basic/patterns/subscriptions: Acknowledgment",
    on=HTTP,
    since=V2026_07_28,
)
async def listen(scene: Scene) -> str | None:
    """A subscriptions/listen is acknowledged first, with its id."""
    talk = scene.http
    asked = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}
    question = Question("subscriptions/listen", {"notifications": asked}, id="listen-1")
    id, body = talk.encode(question)
    async with scene.web.open("POST", talk.path, body, talk.headers(question.method)) as incoming:
        stream = Events(incoming)
        if incoming.status != 200:
            pieces = []
            while piece := await incoming.read_some():
                pieces.append(piece)
            return _refusal(b"".join(pieces), incoming.status)
        first = await stream.next_message()
    if not isinstance(first, Notification) or first.method != "notifications/subscriptions/acknowledged":
        what = quoted(first.method) if isinstance(first, Notification) else kind_of(first)
        raise Fault(f"the first message is {what}")
    params = params_of(first)
    meta = params.get("_meta")
    tag = meta.get(SUBSCRIPTION_ID_KEY) if isinstance(meta, dict) else None
    demand(tag == id, f"subscriptionId is {quoted(tag)}, not {quoted(id)}")
    honoured = params.get("notifications")
    if not isinstance(honoured, dict):
        raise Fault(f"notifications are {kind(honoured)}, not an object")
    demand(set(honoured) <= set(asked), "more was acknowledged than was asked for")
    return ", ".join(name for name, value in honoured.items() if value) or "nothing is honoured"


def kind_of(message: object) -> str:
    """What a message is, in words."""
    return "nothing: the stream ended" if message is None else f"a {type(message).__name__.lower()}"


def _refusal(body: bytes, status: int) -> str:
    for message in read_messages(body):
        if isinstance(message, Response) and message.error is not None:
            if message.error.code == METHOD_NOT_FOUND:
                raise NotOffered("subscriptions/listen is an unknown method")
            raise Fault(f"it was answered with {status} and error {message.error.code} {quoted(message.error.message)}")
    raise Fault(f"it was answered with {status}")


# What holds for the whole conversation


@check(
    "errors.codes",
    "basic/index: Error Codes",
    on=("http", "websocket"),
    last=True,
    since=V2026_07_28,
)
async def codes(scene: Scene) -> str | None:
    """No error code is used that the revision forbids."""
    illegal = sorted(code for code in scene.talk.codes if legal_code(code, per_request=True) != code)
    demand(not illegal, f"there was {', '.join(map(str, illegal))}")
    return ", ".join(map(str, sorted(scene.talk.codes)))
