"""The command as a process, and a client of a few lines for what it serves: fakes of nothing, waits all bounded."""

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30
"""Seconds for what takes as long as the machine is slow: starting Python, most of all."""

SERVER = """
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from trio_mcp import Server

print("printed on import")


def say(text):
    print(text, file=sys.stderr, flush=True)


@asynccontextmanager
async def lifespan(server):
    print("printed on entering")
    try:
        yield
    finally:
        await trio.lowlevel.checkpoint()
        Path("torn_down").write_text("yes")
        print("printed on leaving")


mcp = Server("fixture", version="1.2", lifespan=lifespan)


@mcp.tool
def greet(name: str) -> str:
    print("printed in a tool")
    return f"Hello {name}"


@mcp.tool
async def hang() -> str:
    say("hanging")
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            for _ in range(10):
                await trio.lowlevel.checkpoint()
        Path("cleaned_up").write_text("yes")


@mcp.tool
async def wait() -> str:
    say("waiting")
    while not Path("go").exists():
        await trio.sleep(0.01)
    return "finished"
"""


@attrs.define
class Command:
    """A running `trio-mcp`."""

    process: trio.Process
    heard: str = ""

    async def hears(self, text: str) -> str:
        """Wait until a line on stderr has `text`; the line."""
        assert self.process.stderr is not None
        with trio.fail_after(PATIENCE):
            while True:
                for line in self.heard.splitlines(keepends=True):
                    if text in line and line.endswith("\n"):
                        return line.rstrip()
                piece = await self.process.stderr.receive_some()
                assert piece, f"the command ended without saying {text!r}:\n{self.heard}"
                self.heard += piece.decode()

    async def hears_numbers(self, pattern: str, count: int) -> list[int]:
        """Wait until a pattern was found so often in whole lines on stderr; the number in each."""
        assert self.process.stderr is not None
        with trio.fail_after(PATIENCE):
            while True:
                found = re.findall(f"{pattern}.*\n", self.heard)
                if len(found) >= count:
                    return [int(number) for number in found]
                piece = await self.process.stderr.receive_some()
                assert piece, f"the command ended, and had said {pattern!r} {len(found)} times:\n{self.heard}"
                self.heard += piece.decode()

    async def said(self) -> str:
        """All of stderr, once the command has ended."""
        assert self.process.stderr is not None
        with trio.fail_after(PATIENCE):
            while piece := await self.process.stderr.receive_some():
                self.heard += piece.decode()
        return self.heard

    async def port(self) -> int:
        """The port of its banner."""
        banner = await self.hears("Ctrl-C to stop")
        return int(banner.partition("://")[2].partition("/")[0].rpartition(":")[2])

    async def exit_code(self, within: float = PATIENCE) -> int:
        """Wait for its end."""
        with trio.fail_after(within):
            return await self.process.wait()

    async def send(self, *messages: dict[str, Any]) -> None:
        """Write messages to stdin, a line each."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    async def answers(self, count: int) -> list[dict[str, Any]]:
        """Read so many lines of stdout, each of them a message."""
        assert self.process.stdout is not None
        data = b""
        with trio.fail_after(PATIENCE):
            while data.count(b"\n") < count:
                piece = await self.process.stdout.receive_some()
                assert piece, f"stdout ended after {data!r}"
                data += piece
        return [json.loads(line) for line in data.splitlines()]

    async def rest_of_stdout(self) -> bytes:
        """What else was on stdout, once it has ended."""
        assert self.process.stdout is not None
        data = b""
        with trio.fail_after(PATIENCE):
            while piece := await self.process.stdout.receive_some():
                data += piece
        return data


@asynccontextmanager
async def started(
    *arguments: str, cwd: Path, module: str = "trio_mcp", own_group: bool = False
) -> AsyncIterator[Command]:
    """Run the command; it is killed if it has not ended by then."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=environment(),
        process_group=0 if own_group else None,
    )
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):  # a killed process ends at once
            await process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None
            await stream.aclose()


async def gone(number: int) -> None:
    """Until there is no such process, or only its parent has yet to take note of its end."""
    with trio.fail_after(PATIENCE):
        while alive(number):  # noqa: ASYNC110  # it is no child of ours, so nothing tells
            await trio.sleep(0.01)


def alive(number: int) -> bool:
    """Whether a process runs (by /proc, so that one that has ended and was not waited for does not count)."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def environment() -> dict[str, str]:
    """The tree is what is tested, installed or not."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def ran(*arguments: str, cwd: Path, module: str = "trio_mcp") -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
        check=False,
    )


# Messages


def request(method: str, id: int = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def call(tool: str, id: int = 2, **arguments: Any) -> dict[str, Any]:
    return request("tools/call", id, name=tool, arguments=arguments)


INITIALIZE = request(
    "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "test", "version": "1"}
)
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


# HTTP


@attrs.frozen
class Answer:
    """One response, as far as it has come."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> Any:
        """The JSON in it."""
        return json.loads(self.body)


async def opened(port: int, method: str, path: str, body: Any = None, **headers: str) -> trio.SocketStream:
    """Send a request on a connection of its own."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: localhost:{port}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.send_all("\r\n".join([*lines, "", ""]).encode() + content)
    return stream


async def until(stream: trio.SocketStream, end: bytes | None = None) -> bytes:
    """Read until `end` has come, or else to the end of the connection."""
    data = b""
    with trio.fail_after(PATIENCE):
        while end is None or end not in data:
            piece = await stream.receive_some()
            if not piece:
                assert end is None, f"the connection ended after {data!r}"
                return data
            data += piece
    return data


def parsed(data: bytes) -> Answer:
    """A whole response with a length."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split()[1]), headers, body)


async def exchanged(port: int, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """Send a request and read the whole response."""
    async with await opened(port, method, path, body, **headers) as stream:
        return parsed(await until(stream))


@attrs.frozen
class Session:
    """A session over HTTP."""

    port: int
    id: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Mcp_Session_Id": self.id, "Accept": "application/json, text/event-stream"}

    async def post(self, message: dict[str, Any]) -> trio.SocketStream:
        """Send a message; its answer is still to be read."""
        return await opened(self.port, "POST", "/mcp", message, **self.headers)

    async def call(self, tool: str, **arguments: Any) -> Answer:
        """Call a tool that answers at once."""
        async with await self.post(call(tool, **arguments)) as stream:
            return parsed(await until(stream))

    async def listen(self) -> trio.SocketStream:
        """Open the standing stream of events."""
        return await opened(self.port, "GET", "/mcp", **self.headers)


async def session(port: int) -> Session:
    """Shake hands."""
    accept = {"Accept": "application/json, text/event-stream"}
    answer = await exchanged(port, "POST", "/mcp", INITIALIZE, **accept)
    assert answer.status == 200, answer
    made = Session(port, answer.headers["mcp-session-id"])
    assert (await exchanged(port, "POST", "/mcp", INITIALIZED, **made.headers)).status == 202
    return made
