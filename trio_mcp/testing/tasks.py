"""Which tasks live in a run and what each waits for: for the check that none is left, and for people when one hangs."""

import linecache
import math
import os
from pathlib import Path
from typing import Any, Final

import trio


def living_tasks() -> set[trio.lowlevel.Task]:
    """Every task of this run, trio's own included."""
    root = trio.lowlevel.current_root_task()
    assert root is not None, "within trio.run"
    found = {root}
    waiting = [root]
    while waiting:
        for nursery in waiting.pop().child_nurseries:
            waiting += nursery.child_tasks
            found |= nursery.child_tasks
    return found


def tree_of_tasks() -> str:
    """The tasks of this run as they nest, each with the line where it waits."""
    root = trio.lowlevel.current_root_task()
    assert root is not None, "within trio.run"
    lines: list[str] = []
    _describe(root, 0, lines)
    return "\n".join(lines)


def _describe(task: trio.lowlevel.Task, depth: int, lines: list[str]) -> None:
    if task.name not in _OF_THE_RUN:
        lines.append(f"{'  ' * depth}{task.name}{_where(task)}{_UNDER_A_SHIELD if _is_shielded(task) else ''}")
        depth += 1
    for nursery in task.child_nurseries:
        for child in sorted(nursery.child_tasks, key=lambda child: child._counter):
            _describe(child, depth, lines)


def where_it_hangs() -> str:
    """In one line the tasks that wait in somebody's own code, each with its line; empty where there is none.

    What waits within this package or trio waits for one of those, or for a client.
    """
    found = sorted(
        (task for task in living_tasks() if not _file_of(task).startswith((_PACKAGE, _TRIO))),
        key=lambda task: (not _is_shielded(task), task._counter),
    )
    return "; ".join(
        f"{_name(task)}{_where(task)}{_UNDER_A_SHIELD if _is_shielded(task) else ''}" for task in found[:3]
    )


def lift_shields() -> None:
    """Let a cancellation reach every task of this run: one that a shield without a deadline keeps would never end."""
    for task in living_tasks():
        status: Any = task._cancel_status
        while status is not None:
            status._scope.shield = False
            status = status._parent


#: Tasks that every run has, and that tell nothing.
_OF_THE_RUN: Final = ("<init>", "<TrioToken.run_sync_soon task>", "carry the network", "watch for a hang")
_UNDER_A_SHIELD: Final = ", under a shield without a deadline"
_PACKAGE: Final = f"{Path(__file__).parent.parent}{os.sep}"
_TRIO: Final = f"{Path(trio.__file__).parent}{os.sep}"


def _name(task: trio.lowlevel.Task) -> str:
    return "the scenario" if task.name == "scenario" else task.name


def _is_shielded(task: trio.lowlevel.Task) -> bool:
    """Whether a scope that the task itself has opened keeps every cancellation from it for ever."""
    above = None if task.parent_nursery is None else task.parent_nursery._cancel_status
    status: Any = task._cancel_status
    while status is not None and status is not above:
        if status._scope.shield and status._scope.deadline == math.inf:
            return True
        status = status._parent
    return False


def _file_of(task: trio.lowlevel.Task) -> str:
    """Of the innermost line that a task waits at, trio's own left out."""
    files = [frame.f_code.co_filename for frame, _ in task.iter_await_frames()]
    return next((file for file in reversed(files) if not file.startswith(_TRIO)), _TRIO)


def _where(task: trio.lowlevel.Task) -> str:
    """The innermost line of the program that a task waits at, trio's own left out."""
    where = ""
    for frame, line in task.iter_await_frames():
        file = frame.f_code.co_filename
        if not file.startswith(_TRIO):
            text = linecache.getline(file, line).strip()
            where = f" waits at {file.rpartition('/')[2]}:{line}: {text}"
    return where
