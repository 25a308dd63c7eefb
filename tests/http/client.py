"""A fake HTTP client: it drives an ASGI application in memory, in both eras, over any ASGI server or our own lane.

It can deliver the body in pieces, leave at any moment (`Fetch.drop`), and stop reading (`Fetch.stall`). What it asserts
is what stood on the wire: it decodes events by itself and knows no type of trio_mcp but the host that it serves.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from tests.http.fetch import Fetch, Json, Lane
from trio_mcp import Host, Server
from trio_mcp.http.app import McpApp
from trio_mcp.http.asgi import App

V2024, V2025_03, V2025_06, V2025_11 = "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"
SESSION_REVISIONS = (V2024, V2025_03, V2025_06, V2025_11)
MODERN = "2026-07-28"
META = "io.modelcontextprotocol/"
BOTH = "application/json, text/event-stream"
PATIENCE = 1_000_000
"""Virtual seconds: the clock jumps there when nothing else is left to happen, so a hang is a failure at once."""


class Web:
    """An application and those who ask it.

    Args:
        lane: whether requests come over our own lane, with its extension.
    """

    def __init__(self, app: App, host: Host, nursery: trio.Nursery, *, lane: bool) -> None:
        self.app = app
        self.host = host
        self.lane = lane
        self.fetches: list[Fetch] = []
        self._nursery = nursery

    def open(
        self,
        method: str = "POST",
        body: Any = b"",
        *,
        path: str = "/mcp",
        headers: Mapping[str, str | None] | Sequence[tuple[str, str]] | None = None,
        hold: bool = False,
        prepare: Callable[[Fetch], None] = lambda fetch: None,
    ) -> Fetch:
        """Begin a request; `headers` add to or, with None, take from what a client sends of itself."""
        pieces = body if isinstance(body, list) and body and isinstance(body[0], bytes) else [encoded(body)]
        fetch = Fetch(method, path, _headers(method, headers), pieces)
        fetch.write_timeout = self.host.server.settings.write_timeout
        fetch.lane = Lane(self._nursery, fetch) if self.lane else None
        if hold:
            fetch.hold()
        prepare(fetch)
        self.fetches.append(fetch)
        self._nursery.start_soon(fetch.run, self.app)
        return fetch

    async def host_ended(self) -> None:
        """Once the host is stopped."""
        while self.host.running:
            await trio.lowlevel.checkpoint()

    async def fetch(self, method: str = "POST", body: Any = b"", **options: Any) -> Fetch:
        """A request with its whole response."""
        return await self.open(method, body, **options).done()

    async def initialize(self, revision: str = V2025_11, *, capabilities: Json | None = None) -> "Session":
        """Open a session."""
        info = {"name": "tests", "version": "1"}
        params = {"protocolVersion": revision, "capabilities": capabilities or {}, "clientInfo": info}
        fetch = await self.fetch(body=request(0, "initialize", params))
        assert fetch.status == 200, (fetch.status, fetch.body)
        assert fetch.result["protocolVersion"] == revision
        session = Session(self, fetch.headers["mcp-session-id"], revision)
        assert (await session.notify("notifications/initialized")).status == 202
        return session

    def ask(self, method: str, params: Json | None = None, *, id: Any = 1, meta: Json | None = None, **o: Any) -> Fetch:
        """Begin a per-request call, its metadata and headers in order unless `meta` or `headers` say otherwise."""
        body, headers = modern(method, params, id=id, meta=meta)
        return self.open(body=body, **{**o, "headers": {**headers, **(o.get("headers") or {})}})

    def call(self, tool: str, **arguments: Any) -> Fetch:
        """Begin a per-request `tools/call`."""
        return self.ask("tools/call", {"name": tool, "arguments": arguments})


class Session:
    """A session of the handshake era over HTTP."""

    def __init__(self, web: Web, id: str, revision: str) -> None:
        self.web = web
        self.id = id
        self.headers: dict[str, str | None] = {"mcp-session-id": id}
        if revision in (V2025_06, V2025_11):
            self.headers["mcp-protocol-version"] = revision
        self.next_id = 1

    def open(self, method: str = "POST", body: Any = b"", **options: Any) -> Fetch:
        """Begin any request of this session."""
        return self.web.open(method, body, **{**options, "headers": {**self.headers, **(options.get("headers") or {})}})

    def ask(self, method: str, params: Json | None = None, *, id: Any = None, **options: Any) -> Fetch:
        """Begin a JSON-RPC request."""
        if id is None:
            id, self.next_id = self.next_id, self.next_id + 1
        return self.open(body=request(id, method, params), **options)

    def call(self, tool: str, *, id: Any = None, progress: Any = None, **arguments: Any) -> Fetch:
        """Begin a `tools/call`."""
        params: Json = {"name": tool, "arguments": arguments}
        if progress is not None:
            params["_meta"] = {"progressToken": progress}
        return self.ask("tools/call", params, id=id)

    async def notify(self, method: str, params: Json | None = None) -> Fetch:
        """Post a notification."""
        return await self.open(body=notification(method, params)).done()

    async def respond(self, id: Any, result: Any) -> Fetch:
        """Post a response to a request of the server."""
        return await self.open(body={"jsonrpc": "2.0", "id": id, "result": result}).done()

    def listen(self, last_event_id: str | None = None, **options: Any) -> Fetch:
        """Begin a GET: the standing stream, or the resumption of one."""
        headers = {"last-event-id": last_event_id, **(options.pop("headers", None) or {})}
        return self.open("GET", headers=headers, **options)

    async def delete(self) -> Fetch:
        """End the session."""
        return await self.open("DELETE").done()

    async def answers(self) -> bool:
        """Whether it still does what it should."""
        fetch = await self.call("echo", id="still", message="there?").done()
        return fetch.status == 200 and fetch.result["content"] == [{"type": "text", "text": "there?"}]


def _headers(method: str, given: Any) -> list[tuple[bytes, bytes]]:
    own: dict[str, str] = {"host": "127.0.0.1:8000"}
    if method == "POST":
        own |= {"content-type": "application/json", "accept": BOTH}
    elif method == "GET":
        own |= {"accept": "text/event-stream"}
    if isinstance(given, Sequence):
        names = {name for name, _ in given}
        pairs = [(name, value) for name, value in own.items() if name not in names] + [*given]
    else:
        pairs = [(name, value) for name, value in {**own, **(given or {})}.items() if value is not None]
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


def encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def request(id: Any, method: str, params: Json | None = None) -> Json:
    """A JSON-RPC request; without params it has none."""
    message: Json = {"jsonrpc": "2.0", "id": id, "method": method}
    return message if params is None else {**message, "params": params}


def notification(method: str, params: Json | None = None) -> Json:
    """A JSON-RPC notification."""
    message: Json = {"jsonrpc": "2.0", "method": method}
    return message if params is None else {**message, "params": params}


def modern(method: str, params: Json | None = None, *, id: Any = 1, meta: Json | None = None) -> tuple[Json, Json]:
    """A request of the per-request era, and its headers."""
    envelope = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": {}, **(meta or {})}
    body = request(id, method, {**(params or {}), "_meta": envelope})
    headers = {"mcp-protocol-version": MODERN, "mcp-method": method}
    name = (params or {}).get("uri" if method == "resources/read" else "name")
    if name is not None and method in ("tools/call", "prompts/get", "resources/read"):
        headers["mcp-name"] = name
    return body, headers


@asynccontextmanager
async def served(
    server: Server, *, lane: bool = False, wrap: Callable[[App, Host], App] = lambda app, host: app, **options: Any
) -> AsyncIterator[Web]:
    """Serve `server` in a nursery of its own; at the end every request is dropped and the host must end by itself."""
    host = Host(server, **options)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(host.run)
            web = Web(wrap(McpApp(host), host), host, nursery, lane=lane)
            yield web
            for fetch in web.fetches:
                fetch.go_on()
                if not fetch.returned:
                    fetch.drop()
            await trio.testing.wait_all_tasks_blocked()
            host.stop()
    assert not host.calls
    assert not host.sessions
    assert not len(host.subscriptions)
