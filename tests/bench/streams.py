"""What is measured on open streams: notifications a second on one, and what eight hundred standing ones weigh.

It owns a small reader of its own, so that no client library is measured with the server.
"""

import time
from contextlib import ExitStack
from typing import Final

from tests.bench import wire
from tests.bench.peers import Running

_PROGRESS: Final = b'"notifications/progress"'
_PATIENCE: Final = 60.0
_SETTLE: Final = 0.5
IDLE: Final = 5.0


def progress(peer: str, era: str, *, count: int) -> dict[str, float]:
    """`count` progress notifications of one call, as fast as they come.

    Returns notifications/s and microseconds of server CPU for each.

    Raises:
        RuntimeError: not all of them came.
    """
    with Running(peer, "stream") as server, wire.Client(server.port, timeout=_PATIENCE) as client:
        session_id = client.initialize() if era == wire.SESSION else None
        _count(server, client, era, session_id, 500, 2)
        return _count(server, client, era, session_id, count, 3)


def _count(
    server: Running, client: wire.Client, era: str, session_id: str | None, count: int, id: int
) -> dict[str, float]:
    headers = wire.headers(era, "tools/call", "count")
    if session_id is not None:
        headers["mcp-session-id"] = session_id
    params = {"name": "count", "arguments": {"n": count}, "_meta": {"progressToken": f"token-{id}"}}
    body = wire.body(era, "tools/call", params, id=id)
    before, began = server.cpu(), time.monotonic()
    client.send(headers, body)
    client.head()
    came, kept = 0, b""
    while not kept.endswith(b"0\r\n\r\n"):  # the last chunk: the stream is complete
        data = client.some()
        whole = kept + data
        came += whole.count(_PROGRESS) - kept.count(_PROGRESS)
        kept = whole[-max(len(_PROGRESS), 8) :]
        if time.monotonic() - began > _PATIENCE:
            raise RuntimeError(f"{server.peer}: {came} of {count} notifications in {_PATIENCE:g} s")
    took, spent = time.monotonic() - began, server.cpu() - before
    if came != count:
        raise RuntimeError(f"{server.peer}: {came} notifications of {count}")
    return {"rate": count / took, "cpu_us": spent / count * 1e6}


def standing(peer: str, *, count: int, vanish: bool) -> dict[str, float]:
    """Sessions that each hold a GET stream, and what is left of them once they are gone.

    They leave with DELETE, or, where `vanish`, by closing the connection alone; servers that have an idle limit for
    sessions are then given one of `IDLE` seconds, and time to apply it.

    Returns kilobytes each, the percentage of all that the system gets back, by how many percent of it a second wave
    of as many grows the process further (an allocator may keep what it frees; a leak grows), and descriptors left.
    """
    env = {"BENCH_SESSION_IDLE": str(IDLE)} if vanish else {}
    with Running(peer, "stream", env=env) as server:
        with ExitStack() as first:
            _leave(server, _arrive(server, first, 20), delete=True)
        _settle(server)
        base, descriptors = server.rss(), server.descriptors()
        peak, after = _wave(server, count, vanish=vanish)
        left = server.descriptors() - descriptors
        again, _ = _wave(server, count, vanish=vanish)
    grown = max(1, peak - base)
    return {
        "kb_each": grown / count / 1024,
        "back_percent": (peak - after) / grown * 100,
        "again_percent": (again - peak) / grown * 100,
        "descriptors_left": left,
    }


def _wave(server: Running, count: int, *, vanish: bool) -> tuple[int, int]:
    """Resident bytes while they are there, and once they are gone."""
    with ExitStack() as clients:
        ids = _arrive(server, clients, count)
        time.sleep(_SETTLE)
        peak = server.rss()
        _leave(server, ids, delete=not vanish)
    time.sleep(IDLE + 1 if vanish else _SETTLE)
    _settle(server)
    return peak, server.rss()


def _arrive(server: Running, clients: ExitStack, count: int) -> list[str]:
    ids = []
    for _ in range(count):
        client = clients.enter_context(wire.Client(server.port))
        session_id = client.initialize()
        headers = {"accept": "text/event-stream", "mcp-session-id": session_id, "mcp-protocol-version": "2025-11-25"}
        client.send(headers, None, method="GET")
        status, _ = client.head()
        if status != 200:
            raise RuntimeError(f"{server.peer} answered GET with {status}")
        ids.append(session_id)
    return ids


def _leave(server: Running, ids: list[str], *, delete: bool) -> None:
    if not delete:
        return
    with wire.Client(server.port) as client:
        for session_id in ids:
            headers = {"mcp-session-id": session_id, "mcp-protocol-version": "2025-11-25"}
            answer = client.ask(headers, None, method="DELETE")
            if answer.status not in (200, 202, 204):
                raise RuntimeError(f"{server.peer} answered DELETE with {answer.status}")


def _settle(server: Running) -> None:
    """Wait until memory stands still, at most three seconds."""
    last, ends = -1, time.monotonic() + 3
    while time.monotonic() < ends:
        now = server.rss()
        if now == last:
            return
        last = now
        time.sleep(0.4)
