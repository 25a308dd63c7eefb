"""The curl commands of the documents that this project began from, word for word: only port and session id differ."""

import json
import os
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from tests.external import require
from trio_mcp import Settings, Shutdown, demo, serve_http

PATIENCE = 30
DIRECT = {**os.environ, "NO_PROXY": "localhost"}

LISTEN = "curl -N http://localhost:8085/notifications"
INITIALIZE = r"""
curl -X POST http://localhost:8085/mcp?session_id=d8a41c6f-e89a-4a32-b6c5-7dcd9f3abcde \
  -H "Content-Type: application/json" \
  -d '{"jsonrpc": "2.0", "method": "initialize", "id": "init-1", "params": {"protocol_version": "2025-03-26", "client_info": {"name": "curl-test"}}}'
"""  # noqa: E501 - as it stands there
BY_NAME = [
    ('{"jsonrpc": "2.0", "method": "echo", "id": "1", "params": {"message": "Hello World!"}}', "Hello World!"),
    ('{"jsonrpc": "2.0", "method": "add", "id": "2", "params": {"a": 42, "b": 27}}', 69),
    ('{"jsonrpc": "2.0", "method": "sleep", "id": "3", "params": {"seconds": 0.1}}', "slept 0.1 s"),  # 2.5 there
]
SSE = "curl -N http://localhost:8000/sse"
LIST_1 = r"""
curl -X POST http://localhost:8000/message \
  -H "Content-Type: application/json" \
  -d '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
"""
INITIALIZE_EMPTY = r"""
curl -X POST http://localhost:8000/message \
  -H "Content-Type: application/json" \
  -d '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}'
"""
LIST_2 = r"""
curl -X POST http://localhost:8000/message \
  -H "Content-Type: application/json" \
  -d '{"jsonrpc":"2.0","id":2,"method":"tools/list"}'
"""
CALL = r"""
curl -X POST http://localhost:8000/message \
  -H "Content-Type: application/json" \
  -d '{
    "jsonrpc":"2.0",
    "id":3,
    "method":"tools/call",
    "params":{"name":"echo","arguments":{"message":"hello SSE"}}
  }'
"""


@pytest.fixture(autouse=True)
def curl() -> str:
    return require("curl")


class Shell:
    """Runs commands against a server."""

    def __init__(self, port: str) -> None:
        self._port = port

    def _here(self, command: str) -> list[str]:
        return ["sh", "-c", re.sub(r"localhost:8085|localhost:8000", f"localhost:{self._port}", command)]

    async def run(self, command: str) -> str:
        """What a command prints, once it has ended well."""
        done = await trio.run_process(self._here(command), capture_stdout=True, capture_stderr=True, env=DIRECT)
        return bytes(done.stdout).decode()

    @asynccontextmanager
    async def running(self, command: str) -> AsyncIterator["Output"]:
        """A command that goes on until it is killed."""
        command = f"exec {command}"  # so that the process is curl itself
        process = await trio.lowlevel.open_process(
            self._here(command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=DIRECT
        )
        try:
            yield Output(process)
        finally:
            process.kill()
            with trio.CancelScope(shield=True):  # a killed process ends at once
                await process.wait()
            assert process.stdout is not None
            await process.stdout.aclose()


class Output:
    """What a command prints."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self.text = ""

    async def shows(self, count: int) -> list[str]:
        """The data of the first so many events."""
        assert self._process.stdout is not None
        while len(self.data) < count:
            piece = await self._process.stdout.receive_some()
            assert piece, f"it ended after {self.text!r}"
            self.text += piece.decode()
        return self.data

    @property
    def data(self) -> list[str]:
        return [line.removeprefix("data: ") for line in self.text.split("\n")[:-1] if line.startswith("data: ")]


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[Shell]:
    """The demo server, as `trio-mcp serve` without a target."""
    shutdown, kept = Shutdown(), demo.mcp.settings
    demo.mcp.settings = Settings(**settings)
    try:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                [url] = await nursery.start(partial(serve_http, demo.mcp, port=0, shutdown=shutdown))
                yield Shell(url.split(":")[2].partition("/")[0])
                shutdown.begin.set()
    finally:
        demo.mcp.settings = kept


async def test_the_notifications_dialect_as_its_document_has_it():
    async with served() as shell, shell.running(LISTEN) as stream:
        [greeting] = await stream.shows(1)
        assert stream.text.startswith(f"data: {greeting}\n")
        session = greeting.removeprefix("Connected to session ")
        command = INITIALIZE.replace("d8a41c6f-e89a-4a32-b6c5-7dcd9f3abcde", session)
        assert await shell.run(command) == "Accepted"
        answer = json.loads((await stream.shows(2))[1])
        shown = {
            "jsonrpc": "2.0",
            "id": "init-1",
            "result": {
                "capabilities": {"tools": True, "async": True},
                "server_info": {"name": "trio-mcp-demo", "version": demo.mcp.info.version},
            },
        }
        assert answer == shown
        for number, (message, value) in enumerate(BY_NAME):
            await shell.run(re.sub(r"-d '.*'", lambda _, message=message: f"-d '{message}'", command))  # type: ignore[misc]
            answer = json.loads((await stream.shows(3 + number))[2 + number])
            assert (answer["id"], answer["result"]) == (str(number + 1), {"result": value})


async def test_a_tool_by_name_needs_no_initialize():
    async with served() as shell, shell.running(LISTEN) as stream:
        session = (await stream.shows(1))[0].removeprefix("Connected to session ")
        command = INITIALIZE.replace("d8a41c6f-e89a-4a32-b6c5-7dcd9f3abcde", session)
        await shell.run(re.sub(r"-d '.*'", lambda _: f"-d '{BY_NAME[1][0]}'", command))
        assert json.loads((await stream.shows(2))[1])["result"] == {"result": 69}


async def test_direct_replies_as_their_document_has_them():
    async with served() as shell:
        assert json.loads(await shell.run(INITIALIZE_EMPTY))["result"]["serverInfo"]["name"] == "trio-mcp-demo"
        for command, id in ((LIST_1, 1), (LIST_2, 2)):
            answer = json.loads(await shell.run(command))
            assert answer["id"] == id
            assert [tool["name"] for tool in answer["result"]["tools"]] == ["echo", "add", "sleep"]
        answer = json.loads(await shell.run(CALL))
        assert (answer["id"], answer["result"]["content"]) == (3, [{"type": "text", "text": "hello SSE"}])


async def test_the_sse_stream_says_its_endpoint_and_with_heartbeat_events_what_its_document_shows():
    async with served() as shell, shell.running(SSE) as stream:
        assert (await stream.shows(1))[0].startswith("/messages?session_id=")
        assert stream.text.startswith("event: endpoint\n")
    async with served(sse_heartbeat="event", sse_keepalive=0.05) as shell, shell.running(SSE) as stream:
        await stream.shows(4)
        assert re.findall("event: (.*)", stream.text)[:4] == ["endpoint", "connected", "heartbeat", "heartbeat"]
