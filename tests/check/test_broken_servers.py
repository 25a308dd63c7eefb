"""Servers that are wrong in one way: the row that says so fails, and no other; each check can fail."""

import json
import re
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from tests.check.kit import Asked, Json, Told, Wrong, column_of, in_memory, notes
from trio_mcp.check.findings import Outcome
from trio_mcp.check.registry import CHECKS
from trio_mcp.http.asgi import App, Receive, Scope, Send

V2024, V2025_03, V2025_11, MODERN = "2024-11-05", "2025-03-26", "2025-11-25", "2026-07-28"
JSON = {"content-type": "application/json"}
VERSION = "mcp-protocol-version"
META = "io.modelcontextprotocol/"


# Ways to be wrong


def result(method: str, change: Callable[[Json], Any]) -> Wrong:
    """Change the result of a method, in a whole response or in an event."""

    def response(asked: Asked, told: Told) -> None:
        message = told.message
        if asked.method == method and isinstance(message, dict) and "result" in message:
            change(message["result"])
            told.message = message

    return Wrong(response=response)


def error(method: str, code: int, *, only: str = "") -> Wrong:
    """Another code where a method fails, in a request whose body holds `only`."""

    def response(asked: Asked, told: Told) -> None:
        message = told.message
        if asked.method == method and only in asked.body.decode() and "error" in message:
            message["error"]["code"] = code
            told.message = message

    return Wrong(response=response)


def says(when: Callable[[Asked], bool], status: int, body: Any = None, **headers: str) -> Wrong:
    """Answer some requests at once."""

    def request(asked: Asked) -> Told | None:
        if not when(asked):
            return None
        content = b"" if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Told(status, named or (JSON if content else {}), content)

    return Wrong(request=request)


def rewrites(change: Callable[[Asked], Any]) -> Wrong:
    """Take a request for another one, or for one without something."""

    def request(asked: Asked) -> None:
        change(asked)

    return Wrong(request=request)


def retold(change: Callable[[Asked, Told], Any]) -> Wrong:
    """Change a response."""

    def response(asked: Asked, told: Told) -> None:
        change(asked, told)

    return Wrong(response=response)


def streams(pattern: bytes, replacement: bytes, *, verb: str = "") -> Wrong:
    """Change the pieces of streams."""

    def stream(asked: Asked, piece: bytes) -> bytes:
        return re.sub(pattern, replacement, piece) if asked.verb == verb or not verb else piece

    return Wrong(stream=stream)


def without(header: str) -> Callable[[Asked], Any]:
    return lambda asked: asked.headers.pop(header, None)


def puts(header: str, value: str, *, instead_of: str = "") -> Callable[[Asked], Any]:
    """A request header gets a value; `instead_of` only in place of that one."""

    def change(asked: Asked) -> None:
        if not instead_of or asked.headers.get(header) == instead_of:
            asked.headers[header] = value

    return change


def sets(**values: Any) -> Callable[[Json], Any]:
    return lambda result: result.update(values)


def drops(key: str) -> Callable[[Json], Any]:
    return lambda result: result.pop(key)


def tool(**values: Any) -> Callable[[Json], Any]:
    """Change the first tool."""
    return lambda result: result["tools"][0].update(values)


def agrees_to_anything(asked: Asked, told: Told) -> None:
    if asked.method == "initialize":
        message = told.message
        message["result"]["protocolVersion"] = asked.message["params"]["protocolVersion"]
        told.message = message


def other_id(asked: Asked, told: Told, wrong: Any = "other", *, of: Any) -> None:
    message = told.message
    if isinstance(message, dict) and message.get("id") == of:
        told.message = {**message, "id": wrong}


def all_sessions() -> Wrong:
    """A request without a session id belongs to the last one."""
    last: list[str] = []

    def request(asked: Asked) -> None:
        if last and asked.method == "tools/list":
            asked.headers.setdefault("mcp-session-id", last[-1])

    def response(asked: Asked, told: Told) -> None:
        if "mcp-session-id" in told.headers and asked.method == "initialize":
            last.append(told.headers["mcp-session-id"])

    return Wrong(request=request, response=response)


def session_ids(change: Callable[[str], str]) -> Wrong:
    """Ids of another form."""
    known: dict[str, str] = {}

    def request(asked: Asked) -> None:
        given = asked.headers.get("mcp-session-id")
        if given in known:
            asked.headers["mcp-session-id"] = known[given]

    def response(asked: Asked, told: Told) -> None:
        id = told.headers.get("mcp-session-id")
        if id is not None:
            known[change(id)] = id
            told.headers["mcp-session-id"] = change(id)

    return Wrong(request=request, response=response)


def undeletable() -> Wrong:
    return says(lambda asked: asked.verb == "DELETE", 204)


def another_order() -> Wrong:
    seen: list[int] = []

    def change(found: Json) -> None:
        seen.append(1)
        if len(seen) % 2:
            found["tools"].reverse()

    return result("tools/list", change)


def served_anyway(method: str) -> Wrong:
    """A removed method is answered all the same."""
    body = {"jsonrpc": "2.0", "result": {"resultType": "complete"}}

    def request(asked: Asked) -> Told | None:
        if asked.method != method:
            return None
        return Told(200, JSON, json.dumps({**body, "id": asked.message["id"]}).encode())

    return Wrong(request=request)


def posted(method: str, *, status: int = 202, body: Any = None) -> Wrong:
    return says(lambda asked: asked.method == method, status, body)


def is_answer(asked: Asked) -> bool:
    return isinstance(asked.message, dict) and "result" in asked.message


def is_batch(asked: Asked) -> bool:
    return isinstance(asked.message, list)


def refuses_text(asked: Asked) -> None:
    if asked.headers.get("accept") == "text/html":
        asked.headers["accept"] = "*/*"


def takes_any_stream(asked: Asked) -> None:
    if asked.verb == "GET":
        asked.headers["accept"] = "text/event-stream"


def forgets_the_cursor(asked: Asked) -> None:
    if b"cursor" in asked.body:
        message = asked.message
        message["params"].pop("cursor")
        asked.body = json.dumps(message).encode()


def header_of_body(header: str, *path: str) -> Callable[[Asked], Any]:
    """What a server does that does not compare: the header says what the body says."""

    def change(asked: Asked) -> None:
        value: Any = asked.message
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if (
            isinstance(value, str)
            and value.isascii()
            and (header in asked.headers or header != VERSION)
            and META + "protocolVersion" in str(asked.message)
        ):
            asked.headers[header] = value

    return change


def fills_in_capabilities(asked: Asked) -> None:
    message = asked.message
    meta = message.get("params", {}).get("_meta") if isinstance(message, dict) else None
    if isinstance(meta, dict) and META + "protocolVersion" in meta:
        meta[META + "clientCapabilities"] = {}
        asked.body = json.dumps(message).encode()


def plainly_named(asked: Asked) -> None:
    if asked.headers.get("mcp-name", "").startswith("=?") and "ünknown" in str(asked.message):
        asked.headers["mcp-name"] = "=?base64?" + "dHJpby1tY3AtY2hlY2stw7xua25vd24=" + "?="


def session_for_all(asked: Asked, told: Told) -> None:
    told.headers["mcp-session-id"] = "0123456789abcdef"


def wrong_status(before: int, after: int, *, method: str = "") -> Wrong:
    def change(asked: Asked, told: Told) -> None:
        if told.status == before and (not method or asked.method == method):
            told.status = after

    return retold(change)


def unsupported(**data: Any) -> Wrong:
    def change(asked: Asked, told: Told) -> None:
        message = told.message
        if isinstance(message, dict) and message.get("error", {}).get("code") == -32022:
            message["error"]["data"].update(data)
            told.message = message

    return retold(change)


def typed_as_text(asked: Asked, told: Told) -> None:
    if asked.method == "ping":
        told.headers["content-type"] = "text/plain"


def short_sessions() -> Wrong:
    """Sessions are named 1."""
    known: list[str] = []

    def request(asked: Asked) -> None:
        if known:
            asked.query = asked.query.replace("session_id=1", f"session_id={known[-1]}")
            if asked.headers.get("x-session-id") == "1":
                asked.headers["x-session-id"] = known[-1]

    def stream(asked: Asked, piece: bytes) -> bytes:
        found = re.search(rb"session ([0-9a-f-]{36})", piece)
        if found is None:
            return piece
        known.append(found[1].decode())
        return piece.replace(found[1], b"1")

    return Wrong(request=request, stream=stream)


def tired_of(method: str, after: int) -> Wrong:
    """Answers a method so often, and then with nothing that could be read."""
    asked_for: list[str] = []

    def request(asked: Asked) -> Told | None:
        asked_for.append(asked.method)
        return Told(200, JSON, b"?") if asked.method == method and asked_for.count(method) > after else None

    return Wrong(request=request)


@attrs.frozen
class SocketWrong:
    """A WebSocket that is accepted or closed in other words."""

    subprotocol: str | None = "mcp"
    code: int | None = None

    def around(self, app: App) -> App:
        async def wrong(scope: Scope, receive: Receive, send: Send) -> None:
            async def say(message: dict[str, Any]) -> None:
                if message["type"] == "websocket.accept":
                    message = {**message, "subprotocol": self.subprotocol}
                elif message["type"] == "websocket.close" and self.code is not None:
                    message = {**message, "code": self.code}
                await send(message)

            await app(scope, receive, say)

        return wrong


LOG = b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}\n\n'
PING = {"jsonrpc": "2.0", "id": 5, "result": {}}
BAD_TYPE = {"type": "object", "properties": {"a": {"type": "strin"}}}
MIRRORED = {"type": "object", "properties": {"a": {"type": "number", "x-mcp-header": "A"}}}

FAILED = {
    # The handshake
    "initialize.result": (V2025_11, result("initialize", sets(instructions=5))),
    "initialize.server-info": (V2025_11, result("initialize", lambda found: found["serverInfo"].pop("version"))),
    "initialize.capabilities": (V2025_11, result("initialize", lambda found: found["capabilities"].update(a=True))),
    "initialize.unknown-version": (V2025_11, retold(agrees_to_anything)),
    "discover.result": (MODERN, result("server/discover", sets(supportedVersions=["1"]))),
    "discover.capabilities": (MODERN, result("server/discover", lambda found: found["capabilities"].update(a=1))),
    "discover.result-type": (MODERN, result("tools/list", drops("resultType"))),
    # Messages
    "ping": (V2025_11, result("ping", sets(pong=True))),
    "messages.ids": (V2025_11, retold(lambda asked, told: other_id(asked, told, "0", of=0))),
    "messages.concurrent": (V2025_11, retold(lambda asked, told: other_id(asked, told, of="at-once-3"))),
    "errors.unknown-method": (V2025_11, error("trio-mcp-check/no-such-method", -32600)),
    "errors.parse": (V2025_11, says(lambda asked: asked.body.endswith(b": "), 200, PING)),
    "errors.invalid-request": (V2025_11, says(lambda asked: b'"1.0"' in asked.body, 500)),
    "notifications.unanswered": (V2025_11, posted("notifications/trio-mcp-check", status=400)),
    "batch.accepted": (V2025_03, says(is_batch, 400)),
    "progress.token": (V2025_11, streams(b'"trio-mcp-check-progress"', b'"other"')),
    "messages.posted-answers": (V2025_11, says(is_answer, 500)),
    # HTTP
    "http.media-type": (V2025_11, retold(typed_as_text)),
    "http.notification": (V2025_11, posted("notifications/initialized", status=202, body="ok")),
    "http.origin": (V2025_11, rewrites(without("origin"))),
    "http.origin-403": (MODERN, wrong_status(403, 400)),
    "http.version-unsupported": (V2025_11, rewrites(puts("mcp-protocol-version", V2025_11, instead_of="1999-12-31"))),
    "session.id": (V2025_11, session_ids(lambda id: id + " x")),
    "session.delete": (V2025_11, undeletable()),
    "stream.get": (V2025_11, says(lambda asked: asked.headers.get("accept") == "text/event-stream", 200, {})),
    "stream.event-ids": (V2025_11, streams(rb"id: \S+\ndata: \{", b"id: 1\ndata: {")),
    "stream.resume": (V2025_11, streams(b"slept", b"slapt", verb="GET")),
    # 2026-07-28
    "version.unsupported": (MODERN, unsupported(supported=[])),
    "meta.missing": (MODERN, rewrites(fills_in_capabilities)),
    "headers.version": (
        MODERN,
        rewrites(header_of_body("mcp-protocol-version", "params", "_meta", META + "protocolVersion")),
    ),
    "headers.method": (MODERN, rewrites(header_of_body("mcp-method", "method"))),
    "headers.name": (MODERN, rewrites(header_of_body("mcp-name", "params", "name"))),
    "headers.base64": (MODERN, rewrites(plainly_named)),
    "subscriptions.acknowledged": (MODERN, streams(b'"listen-1"', b'"listen-2"')),
    "logging.unasked": (MODERN, streams(rb"\A(?=data: .*progress)", LOG)),
    "errors.codes": (MODERN, error("trio-mcp-check/no-such-method", -32099)),
    "lists.caching": (MODERN, result("tools/list", sets(ttlMs=-1))),
    "tools.headers": (MODERN, result("tools/list", tool(inputSchema=MIRRORED))),
    "resources.unknown-params": (MODERN, error("resources/read", -32603)),
    # What servers offer
    "tools.list": (V2025_11, result("initialize", lambda found: found["capabilities"].pop("tools"))),
    "resources.list": (V2025_11, result("resources/templates/list", sets(resourceTemplates=None))),
    "prompts.list": (V2025_11, result("prompts/list", sets(nextCursor=5))),
    "tools.schemas": (V2025_11, result("tools/list", tool(outputSchema=BAD_TYPE))),
    "tools.call": (V2025_11, result("tools/call", sets(content=[{"type": "smell"}]))),
    "resources.read": (V2025_11, result("resources/read", lambda found: found["contents"][0].update(blob=""))),
    "resources.subscribe": (V2025_11, says(lambda asked: asked.method == "resources/unsubscribe", 404)),
    "prompts.get": (V2025_11, result("prompts/get", lambda found: found["messages"][0].update(role="robot"))),
    "completion": (V2025_11, result("completion/complete", sets(completion={"values": "x1"}))),
    "logging.level": (V2025_11, says(lambda asked: b"emergency" in asked.body, 400)),
}

WARNED = {
    "discover.server-info": (MODERN, result("server/discover", drops("_meta"))),
    "errors.invalid-params": (V2025_11, error("tools/call", -32603, only='"params":{"arguments":{}}')),
    "batch.refused": (V2025_11, says(is_batch, 200)),
    "cancel.unknown": (V2025_11, posted("notifications/cancelled", status=400)),
    "http.put": (V2025_11, says(lambda asked: asked.verb == "PUT", 405)),
    "http.content-type": (V2025_11, rewrites(puts("content-type", "application/json"))),
    "http.accept": (V2025_11, rewrites(refuses_text)),
    "http.version-absent": (V2025_11, says(lambda a: a.verb == "POST" and a.method == "ping"
                                           and "mcp-protocol-version" not in a.headers, 400)),
    "session.id-unique": (V2025_11, session_ids(lambda id: id[:8])),
    "session.missing": (V2025_11, all_sessions()),
    "session.unknown": (V2025_11, says(lambda a: set(a.headers.get("mcp-session-id", "")) == {"0"}, 400)),
    "stream.get-accept": (V2025_11, rewrites(takes_any_stream)),
    "stream.ends": (V2025_11, Wrong(hold=True)),
    "stream.unbuffered": (MODERN, retold(lambda asked, told: told.headers.pop("x-accel-buffering", None))),
    "stream.priming": (V2025_11, streams(rb"data: \n", b'data: {"jsonrpc":"2.0","method":"notifications/x"}\n')),
    "headers.version-missing": (MODERN, says(lambda a: "mcp-protocol-version" not in a.headers, 400, {
        "jsonrpc": "2.0", "error": {"code": -32600, "message": "no session"}})),
    "methods.removed": (MODERN, served_anyway("ping")),
    "http.no-session": (MODERN, retold(session_for_all)),
    "http.get-405": (MODERN, says(lambda asked: asked.verb == "GET", 200, {})),
    "messages.posted-answers-refused": (MODERN, says(is_answer, 202)),
    "lists.cursor": (V2025_11, rewrites(forgets_the_cursor)),
    "lists.stable": (MODERN, another_order()),
    "tools.names": (V2025_11, result("tools/list", lambda found: found["tools"][1].update(name="my tool"))),
    "tools.unknown": (V2025_11, error("tools/call", -32000, only="no-such-tool")),
    "resources.unknown": (V2025_11, error("resources/read", -32602)),
    "prompts.unknown": (V2025_11, error("prompts/get", -32603)),
    "logging.invalid-level": (V2025_11, error("logging/setLevel", -32603)),
}  # fmt: skip


async def broken(wrong: Wrong | SocketWrong, transport: str, version: str) -> dict[str, str]:
    """What fails and warns, with the notes."""
    async with in_memory(wrong.around) as web:
        column = await column_of(web, transport, version, read_only={"sleep"})
    assert column.rows, column.not_offered
    found = notes(column, Outcome.FAILED, Outcome.WARNING)
    accidents = {id: note for id, note in found.items() if note.startswith("what came could not be read")}
    assert accidents == {}
    outcomes = {row.check.id: row.outcome for row in column.rows}
    return {id: f"{outcomes[id].value}: {note}" for id, note in found.items()}


#: On other transports: which, and what else cannot but be found.
OTHERS: dict[str, tuple[str, str, Any, set[str]]] = {
    "cancel.running": ("sse", V2024, posted("notifications/cancelled"), set()),
    "sse.endpoint": ("sse", V2024, streams(b"event: endpoint", b"event: message"), {"initialize.result"}),
    "sse.message": ("sse", V2024, wrong_status(202, 200), set()),
    "sse.unknown-session": ("sse", V2024, says(lambda a: "0000000" in a.query, 202), set()),
    "stream.origin": ("sse", V2024, rewrites(without("origin")), set()),
    "dialect.greeting": ("notifications", V2025_03, short_sessions(), set()),
    "dialect.accepted": ("notifications", V2025_03, wrong_status(202, 200, method="ping"), {"dialect.header"}),
    "dialect.initialize": ("notifications", V2025_03, streams(b'"tools":true', b'"tools":{}'), set()),
    "dialect.by-name": ("notifications", V2025_03, says(lambda a: a.method in ("echo", "add"), 404), set()),
    "dialect.fan-out": ("notifications", V2025_03, says(lambda a: a.verb == "GET" and a.query != "", 404), set()),
    "dialect.header": ("notifications", V2025_03, says(lambda a: "x-session-id" in a.headers, 400), set()),
    "dialect.unknown-session": (
        "notifications",
        V2025_03,
        says(lambda a: "session_id=00000000" in a.query, 202),
        set(),
    ),
    "direct.json": ("message", V2025_11, retold(typed_as_text), set()),
    "direct.plain": ("message", V2025_11, says(lambda a: "accept" not in a.headers, 400, PING), set()),
    "direct.notification": ("message", V2025_11, posted("notifications/initialized", status=200), set()),
    "direct.origin": ("message", V2025_11, rewrites(without("origin")), set()),
    "websocket.subprotocol": ("websocket", V2025_11, SocketWrong(subprotocol=None), set()),
    "websocket.binary": ("websocket", MODERN, SocketWrong(code=1000), set()),
    "latency": ("message", V2025_11, tired_of("ping", 20), set()),
}


@pytest.mark.parametrize("id", FAILED)
async def test_what_a_server_must_do_fails_alone(id: str, autojump_clock):
    version, wrong = FAILED[id]
    also = {"errors.unknown-method"} if id == "errors.codes" else set()
    found = await broken(wrong, "http", version)
    assert (found.get(id, "")[:7], set(found)) == ("failed:", {id} | also)


@pytest.mark.parametrize("id", WARNED)
async def test_what_a_server_should_do_warns_alone(id: str, autojump_clock):
    version, wrong = WARNED[id]
    found = await broken(wrong, "http", version)
    assert (found.get(id, "")[:8], set(found)) == ("warning:", {id})


@pytest.mark.parametrize("id", OTHERS)
async def test_what_is_wrong_on_another_transport_is_found_alone(id: str, autojump_clock):
    transport, version, wrong, also = OTHERS[id]
    assert set(await broken(wrong, transport, version)) == ({id} - {"sse.endpoint"}) | also


def test_every_check_is_seen_to_fail():
    assert {check.id for check in CHECKS} == {*FAILED, *WARNED, *OTHERS}
