"""`Recorder`: writes the trace of a run. It looks at trio, the links and the clock, and changes nothing.

Events are plain JSON, in the order in which they happened; `docs/testing.md` lists their kinds. No event holds an
address of memory, a wall time or a path of the machine, so that the same run gives the same bytes anywhere.
"""

import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, Final
from unittest.mock import patch

import trio
from trio.testing import MockClock

from trio_mcp.groups import leaves
from trio_mcp.testing.network import Link, Network
from trio_mcp.testing.schedule import Scheduler
from trio_mcp.testing.trace import Trace
from trio_mcp.testing.words import in_words

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
"""Of memory, in the `repr` of a task or a function."""


_NAMES: Final = {
    "trio_mcp.testing.simulation.Simulation.main": "scenario",
    "<init>": "trio",
    "<TrioToken.run_sync_soon task>": "trio's callbacks",
}


class Recorder(trio.abc.Instrument):
    """Writes into one `Trace`; attach it for the time of one run."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._clock: MockClock
        self._tasks: dict[Any, int] = {}
        self._lanes: dict[Any, str] = {}
        self._nurseries: dict[Any, int] = {}
        self._now: int | None = None  # the task in whose step we are
        self._at = 0.0
        self._stopped = False
        self._woken: list[tuple[int, int | None]] = []  # and not written yet, each with who woke it

    @contextmanager
    def attached(self, clock: MockClock, scheduler: Scheduler, network: Network) -> Iterator[None]:
        """Look at all three, and at what is cancelled, for the time of the block."""
        self._clock = clock
        scheduler.on_deviation = self._deviated
        network.watcher = self
        cancel = trio.CancelScope._cancel

        def cancelled(scope: Any, reason: Any) -> None:
            if not scope._cancel_called:
                self._cancelled(scope, reason)
            cancel(scope, reason)

        with patch.object(trio.CancelScope, "_cancel", cancelled):
            yield
        self._write_woken()

    def _write_woken(self) -> None:
        """Trio wakes in the order of its sets, which is that of addresses; so what was woken together is sorted."""
        woken, self._woken = sorted(self._woken, key=lambda one: one[0]), []
        now = self._now
        for self._now, by in woken:
            self._write("wake", by=by)
        self._now = now

    def forget(self) -> None:
        """Let go of all tasks; nothing more can be written of them."""
        self._tasks.clear()
        self._lanes.clear()
        self._nurseries.clear()

    def stop(self) -> None:
        """The scenario is over: what trio does to end is nobody's concern. A failure is still written."""
        self._stopped = True

    def _write(self, kind: str, **facts: Any) -> None:
        if self._stopped and kind != "failure":
            return
        if self._woken:
            self._write_woken()
        at = round(self._clock.current_time(), 9)
        if at != self._at:
            self._at = at
            self.trace.events.append({"kind": "jump", "at": at, "task": None, "to": at})
        self.trace.events.append({"kind": kind, "at": at, "task": self._now, **facts})

    # trio's instrument

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        """A task begins its life."""
        number = self._tasks[task] = len(self._tasks) + 1
        nursery = task.parent_nursery
        parent = None if nursery is None else nursery.parent_task
        lane = self._lanes[task] = _lane_of(task.name) or self._lanes.get(parent, "test")
        facts = {
            "name": _named(task),
            "parent": self._tasks.get(parent),
            "nursery": self._nurseries.setdefault(nursery, len(self._nurseries)),
            "lane": lane,
        }
        before, self._now = self._now, number
        self._write("task", **facts)
        self._now = before

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        """It can run."""
        self._woken.append((self._tasks[task], self._now))

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """It runs."""
        self._now = self._tasks[task]
        self._write("run")

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It waits, or has ended."""
        if task.coro.cr_frame is not None:
            deadline = task._cancel_status.effective_deadline()
            self._write("sleep", deadline=round(deadline, 9) if -1e300 < deadline < 1e300 else None)
        self._now = None

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """It has ended; how, only the caller of this knows."""
        frame = sys._getframe(1)
        while frame.f_code.co_name != "task_exited" and frame.f_back is not None:
            frame = frame.f_back
        error = getattr(frame.f_locals.get("outcome"), "error", None)
        how = "done"
        if error is not None and only_cancelled(error):
            how = "cancelled"
        elif error is not None:
            how = f"failed: {_told(error)}"
        before, self._now = self._now, self._tasks[task]
        self._write("exit", how=how)
        self._now = before

    # Cancellation and order

    def _cancelled(self, scope: trio.CancelScope, reason: Any) -> None:
        reached: list[int] = []
        waiting = [scope._cancel_status] if scope._cancel_status is not None else []
        while waiting:
            status = waiting.pop()
            reached += [self._tasks[task] for task in status._tasks]
            waiting += [child for child in status._children if not child._scope.shield]
        source = getattr(reason, "source", "explicit")
        text = getattr(reason, "reason", None) or ("its deadline has passed" if source == "deadline" else "")
        # A nursery gives the whole error of a child as its reason, and that may be a page.
        said = _ADDRESS.sub("", text.partition("\n")[0])
        self._write("cancel", tasks=sorted(reached), reason=said, source=source, by=self._now)

    def _deviated(self, batch: int, early: Any, late: Any) -> None:
        of = [f"{_named(task)!r}" for task in (early, late)]
        if early.name == late.name:
            of = [f"{name} of {self._lanes[task]}" for name, task in zip(of, (early, late), strict=True)]
        self._write("deviation", text=f"batch {batch}: {of[0]} ran before {of[1]}")

    # Links

    def link_told(self, link: Link, what: str, end: str) -> None:
        """Something happened to a link."""
        self._write("link", link=link.name, what=f"{what} by {end}", lane=end)

    def link_sent(self, link: Link, number: int, sender: str, receiver: str, data: bytes) -> None:
        """Bytes left one end."""
        words = in_words(data)
        self._write("send", id=number, link=link.name, **{"from": sender, "to": receiver}, size=len(data), text=words)

    def link_arrived(self, number: int, lost: bool) -> None:
        """They are there, or never will be."""
        self._write("arrive", id=number, **({"lost": True} if lost else {}))

    # Words

    def fault(self, text: str) -> None:
        """What was done on purpose."""
        self._write("fault", text=text)

    def note(self, text: str) -> None:
        """A remark of somebody's own."""
        self._write("note", text=text, lane=self._lane_now())

    def _lane_now(self) -> str | None:
        return next((self._lanes[task] for task, number in self._tasks.items() if number == self._now), None)

    def failed(self, error: BaseException) -> None:
        """The run has failed."""
        self._write("failure", text=_told(error), traceback=_traceback(error), lane=self._lane_now())


def _named(task: trio.lowlevel.Task) -> str:
    """What a task is called; those of the run itself by a short name."""
    return _NAMES.get(task.name, task.name)


def _lane_of(name: str) -> str | None:
    """The lane that a task opens by its name; None where it stays in its parent's."""
    if name.startswith("client ") or ": " in name.partition("/")[0]:
        return name.partition(":")[0]
    if name.startswith(("serve connection ", "serve pipe ")):
        return name.removeprefix("serve ")
    if name.startswith("run session "):
        return name.removeprefix("run ")
    return "server" if name.startswith("serve ") else None


def only_cancelled(error: BaseException) -> bool:
    """Whether nothing but a cancellation comes by."""
    return all(isinstance(leaf, trio.Cancelled) for leaf in leaves(error))


def _told(error: BaseException) -> str:
    return "; ".join(
        _ADDRESS.sub("", f"{type(leaf).__name__}: {leaf}") if str(leaf) else type(leaf).__name__
        for leaf in leaves(error)
    )


def _traceback(error: BaseException) -> str:
    lines = [
        f"{'/'.join(PurePath(frame.filename).parts[-2:])}:{frame.lineno} in {frame.name}\n    {frame.line}"
        for frame in traceback.extract_tb(error.__traceback__)
        if "/trio/" not in frame.filename
    ]
    return "\n".join([*lines, _told(error)])
