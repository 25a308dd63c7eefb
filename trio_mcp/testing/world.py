"""Under simulation chance, the wall clock and threads are the run's own: what a tool asks for is drawn from the seed.

Replaced for the time of one run, and put back after it: trio's order of tasks; `os.urandom`, and with it `secrets` and
`uuid4`; the module `random`; `time.time`, `time.monotonic`, `time.perf_counter` and their kin; `time.sleep`, which
takes virtual time; `trio.to_thread.run_sync` and `trio.from_thread`, so that threads take turns with the loop
(`threads`).
`datetime.now()` is written in C and stays the machine's.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from typing import Any, Final
from unittest.mock import patch

import trio
from trio._core import _run as trio_run
from trio.testing import MockClock

from trio_mcp.testing.chance import Chance
from trio_mcp.testing.schedule import Scheduler
from trio_mcp.testing.threads import Threads

#: What `time.time()` says when a run begins: 2026-01-01 00:00 UTC.
EPOCH: Final = 1_767_225_600.0


def _numbered(numbers: Iterator[int]) -> Callable[[object], int]:
    """In place of the address by which trio orders deadlines of one moment: the order in which they were set."""
    return lambda _: next(numbers)


@contextmanager
def threads_taken_over(clock: MockClock, threads: Threads) -> Iterator[None]:
    """Threads take turns with the loop, and sleep in virtual time, for the time of the block.

    Beside a mock clock that jumps they must: it would jump while a real one works.
    """
    loop, really_sleep = threading.get_ident(), vars(time)["sleep"]  # where no task is blocked by it

    def sleep(seconds: float) -> None:
        guest = threads.guest()
        if guest is not None:
            threads.sleep(guest, seconds)
        elif threading.get_ident() == loop:
            clock.jump(seconds)  # it blocks the loop: nothing else runs meanwhile
        else:
            really_sleep(seconds)

    replaced: list[tuple[Any, str, Any]] = [
        (time, "sleep", sleep),
        (trio.to_thread, "run_sync", threads.run_sync),
        (trio.from_thread, "run", partial(threads.run, trio.from_thread.run)),
        (trio.from_thread, "run_sync", partial(threads.run_in_loop, trio.from_thread.run_sync)),
        (trio.from_thread, "check_cancelled", partial(threads.check_cancelled, trio.from_thread.check_cancelled)),
    ]
    with ExitStack() as put_back:
        for where, name, what in replaced:
            put_back.enter_context(patch.object(where, name, what))
        yield


@contextmanager
def taken_over(chance: Chance, clock: MockClock, scheduler: Scheduler, threads: Threads) -> Iterator[None]:
    """Everything that is not the program's own choice comes from `chance` and `clock`, for the time of the block."""
    entropy = chance.generator("entropy").randbytes
    state = random.getstate()

    def wall() -> float:
        return EPOCH + clock.current_time()

    def nanoseconds() -> int:
        return int(clock.current_time() * 1e9)

    replaced: list[tuple[Any, str, Any]] = [
        (trio_run, "_r", scheduler),
        (trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
        (trio_run, "id", _numbered(count(1))),
        (os, "urandom", entropy),
        (random, "_urandom", entropy),
        (time, "time", wall),
        (time, "time_ns", lambda: int(wall() * 1e9)),
        (time, "monotonic", clock.current_time),
        (time, "monotonic_ns", nanoseconds),
        (time, "perf_counter", clock.current_time),
        (time, "perf_counter_ns", nanoseconds),
    ]
    with ExitStack() as put_back:
        put_back.enter_context(threads_taken_over(clock, threads))
        for where, name, what in replaced:
            put_back.enter_context(patch.object(where, name, what, create=name == "id"))
        put_back.callback(random.setstate, state)
        random.seed(f"{chance.seed} random")
        yield
