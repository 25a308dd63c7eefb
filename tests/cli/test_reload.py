"""The policy of `--reload`, in virtual time, with processes and files that are fakes."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from trio_mcp import Settings
from trio_mcp.cli.reload import SETTLED_AFTER, Reloader
from trio_mcp.cli.supervisor import MARGIN, Bounds, Order, Stage, Up
from trio_mcp.cli.watch import Relevant

SETTINGS = Settings(reload_grace=1, reload_quiet=0.25, shutdown_grace=9, cleanup_timeout=2)
BOUNDS = Bounds(grace=20, cleanup=6)


class Fake:
    """A process: it comes up at once and ends `seconds` after it is told to stop, or hurried."""

    def __init__(self, pid: int, *, stops: float = 0, hurries: float = 0, broken: bool = False) -> None:
        self.pid = pid
        self.told: list[Any] = []
        self.closed = False
        self.broken = broken
        self._code: int | None = 2 if broken else None
        self._takes = {Order.STOP: stops, Order.HURRY: hurries}
        self._ends = 0.0 if broken else float("inf")
        self._news = trio.lowlevel.ParkingLot()

    async def up(self) -> Up | None:
        await trio.lowlevel.checkpoint()
        return None if self.broken else Up(banner=f"served by {self.pid}", bounds=BOUNDS)

    async def wait(self) -> int:
        while trio.current_time() < self._ends:
            with trio.move_on_at(self._ends):
                await self._news.park()
        assert self._code is not None
        return self._code

    def end(self, code: int, after: float = 0) -> None:
        self._ends, self._code = min(self._ends, trio.current_time() + after), code
        self._news.unpark_all()

    def tell(self, order: Order) -> None:
        self.told.append((trio.current_time(), order))
        self.end(0, self._takes[order])

    def kill(self) -> None:
        self.told.append((trio.current_time(), "kill"))
        self.end(-9)

    def close(self) -> None:
        self.closed = True


@attrs.define(eq=False, slots=False)
class Place:
    """Where a reloader works: the processes it started, what it said, and hands to change files and send signals."""

    make: Callable[[int], Fake]
    all: list[Fake] = attrs.field(factory=list)
    said: list[str] = attrs.field(factory=list)
    stopped: list[int] = attrs.field(factory=list)
    ended: bool = False
    reloader: Reloader = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.change, self.changes = trio.open_memory_channel[list[Path]](100)
        self.signal, self.signals = trio.open_memory_channel[int](10)
        self.reloader = Reloader(
            self.start, self, SETTINGS, self.said.append, lambda: self.stopped.append(len(self.all))
        )

    async def next(self) -> list[Path]:
        return await self.changes.receive()

    async def start(self) -> Fake:
        await trio.lowlevel.checkpoint()
        process = self.make(len(self.all) + 1)
        assert all(one.closed for one in self.all), "two processes at a time"
        self.all.append(process)
        return process

    async def changes_to(self, *names: str) -> None:
        self.change.send_nowait([Path(name) for name in names])
        await trio.testing.wait_all_tasks_blocked()

    async def hears(self, number: int = signal.SIGINT) -> None:
        self.signal.send_nowait(number)
        await trio.testing.wait_all_tasks_blocked()

    async def run(self) -> None:
        await self.reloader.run()
        self.ended = True


@asynccontextmanager
async def place(make: Callable[[int], Fake] = Fake) -> AsyncIterator[Place]:
    made = Place(make)
    with trio.fail_after(10_000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.run)
            nursery.start_soon(made.reloader.obey, made.signals)
            await trio.testing.wait_all_tasks_blocked()
            yield made
            nursery.cancel_scope.cancel()


# Debounce


async def test_a_change_ends_the_process_and_starts_another_once_the_files_are_quiet(autojump_clock):
    async with place() as here:
        began = trio.current_time()
        await here.changes_to("a.py")
        await trio.sleep(0.24)
        assert here.all[0].told == []
        await trio.sleep(0.02)
        assert here.all[0].told == [(pytest.approx(began + 0.25), Order.STOP)]
        assert len(here.all) == 2
        assert here.said == [
            "served by 1, again at each change. Ctrl-C to stop",
            "changed: a.py; loading again",
            "served by 2, again at each change. Ctrl-C to stop",
        ]


async def test_changes_that_follow_each_other_are_one(autojump_clock):
    async with place() as here:
        for name in ("a.py", "b.py", "a.py", "c.py", "d.py"):
            await here.changes_to(name)
            await trio.sleep(0.2)
        assert len(here.all) == 1
        await trio.sleep(1)
        assert len(here.all) == 2
        assert "changed: a.py, b.py, c.py and 1 more; loading again" in here.said
        await trio.sleep(100)
        assert len(here.all) == 2


async def test_files_that_never_rest_do_not_put_it_off_for_ever(autojump_clock):
    async with place() as here:
        began = trio.current_time()
        while len(here.all) == 1:
            await here.changes_to("log.py")
            await trio.sleep(0.1)
        assert trio.current_time() - began == pytest.approx(SETTLED_AFTER, abs=0.2)


async def test_a_change_while_the_old_one_ends_is_in_the_new_one(autojump_clock):
    async with place(lambda number: Fake(number, stops=0.9)) as here:
        await here.changes_to("a.py")
        await trio.sleep(0.5)
        await here.changes_to("b.py")
        await trio.sleep(100)
        assert len(here.all) == 2


# The end of the old one


async def test_calls_have_the_grace_of_a_reload_and_are_then_hurried(autojump_clock):
    async with place(lambda number: Fake(number, stops=100, hurries=0.5)) as here:
        began = trio.current_time()
        await here.changes_to("a.py")
        await trio.sleep(10)
        [stop, hurry] = here.all[0].told
        assert stop == (pytest.approx(began + 0.25), Order.STOP)
        assert hurry == (pytest.approx(began + 1.25), Order.HURRY)
        assert len(here.all) == 2


async def test_one_that_does_not_end_is_killed_after_its_own_limits(autojump_clock):
    async with place(lambda number: Fake(number, stops=1000, hurries=1000)) as here:
        began = trio.current_time()
        await here.changes_to("a.py")
        await trio.sleep(100)
        assert here.all[0].told[2:] == [(pytest.approx(began + 1.25 + BOUNDS.cleanup + MARGIN), "kill")]
        assert len(here.all) == 2


# One that does not come up, or goes


async def test_one_that_cannot_begin_is_waited_out(autojump_clock):
    async with place(lambda number: Fake(number, broken=number in (1, 3))) as here:
        assert here.said == ["the server did not start; waiting for a change"]
        await trio.sleep(1000)
        assert len(here.all) == 1
        await here.changes_to("a.py")
        await trio.sleep(1)
        assert here.said[1:] == ["changed: a.py; loading again", "served by 2, again at each change. Ctrl-C to stop"]
        await here.changes_to("a.py")
        await trio.sleep(1)
        assert here.said[-1] == "the server did not start; waiting for a change"
        assert here.all[0].told == here.all[2].told == []


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (1, "the server ended with exit code 1; waiting for a change"),
        (0, "the server ended with exit code 0; waiting for a change"),
        (-9, "the server was killed by signal 9; waiting for a change"),
    ],
)
async def test_one_that_ends_by_itself_is_told_and_waited_out(code: int, says: str, autojump_clock):
    async with place() as here:
        here.all[0].end(code)
        await trio.sleep(1000)
        assert here.said[-1] == says
        await here.changes_to("a.py")
        await trio.sleep(1)
        assert len(here.all) == 2


async def test_one_that_the_system_does_not_start_is_told_and_waited_out(autojump_clock):
    def make(number: int) -> Fake:
        if not tries:
            tries.append(number)
            raise OSError(11, "no process")
        return Fake(number)

    tries: list[int] = []
    async with place(make) as here:
        assert here.said == ["the server could not be started ([Errno 11] no process); waiting for a change"]
        await here.changes_to("a.py")
        await trio.sleep(1)
        assert len(here.all) == 1


# Signals


async def test_the_first_signal_stops_with_the_grace_of_a_shutdown(autojump_clock):
    async with place(lambda number: Fake(number, stops=15)) as here:
        began = trio.current_time()
        await here.hears()
        await trio.sleep(14)
        assert not here.ended
        await trio.sleep(2)
        assert here.ended
        assert here.all[0].told == [(began, Order.STOP)]


async def test_the_second_hurries_and_the_third_kills(autojump_clock):
    async with place(lambda number: Fake(number, stops=1000, hurries=1000)) as here:
        await here.hears(signal.SIGTERM)
        assert [order for _, order in here.all[0].told] == [Order.STOP]
        assert here.stopped == [1]
        await here.hears(signal.SIGTERM)
        assert [order for _, order in here.all[0].told] == [Order.STOP, Order.HURRY]
        await here.hears(signal.SIGTERM)
        await trio.sleep(0.1)
        assert [order for _, order in here.all[0].told] == [Order.STOP, Order.HURRY, "kill"]
        assert here.ended
        assert here.stopped == [1]


async def test_a_signal_while_it_waits_for_a_change_ends_it_at_once(autojump_clock):
    async with place(lambda number: Fake(number, broken=True)) as here:
        began = trio.current_time()
        await here.hears()
        assert here.ended
        assert trio.current_time() == began


async def test_a_signal_while_it_reloads_ends_it_without_another_process(autojump_clock):
    async with place(lambda number: Fake(number, stops=0.5)) as here:
        await here.changes_to("a.py")
        await trio.sleep(0.4)
        await here.hears()
        await trio.sleep(1)
        assert here.ended
        assert len(here.all) == 1
        assert here.reloader.stage is Stage.STOPPING


async def test_a_signal_while_changes_settle_is_obeyed_at_once(autojump_clock):
    async with place() as here:
        await here.changes_to("a.py")
        await here.hears()
        assert here.ended
        assert len(here.all) == 1


# What counts as a change


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("/p/server.py", True),
        ("/p/package/deep/module.py", True),
        ("/p/.venv/lib/module.py", False),
        ("/p/.git/hook.py", False),
        ("/p/a/__pycache__/module.py", False),
        ("/p/node_modules/x/setup.py", False),
        ("/p/.#server.py", False),
        ("/p/server.py~", False),
        ("/p/server.pyc", False),
        ("/p/data.json", True),
        ("/p/templates/page.html", True),
        ("/p/other/page.html", False),
        ("/elsewhere/server.py", False),
        ("/q/.hidden/watched/server.py", True),
    ],
)
def test_python_files_count_and_those_that_are_asked_for(path: str, counts: bool):
    relevant = Relevant([Path("/p"), Path("/q/.hidden/watched")], ["*.json", "templates/*"])
    assert relevant(None, path) is counts
