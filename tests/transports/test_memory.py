"""Any trio stream can be served: it is closed at the end, and its client's misfortunes are not the host's."""

import json

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from tests.runtime.kit import FOREVER, Line, enveloped, hosted, piped, request, serving, tool_call
from trio_mcp.server import Server
from trio_mcp.transports.memory import serve_stream


def sleeping(diary: list[str]) -> Server:
    server = serving()

    @server.tool
    async def sleep(seconds: float) -> None:
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            diary.append("cancelled")
            raise

    return server


async def test_the_stream_is_closed_when_the_client_ends_its_side(autojump_clock):
    async with hosted(serving()) as host, piped(host) as line:
        assert (await line.initialize())["serverInfo"]["name"] == "s"
        await line.end()
        assert await line.rest() == []
        await wait_all_tasks_blocked()
        assert line.ended


async def test_a_client_that_breaks_off_ends_its_pipe_only(autojump_clock):
    diary: list[str] = []
    async with hosted(sleeping(diary)) as host:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_stream, host, theirs)
            line = Line(ours)
            await line.initialize()
            await line.send(tool_call(1, "sleep", seconds=0.1), enveloped(tool_call(2, "sleep", seconds=100)))
            await wait_all_tasks_blocked()
            await ours.aclose()
        assert diary
        assert not host.sessions
        async with piped(host) as other:
            await other.initialize()


async def test_a_stream_that_breaks_while_it_is_read_counts_as_ended(autojump_clock):
    async def broken() -> None:
        raise trio.BrokenResourceError

    async with hosted(serving()) as host:
        ours, theirs = memory_stream_pair()
        theirs.receive_stream.receive_some_hook = broken
        await serve_stream(host, theirs)
        assert await ours.receive_some() == b""


async def test_the_stream_is_closed_when_serving_is_cancelled(autojump_clock):
    diary: list[str] = []
    async with hosted(sleeping(diary)) as host:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_stream, host, theirs)
            line = Line(ours)
            await line.initialize()
            await line.send(tool_call(1, "sleep", seconds=100))
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert diary == ["cancelled"]
        assert await ours.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            await ours.send_all(b"late\n")


async def test_a_socket_is_a_stream_like_any_other():
    async with hosted(serving()) as host:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                serve = await nursery.start(trio.serve_listeners, lambda stream: serve_stream(host, stream), listeners)
                stream = await trio.testing.open_stream_to_socket_listener(serve[0])
                async with stream:
                    await stream.send_all(json.dumps(enveloped(request(1, "tools/list"))).encode() + b"\n")
                    assert b'"tools":[]' in await stream.receive_some()
                nursery.cancel_scope.cancel()


async def test_messages_may_come_in_pieces_of_any_size(autojump_clock):
    async with hosted(serving()) as host, piped(host) as line:
        with trio.fail_after(FOREVER):
            for byte in json.dumps(enveloped(request(1, "tools/list"))).encode() + b"\n":
                await line.send(bytes([byte]))
                await trio.lowlevel.checkpoint()
            assert (await line.receive())["id"] == 1
