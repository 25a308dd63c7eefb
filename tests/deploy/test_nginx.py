"""`examples/deploy/nginx.conf` in a real nginx, in front of a real server: streams, and connections."""

import re
from typing import Any

import pytest
import trio

from tests.deploy.nginx import (
    behind,
    changed,
    fronted,
    impatient,
    recording,
    stepping,
)
from tests.http.client import META, modern, notification, request
from tests.http.servers import Diary
from tests.http.sockets import open_session
from trio_mcp import Context

pytestmark = pytest.mark.usefixtures("nginx")


def plain(text: str) -> str:
    """As nginx is where nobody thought of streams: it speaks HTTP/1.0 to the server, and buffers."""
    for line in ("proxy_http_version 1.1", "proxy_buffering off", "gzip off", "proxy_set_header Connection .*"):
        text = changed(text, rf"^ +{line};\n", "")
    return text


IGNORING = "proxy_ignore_headers X-Accel-Buffering;"
# What keeps events from being held back, one at a time: each must do by itself.
HOW: dict[str, dict[str, Any]] = {
    "as it stands": {},
    "by the site alone": {"extra": IGNORING},
    "by our header alone": {"change": plain},
    "where nginx compresses": {"extra": "gzip on; gzip_types *; gzip_proxied any; gzip_min_length 1;"},
}
ZIPPED = {"Accept_Encoding": "gzip"}


@pytest.mark.parametrize("how", HOW)
async def test_progress_of_a_call_arrives_step_by_step(how: str):
    server = behind()
    go = stepping(server)
    body, headers = modern("tools/call", {"name": "steps", "arguments": {}}, meta={"progressToken": "p"})
    async with fronted(server, **HOW[how]) as front, await front.connect() as wire:
        await wire.send("POST", body, **headers, **ZIPPED)
        assert await wire.head() == 200
        for number in range(3):
            assert (await wire.message())["params"]["progress"] == number
            go.release()
        assert (await wire.message())["result"]["content"][0]["text"] == "stepped"
        assert await wire.chunk() == b""


@pytest.mark.parametrize("how", HOW)
async def test_the_stream_of_a_sessions_call_and_its_standing_stream_arrive_step_by_step(how: str):
    server = behind()
    go = stepping(server)
    async with (
        fronted(server, **HOW[how]) as front,
        await front.connect() as wire,
        await front.connect() as standing,
        await front.connect() as other,
    ):
        session = {"Mcp_Session_Id": await open_session(wire)}
        await standing.send("GET", **session, **ZIPPED)
        assert await standing.head() == 200
        params = {"name": "steps", "arguments": {}, "_meta": {"progressToken": "p"}}
        await wire.send("POST", request(1, "tools/call", params), **session, **ZIPPED)
        assert await wire.head() == 200
        for number in range(3):
            assert (await wire.message())["params"]["progress"] == number
            await other.send("POST", request(f"c{number}", "tools/call", {"name": "change"}), **session)
            assert (await other.answer())["result"]["content"][0]["text"] == "changed"
            assert (await standing.message())["method"] == "notifications/tools/list_changed"
            go.release()
        assert (await wire.message())["result"]["content"][0]["text"] == "stepped"


@pytest.mark.parametrize("how", HOW)
async def test_http_sse_arrives_event_by_event(how: str):
    async with fronted(behind(), **HOW[how]) as front, await front.connect("/sse") as stream:
        await stream.send("GET", **ZIPPED)
        assert await stream.head() == 200
        event, data = (await stream.block()).splitlines()
        assert event == "event: endpoint"
        async with await front.connect(data.removeprefix("data: ")) as poster:
            for number in range(3):
                await poster.send("POST", request(number, "ping"))
                assert await poster.head() == 202
                await poster.body()
                assert (await stream.message())["id"] == number


@pytest.mark.parametrize("how", HOW)
async def test_the_notifications_dialect_arrives_event_by_event(how: str):
    async with fronted(behind(), **HOW[how]) as front, await front.connect("/notifications") as stream:
        await stream.send("GET", **ZIPPED)
        assert await stream.head() == 200
        session = (await stream.block()).splitlines()[0].removeprefix("data: Connected to session ")
        async with await front.connect(f"/mcp?session_id={session}") as poster:
            for number in range(3):
                await poster.send("POST", request(number, "echo", {"message": "hi"}))
                assert await poster.head() == 202
                await poster.body()
                assert (await stream.message())["id"] == number


async def test_with_neither_they_would_be_held_back():
    """Else the tests above could not fail."""
    async with (
        fronted(behind(), change=plain, extra=IGNORING) as front,
        await front.connect("/sse") as stream,
    ):
        await stream.send("GET")
        with trio.move_on_after(0.5) as patience:
            await stream.head()
            await stream.block()
        assert patience.cancelled_caught


async def test_a_client_that_does_not_read_is_felt_by_the_server_and_fills_no_disk_of_the_proxy():
    server, diary = behind(write_timeout=0.5, stream_buffer=4), Diary()

    @server.tool
    async def pour(ctx: Context) -> str:
        try:
            for _ in range(250):
                await ctx.warning("x" * 256 * 1024)
            diary.write("all poured")
        finally:
            diary.write("ended")
        return "poured"

    async with fronted(server, extra=IGNORING) as front, await front.connect() as wire:
        await wire.ask("tools/call", {"name": "pour", "arguments": {}}, **{f"{META}logLevel": "debug"})
        await wire.head()
        await diary.reads("ended")
        assert "all poured" not in diary


async def test_silent_streams_outlive_the_proxys_patience_because_they_are_not_silent():
    server = behind(keepalive=0.05, sse_keepalive=0.05)
    async with fronted(server, change=impatient) as front, await front.connect("/sse") as stream:
        await stream.send("GET")
        await stream.head()
        assert (await stream.block()).startswith("event: endpoint")
        began = trio.current_time()
        while trio.current_time() < began + 2:
            assert (await stream.block()).startswith(":")


async def test_a_long_call_becomes_a_stream_before_the_proxy_loses_patience():
    server = behind(keepalive=0.05, commit_after=0.05)
    async with fronted(server, change=impatient) as front, await front.connect() as wire:
        await wire.ask("tools/call", {"name": "wait", "arguments": {"seconds": 2}})
        assert await wire.head() == 200
        assert (await wire.message())["result"]["content"][0]["text"] == "waited 2"


# Connections


async def test_connections_to_the_server_are_kept():
    count = [0]
    async with fronted(behind(), relay=recording(bytearray(), count)) as front:
        for number in range(5):
            async with await front.connect() as wire:
                await wire.ask("tools/list", id=number)
                assert (await wire.answer())["id"] == number
    assert count == [1]


@pytest.mark.parametrize("progress", [False, True], ids=["before the answer", "amid its stream"])
async def test_a_client_that_leaves_cancels_its_per_request_call(progress: bool):
    diary = Diary()
    async with fronted(behind(diary)) as front:
        async with await front.connect() as wire:
            if progress:
                await wire.ask(
                    "tools/call", {"name": "talk", "arguments": {"gap": 1000}}, **{f"{META}logLevel": "debug"}
                )
                await wire.head()
                assert (await wire.message())["method"] == "notifications/message"
            else:
                await wire.ask("tools/call", {"name": "wait", "arguments": {"seconds": 1000}})
                await diary.reads("wait began")
        await diary.reads("talk ended" if progress else "wait ended")


async def test_a_sessions_call_outlives_its_client_and_is_resumed_through_nginx():
    server = behind()
    go = stepping(server)
    async with fronted(server) as front:
        async with await front.connect() as wire:
            session = {"Mcp_Session_Id": await open_session(wire)}
            await wire.send("POST", notification("notifications/initialized"), **session)
            assert await wire.head() == 202
            await wire.body()
            params = {"name": "steps", "arguments": {"times": 2}, "_meta": {"progressToken": "p"}}
            await wire.send("POST", request(1, "tools/call", params), **session)
            await wire.head()
            block = await wire.block()
            while '"progress"' not in block:
                block = await wire.block()
            [last] = re.findall(r"^id: (.*)$", block, re.MULTILINE)
        go.release()
        go.release()
        async with await front.connect() as wire:
            await wire.send("GET", **session, Last_Event_ID=last)
            assert await wire.head() == 200
            assert (await wire.message())["params"]["progress"] == 1
            assert (await wire.message())["result"]["content"][0]["text"] == "stepped"


async def test_a_shutdown_ends_streams_with_their_terminator_and_lets_calls_finish():
    diary = Diary()
    async with (
        fronted(behind(diary, shutdown_grace=30)) as front,
        await front.connect() as wire,
        await front.connect() as standing,
        await front.connect("/sse") as old,
    ):
        session = {"Mcp_Session_Id": await open_session(wire)}
        await standing.send("GET", **session)
        await old.send("GET")
        assert [await standing.head(), await old.head()] == [200, 200]
        assert (await standing.block()).startswith("id: ")
        assert (await old.block()).startswith("event: endpoint")
        await wire.ask("tools/call", {"name": "wait", "arguments": {"seconds": 0.5}})
        await diary.reads("wait began")
        front.shutdown.begin.set()
        for stream in (standing, old):
            assert await stream.rest() == ""
        assert (await wire.answer())["result"]["content"][0]["text"] == "waited 0.5"
        async with await front.connect() as late:
            await late.ask("tools/list")
            assert await late.head() in (502, 503)
