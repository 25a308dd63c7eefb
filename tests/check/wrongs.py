"""Ways for a server to be wrong, each in one thing only."""

import json
import re
from collections.abc import Callable
from typing import Any

import attrs

from tests.check.kit import Asked, Json, Told, Wrong
from trio_mcp.http.asgi import App, Receive, Scope, Send

V2024, V2025_03, V2025_11, MODERN = "2024-11-05", "2025-03-26", "2025-11-25", "2026-07-28"
JSON = {"content-type": "application/json"}
VERSION = "mcp-protocol-version"
META = "io.modelcontextprotocol/"


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
