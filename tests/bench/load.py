"""Load over HTTP: `wrk` on one core, the server on another, all peers in turn within each round.

It owns how rates and processor time are taken. It refuses to judge them.
"""

import re
import shutil
import subprocess
from typing import Any, Final

import attrs

from tests.bench import wire
from tests.bench.peers import BARE, FASTMCP, HERE, LOAD_CORE, OURS, SDK, TUNED, TYPESCRIPT, Running, on_core

_FIGURES: Final = re.compile(r"^FIGURES (\d+) ([\d.]+) (\d+) (\d+) (\d+) (\d+)$", re.MULTILINE)
SESSIONS: Final = 16
#: Every request has an id of its own, of as many digits as this one, which call.lua replaces.
_ID: Final = 1_000_000


@attrs.frozen(kw_only=True)
class Load:
    """One row of requests under load.

    Args:
        method, params: of the request.
        mode: of the server.
        connections: at a time; so many sessions in the session era.
        without: peers that have nothing to show here.
    """

    era: str
    method: str = "tools/call"
    params: dict[str, Any] = attrs.field(factory=dict)
    mode: str = "json"
    connections: int = 16
    peers: tuple[str, ...] = (OURS, SDK, TUNED, FASTMCP, TYPESCRIPT)


_ECHO: Final = {"name": "echo", "arguments": {"message": "hello, world"}}
_PLAIN: Final = {"name": "echo_plain", "arguments": {"message": "hello, world"}}
_PYTHON: Final = (OURS, SDK, TUNED, FASTMCP)

LOADS: Final = {
    "call-session": Load(era=wire.SESSION, params=_ECHO),
    "call-per-request": Load(era=wire.PER_REQUEST, params=_ECHO),
    "plain-session": Load(era=wire.SESSION, params=_PLAIN, peers=_PYTHON),
    "plain-per-request": Load(era=wire.PER_REQUEST, params=_PLAIN, peers=_PYTHON),
    "list-session": Load(era=wire.SESSION, method="tools/list", mode="many"),
    "list-per-request": Load(era=wire.PER_REQUEST, method="tools/list", mode="many"),
    "one-session": Load(era=wire.SESSION, params=_ECHO, connections=1),
    "one-per-request": Load(era=wire.PER_REQUEST, params=_ECHO, connections=1),
    "bare": Load(era=wire.SESSION, params=_ECHO, peers=(BARE,)),
    "bare-one": Load(era=wire.SESSION, params=_ECHO, connections=1, peers=(BARE,)),
}


def measure(load: Load, peer: str, *, seconds: float, warm_up: float) -> dict[str, float]:
    """One peer under one load, once.

    Returns requests/s, microseconds of server CPU a request, the share of its core that the server got, p50 and
    p99 in microseconds.

    Raises:
        RuntimeError: an answer was wrong, or not all answers were 200.
    """
    with Running(peer, load.mode) as server:
        headers = wire.headers(load.era, load.method, load.params.get("name"))
        body = wire.body(load.era, load.method, load.params, id=_ID)
        ids: list[str] = []
        if load.era == wire.SESSION and peer != BARE:
            ids = wire.open_sessions(server.port, min(load.connections, SESSIONS))
        _check(server, headers, body, ids)
        _wrk(server.port, load.connections, warm_up, headers, body, ids, first_id=1_000_001)
        before = server.cpu()
        requests, took, wrong, broken, p50, p99 = _wrk(
            server.port, load.connections, seconds, headers, body, ids, first_id=5_000_001
        )
        spent = server.cpu() - before
    if wrong or broken or not requests:
        raise RuntimeError(f"{peer}: of {requests:.0f} answers {wrong:.0f} were not 2xx; {broken:.0f} socket errors")
    busy = spent / (took or 1)
    return {"rate": requests / took, "cpu_us": spent / requests * 1e6, "busy": busy, "p50_us": p50, "p99_us": p99}


def _check(server: Running, headers: dict[str, str], body: str, ids: list[str]) -> None:
    """A fast error is no answer."""
    found = {**headers, "mcp-session-id": ids[0]} if ids else headers
    with wire.Client(server.port) as client:
        answer = client.ask(found, body)
    result = answer.message.get("result") if answer.status == 200 else None
    if result is None or result.get("isError") or not (result.get("content") or len(result.get("tools", ())) == 100):
        raise RuntimeError(f"{server.peer} answered {answer.status} {answer.body[:300]!r}")


def _wrk(
    port: int, connections: int, seconds: float, headers: dict[str, str], body: str, ids: list[str], *, first_id: int
) -> tuple[float, ...]:
    wrk = shutil.which("wrk")
    if wrk is None:
        raise FileNotFoundError("wrk is not installed: the load needs it (Debian: apt-get install wrk)")
    lines = [f"{name}: {value}" for name, value in headers.items()]
    command = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    command += ["-s", str(HERE / "call.lua"), f"http://127.0.0.1:{port}/mcp", "--"]
    command += [body, str(first_id), *lines, ",", *ids]
    with on_core(LOAD_CORE):
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    found = _FIGURES.search(done.stdout)
    if found is None:
        raise RuntimeError(f"wrk failed: {done.stdout[-500:]}{done.stderr[-500:]}")
    return tuple(float(text) for text in found.groups())
