"""What lives in a server at this moment: sessions and calls with their deadlines, and trio's own tree of tasks.

Everything is read when somebody looks; nothing is noted on the way of a call. What is shown is bounded, and a session's
id, which is its client's secret, is shown by its first characters only. It refuses to decide who may look.
"""

import math
import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, TypeVar

import trio

from trio_mcp.protocol.session import State
from trio_mcp.runtime.call import Call
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.session import Session, SessionCall
from trio_mcp.wire.lifecycle import Implementation

MAX_SESSIONS: Final = 200
MAX_CALLS: Final = 500
MAX_TASKS: Final = 500
MAX_CHILDREN: Final = 50
"""Tasks of one nursery: a worker's holds every connection."""
MAX_LEVELS: Final = 24
MAX_TEXT: Final = 120
_SHOWN_OF_A_KEY: Final = 8
_MAYBE_A_KEY: Final = re.compile(r"[\w-]{16,}")

Json = dict[str, Any]
T = TypeVar("T")


def take(host: Host, *, base: float, tree: bool) -> Json:
    """A snapshot as JSON. Ages and remaining times are seconds from `base` on trio's clock.

    So two snapshots with the same base are equal exactly when nothing changed, and one with the present is what people
    read.
    """
    return _Look(host, base).everything(tree=tree)


class _Look:
    """One look at a host."""

    def __init__(self, host: Host, base: float) -> None:
        self._host = host
        self._base = base
        self._now = trio.current_time()
        self._tasks_left = MAX_TASKS

    def everything(self, *, tree: bool) -> Json:
        host = self._host
        calls = list(islice(host.calls, MAX_CALLS))
        of_sessions: dict[Session, list[SessionCall]] = {}
        alone: list[Call] = []
        for call in calls:
            if isinstance(call, SessionCall):
                of_sessions.setdefault(call.session, []).append(call)
            else:
                alone.append(call)
        # Those that do something come first, so that they are seen among ten thousand.
        busy_first = dict.fromkeys((*of_sessions, *islice(host.sessions.values(), MAX_SESSIONS)))
        sessions = list(islice(busy_first, MAX_SESSIONS))
        found: Json = {
            "server": self._server(),
            "sessions": [self._session(session, of_sessions.get(session, ())) for session in sessions],
            "calls": [self._call(call) for call in alone if not _listens(call)],
            "listening": [self._call(call) for call in alone if _listens(call)],
            "left_out": {
                "sessions": max(0, len(host.sessions) - len(sessions)),
                "calls": len(host.calls) - len(calls),
            },
        }
        if tree:
            root = trio.lowlevel.current_root_task()
            found["tree"] = None if root is None else self._task(root, MAX_LEVELS)
        return found

    def _server(self) -> Json:
        host = self._host
        return {
            "name": host.server.name,
            "version": host.server.info.version,
            "process": os.getpid(),
            "uptime": self._since(host.began or 0),
            "state": "draining" if host.draining else "running",
            "connections": None if host.connections is None else host.connections(),
            "sessions": len(host.sessions),
            "calls": len(host.calls),
            "tasks": trio.lowlevel.current_statistics().tasks_living,
            "changes": host.server.changes,
        }

    def _session(self, session: Session, calls: Iterable[SessionCall]) -> Json:
        protocol = session.protocol
        ready = protocol.state is not State.NEW
        return {
            "id": self._shortened(session.key),
            "revision": protocol.revision.version if ready else None,
            "client": _client(protocol.client_info),
            "principal": _text(getattr(session, "principal", None)),
            "state": "ending" if session.ending else protocol.state.name.lower(),
            "age": self._since(session.began),
            "idle": None if session.running or session.readers else self._since(session.last_active),
            "readers": session.readers,
            "calls": [self._call(call) for call in calls],
        }

    def _call(self, call: Call) -> Json:
        deadline = _deadline(call)
        cancelling = call.scope.cancel_called or deadline <= self._now
        params = call.params
        return {
            "id": _text(call.id) if isinstance(call.id, str) else call.id,
            "method": call.method.name,
            "target": _text(getattr(params, "name", None) or getattr(params, "uri", None)),
            "revision": call.revision.version,
            "client": _client(call.client_info),
            "principal": _text(getattr(call, "principal", None)),
            "began": round(self._host.epoch + call.began, 6),
            "age": self._since(call.began),
            "deadline": None if deadline == math.inf else round(deadline - self._base, 3),
            "state": "cancelling" if cancelling else "running",
            "progress": _progress(call),
        }

    def _since(self, moment: float) -> float:
        return round(self._base - moment, 3)

    # Tasks

    def _task(self, task: trio.lowlevel.Task, levels: int) -> Json:
        self._tasks_left -= 1
        name = _MAYBE_A_KEY.sub(lambda match: self._hidden(match[0]), task.name)
        if not task.child_nurseries:
            return {"name": _text(name)}
        return {
            "name": _text(name),
            "nurseries": [self._nursery(nursery, levels - 1) for nursery in task.child_nurseries],
        }

    def _nursery(self, nursery: trio.Nursery, levels: int) -> Json:
        tasks = sorted(nursery.child_tasks, key=lambda task: task.name)
        shown = [self._task(task, levels) for task in self._within_budget(tasks, levels)]
        scope = nursery.cancel_scope
        return {
            "tasks": shown,
            "more": len(tasks) - len(shown),
            "deadline": None if scope.deadline == math.inf else round(scope.deadline - self._base, 3),
            "cancelling": scope.cancel_called,
        }

    def _within_budget(self, tasks: Iterable[T], levels: int) -> Iterator[T]:
        for task in islice(tasks, MAX_CHILDREN if levels > 0 else 0):
            if self._tasks_left <= 0:
                return
            yield task

    def _hidden(self, word: str) -> str:
        """A word of a task's name; a session's id is never shown whole, whoever named the task."""
        return self._shortened(word) if word in self._host.sessions else word

    @staticmethod
    def _shortened(key: str) -> str:
        return key[:_SHOWN_OF_A_KEY] + "…"


def _listens(call: Call) -> bool:
    return call.method.name == "subscriptions/listen"


def _deadline(call: Call) -> float:
    """When the call will be cut: its own scope's deadline, or the bound of its tool, counted as `tools` counts it."""
    deadline = call.scope.deadline
    if call.method.name == "tools/call":
        server = call.host.server
        tool = server.tools.get(call.params.name)
        if tool is not None:
            deadline = min(deadline, call.began + server.settings.tool_deadline(tool.timeout))
    return deadline


def _progress(call: Call) -> Json | None:
    context = getattr(call, "context", None)  # there only while it runs
    last = None if context is None else context.last_progress
    if last is None:
        return None
    return {"progress": last.progress, "total": last.total, "message": _text(last.message)}


def _client(info: Implementation | None) -> Json | None:
    return None if info is None else {"name": _text(info.name), "version": _text(info.version)}


def _text(value: str | None) -> str | None:
    """Text of others, no longer than what a line shows; None where there is none."""
    if not value:
        return None
    return value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + "…"
