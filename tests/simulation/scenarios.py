"""What the guarantees are proven on: one server, and what clients do with it, on every transport and in both eras.

A scenario is an async function without arguments. It says only what must be true of its own answers; everything that
must always hold is the kit's to check.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import pytest
import trio

from trio_mcp import Context, McpError, Server, Settings
from trio_mcp.testing import ConnectionLostError, RefusedError, SimulatedServer, current, serving
from trio_mcp.testing.client import Transport

V2024, V2025_03, V2025_06, V2025_11, V2026 = "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"

#: Every transport in each era that it has.
WAYS: tuple[tuple[Transport, str], ...] = (
    ("http", V2025_11),
    ("http", V2026),
    ("sse", V2024),
    ("notifications", V2025_03),
    ("websocket", V2025_11),
    ("websocket", V2026),
    ("memory", V2025_11),
    ("memory", V2026),
    ("stdio", V2025_06),
    ("stdio", V2026),
)

#: Time is virtual, but who watches it is not free: the fewer rounds of a patrol until a silent client is found out, the
#: more cuts there are in a second.
SHORT = {
    "session_idle": 60,
    "idle_timeout": 20,
    "head_timeout": 20,
    "body_timeout": 20,
    "keepalive": 5,
    "sse_keepalive": 5,
}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


class House:
    """What the server's tools left undone.

    Attributes:
        inside: bodies and lifespans that were entered and not left.
    """

    def __init__(self) -> None:
        self.inside: list[str] = []

    @asynccontextmanager
    async def entered(self, what: str) -> AsyncIterator[None]:
        self.inside.append(what)
        try:
            yield
        finally:
            # A clean-up that takes its time, as real ones do; bounded, and within every timeout of the server.
            with trio.move_on_after(1, shield=True):
                await trio.sleep(0.25)
            self.inside.remove(what)


def make_server(house: House, **settings: Any) -> Server:
    """Tools: count (with progress), who (asks), wait, change; one resource that can be subscribed to."""

    @asynccontextmanager
    async def lifespan(server: Server) -> AsyncIterator[str]:
        async with house.entered("lifespan"):
            yield "alive"

    server = Server("house", lifespan=lifespan, settings=Settings(**{**SHORT, **settings}))

    @server.tool
    async def count(ctx: Context, to: int = 3, gap: float = 0.5) -> str:
        async with house.entered("count"):
            for number in range(to):
                await ctx.report_progress(number, to)
                await trio.sleep(gap)
            return f"counted to {to}"

    @server.tool
    async def who(ctx: Context) -> str:
        async with house.entered("who"):
            answer = await ctx.elicit("Who are you?", SCHEMA, key="who")
            return f"{answer.action} {(answer.content or {}).get('name')}"

    @server.tool
    async def wait(seconds: float) -> str:
        async with house.entered("wait"):
            await trio.sleep(seconds)
            return f"waited {seconds:g}"

    @server.tool
    async def poll(ctx: Context, seconds: float = 3) -> str:
        async with house.entered("poll"):
            ctx.close_stream()
            await trio.sleep(seconds)
            return "polled"

    @server.tool(thread=False)
    def change(ctx: Context) -> str:
        ctx.notify_tools_changed()
        ctx.notify_resource_updated("house://door")
        return "changed"

    @server.resource("house://door")
    async def door() -> str:
        return "open"

    return server


@asynccontextmanager
async def housed(**settings: Any) -> AsyncIterator[SimulatedServer]:
    """The server for the time of the block; at the end every body and the lifespan have been left."""
    house = House()
    try:
        async with serving(make_server(house, **settings)) as served:
            yield served
    finally:
        assert house.inside == [], f"entered and never left: {house.inside}"


def answer_with(name: str) -> dict[str, Callable[[Any], Any]]:
    return {"elicitation/create": lambda params: {"action": "accept", "content": {"name": name}}}


# Scenarios


async def call_with_progress(transport: Transport, revision: str) -> None:
    seen: list[float] = []
    async with housed() as server, server.connect(transport=transport, revision=revision) as client:
        result = await client.call_tool("count", {"to": 3}, progress=lambda progress, *_: seen.append(progress))
        assert text_of(result) == "counted to 3"
        assert seen == sorted(set(seen)), f"progress did not rise: {seen}"
        assert seen == [0, 1, 2], f"progress is missing: {seen}"


async def elicitation(transport: Transport, revision: str) -> None:
    async with (
        housed() as server,
        server.connect(transport=transport, revision=revision, answers=answer_with("Ada")) as client,
    ):
        assert text_of(await client.call_tool("who")) == "accept Ada"


async def subscription(transport: Transport, revision: str) -> None:
    async with housed() as server, server.connect(transport=transport, revision=revision) as client:
        if revision != V2026:
            await client.subscribe("house://door")
        async with client.listen(uris=("house://door",)) as listening:
            await client.call_tool("change")
            heard = {(await listening.receive())["method"] for _ in range(2)}
            assert heard == {"notifications/tools/list_changed", "notifications/resources/updated"}


async def resumed_stream(transport: Transport, revision: str) -> None:
    async with housed() as server, server.connect(transport=transport, revision=revision) as client:
        pending = client.begin("tools/call", {"name": "count", "arguments": {"to": 4}}, progress=lambda *_: None)
        await trio.sleep(0.8)
        client.abort()
        try:
            result = await pending.result()
        except ConnectionLostError:
            await pending.resume()
            result = await pending.result()
        assert result["content"][0]["text"] == "counted to 4"


async def polled_stream(transport: Transport, revision: str) -> None:
    async with housed(retry=0.5) as server, server.connect(transport=transport, revision=revision) as client:
        assert text_of(await client.call_tool("poll")) == "polled"


async def two_clients(transport: Transport, revision: str) -> None:
    async with (
        housed() as server,
        server.connect(transport=transport, revision=revision) as one,
        server.connect(transport=transport, revision=revision) as other,
    ):
        texts: dict[str, str] = {}

        async def call(client: Any, to: int) -> None:
            texts[client.name] = text_of(await client.call_tool("count", {"to": to, "gap": 0.3}))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, one, 3)
            nursery.start_soon(call, other, 2)
        assert texts == {one.name: "counted to 3", other.name: "counted to 2"}


async def many_calls(transport: Transport, revision: str) -> None:
    async with housed() as server, server.connect(transport=transport, revision=revision) as client:
        pending = [client.begin("tools/call", {"name": "wait", "arguments": {"seconds": n % 3}}) for n in range(5)]
        await pending[4].cancel("enough")
        for n in range(4):
            assert (await pending[n].result())["content"][0]["text"] == f"waited {n % 3}"


async def client_that_leaves(transport: Transport, revision: str) -> None:
    """Without a session the call ends with its client, at once; with one it goes on to its end."""
    house = House()
    async with (
        serving(make_server(house)) as server,
        server.connect(transport=transport, revision=revision) as client,
    ):
        pending = client.begin("tools/call", {"name": "wait", "arguments": {"seconds": 30}})
        await trio.sleep(1)
        if pending.done:  # it was cut off before we could do it
            return
        assert "wait" in house.inside, "the call has not begun"
        client.abort()
        with suppress(ConnectionLostError):
            await pending.result()
        await trio.sleep(1)
        goes_on = transport in ("http", "notifications") and revision != V2026
        assert ("wait" in house.inside) == goes_on, f"the call {'has ended' if goes_on else 'goes on'}"
    assert house.inside == [], f"entered and never left: {house.inside}"


async def two_on_one_session(transport: Transport, revision: str) -> None:
    """Two clients speak in one session: each has its own answers, and what comes later goes to one of them."""
    async with (
        housed() as server,
        server.connect(transport=transport, revision=revision) as one,
        server.connect(transport=transport, revision=revision, session_of=one) as other,
    ):
        texts: list[str] = []

        async def call(client: Any, to: int) -> None:
            texts.append(f"{client.name} {text_of(await client.call_tool('count', {'to': to, 'gap': 0.3}))}")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, one, 3)
            nursery.start_soon(call, other, 2)
            async with one.listen() as first:
                await other.call_tool("change")
                assert (await first.receive())["method"] == "notifications/tools/list_changed"
                async with other.listen() as second:  # takes the standing stream over
                    await one.call_tool("change")
                    assert (await second.receive())["method"] == "notifications/tools/list_changed"
        assert sorted(texts) == [f"{one.name} counted to 3", f"{other.name} counted to 2"]


async def strangers(transport: Transport, revision: str) -> None:
    """A session is its principal's alone: for anybody else there is none."""
    async with (
        housed() as server,
        server.connect(transport=transport, revision=revision, principal="ada") as one,
        server.connect(transport=transport, revision=revision, principal="eve") as other,
    ):
        await one.call_tool("wait", {"seconds": 0.1})
        await other.call_tool("wait", {"seconds": 0.1})
        theft = server.connect(transport=transport, revision=revision, principal="eve", session_of=one, name="thief")
        with pytest.raises(McpError, match="Session not found"):
            async with theft as thief:
                await thief.call_tool("wait", {"seconds": 0})


async def flood(transport: Transport, revision: str) -> None:
    """A client that does not read for a while costs bounded memory, and then gets everything in order."""
    async with housed(stream_buffer=16) as server, server.connect(transport=transport, revision=revision) as client:
        seen: list[float] = []
        pending = client.begin(
            "tools/call",
            {"name": "count", "arguments": {"to": 60, "gap": 0}},
            progress=lambda progress, *_: seen.append(progress),
        )
        await trio.sleep(0.1)
        client.stall()
        await trio.sleep(5)
        client.go_on()
        while not pending.done or pending.fault is not None:
            try:
                await pending.result()
            except ConnectionLostError:
                if transport != "notifications" or was_cut():
                    raise
                await pending.resume()  # this dialect closes a reader that is too far behind, to be come back to
        assert seen == list(range(60)), f"progress is missing or out of order: {seen}"


async def partition(transport: Transport, revision: str) -> None:
    """A network that is parted for a while loses nothing."""
    async with housed() as server, server.connect(transport=transport, revision=revision) as client:
        pending = client.begin("tools/call", {"name": "count", "arguments": {"to": 3}}, progress=lambda *_: None)
        await trio.sleep(0.7)
        with server.network.partitioned(client.name, (server.name, f"{server.name}, its pipes")):
            await trio.sleep(10)
        assert (await pending.result())["content"][0]["text"] == "counted to 3"


async def shutdown(transport: Transport, revision: str, at: float, hurried: bool = False) -> None:
    """SIGTERM after so many seconds: before, in and after the calls, and while somebody listens."""
    async with housed(shutdown_grace=2) as server, trio.open_nursery() as nursery:
        nursery.start_soon(_visit, server, transport, revision)
        await trio.sleep(at)
        server.begin_shutdown()
        if hurried:
            server.hurry()
        await server.ended.wait()


async def _visit(server: SimulatedServer, transport: Transport, revision: str) -> None:
    try:
        async with (
            server.connect(transport=transport, revision=revision) as client,
            client.listen() as listening,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(_listen, listening)
            await client.call_tool("wait", {"seconds": 1})
            await client.call_tool("wait", {"seconds": 60})
    except* (ConnectionLostError, McpError, RefusedError, OSError):
        pass  # a server that goes away may refuse, or end what it cannot finish


async def _listen(listening: Any) -> None:
    with suppress(ConnectionLostError):
        while True:
            await listening.receive()


def was_cut() -> bool:
    """Whether the kit has cut this run: then what was sent may never have arrived."""
    simulation = current()
    return simulation is not None and simulation.was_cut


def text_of(result: Any) -> str:
    return str(result.content[0].text)


class Case(NamedTuple):
    """One scenario on one transport in one revision; `cut`: whether somebody is connected in it for sure."""

    name: str
    run: Callable[[], Awaitable[None]]
    cut: bool = True


def cases() -> list[Case]:
    """All there are."""
    found = []

    def add(scenario: Callable[..., Awaitable[None]], way: tuple[Transport, str], *rest: Any) -> None:
        more = "".join(f" {value}" for value in rest)
        cut = not (scenario is shutdown and rest[0] == 0)
        found.append(Case(f"{scenario.__name__}{more} {way[0]} {way[1]}", partial(scenario, *way, *rest), cut))

    for way in WAYS:
        add(call_with_progress, way)
        add(many_calls, way)
        add(two_clients, way)
        add(client_that_leaves, way)
        add(flood, way)
        add(partition, way)
        if way[1] in (V2025_06, V2025_11, V2026):
            add(elicitation, way)
        if way[0] != "notifications":
            add(subscription, way)
        for at in (0.0, 0.5, 1.5):
            add(shutdown, way, at)
        add(shutdown, way, 1.5, True)
    add(resumed_stream, ("http", V2025_11))
    add(resumed_stream, ("http", V2025_03))
    add(polled_stream, ("http", V2025_11))
    add(two_on_one_session, ("http", V2025_11))
    add(strangers, ("http", V2025_11))
    return found
