"""A client that speaks raw JSON-RPC lines over memory to a served `Server`, in either era.

It knows nothing of trio_mcp's own types: what tests assert is what stood on the wire.
"""

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from trio.testing import memory_stream_pair

from trio_mcp import Host, Server
from trio_mcp.protocol.revisions import LATEST_SESSION, V2026_07_28
from trio_mcp.transports.memory import serve_stream
from trio_mcp.wire.base import CLIENT_CAPABILITIES_KEY, CLIENT_INFO_KEY, LOG_LEVEL_KEY, PROTOCOL_VERSION_KEY

SESSION = LATEST_SESSION.version
PER_REQUEST = V2026_07_28.version
ERAS = (SESSION, PER_REQUEST)
PATIENCE = 20  # seconds of real time that only a hanging test reaches

Json = dict[str, Any]
Reply = Callable[[Json], Any]


class Client:
    """One connection.

    Args:
        answers: what to say to a request of the server, by its method: a function of its params.

    Attributes:
        handshake: the result of `initialize`, in the session era.
        heard: notifications, in the order they came.
        asked: requests of the server (or its `inputRequests`), in the order they came.
        keep_silent: leave requests of the server without an answer.
        refusal: an error to answer requests of the server with.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        revision: str,
        capabilities: Json,
        answers: Mapping[str, Reply],
        log_level: str | None,
    ) -> None:
        self.revision = revision
        self.heard: list[Json] = []
        self.asked: list[Json] = []
        self.handshake: Json = {}
        self.keep_silent = False
        self.refusal: Json | None = None
        self._stream = stream
        self._capabilities = capabilities
        self._answers = answers
        self._log_level = log_level
        self._next_id = 1
        self._waiting: dict[int, trio.MemorySendChannel[Json]] = {}
        self._something = trio.lowlevel.ParkingLot()

    async def read(self) -> None:
        """Sort what comes until the server closes."""
        buffer = b""
        while piece := await self._stream.receive_some(65536):
            *lines, buffer = (buffer + piece).split(b"\n")
            for line in lines:
                await self._take(json.loads(line))

    async def _take(self, message: Json) -> None:
        if "method" not in message:
            self._waiting.pop(message["id"]).send_nowait(message)
        elif "id" in message:
            self.asked.append(message)
            self._something.unpark_all()
            if not self.keep_silent:
                await self._send({"jsonrpc": "2.0", "id": message["id"], **self._answer(message)})
        else:
            self.heard.append(message)
            self._something.unpark_all()

    def _answer(self, request: Json) -> Json:
        if self.refusal is not None:
            return {"error": self.refusal}
        return {"result": self._answers[request["method"]](request.get("params", {}))}

    async def _send(self, message: Json) -> None:
        await self._stream.send_all(json.dumps(message).encode() + b"\n")

    def envelope(self) -> Json:
        """The `_meta` that this era demands of every request."""
        if self.revision != PER_REQUEST:
            return {}
        meta = {
            PROTOCOL_VERSION_KEY: self.revision,
            CLIENT_CAPABILITIES_KEY: self._capabilities,
            CLIENT_INFO_KEY: {"name": "tests", "version": "1"},
        }
        return meta if self._log_level is None else {**meta, LOG_LEVEL_KEY: self._log_level}

    async def begin(self, method: str, params: Json | None = None) -> tuple[int, Callable[[], Awaitable[Json]]]:
        """Send a request; gives its id, and what waits for the response message."""
        params = dict(params or {})
        meta = {**self.envelope(), **params.get("_meta", {})}
        if meta:
            params["_meta"] = meta
        id, self._next_id = self._next_id, self._next_id + 1
        self._waiting[id], response = trio.open_memory_channel[Json](1)
        await self._send({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
        return id, response.receive

    async def request(self, method: str, params: Json | None = None) -> Json:
        """The response message; what a tool asks on its way is answered, in the manner of the era."""
        params = dict(params or {})
        while True:
            _, receive = await self.begin(method, params)
            response = await receive()
            result = response.get("result", {})
            if result.get("resultType") != "input_required":
                return response
            answers = {}
            for key, request in result["inputRequests"].items():
                self.asked.append({"key": key, **request})
                answers[key] = self._answer(request)["result"]
            params |= {"inputResponses": answers, "requestState": result["requestState"]}

    async def ask(self, method: str, params: Json | None = None) -> Json:
        """The result."""
        response = await self.request(method, params)
        assert "result" in response, response
        return response["result"]

    async def fail(self, method: str, params: Json | None = None) -> Json:
        """The error."""
        response = await self.request(method, params)
        assert "error" in response, response
        return response["error"]

    async def call(self, name: str, /, **arguments: Any) -> Json:
        """The result of a tool."""
        return await self.ask("tools/call", {"name": name, "arguments": arguments})

    async def tool(self, name: str) -> Json:
        """A tool as the list shows it."""
        return next(tool for tool in (await self.ask("tools/list"))["tools"] if tool["name"] == name)

    async def read_resource(self, uri: str) -> list[Json]:
        """The contents of a resource."""
        return (await self.ask("resources/read", {"uri": uri}))["contents"]

    async def notify(self, method: str, params: Json | None = None) -> None:
        """Send a notification."""
        await self._send({"jsonrpc": "2.0", "method": method, "params": params or {}})

    async def hear(self, method: str, count: int = 1) -> list[Json]:
        """The params of the notifications of one method, once there are `count`."""
        while len(found := self.heard_of(method)) < count:
            await self._something.park()
        return found

    async def be_asked(self, method: str) -> Json:
        """The first request of the server of that method, once it is there."""
        while not (found := [request for request in self.asked if request["method"] == method]):
            await self._something.park()
        return found[0]

    def heard_of(self, method: str) -> list[Json]:
        """The params of the notifications of one method so far."""
        return [message.get("params", {}) for message in self.heard if message["method"] == method]


@asynccontextmanager
async def connected(
    server: Server,
    revision: str = SESSION,
    *,
    capabilities: Json | None = None,
    answers: Mapping[str, Reply] | None = None,
    log_level: str | None = None,
    patience: float = PATIENCE,
) -> AsyncIterator[Client]:
    """Serve `server` in a nursery of its own and connect; at the end the server must end by itself."""
    ours, theirs = memory_stream_pair()
    host = Host(server)
    client = Client(ours, revision, capabilities or {}, answers or {}, log_level)
    with trio.fail_after(patience):
        async with trio.open_nursery() as nursery:
            await nursery.start(host.run)
            nursery.start_soon(_serve_and_stop, host, theirs)
            nursery.start_soon(client.read)
            if revision != PER_REQUEST:
                info = {"name": "tests", "version": "1"}
                params = {"protocolVersion": revision, "capabilities": capabilities or {}, "clientInfo": info}
                client.handshake = await client.ask("initialize", params)
                await client.notify("notifications/initialized")
                await client.ask("ping")  # answered behind the notification: the session is ready
            yield client
            await ours.send_eof()


async def _serve_and_stop(host: Host, stream: trio.abc.Stream) -> None:
    await serve_stream(host, stream)
    host.stop()


#: For tests on a clock that jumps: the clock, not the test, decides how long anything takes.
unhurried = partial(connected, patience=math.inf)


def text_of(result: Json) -> str:
    """The text of a result with one block."""
    [block] = result["content"]
    assert block["type"] == "text", block
    return block["text"]


def accept(**content: Any) -> Reply:
    """A user who fills a form in."""
    return lambda params: {"action": "accept", "content": content}
