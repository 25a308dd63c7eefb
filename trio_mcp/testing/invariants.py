"""What must hold in every run, whatever was cut, cancelled or late. Each is a function of its own, and usable alone.

Each returns what is wrong, in words; nothing where all is well. `require` raises them together.
"""

import gc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import trio

from trio_mcp.runtime.host import Host
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.testing.network import Link
from trio_mcp.testing.tasks import living_tasks

#: Frames beyond its bound that an outlet may hold: answers and questions are bounded by the calls in flight, and one
#: notice that a list changed is enough for each of its kinds.
_SLACK: Final = 8

_OWN: Final = ("trio_mcp.runtime.", "trio_mcp.http.")
#: Classes of which nothing may be left once a server has ended: all that is made for a client.
_MADE_FOR_CLIENTS: Final = frozenset(
    {
        *("Session", "SessionCall", "PerRequestCall", "DirectCall", "_Listener", "_Question"),
        *("Outlet", "BatchOutlet", "Fanout", "Reader", "Pipe"),
        *("Connection", "Response", "RequestParser", "Exchange", "WebSocketStream", "Handover", "_WebSocket"),
    }
)


class InvariantError(AssertionError):
    """Something that must always hold did not.

    Attributes:
        violations: each in words.
    """

    def __init__(self, violations: Sequence[str]) -> None:
        super().__init__("\n".join(violations))
        self.violations = list(violations)


def require(*found: Iterable[str]) -> None:
    """Go on only if nothing was found.

    Raises:
        InvariantError: with all that was.
    """
    violations = [violation for some in found for violation in some]
    if violations:
        raise InvariantError(violations)


def no_task_left(before: set[trio.lowlevel.Task]) -> list[str]:
    """Every task that was started since `before` (`living_tasks()` of then) has ended."""
    return sorted(f"a task is left: {task.name}" for task in living_tasks() - before)


def nothing_left(host: Host) -> list[str]:
    """No session, no call, no subscription and no lifespan of a host is left."""
    found = [f"a session is left: {key[:8]} ({session.transport})" for key, session in host.sessions.items()]
    found += [f"a call is left: {call.method.name} {call.id!r}" for call in host.calls]
    if len(host.subscriptions):
        found.append(f"{len(host.subscriptions)} subscriptions are left")
    if host.running:
        found.append("the lifespan has not been left")
    return found


def within_bounds(host: Host) -> list[str]:
    """No queue of a host holds more than it may."""
    found = []
    for session in host.sessions.values():
        for outlet in (session.standing, *session.streams.values()):
            found += _over(outlet, session.running + len(session.calls))
    for call in host.calls:
        found += _over(call.outlet, len(host.calls))
    return found


def _over(outlet: Outlet, calls: int) -> list[str]:
    most = outlet.bound + _SLACK + 2 * calls
    if len(outlet) <= most:
        return []
    return [f"a stream holds {len(outlet)} frames: more than {most}, for a buffer of {outlet.bound} and {calls} calls"]


def no_write_after_close(links: Iterable[Link]) -> list[str]:
    """Nobody wrote to a connection that it had closed itself."""
    return [
        f"{end.name} wrote to {link.name} after closing it"
        for link in links
        for end in (link.client, link.server)
        if end.wrote_late
    ]


def answered_once(client: Any) -> list[str]:
    """Every request of a client was answered once, or cancelled, or its connection was lost; and nothing else was.

    Nor did any progress come after an answer.
    """
    found = []
    for asked in client.requests:
        if asked.answers > 1:
            found.append(f"{client.name}: request {asked.id!r} ({asked.method}) was answered {asked.answers} times")
        elif not asked.answers and asked.sent and not (asked.cancelled or asked.lost or asked.refused):
            found.append(f"{client.name}: request {asked.id!r} ({asked.method}) was never answered")
        if asked.late:
            found.append(f"{client.name}: progress of request {asked.id!r} ({asked.method}) came after its result")
    found += [f"{client.name}: an answer to nothing that was asked: {message!r}" for message in client.unasked]
    return found


def events_gapless(client: Any, recorded: Mapping[int, Sequence[str]]) -> list[str]:
    """Of each stream, resumed or not, a client has had the recorded events in order, without a gap and none twice.

    Args:
        recorded: the ids of all events that hold something, by the number of their stream.
    """
    found = []
    for seen in client.streams:
        ids = [event_id.rpartition(":")[2] for event_id in seen]
        if not ids:
            continue
        stream = int(ids[0].partition("-")[0])
        kept = list(recorded.get(stream, ()))
        had = [event_id for event_id in ids if event_id in kept]
        if len(set(had)) < len(had):
            found.append(f"{client.name}: events of stream {stream} came twice: {had}")
        elif had:
            begin = kept.index(had[0])
            if kept[begin : begin + len(had)] != had:
                found.append(f"{client.name}: events of stream {stream} came with a gap: {had} of {kept}")
    return found


def memory_back() -> list[str]:
    """No object of a server that has ended is alive, of those made since `gc.freeze()`; circles are no excuse."""
    counts: dict[str, int] = {}
    for thing in gc.get_objects():
        kind = type(thing)
        if kind.__qualname__ in _MADE_FOR_CLIENTS and kind.__module__.startswith(_OWN):
            counts[kind.__qualname__] = counts.get(kind.__qualname__, 0) + 1
    return [f"{count} objects of {name} are still in memory" for name, count in sorted(counts.items())]
