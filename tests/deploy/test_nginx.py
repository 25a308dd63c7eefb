"""`examples/deploy/nginx.conf` in a real nginx, in front of a real server: what passes, when, and whose it is."""

import json
import logging
import re
import ssl
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio

from tests.deploy.nginx import NAME, Front, changed, fronted, redirect, with_https
from tests.external import require
from tests.http.client import META, modern, notification, request
from tests.http.lane_kit import CERTIFICATE
from tests.http.servers import Diary, small_server
from tests.http.sockets import open_session
from tests.http.test_websocket_sockets import closed, echoed, hear, opened, say
from trio_mcp import Context, Server, Settings, Shutdown

pytestmark = pytest.mark.usefixtures("nginx_is_here")


@pytest.fixture(autouse=True)
def nginx_is_here() -> str:
    return require("nginx")


def behind(diary: Diary | None = None, **settings: Any) -> Server:
    """The small server as it runs behind the site."""
    return small_server(diary, allowed_hosts=[NAME], trusted_proxies=["127.0.0.1"], **settings)


def stepping(server: Server) -> trio.Semaphore:
    """Give the server a tool that takes its next step only once it is released."""
    go = trio.Semaphore(0)

    @server.tool
    async def steps(ctx: Context, times: int = 3) -> str:
        for number in range(times):
            await ctx.report_progress(number, times)
            await go.acquire()
        return "stepped"

    return go


def without_buffering_off(text: str) -> str:
    return changed(text, r"^ +proxy_buffering off;\n", "")


# What keeps events from being held back, one at a time: each must do by itself.
HOW: dict[str, dict[str, Any]] = {
    "as it stands": {},
    "by the site alone": {"extra": "proxy_ignore_headers X-Accel-Buffering;"},
    "by our header alone": {"change": without_buffering_off},
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


def impatient(text: str) -> str:
    return changed(text, r"proxy_read_timeout 1h;", "proxy_read_timeout 400ms;")


async def test_silent_streams_outlive_the_proxys_patience_because_they_are_not_silent():
    server = behind(keepalive=0.05, sse_keepalive=0.05)
    async with fronted(server, change=impatient) as front, await front.connect("/sse") as stream:
        await stream.send("GET")
        await stream.head()
        assert (await stream.block()).startswith("event: endpoint")
        began = trio.current_time()
        while trio.current_time() < began + 1:
            assert (await stream.block()).startswith(":")


async def test_a_long_call_becomes_a_stream_before_the_proxy_loses_patience():
    server = behind(keepalive=0.05, commit_after=0.05)
    async with fronted(server, change=impatient) as front, await front.connect() as wire:
        await wire.ask("tools/call", {"name": "wait", "arguments": {"seconds": 1}})
        assert await wire.head() == 200
        assert (await wire.message())["result"]["content"][0]["text"] == "waited 1"


# Who it is


async def test_clients_are_told_apart_by_their_own_addresses_whatever_they_claim(caplog: pytest.LogCaptureFixture):
    async def status(front: Front, client: str, **headers: str) -> int:
        async with await front.connect(client=client) as wire:
            body, own = modern("tools/call", {"name": "echo", "arguments": {"message": "hi"}})
            await wire.send("POST", body, **own, **headers)
            return await wire.head()

    with caplog.at_level(logging.INFO, "trio_mcp.access"):
        async with fronted(behind(rate_limit="2/hour", access_log=True)) as front:
            assert [await status(front, "127.0.0.2") for _ in range(3)] == [200, 200, 429]
            assert await status(front, "127.0.0.2", X_Forwarded_For="203.0.113.9") == 429
            assert await status(front, "127.0.0.3") == 200
    clients = [record.__dict__["client"] for record in caplog.records if record.name == "trio_mcp.access"]
    assert clients == ["127.0.0.2"] * 4 + ["127.0.0.3"]


async def test_the_log_of_a_websocket_names_its_client_too(caplog: pytest.LogCaptureFixture):
    server = small_server(trusted_proxies=["127.0.0.1"], access_log=True)
    told = {"extra_headers": [(b"x-forwarded-for", b"203.0.113.9")]}
    with caplog.at_level(logging.INFO, "trio_mcp.access"):
        async with fronted(server) as front:
            async with opened(f"ws://127.0.0.1:{front.back}/ws", **told) as socket:
                assert await echoed(socket, "hi") == "hi"
            async with opened(f"ws://127.0.0.1:{front.port}/ws") as socket:
                assert await echoed(socket, "hi") == "hi"
    clients = [record.__dict__["client"] for record in caplog.records if record.name == "trio_mcp.access"]
    assert sorted(clients) == ["127.0.0.1", "203.0.113.9"]


async def test_a_proxy_that_is_not_trusted_is_the_client(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "trio_mcp.access"):
        async with (
            fronted(small_server(allowed_hosts=[NAME], access_log=True)) as front,
            await front.connect(client="127.0.0.2") as wire,
        ):
            await wire.ask("tools/list")
            assert await wire.head() == 200
    assert [record.__dict__["client"] for record in caplog.records if record.name == "trio_mcp.access"] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        (NAME, None, 200),
        (f"{NAME}:8443", f"http://{NAME}:8443", 200),
        ("evil.example", None, 421),
        (NAME, "https://evil.example", 403),
    ],
)
async def test_host_and_origin_reach_the_server_as_the_client_wrote_them(host: str, origin: str | None, status: int):
    async with fronted(behind()) as front, await front.connect(host=host) as wire:
        body, headers = modern("tools/list")
        await wire.send("POST", body, **headers, **({} if origin is None else {"Origin": origin}))
        assert await wire.head() == status


@pytest.mark.parametrize("trusted", [[], ["127.0.0.1"]])
async def test_who_asks_through_a_proxy_on_this_machine_is_not_on_this_machine(trusted: list[str]):
    async def status(port: int) -> int:
        async with await Front(port, port, Shutdown()).connect("/introspection", host="localhost") as wire:
            await wire.send("GET")
            return await wire.head()

    async with fronted(small_server(trusted_proxies=trusted)) as front:
        assert await status(front.back) == 200
        assert await status(front.port) == 403


# HTTPS


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


async def test_with_its_lines_for_https_switched_on_it_speaks_https_and_says_so():
    server = behind(hsts=60, https_redirect=True)
    go = stepping(server)
    async with fronted(server, change=with_https, tls=trusting()) as front, await front.connect() as wire:
        await wire.ask("tools/call", {"name": "steps", "arguments": {"times": 1}}, progressToken="p")
        assert await wire.head() == 200
        assert wire.headers["strict-transport-security"] == "max-age=60"
        assert (await wire.message())["params"]["progress"] == 0
        go.release()
        assert (await wire.message())["result"]["content"][0]["text"] == "stepped"
        front.tls = None
        async with await front.connect(f"/mcp?x={'y' * 10}") as plain:
            await plain.send("GET")
            assert await plain.head() == 400  # nginx: plain HTTP where HTTPS is spoken


async def test_events_pass_over_http_2_as_well():
    curl = require("curl")
    async with fronted(small_server(trusted_proxies=["127.0.0.1"]), change=with_https) as front:
        command = [
            curl,
            "-sN",
            "--http2",
            "-D",
            "-",
            "--cacert",
            str(CERTIFICATE),
            f"https://localhost:{front.port}/sse",
        ]
        process = await trio.lowlevel.open_process(
            command, stdout=subprocess.PIPE, env={"NO_PROXY": "localhost", "PATH": ""}
        )
        try:
            assert process.stdout is not None
            text = b""
            while b"data: /messages" not in text:
                piece = await process.stdout.receive_some()
                assert piece, text
                text += piece
            assert text.startswith(b"HTTP/2 200")
        finally:
            process.kill()
            with trio.CancelScope(shield=True):  # a killed process ends at once
                await process.wait()
            await process.stdout.aclose()


async def test_who_comes_without_https_is_sent_there_with_method_and_body():
    def alone(text: str) -> str:
        [port] = re.findall(r"listen 127\.0\.0\.1:([0-9]+)", text)
        return redirect(front=int(port))

    async with fronted(behind(), change=alone) as front, await front.connect("/mcp?x=1") as wire:
        await wire.send("POST", request(1, "ping"))
        assert await wire.head() == 308
        assert wire.headers["location"] == f"https://{NAME}/mcp?x=1"


# WebSocket


async def test_a_websocket_passes_with_large_messages_both_ways():
    async with fronted(small_server()) as front, opened(f"ws://127.0.0.1:{front.port}/ws") as socket:
        assert socket.subprotocol == "mcp"
        for text in ("short", "x" * 400_000):
            assert await echoed(socket, text) == text


async def test_a_websocket_that_is_left_cancels_its_calls():
    diary = Diary()
    async with fronted(small_server(diary)) as front:
        async with opened(f"ws://127.0.0.1:{front.port}/ws") as socket:
            await say(socket, modern("tools/call", {"name": "wait", "arguments": {"seconds": 1000}})[0])
            await diary.reads("wait began")
        await diary.reads("wait ended")


async def test_a_silent_websocket_outlives_the_proxys_patience():
    server = small_server(websocket_ping=0.1)
    async with fronted(server, change=impatient) as front, opened(f"ws://127.0.0.1:{front.port}/ws") as socket:
        await say(socket, modern("tools/call", {"name": "wait", "arguments": {"seconds": 1}})[0])
        assert (await hear(socket))["result"]["content"][0]["text"] == "waited 1"
        front.shutdown.begin.set()  # trio-websocket fails when it is pinged while it closes
        assert (await closed(socket))[0] == 1001


async def test_no_other_protocol_takes_a_connection_over():
    heard = bytearray()
    async with fronted(behind(), relay=recording(heard)) as front, await front.connect() as wire:
        body, headers = modern("tools/list")
        await wire.send("POST", body, **headers, Upgrade="h2c", Connection="Upgrade")
        assert await wire.head() == 200
    lines = bytes(heard).lower().split(b"\r\n")
    assert lines[0] == b"post /mcp http/1.1"
    assert f"host: {NAME}".encode() in lines
    assert not [line for line in lines if line.startswith((b"upgrade:", b"connection:"))]


# Connections


def recording(heard: bytearray, count: list[int] | None = None) -> Callable[[int], Any]:
    """A relay that keeps what it passes on to the server, and counts its connections."""

    async def pump(source: trio.SocketStream, target: trio.SocketStream, kept: bytearray) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while piece := await source.receive_some():
                kept += piece
                await target.send_all(piece)
            await target.send_eof()

    def towards(port: int) -> Any:
        async def relay(stream: trio.SocketStream) -> None:
            if count is not None:
                count[0] += 1
            async with await trio.open_tcp_stream("127.0.0.1", port) as server, trio.open_nursery() as nursery:
                nursery.start_soon(pump, stream, server, heard)
                nursery.start_soon(pump, server, stream, bytearray())

        return relay

    return towards


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


# Sizes


async def test_the_largest_message_that_the_server_takes_passes():
    body, headers = modern("tools/call", {"name": "echo", "arguments": {"message": ""}})
    text = "x" * (Settings().max_body - len(json.dumps(body)))
    body["params"]["arguments"]["message"] = text
    assert len(json.dumps(body)) == Settings().max_body
    async with fronted(behind()) as front, await front.connect() as wire:
        await wire.send("POST", body, **headers)
        assert (await wire.answer())["result"]["content"][0]["text"] == text


@pytest.mark.parametrize("chunked", [False, True])
async def test_what_is_larger_is_refused_in_front(chunked: bool):
    async with fronted(behind(), relay=recording(heard := bytearray())) as front, await front.connect() as wire:
        size = Settings().max_body + 1
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
        await wire.stream.send_all(f"POST /mcp HTTP/1.1\r\nHost: {NAME}\r\n{length}\r\n\r\n".encode())
        if chunked:  # of which no size is known before it is here
            await wire.stream.send_all(b"%x\r\n%b" % (size, bytes(size)))
        assert await wire.head() == 413
    assert not heard


async def test_a_smaller_bound_of_the_server_is_told_by_the_server():
    async with fronted(behind(max_body=1000)) as front, await front.connect() as wire:
        await wire.send("POST", request(1, "ping", {"x": "y" * 200_000}))
        assert (await wire.answer())["error"]["code"]
        assert wire.status == 413
