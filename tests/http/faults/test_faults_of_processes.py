"""Rows 9 to 11 of the fault table: several processes, played on stock hypercorn and on ours as commands.

The server is the same for both. What the stock command does is asserted, too, as in `test_faults`.
"""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.cli.commands import PATIENCE, Command, gone, opened, started
from tests.http.client import modern
from tests.http.faults.servers import OURS, STOCK
from tests.http.faults.test_faults import played

SERVER = """
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from trio_mcp import Server, Settings


@asynccontextmanager
async def lifespan(server):
    yield
    await trio.lowlevel.checkpoint()
    Path("torn_down").touch()


mcp = Server("fixture", lifespan=lifespan, settings=Settings(shutdown_grace=1000))


@mcp.tool
async def wait() -> str:
    print("waiting in", os.getpid(), file=sys.stderr, flush=True)
    while not Path("go").exists():
        await trio.sleep(0.01)
    return "finished"
"""

#: How each command says that a worker serves, with the number of its process.
UP = {STOCK: r"\[(\d+)\] \[INFO\] Running on", OURS: r"\(process (\d+)\) is up"}


@asynccontextmanager
async def command(kind: str, folder: Path, workers: int) -> AsyncIterator[Command]:
    """Serve with so many processes; those that are left at the end are killed."""
    (folder / "fixture.py").write_text(SERVER)
    if kind == STOCK:
        arguments = ["--worker-class", "trio", "--workers", str(workers), "--bind", "127.0.0.1:0", "fixture:mcp"]
        module = "hypercorn"
    else:
        arguments = ["serve", "fixture.py", "--port", "0", "--workers", str(workers or 1)]
        module = "trio_mcp"
    async with started(*arguments, cwd=folder, module=module) as running:
        try:
            await running.hears_numbers(UP[kind] if workers else r"://127\.0\.0\.1:(\d+)", max(workers, 1))
            yield running
        finally:
            for number in await running.hears_numbers(UP[kind], 0):
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)


async def port_of(running: Command) -> int:
    return (await running.hears_numbers(r"://127\.0\.0\.1:(\d+)", 1))[0]


async def called(port: int) -> trio.SocketStream:
    """Call `wait`; the answer is still to be read."""
    body, headers = modern("tools/call", {"name": "wait", "arguments": {}})
    return await opened(port, "POST", "/mcp", body, accept="application/json, text/event-stream", **headers)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
@played(stock="cut", ours="whole")
async def test_row_9_one_worker_ends_before_the_other_has_answered(kind: str, outcome: str, tmp_path: Path):
    async with command(kind, tmp_path, 2) as running:
        workers = await running.hears_numbers(UP[kind], 2)
        async with await called(await port_of(running)) as stream:
            (busy,) = await running.hears_numbers(r"waiting in (\d+)", 1)
            (idle,) = [number for number in workers if number != busy]
            running.process.send_signal(signal.SIGTERM)
            await gone(idle)
            received = b""
            with suppress(trio.BrokenResourceError), trio.move_on_after(0.5) as waited:
                received = await stream.receive_some()
            (tmp_path / "go").touch()
            with suppress(trio.BrokenResourceError), trio.fail_after(PATIENCE):
                while waited.cancelled_caught and (piece := await stream.receive_some()):
                    received += piece
        assert ("whole" if b'"finished"' in received else "cut") == outcome
        if kind == OURS:
            assert await running.exit_code() == 0


@played(stock="ended", ours="serves")
async def test_row_10_a_worker_is_killed(kind: str, outcome: str, tmp_path: Path):
    async with command(kind, tmp_path, 2) as running:
        workers = await running.hears_numbers(UP[kind], 2)
        os.kill(workers[0], signal.SIGKILL)
        if kind == STOCK:
            # 0 where the parent looks before its other worker has ended, too, else -SIGTERM as a byte: never -SIGKILL.
            assert await running.exit_code() in (0, 256 - signal.SIGTERM)
            seen = "ended"
        else:
            again = await running.hears_numbers(UP[kind], 3)
            assert len(set(again)) == 3
            assert running.process.returncode is None
            seen = "serves"
        assert seen == outcome


@played(stock=(-signal.SIGTERM, False), ours=(0, True))
async def test_row_11_sigterm_to_a_server_without_workers(kind: str, outcome: Any, tmp_path: Path):
    async with command(kind, tmp_path, 0) as running:
        await port_of(running)
        running.process.send_signal(signal.SIGTERM)
        seen = (await running.exit_code(), (tmp_path / "torn_down").exists())
        assert seen == outcome
