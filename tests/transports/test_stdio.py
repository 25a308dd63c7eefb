"""A server that is a child process: only the protocol is on its stdout, and it ends at once, cleaned up, with zero."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.runtime.kit import Json, enveloped, initialize, notification, request, texts, tool_call

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and terminals as POSIX has them")

PATIENCE = 60
"""Seconds of real time that only a hanging process reaches."""
AT_ONCE = 1.0
"""Seconds that the issue gives to the end of input and to Ctrl-C."""
SLACK = 1.5
"""Seconds that a loaded machine may add; nothing that should not be waited for is as short."""

SERVER = """
import subprocess, sys
from contextlib import asynccontextmanager
from pathlib import Path
import trio
from trio_mcp import Server

@asynccontextmanager
async def lifespan(server):
    async with trio.open_nursery() as lifespan_nursery:
        lifespan_nursery.start_soon(trio.sleep_forever)
        yield
        await trio.lowlevel.checkpoint()
        Path("torn_down").touch()
        lifespan_nursery.cancel_scope.cancel()

mcp = Server("child", version="1", lifespan=lifespan)

@mcp.tool
def shout(word: str) -> str:
    print("stray print")
    sys.stdout.write("stray write\\n")
    sys.stdout.flush()
    subprocess.run([sys.executable, "-c", "print('stray child')"], check=True)
    return word.upper()

@mcp.tool
def read_input() -> str:
    script = "import sys; sys.stdout.write(repr(sys.stdin.read()))"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout

@mcp.tool
async def hang() -> None:
    print("hanging", file=sys.stderr, flush=True)
    try:
        await trio.sleep_forever()
    finally:
        Path("cleaned_up").touch()

@mcp.tool
def block() -> None:
    import threading
    print("hanging", file=sys.stderr, flush=True)
    threading.Event().wait(30)

@mcp.tool
def leave() -> None:
    raise SystemExit(3)

mcp.run("stdio")
"""


class Child:
    """The server's process, and what it said."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.errors = b""
        self._buffer = b""
        self._heard = trio.lowlevel.ParkingLot()

    async def listen(self) -> None:
        """Collect what comes on stderr."""
        assert self.process.stderr is not None
        async for piece in self.process.stderr:
            self.errors += piece
            self._heard.unpark_all()

    async def hears(self, what: bytes) -> None:
        while what not in self.errors:
            await self._heard.park()

    async def send(self, *messages: Json) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    async def receive(self) -> Any:
        assert self.process.stdout is not None
        while b"\n" not in self._buffer:
            piece = await self.process.stdout.receive_some()
            assert piece, self.errors.decode()
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    async def call(self, id: int, name: str, **arguments: Any) -> Json:
        await self.send(enveloped(tool_call(id, name, **arguments)))
        response: Json = await self.receive()
        assert response["id"] == id
        return response

    async def end_input(self) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.aclose()

    async def exits_at_once(self) -> int:
        """The exit code, which must come in time."""
        began = trio.current_time()
        code = await self.process.wait()
        assert trio.current_time() - began < AT_ONCE + SLACK
        return code

    async def rest(self) -> bytes:
        assert self.process.stdout is not None
        found = self._buffer
        async for piece in self.process.stdout:
            found += piece
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "server.py").write_text(SERVER)
    return tmp_path


def command() -> list[str]:
    return [sys.executable, "server.py"]


def environment() -> dict[str, str]:
    root = Path(__file__).parent.parent.parent
    return {**os.environ, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"}


@asynccontextmanager
async def child(folder: Path, **options: Any) -> AsyncIterator[Child]:
    """The server as a process; whatever happens, it is gone afterwards."""
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": environment(), **options}
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            process = await trio.lowlevel.open_process(command(), cwd=folder, stderr=subprocess.PIPE, **options)
            started = Child(process)
            nursery.start_soon(started.listen)
            try:
                yield started
            finally:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()


async def test_both_eras_are_answered(folder):
    async with child(folder) as server:
        assert texts((await server.call(1, "shout", word="ada"))["result"]) == ["ADA"]
        await server.send(initialize(2), notification("notifications/initialized"), request(3, "ping"))
        assert (await server.receive())["result"]["serverInfo"]["name"] == "child"
        assert (await server.receive())["result"] == {}


async def test_what_tools_print_goes_to_stderr_whichever_way(folder):
    async with child(folder) as server:
        await server.call(1, "shout", word="ada")
        await server.end_input()
        assert await server.rest() == b""
        for stray in (b"stray print", b"stray write", b"stray child"):
            assert stray in server.errors


async def test_a_child_of_a_tool_cannot_take_messages_from_the_server(folder):
    async with child(folder) as server:
        assert texts((await server.call(1, "read_input"))["result"]) == ["''"]
        assert texts((await server.call(2, "shout", word="ada"))["result"]) == ["ADA"]


async def test_a_tool_that_exits_does_not_take_the_server_along(folder):
    async with child(folder) as server:
        assert (await server.call(1, "leave"))["error"]["code"] == -32603
        assert texts((await server.call(2, "shout", word="ada"))["result"]) == ["ADA"]


@pytest.mark.parametrize("busy", [None, "hang", "block"])
async def test_the_end_of_input_ends_it_at_once_with_zero_and_torn_down(busy, folder):
    async with child(folder) as server:
        await server.call(1, "shout", word="ada")
        if busy is not None:
            await server.send(enveloped(tool_call(2, busy)))
            await server.hears(b"hanging")
        await server.end_input()
        assert await server.exits_at_once() == 0
        assert (folder / "torn_down").exists()
        assert (folder / "cleaned_up").exists() is (busy == "hang")
        assert await server.rest() == b""
        assert b"Traceback" not in server.errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("busy", [False, True])
async def test_a_signal_ends_it_at_once_with_zero_and_torn_down(number, busy, folder):
    async with child(folder) as server:
        await server.call(1, "shout", word="ada")
        if busy:
            await server.send(enveloped(tool_call(2, "hang")))
            await server.hears(b"hanging")
        server.process.send_signal(number)
        assert await server.exits_at_once() == 0
        assert (folder / "torn_down").exists()
        assert (folder / "cleaned_up").exists() is busy
        assert b"Traceback" not in server.errors


async def test_a_client_that_is_gone_ends_it(folder):
    async with child(folder) as server:
        await server.call(1, "shout", word="ada")
        assert server.process.stdout is not None
        await server.process.stdout.aclose()
        await server.send(enveloped(request(2, "tools/list")))
        assert await server.exits_at_once() == 0
        assert (folder / "torn_down").exists()


async def test_input_and_output_may_be_files(folder):
    messages = [initialize(1), notification("notifications/initialized"), tool_call(2, "shout", word="ada")]
    (folder / "in").write_text("".join(json.dumps(message) + "\n" for message in messages))
    with (folder / "in").open("rb") as stdin, (folder / "out").open("wb") as stdout:
        async with child(folder, stdin=stdin, stdout=stdout) as server:
            assert await server.process.wait() == 0
    answers = [json.loads(line) for line in (folder / "out").read_bytes().splitlines()]
    assert [answer["id"] for answer in answers] == [1, 2]
    assert texts(answers[1]["result"]) == ["ADA"]
    assert (folder / "torn_down").exists()


async def test_no_input_at_all_is_an_end_at_once(folder):
    async with child(folder, stdin=subprocess.DEVNULL) as server:
        assert await server.process.wait() == 0
        assert (folder / "torn_down").exists()


async def test_output_that_cannot_be_written_ends_it_without_a_traceback(folder):
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
    (folder / "server.py").write_text(limit + SERVER)
    (folder / "in").write_text(json.dumps(enveloped(request(1, "tools/list"))) + "\n")
    with (folder / "in").open("rb") as stdin, (folder / "out").open("wb") as stdout:
        # Unmeasured: the limit would keep coverage from writing its file, and it says so with a traceback.
        unmeasured = {name: value for name, value in environment().items() if not name.startswith("COVERAGE_")}
        async with child(folder, stdin=stdin, stdout=stdout, env=unmeasured) as server:
            assert await server.process.wait() == 0
            assert (folder / "torn_down").exists()
            assert b"Traceback" not in server.errors


async def test_a_terminal_that_is_closed_is_the_end_of_input(folder):
    ours, theirs = os.openpty()
    try:
        async with child(folder, stdin=theirs) as server:
            os.close(theirs)
            theirs = -1
            os.write(ours, json.dumps(enveloped(request(1, "tools/list"))).encode() + b"\n")
            assert (await server.receive())["id"] == 1
            os.close(ours)
            ours = -1
            assert await server.exits_at_once() == 0
            assert (folder / "torn_down").exists()
            assert b"Traceback" not in server.errors
    finally:
        for descriptor in (ours, theirs):
            if descriptor >= 0:
                os.close(descriptor)


async def test_a_connection_that_breaks_off_is_the_end_of_input(folder):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with ours, theirs:
        async with child(folder, stdin=theirs) as server:
            theirs.close()
            ours.sendall(json.dumps(enveloped(request(1, "tools/list"))).encode() + b"\n")
            assert (await server.receive())["id"] == 1
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets it
            ours.close()
            assert await server.exits_at_once() == 0
            assert (folder / "torn_down").exists()
            assert b"Traceback" not in server.errors


async def test_the_descriptors_are_as_before_when_serving_is_over(folder):
    (folder / "server.py").write_text(
        SERVER.replace(
            'mcp.run("stdio")',
            "import os\nbefore = [os.fstat(fd) for fd in (0, 1)]\n"
            'mcp.run("stdio")\n'
            "assert [os.path.samestat(a, os.fstat(fd)) for fd, a in enumerate(before)] == [True, True]\n"
            "assert os.get_blocking(0) and os.get_blocking(1)\nprint('as before')",
        )
    )
    async with child(folder) as server:
        await server.call(1, "shout", word="ada")
        await server.end_input()
        assert await server.rest() == b"as before\n"
        assert await server.process.wait() == 0
