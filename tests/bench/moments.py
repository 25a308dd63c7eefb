"""Moments: how long until a new process answers, what an import costs, and how soon a tool learns of its cancellation.

It owns the clock: all processes of one machine share the monotonic one, so a server can stamp what a client compares.
"""

import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.bench import wire
from tests.bench.peers import (
    FASTMCP,
    HERE,
    OURS,
    PEER_PYTHON,
    ROOT,
    SDK,
    SERVER_CORE,
    TYPESCRIPT,
    Running,
    node,
    on_core,
)

_PATIENCE: Final = 2.0
_IMPORT: Final = (
    "import time; b, c = time.perf_counter(), time.process_time(); {code};"
    "print(time.perf_counter() - b, time.process_time() - c, open('/proc/self/statm').read().split()[1])"
)
_IMPORTS: Final = {
    OURS: "import trio_mcp; trio_mcp.Server('x')",
    SDK: "from mcp.server import MCPServer; MCPServer('x')",
    FASTMCP: "from fastmcp import FastMCP; FastMCP('x')",
}
_NODE_IMPORT: Final = (
    "const b = performance.now(), c = process.cpuUsage();"
    "const { McpServer } = await import('@modelcontextprotocol/server'); await import('@modelcontextprotocol/node');"
    "new McpServer({ name: 'x', version: '1' });"
    "const u = process.cpuUsage(c);"
    "console.log((performance.now() - b) / 1e3, (u.user + u.system) / 1e6, process.memoryUsage().rss / 4096);"
)


def start(peer: str) -> dict[str, float]:
    """From the start of the process to its first successful answer, in milliseconds of wall clock and of CPU."""
    headers, body = wire.call(wire.PER_REQUEST, "echo", {"message": "hello, world"})
    with Running(peer) as server:
        with wire.Client(server.port) as client:
            answer = client.ask(headers, body)
        took, spent = time.monotonic() - server.began, server.cpu()
        if answer.status != 200 or "result" not in answer.message:
            raise RuntimeError(f"{peer} answered {answer.status} {answer.body[:200]!r}")
        return {"wall_ms": took * 1e3, "cpu_ms": spent * 1e3, "rss_mb": server.rss() / 2**20}


def imports(peer: str) -> dict[str, float]:
    """From nothing imported to a constructed server: milliseconds of wall clock and of CPU, and resident megabytes."""
    if peer == TYPESCRIPT:
        command = [node(), "--input-type=module", "-e", _NODE_IMPORT]
    else:
        python = sys.executable if peer == OURS else str(PEER_PYTHON)
        command = [python, "-c", _IMPORT.format(code=_IMPORTS[peer])]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with on_core(SERVER_CORE):
        done = subprocess.run(command, cwd=HERE, env=env, capture_output=True, text=True, timeout=30, check=True)
    wall, cpu, pages = (float(text) for text in done.stdout.split())
    return {"wall_ms": wall * 1e3, "cpu_ms": cpu * 1e3, "rss_mb": pages * 4096 / 2**20}


def cancel(peer: str, mode: str, *, count: int) -> dict[str, float]:
    """A client that closes its connection in the middle of a call, until the tool's `finally` runs, in milliseconds.

    In the per-request era, where that is how a call is cancelled. Returns `cancelled` 0.0 for a server whose tool
    goes on.
    """
    with tempfile.TemporaryDirectory() as folder:
        fifo = Path(folder) / "stamps"
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        try:
            with Running(peer, mode, env={"BENCH_STAMPS": str(fifo)}) as server:
                stamps = _Stamps(reader)
                took = []
                for _ in range(count + 5):
                    one = _cancel_once(server, stamps)
                    if one is None:
                        return {"cancelled": 0.0}
                    took.append(one)
        finally:
            os.close(reader)
    took = sorted(took[5:])
    p99 = took[min(len(took) - 1, round(len(took) * 0.99))]
    return {"cancelled": 1.0, "p50_ms": statistics.median(took), "p99_ms": p99}


def _cancel_once(server: Running, stamps: "_Stamps") -> float | None:
    headers, body = wire.call(wire.PER_REQUEST, "wait", {})
    with wire.Client(server.port) as client:
        client.send(headers, body)
        if stamps.read("began") is None:
            raise RuntimeError(f"{server.peer} did not begin the call:\n{server.said()}")
        time.sleep(0.001)  # the tool is waiting now
        closed = time.monotonic_ns()
    ended = stamps.read("ended")
    return None if ended is None else (ended - closed) / 1e6


class _Stamps:
    """Lines of a FIFO: what happened, and when."""

    def __init__(self, reader: int) -> None:
        self._reader = reader
        self._unread = b""

    def read(self, wanted: str) -> int | None:
        """When the next thing of that name happened; None where it does not in time."""
        ends = time.monotonic() + _PATIENCE
        while (left := ends - time.monotonic()) > 0:
            line, end, rest = self._unread.partition(b"\n")
            if end:
                self._unread = rest
                what, when = line.split()
                if what.decode() == wanted:
                    return int(when)
                continue
            select.select([self._reader], [], [], left)
            with suppress(BlockingIOError):
                self._unread += os.read(self._reader, 4096)
        return None
