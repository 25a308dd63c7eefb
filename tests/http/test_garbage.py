"""What is done with is free at once: no call, connection or session is left to the garbage collector.

A circle of references costs the collector's time on every request, and holds memory until it comes.
"""

import gc
from collections import Counter
from functools import partial

import trio
import trio.testing

from tests.http.servers import small_server
from tests.http.sockets import Wire, call, open_session
from trio_mcp import serve_http

CLIENTS = 5


async def per_request(url: str) -> None:
    await call(url, "echo", message="hello")
    await call(url, "talk")


async def a_session(url: str) -> None:
    wire, standing = await Wire.to(url), await Wire.to(url)
    async with wire.stream, standing.stream:
        session_id = await open_session(wire)
        await standing.send("GET", mcp_session_id=session_id)
        await standing.head()
        await wire.send(
            "POST",
            {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "tools/call",
                "params": {"name": "echo", "arguments": {"message": "hi"}},
            },
            mcp_session_id=session_id,
        )
        await wire.answer()
        await wire.send("DELETE", mcp_session_id=session_id)
        assert await wire.head() == 204
        await standing.body()


async def vanishing(url: str) -> None:
    wire = await Wire.to(url)
    async with wire.stream:
        await wire.ask("tools/call", {"name": "wait", "arguments": {"seconds": 60}})
        await trio.testing.wait_all_tasks_blocked(0.01)


async def refused(url: str) -> None:
    wire = await Wire.to(url)
    async with wire.stream:
        await wire.stream.send_all(b"POST /mcp HTTP/1.1\r\n no: header\r\n\r\n")
        await wire.closed()


async def test_nothing_of_a_request_a_session_or_a_connection_is_left_to_the_collector():
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            [url] = await nursery.start(partial(serve_http, small_server(), port=0))
            for visit in (per_request, a_session, vanishing, refused):
                await visit(url)  # what is made once
            gc.collect()
            gc.disable()
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                for visit in (per_request, a_session, vanishing, refused):
                    for _ in range(CLIENTS):
                        await visit(url)
                    await trio.testing.wait_all_tasks_blocked(0.01)
                    gc.collect()
                    left = Counter(type(thing) for thing in gc.garbage)
                    gc.garbage.clear()
                    ours = {kind: count for kind, count in left.items() if kind.__module__.startswith("trio_mcp")}
                    assert not ours, visit.__name__
                    assert max(left.values(), default=0) < CLIENTS, visit.__name__
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
                gc.enable()
            nursery.cancel_scope.cancel()
