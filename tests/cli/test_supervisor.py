"""The supervisor's policy with fake processes, on virtual time: deaths, delays, giving up, and the way to the end."""

import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_mcp.cli.supervisor import (
    FIRST_DELAY,
    LONGEST_DELAY,
    MARGIN,
    MOST_QUICK_DEATHS,
    STEADY,
    Bounds,
    Order,
    Stage,
    Supervisor,
    Up,
)

GRACE, CLEANUP = 100.0, 15.0


@attrs.define(eq=False)
class FakeProcess:
    """A process that a test lets live and die."""

    number: int
    pid: int
    began: float
    told: list[Order] = attrs.field(factory=list)
    closed: bool = False
    killed: float | None = None
    code: int | None = None
    deaf_to_kill: bool = False
    serves: trio.Event = attrs.field(factory=trio.Event)
    ended: trio.Event = attrs.field(factory=trio.Event)

    async def up(self) -> Up | None:
        await self.serves.wait()
        if self.code is not None:
            return None
        return Up(banner=f"fake {self.number}", bounds=Bounds(grace=GRACE, cleanup=CLEANUP))

    async def wait(self) -> int:
        await self.ended.wait()
        assert self.code is not None
        return self.code

    def tell(self, order: Order) -> None:
        self.told.append(order)

    def kill(self) -> None:
        self.killed = trio.current_time()
        if not self.deaf_to_kill:
            self.die(-signal.SIGKILL)

    def close(self) -> None:
        self.closed = True

    def die(self, code: int = 0) -> None:
        self.code = code
        self.serves.set()
        self.ended.set()


class Yard:
    """All processes that were started, by the number of their worker, and what the supervisor made known."""

    def __init__(self, count: int, on_start: Callable[[FakeProcess], None]) -> None:
        self.all: list[FakeProcess] = []
        self.said: list[str] = []
        self.stopped = 0
        self.code: int | None = None
        self.on_start = on_start
        self.starting: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        self.supervisor = Supervisor(count, self.start, announce=self.said.append, stopping=self.stopping)

    async def start(self, number: int) -> FakeProcess:
        await self.starting()
        process = FakeProcess(number, 1000 + len(self.all), trio.current_time())
        self.all.append(process)
        self.on_start(process)
        return process

    def stopping(self) -> None:
        self.stopped += 1

    def of(self, number: int) -> list[FakeProcess]:
        return [process for process in self.all if process.number == number]

    def living(self, number: int) -> FakeProcess:
        process = self.of(number)[-1]
        assert process.code is None
        return process

    async def run(self) -> None:
        self.code = await self.supervisor.run()

    def signalled(self) -> None:
        self.supervisor.signalled("SIGTERM")


def serves(process: FakeProcess) -> None:
    process.serves.set()


@asynccontextmanager
async def working(count: int = 2, on_start: Callable[[FakeProcess], None] = serves) -> AsyncIterator[Yard]:
    """A supervisor at work; at the end what still lives is told to stop, and does."""
    place = Yard(count, on_start)
    with trio.fail_after(100_000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(place.run)
            await wait_all_tasks_blocked()
            yield place
            if place.code is None and place.supervisor.stage is Stage.SERVING:
                place.signalled()
            for process in place.all:
                if process.code is None:
                    process.die()
    assert place.code is not None
    assert all(process.closed for process in place.all)


# Starting


def waits(process: FakeProcess) -> None:
    """It is still starting."""


async def test_the_first_worker_starts_alone_and_the_others_together(autojump_clock):
    async with working(3, waits) as place:
        assert [process.number for process in place.all] == [1]
        place.all[0].serves.set()
        await wait_all_tasks_blocked()
        assert sorted(process.number for process in place.all) == [1, 2, 3]
        place.all[1].serves.set()
        await wait_all_tasks_blocked()
        assert place.said == []
        place.all[2].serves.set()
        await wait_all_tasks_blocked()
        assert place.said == ["fake 1"]
    assert place.code == 0


async def test_a_first_worker_that_cannot_begin_is_the_end_with_its_exit_code_and_no_other_is_started(autojump_clock):
    async with working(3, lambda process: process.die(2)) as place:
        assert place.code == 2
    assert len(place.all) == 1
    assert place.said == []


async def test_a_later_worker_that_cannot_begin_lets_the_others_go_gracefully(autojump_clock):
    async with working(2, lambda process: process.die(2) if process.number == 2 else serves(process)) as place:
        assert place.code is None
        assert place.living(1).told == [Order.STOP]
        await trio.sleep(GRACE - 1)  # a response in flight
        place.living(1).die()
    assert place.code == 2
    assert place.said == []
    assert place.stopped == 1


async def test_a_worker_that_is_killed_before_it_is_up_is_told_and_is_exit_code_one(autojump_clock, caplog):
    async with working(1, lambda process: process.die(-signal.SIGKILL)) as place:
        assert place.code == 1
    assert "worker 1 (process 1000) was killed by SIGKILL before it was up" in caplog.text


async def test_a_signal_without_a_name_is_told_by_its_number(autojump_clock, caplog):
    async with working(1, lambda process: process.die(-40)) as place:
        assert place.code == 1
    assert "was killed by signal 40" in caplog.text


async def test_a_process_that_the_system_does_not_start_is_told(autojump_clock, caplog):
    async def refuse() -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(11, "Resource temporarily unavailable")

    place = Yard(2, serves)
    place.starting = refuse
    assert await place.supervisor.run() == 1
    assert place.all == []
    assert "worker 1 could not be started ([Errno 11] Resource temporarily unavailable)" in caplog.text


# Deaths


async def test_a_worker_that_dies_is_started_again_after_a_delay_and_its_sibling_is_left_alone(autojump_clock, caplog):
    async with working() as place:
        sibling = place.living(1)
        place.living(2).die(-signal.SIGKILL)
        died = trio.current_time()
        await trio.sleep(FIRST_DELAY * 1.5)
        assert place.living(2).began == died + FIRST_DELAY
        assert place.of(1) == [sibling]
        assert sibling.told == []
        assert place.of(2)[0].closed
    assert place.code == 0
    assert "was killed by SIGKILL; starting it again in 0.5 s" in caplog.text


@pytest.mark.parametrize("code", [0, 1, 2, 134])
async def test_a_worker_that_was_up_is_started_again_whatever_its_exit_code(code: int, autojump_clock, caplog):
    async with working() as place:
        place.living(1).die(code)
        await trio.sleep(1)
        assert len(place.of(1)) == 2
        assert f"ended with exit code {code}" in caplog.text
    assert place.code == 0


async def test_quick_deaths_are_answered_with_doubled_delays_and_in_the_end_with_giving_up(autojump_clock, caplog):
    async with working() as place:
        place.on_start = lambda process: None if process.number == 1 else process.die(-signal.SIGSEGV)
        place.living(2).die(-signal.SIGSEGV)
        await trio.sleep(10)
        began = [process.began for process in place.of(2)]
        delays = [later - earlier for earlier, later in pairwise(began)]
        assert delays == [FIRST_DELAY * 2**number for number in range(MOST_QUICK_DEATHS - 1)]
        assert place.living(1).told == [Order.STOP]
        assert place.code is None
    assert place.code == 1
    assert "was killed by SIGSEGV. That was 5 times in a row: giving up" in caplog.text


async def test_no_delay_is_longer_than_the_longest(autojump_clock, monkeypatch):
    monkeypatch.setattr("trio_mcp.cli.supervisor.MOST_QUICK_DEATHS", 20)
    async with working() as place:
        place.on_start = lambda process: process.die(1)
        place.living(2).die(1)
        await trio.sleep(1000)
        began = [process.began for process in place.of(2)]
        assert max(later - earlier for earlier, later in pairwise(began)) == LONGEST_DELAY


async def test_a_worker_that_was_steady_has_accidents_and_no_row_of_deaths(autojump_clock):
    async with working() as place:
        for _ in range(3 * MOST_QUICK_DEATHS):
            await trio.sleep(STEADY + 1)
            place.living(2).die(1)
            await trio.sleep(FIRST_DELAY * 1.1)  # it is there again after the first delay each time
        place.living(2)
        assert place.supervisor.stage is Stage.SERVING
    assert place.code == 0


async def test_a_restart_that_does_not_come_up_is_one_more_quick_death_and_no_end_by_itself(autojump_clock):
    async with working() as place:
        place.on_start = lambda process: process.die(2)
        place.living(2).die(1)
        await trio.sleep(FIRST_DELAY * 3.5)
        assert len(place.of(2)) == 3
        assert place.supervisor.stage is Stage.SERVING
        place.on_start = serves
        await trio.sleep(100)
        assert place.living(2).told == []
        assert place.living(1).told == []
    assert place.code == 0


async def test_a_restart_that_the_system_refuses_is_tried_again(autojump_clock, caplog):
    refusals = [OSError("no memory"), OSError("no memory")]

    async def refuse() -> None:
        await trio.lowlevel.checkpoint()
        if refusals:
            raise refusals.pop()

    async with working() as place:
        place.starting = refuse
        place.living(2).die(1)
        await trio.sleep(100)
        place.living(2)
        assert "worker 2 could not be started (no memory); starting it again in 1 s" in caplog.text


# The end


async def test_the_first_signal_is_told_once_and_a_slow_worker_outlives_a_quick_one(autojump_clock):
    async with working() as place:
        place.signalled()
        assert place.stopped == 1
        quick, slow = place.living(1), place.living(2)
        quick.die()
        await trio.sleep(GRACE - 1)
        assert (slow.told, slow.killed) == ([Order.STOP], None)
        assert place.code is None
        slow.die()
        await wait_all_tasks_blocked()
        assert place.code == 0
    assert len(place.all) == 2


async def test_a_worker_that_hangs_is_killed_after_its_own_bound_and_the_exit_code_says_so(autojump_clock, caplog):
    async with working() as place:
        hung = place.living(2)
        place.signalled()
        told = trio.current_time()
        place.living(1).die()
        await hung.ended.wait()
        assert hung.killed == told + GRACE + CLEANUP + MARGIN
    assert place.code == 1
    assert "worker 2 (process 1001) did not end in time: killing it" in caplog.text


async def test_even_a_killed_process_that_stays_is_not_waited_for_endlessly(autojump_clock):
    async with working(1) as place:
        place.living(1).deaf_to_kill = True
        place.signalled()
        await trio.sleep(GRACE + CLEANUP + MARGIN + 20)
        assert place.code == 1


async def test_a_second_signal_hurries_and_shortens_the_bound(autojump_clock):
    async with working() as place:
        place.signalled()
        await trio.sleep(10)
        place.signalled()
        hurried = trio.current_time()
        for process in place.all:
            assert process.told[0] is Order.STOP
            assert process.told[-1] is Order.HURRY
            assert process.killed is None
        place.living(1).die()
        await trio.sleep(CLEANUP + MARGIN + 1)
        assert place.of(2)[0].killed == hurried + CLEANUP + MARGIN
    assert place.code == 1


async def test_a_second_signal_never_gives_more_time(autojump_clock):
    async with working(1) as place:
        place.signalled()
        told = trio.current_time()
        await trio.sleep(GRACE + CLEANUP)
        place.signalled()
        await trio.sleep(MARGIN + 1)
        assert place.of(1)[0].killed == told + GRACE + CLEANUP + MARGIN


async def test_a_third_signal_kills_and_a_fourth_does_nothing(autojump_clock):
    async with working() as place:
        for _ in range(4):
            place.signalled()
        assert all(process.killed == trio.current_time() for process in place.all)
    assert place.code == 1


async def test_a_signal_while_a_worker_waits_to_be_started_again_starts_none(autojump_clock):
    async with working() as place:
        place.living(2).die(1)
        await wait_all_tasks_blocked()
        place.signalled()
        place.living(1).die()
        await trio.sleep(100)
        assert len(place.all) == 2
        assert place.code == 0


async def test_a_signal_while_a_process_is_being_started_reaches_it_when_it_is_there(autojump_clock):
    gate = trio.Event()
    async with working() as place:
        place.starting = gate.wait
        place.living(2).die(1)
        await trio.sleep(FIRST_DELAY * 2)
        place.signalled()
        place.signalled()
        place.living(1).die()
        gate.set()
        await wait_all_tasks_blocked()
        assert place.living(2).told == [Order.STOP, Order.HURRY]
    assert place.code == 0


async def test_a_signal_while_the_first_worker_starts_ends_it_and_starts_no_other(autojump_clock):
    async with working(2, waits) as place:
        place.signalled()
        assert place.all[0].told == [Order.STOP]
    assert place.code == 0
    assert len(place.all) == 1
    assert place.said == []


async def test_a_worker_that_ends_badly_when_told_to_stop_is_exit_code_one(autojump_clock, caplog):
    async with working() as place:
        place.signalled()
        place.living(1).die(1)
    assert place.code == 1
    assert "ended with exit code 1 after it was told to stop" in caplog.text


@pytest.mark.parametrize(("on_start", "code"), [(waits, 0), (serves, 1)])
async def test_a_signal_of_somebody_else_excuses_only_a_worker_that_was_not_up(on_start, code: int, autojump_clock):
    async with working(1, on_start) as place:
        place.signalled()
        place.all[0].die(-signal.SIGTERM)
    assert place.code == code


async def test_signals_are_taken_one_by_one(autojump_clock, caplog):
    caplog.set_level(logging.INFO, "trio_mcp")
    async with working() as place:
        send, receive = trio.open_memory_channel[int](3)
        send.send_nowait(signal.SIGTERM)
        send.send_nowait(signal.SIGINT)
        send.close()
        await place.supervisor.obey(receive)
        assert place.supervisor.stage is Stage.HURRYING
    assert "received SIGTERM: telling 2 workers to stop" in caplog.text
    assert "received SIGINT again: hurrying 2 workers" in caplog.text
