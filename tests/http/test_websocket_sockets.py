"""WebSocket over real sockets, with trio-websocket for a client; and on hypercorn's own worker."""

import gc
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import hypercorn.trio
import pytest
import trio
from hypercorn.config import Config
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from tests.http.client import modern, notification, request
from tests.http.lane_kit import CERTIFICATE, KEY
from tests.http.servers import Diary, small_server
from tests.http.sockets import INFO, Wire, call
from trio_mcp import Server, Shutdown, serve_http

PATIENCE = 30


@asynccontextmanager
async def serving(server: Server, **options: Any) -> AsyncIterator[tuple[str, Shutdown]]:
    """A server on a port of loopback, and the URL of its WebSocket; it must end by itself."""
    shutdown = Shutdown()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            [url] = await nursery.start(partial(serve_http, server, port=0, shutdown=shutdown, **options))
            yield url.replace("http", "ws", 1).removesuffix("/mcp") + "/ws", shutdown
            shutdown.begin.set()


@asynccontextmanager
async def opened(
    url: str, *, tls: ssl.SSLContext | None = None, subprotocols: Sequence[str] = ("mcp",), **options: Any
) -> AsyncIterator[WebSocketConnection]:
    """A client; its stream is ours, because trio-websocket forgets to close one where the server ended first."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    stream: Any = await trio.open_tcp_stream(parts.hostname, parts.port)
    if tls is not None:
        stream = trio.SSLStream(stream, tls, server_hostname=parts.hostname, https_compatible=True)
    try:
        async with trio.open_nursery() as nursery:
            options["subprotocols"] = subprotocols
            async with await wrap_client_stream(nursery, stream, parts.netloc, parts.path, **options) as socket:
                yield socket
    finally:
        await trio.aclose_forcefully(stream)


async def say(socket: WebSocketConnection, message: Any) -> None:
    await socket.send_message(json.dumps(message))


async def hear(socket: WebSocketConnection) -> Any:
    return json.loads(await socket.get_message())


async def echoed(socket: WebSocketConnection, text: str) -> str:
    await say(socket, modern("tools/call", {"name": "echo", "arguments": {"message": text}}, id="e")[0])
    return str((await hear(socket))["result"]["content"][0]["text"])


async def closed(socket: WebSocketConnection) -> tuple[int, str]:
    """How it closes."""
    with pytest.raises(ConnectionClosed) as caught:
        await socket.get_message()
    reason = caught.value.reason
    assert reason is not None
    return reason.code, reason.reason or ""


async def test_both_eras_over_a_socket():
    async with serving(small_server()) as (url, _), opened(url) as socket:
        assert socket.subprotocol == "mcp"
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": INFO}
        await say(socket, request(0, "initialize", params))
        assert (await hear(socket))["result"]["protocolVersion"] == "2025-11-25"
        await say(socket, notification("notifications/initialized"))
        await say(socket, request(1, "ping"))
        assert (await hear(socket))["result"] == {}
        for text in ("short", "x" * 400_000):
            assert await echoed(socket, text) == text
        await socket.ping(b"are you there")


async def test_a_websocket_and_http_share_the_port():
    async with serving(small_server()) as (url, _), opened(url) as socket:
        result = await call(url.replace("ws", "http", 1).removesuffix("/ws") + "/mcp", "echo", message="http")
        assert result["content"][0]["text"] == "http"
        assert await echoed(socket, "ws") == "ws"


async def test_an_ordinary_request_to_its_path_is_426():
    async with serving(small_server()) as (url, _):
        wire = await Wire.to(url.replace("ws://", "http://"))
        async with wire.stream:
            await wire.send("GET")
            assert await wire.head() == 426
            assert wire.headers["upgrade"] == "websocket"


async def test_over_tls_too_where_http_2_is_spoken_beside_it():
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    async with serving(small_server(), certfile=str(CERTIFICATE), keyfile=str(KEY)) as (url, _):
        url = url.replace("127.0.0.1", "localhost")
        async with opened(url, tls=context) as socket:
            assert await echoed(socket, "x" * 100_000) == "x" * 100_000


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"subprotocols": ["soap"]}, 400),
        ({"extra_headers": [(b"origin", b"https://evil.example")]}, 403),
    ],
)
async def test_a_refused_handshake_has_its_status(options: dict[str, Any], status: int):
    async with serving(small_server()) as (url, _):
        refused = pytest.RaisesExc(ConnectionRejected, check=lambda error: error.status_code == status)
        with pytest.RaisesGroup(refused):
            async with opened(url, **options):
                pass


async def test_a_shutdown_closes_with_1001_after_the_calls():
    async with serving(small_server(shutdown_grace=20)) as (url, shutdown), opened(url) as socket:
        await say(socket, modern("tools/call", {"name": "wait", "arguments": {"seconds": 0.2}})[0])
        assert await echoed(socket, "it runs") == "it runs"
        shutdown.begin.set()
        assert (await hear(socket))["result"]["content"][0]["text"] == "waited 0.2"
        assert await closed(socket) == (1001, "the server goes away")


@pytest.mark.parametrize(("message", "code"), [(b"{}", 1003), ("x" * 2000, 1009)])
async def test_a_close_code_says_why(message: Any, code: int):
    async with serving(small_server(max_body=1000)) as (url, _), opened(url) as socket:
        await socket.send_message(message)
        assert (await closed(socket))[0] == code


async def test_a_close_reaches_a_client_in_full_flow():
    """What it still sends must not turn our close into a reset."""
    async with serving(small_server(max_body=1000)) as (url, _), opened(url) as socket:

        async def flood() -> None:
            with suppress(ConnectionClosed):
                while True:
                    await socket.send_message("y" * 100_000)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            assert (await closed(socket))[0] == 1009


async def test_a_client_that_is_dead_is_found_out_by_pings():
    diary = Diary()
    async with serving(small_server(diary, websocket_ping=0.05)) as (url, _):
        wire = await Wire.to(url.replace("ws://", "http://"))
        async with wire.stream:
            headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13"}
            await wire.send("GET", Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==", **headers)
            while b"\r\n\r\n" not in wire._rest:
                wire._rest += await wire.stream.receive_some()
            body = json.dumps(modern("tools/call", {"name": "wait", "arguments": {"seconds": 1000}})[0]).encode()
            await wire.stream.send_all(b"\x81\xfe" + len(body).to_bytes(2, "big") + b"\0\0\0\0" + body)
            await diary.reads("wait began")
            await diary.reads("wait ended")
            await wire.closed()


async def test_one_that_answers_is_left_alone():
    async with serving(small_server(websocket_ping=0.02)) as (url, shutdown), opened(url) as socket:
        await say(socket, modern("tools/call", {"name": "wait", "arguments": {"seconds": 0.3}})[0])
        assert (await hear(socket))["result"]["content"][0]["text"] == "waited 0.3"
        shutdown.begin.set()  # trio-websocket fails when it is pinged while it closes
        assert (await closed(socket))[0] == 1001


async def test_it_is_served_by_hypercorns_worker_too():
    """Without the pings, and with hypercorn's limits below ours."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    stop = trio.Event()
    server: Any = small_server(max_body=1000)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            serve = partial(hypercorn.trio.serve, server, config, shutdown_trigger=stop.wait, mode="asgi")
            [url] = await nursery.start(serve)
            async with opened(url.replace("http", "ws", 1) + "/ws") as socket:
                assert await echoed(socket, "hypercorn") == "hypercorn"
                await socket.send_message(b"{}")
                assert (await closed(socket))[0] == 1003
            stop.set()
    gc.collect()  # hypercorn leaves its closed sockets to the collector
