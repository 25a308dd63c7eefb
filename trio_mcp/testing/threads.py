"""Threads of a simulated run: real ones, and at any moment either one of them runs or the loop does.

Theory of operation. `Threads.run_sync` stands in for `trio.to_thread.run_sync`. The loop starts a thread and stands
still until the thread says something: that it is done, or that it wants something done in the loop (`trio.from_thread`)
or wants to sleep (`time.sleep`, which takes virtual time). What it wants is awaited for it by a task, and only then do
other tasks run, and time passes. So the order of everything is the scheduler's alone. A thread that is abandoned goes
on, and the run does not end before it.

It refuses to wait for a thread that waits for anything else (a lock that another thread holds, the real network): it
cannot know when that ends.
"""

import contextvars
import inspect
import queue
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import attrs
import outcome
import trio

T = TypeVar("T")

#: Real seconds that a thread may be silent.
SILENCE: Final = 10.0


class ThreadStuckError(AssertionError):
    """A thread neither ended nor asked for anything; where it stands."""


@attrs.frozen
class _Wish:
    """What a thread wants awaited in the loop."""

    wanted: Callable[[], Awaitable[Any]]
    context: contextvars.Context


class _Guest:
    """One thread, seen from both sides."""

    def __init__(self, body: Callable[[], Any], name: str, silence: float) -> None:
        self._silence = silence
        self._said: queue.SimpleQueue[outcome.Outcome[Any] | _Wish] = queue.SimpleQueue()
        self._granted: queue.SimpleQueue[outcome.Outcome[Any]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(body,), name=name, daemon=True)
        self.number: int | None = None
        self.cancel: Callable[[], Any] | None = None

    def _run(self, body: Callable[[], Any]) -> None:
        self.number = threading.get_ident()
        self._said.put(outcome.capture(body))  # kept in no variable: an error would lead back to it over its frames

    # In the thread

    def ask(self, wanted: Callable[[], Awaitable[T]]) -> T:
        """Have something awaited in the loop."""
        self._said.put(_Wish(wanted, contextvars.copy_context()))
        granted: T = self._granted.get().unwrap()
        return granted

    # In the loop

    async def carry(self) -> outcome.Outcome[Any]:
        """Let the thread run to its end, and do what it asks for meanwhile. Cancellation: what it asked for is."""
        self._thread.start()
        while True:
            said = self._listen()
            if not isinstance(said, _Wish):
                self._thread.join()
                return said
            task = trio.lowlevel.current_task()
            before, task.context = task.context, said.context
            await trio.lowlevel.cancel_shielded_checkpoint()  # the context changes with it, here and below
            granted = await outcome.acapture(said.wanted)
            task.context = before
            await trio.lowlevel.cancel_shielded_checkpoint()
            self._granted.put(granted)
            del said, granted

    def _listen(self) -> outcome.Outcome[Any] | _Wish:
        try:
            return self._said.get(timeout=self._silence)
        except queue.Empty:
            frame = sys._current_frames().get(self.number or 0)
            where = "".join(traceback.format_stack(frame)[-3:]) if frame is not None else "nowhere\n"
            raise ThreadStuckError(
                f"the thread {self._thread.name!r} waits for something that is not simulated. Under simulation one "
                f"thread runs at a time: it may sleep, and ask for things by trio.from_thread, but not wait for what "
                f"another thread holds. It stands at\n{where}"
            ) from None


class Threads:
    """The threads of one run.

    Args:
        silence: real seconds that a thread may neither end nor ask for anything.

    Attributes:
        nursery: of the tasks that carry threads which may be abandoned; a simulated run sets its own. None: that of
            `trio.run`.
    """

    def __init__(self, silence: float = SILENCE) -> None:
        self.nursery: trio.Nursery | None = None
        self._silence = silence
        self._here = threading.local()
        self._count = 0
        self._running = 0
        self._all_ended = trio.lowlevel.ParkingLot()

    def guest(self) -> "_Guest | None":
        """The thread of this run that we are in; None in the loop, and in threads of others."""
        return getattr(self._here, "guest", None)

    async def ended(self) -> None:
        """Until no thread runs any more. Cancellation: nothing happened."""
        await trio.lowlevel.checkpoint()
        while self._running:
            await self._all_ended.park()

    # In place of trio.to_thread

    async def run_sync(
        self,
        sync_fn: Callable[..., T],
        *args: Any,
        thread_name: str | None = None,
        abandon_on_cancel: bool = False,
        limiter: trio.CapacityLimiter | None = None,
    ) -> T:
        """As `trio.to_thread.run_sync`.

        Raises:
            ThreadStuckError: the thread waits for something that is not simulated.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        limiter = limiter or trio.to_thread.current_default_thread_limiter()
        guest = self._make(sync_fn, args, thread_name or str(getattr(sync_fn, "__name__", "thread")))
        await limiter.acquire_on_behalf_of(guest)
        self._running += 1
        if not abandon_on_cancel:
            # Between its start and its end everything else may run, as beside a real one.
            await trio.lowlevel.cancel_shielded_checkpoint()
            result = await self._carry(guest, limiter)
            await trio.lowlevel.cancel_shielded_checkpoint()
            value: T = result.unwrap()
            return value
        waits: list[trio.lowlevel.Task | None] = [trio.lowlevel.current_task()]
        run_nursery = self.nursery or _nursery_of_the_run()
        run_nursery.start_soon(self._carry_alone, guest, limiter, waits, name=f"carry thread {self._count}")

        def abandon(raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
            guest.cancel, waits[0] = raise_cancel, None
            return trio.lowlevel.Abort.SUCCEEDED

        given: T = await trio.lowlevel.wait_task_rescheduled(abandon)
        return given

    def _make(self, sync_fn: Callable[..., T], args: tuple[Any, ...], name: str) -> _Guest:
        context = contextvars.copy_context()
        self._count += 1

        def body() -> T:
            self._here.guest = guest
            value = context.run(sync_fn, *args)
            if inspect.iscoroutine(value):
                value.close()
                raise TypeError(f"trio expected a sync function, but {name!r} appears to be asynchronous")
            return value

        guest = _Guest(body, name, self._silence)
        return guest

    async def _carry(self, guest: _Guest, limiter: trio.CapacityLimiter) -> outcome.Outcome[Any]:
        try:
            return await guest.carry()
        finally:
            limiter.release_on_behalf_of(guest)
            self._running -= 1
            if not self._running:
                self._all_ended.unpark_all()

    async def _carry_alone(
        self, guest: _Guest, limiter: trio.CapacityLimiter, waits: list[trio.lowlevel.Task | None]
    ) -> None:
        """In a task of its own, so that it outlives who waits for it."""
        result: outcome.Outcome[Any]
        try:
            result = await self._carry(guest, limiter)
        except ThreadStuckError as error:
            result = outcome.Error(error)
        if waits[0] is not None:
            trio.lowlevel.reschedule(waits[0], result)

    # In place of trio.from_thread

    def run(self, real: Callable[..., Any], afn: Callable[..., Awaitable[T]], *args: Any, **options: Any) -> T:
        """As `trio.from_thread.run`; `real` is that, for threads that are not of this run."""
        guest = self.guest()
        if guest is None:
            value: T = real(afn, *args, **options)
            return value
        return guest.ask(lambda: afn(*args))

    def run_in_loop(self, real: Callable[..., Any], fn: Callable[..., T], *args: Any, **options: Any) -> T:
        """As `trio.from_thread.run_sync`."""
        guest = self.guest()
        if guest is None:
            value: T = real(fn, *args, **options)
            return value
        return guest.ask(lambda: _at_once(fn, args))

    def check_cancelled(self, real: Callable[[], None]) -> None:
        """As `trio.from_thread.check_cancelled`."""
        guest = self.guest()
        if guest is None:
            real()
        elif guest.cancel is not None:
            guest.cancel()
        else:
            guest.ask(trio.lowlevel.checkpoint_if_cancelled)

    def sleep(self, guest: _Guest, seconds: float) -> None:
        """Sleep in a thread: no cancellation ends it."""
        guest.ask(lambda: _sleep(seconds))


def _nursery_of_the_run() -> trio.Nursery:
    """In which trio runs the main task: what is in it outlives every task that could abandon a thread."""
    task = trio.lowlevel.current_task()
    nursery = task.parent_nursery
    while nursery is not None and (outer := nursery.parent_task.parent_nursery) is not None:
        nursery = outer
    assert nursery is not None, "within trio.run"
    return nursery


async def _at_once(fn: Callable[..., T], args: tuple[Any, ...]) -> T:
    return fn(*args)


async def _sleep(seconds: float) -> None:
    with trio.CancelScope(shield=True):  # as long as the thread says: nothing wakes a thread
        await trio.sleep(seconds)
