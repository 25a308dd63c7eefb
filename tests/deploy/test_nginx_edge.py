"""`examples/deploy/nginx.conf` at the edge: who it is, HTTPS, upgrades, sizes."""

import json
import logging
import re
import ssl
import subprocess
from typing import Any

import pytest
import trio

from tests.deploy.nginx import (
    NAME,
    Front,
    behind,
    fronted,
    impatient,
    recording,
    redirect,
    stepping,
    with_https,
)
from tests.external import require
from tests.http.client import modern, request
from tests.http.lane_kit import CERTIFICATE
from tests.http.servers import Diary, small_server
from tests.http.test_websocket_sockets import closed, echoed, hear, opened, say
from trio_mcp import Settings, Shutdown

pytestmark = pytest.mark.usefixtures("nginx")


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
    told: dict[str, Any] = {"extra_headers": [(b"x-forwarded-for", b"203.0.113.9")]}
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
        stdout = process.stdout
        assert stdout is not None
        try:
            text = b""
            while b"data: /messages" not in text:
                piece = await stdout.receive_some()
                assert piece, text
                text += piece
            assert text.startswith(b"HTTP/2 200")
        finally:
            process.kill()
            with trio.CancelScope(shield=True):  # a killed process ends at once
                await process.wait()
            await stdout.aclose()


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
        await say(socket, modern("tools/call", {"name": "wait", "arguments": {"seconds": 2}})[0])
        assert (await hear(socket))["result"]["content"][0]["text"] == "waited 2"
        front.shutdown.begin.set()  # trio-websocket fails when it is pinged while it closes
        assert (await closed(socket))[0] == 1001


async def test_no_other_protocol_takes_a_connection_over():
    heard = bytearray()
    async with fronted(behind(), relay=recording(heard)) as front, await front.connect(host=f"{NAME}:8080") as wire:
        body, headers = modern("tools/list")
        await wire.send("POST", body, **headers, Upgrade="h2c", Connection="Upgrade")
        assert await wire.head() == 200
    lines = bytes(heard).lower().split(b"\r\n")
    assert lines[0] == b"post /mcp http/1.1"
    assert f"host: {NAME}:8080".encode() in lines
    assert not [line for line in lines if line.startswith((b"upgrade:", b"connection:"))]


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
