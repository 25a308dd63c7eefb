"""One simulated run: a scenario under a mock clock, with its order, its network and its dice from one seed.

`simulate` runs one and says what became of it. What watches a run while it goes (a cut, a trace, bounds) hangs on the
scheduler's steps. It refuses to choose seeds: `explore` and `cutting` do.
"""

import gc
import logging
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import attrs
import trio
from trio.testing import MockClock

from trio_mcp.testing.chance import Chance, Deviations
from trio_mcp.testing.invariants import InvariantError, no_task_left, require
from trio_mcp.testing.network import Conditions, Network
from trio_mcp.testing.recorder import Recorder, only_cancelled
from trio_mcp.testing.schedule import Scheduler
from trio_mcp.testing.tasks import lift_shields, living_tasks, tree_of_tasks, where_it_hangs
from trio_mcp.testing.threads import Threads
from trio_mcp.testing.trace import Trace
from trio_mcp.testing.world import taken_over

Scenario = Callable[[], Awaitable[None]]

#: A run that is not done after so many virtual seconds hangs.
PATIENCE: Final = 4 * 3600.0
#: Virtual seconds that clean-ups may take once patience is at its end; then no shield helps any more.
_LAST_WORDS: Final = 300.0
#: Steps that what was cancelled then has to end; who swallows its cancellation is not waited for.
_LAST_STEPS: Final = 20_000
#: And one that made so many steps goes round in circles.
MOST_STEPS: Final = 500_000


class HangError(AssertionError):
    """A scenario did not end: what waited, and where."""


@attrs.define
class Outcome:
    """What became of one run.

    Attributes:
        error: what the scenario raised, or an `InvariantError`; None: all is well.
        deviations: where it left the plain way.
        steps, batches: how many task steps there were, and how many times there was an order to choose.
        seconds: virtual; `wall` is what it cost.
        trace: what happened, where that was wanted.
    """

    seed: int
    error: BaseException | None
    deviations: Deviations
    steps: int
    batches: int
    seconds: float
    wall: float
    trace: Trace | None = None

    @property
    def failure(self) -> str | None:
        """The failure in one line; None where there is none."""
        if self.error is None:
            return None
        leaf = self.error
        while isinstance(leaf, BaseExceptionGroup):
            leaf = leaf.exceptions[0]
        return f"{type(leaf).__name__}: {str(leaf).splitlines()[0] if str(leaf) else ''}"


class Simulation:
    """A run in progress; `current()` finds it.

    Attributes:
        seed: what everything comes from.
        chance: its choices.
        clock: its time.
        network: what servers and clients of this run are joined by unless they name another.
        scheduler: its order of tasks.
        threads: those that it started.
        servers: every simulated server of this run, in the order they were started.
        settling: before a server is shut down it must come to rest by itself.
        recorder: where the trace is written; None: nowhere.
        excuse: whether an error of the scenario is no failure.
        was_cut: something was done to a client on purpose, by `cut_everywhere` or `cancel_everywhere`.
    """

    def __init__(
        self,
        seed: int,
        given: Mapping[tuple[str, int], int] | None,
        conditions: Conditions | None,
        recorder: Recorder | None,
        *,
        settling: bool,
        excuse: Callable[[BaseException], bool],
    ) -> None:
        self.seed = seed
        self.chance = Chance(seed, given)
        self.clock = MockClock(autojump_threshold=0)
        self.scheduler = Scheduler(self.chance)
        self.network = Network(conditions=conditions, chance=self.chance)
        self.threads = Threads()
        self.recorder = recorder
        self.settling = settling
        self.excuse = excuse
        self.servers: list[Any] = []
        self.was_cut = False
        self.violations: list[str] = []
        self.hang: str | None = None
        self._scope = trio.CancelScope()
        self._on_step: list[Callable[[int], None]] = []
        self._failing = False
        self._last_step = MOST_STEPS

    def on_step(self, look: Callable[[int], None]) -> None:
        """Call `look(step)` after every task step."""
        self._on_step.append(look)

    def note(self, text: str) -> None:
        """Write a remark into the trace."""
        if self.recorder is not None:
            self.recorder.note(text)

    def fault(self, text: str) -> None:
        """Write into the trace what was done on purpose."""
        if self.recorder is not None:
            self.recorder.fault(text)

    def failing(self, error: BaseException) -> None:
        """Mark in the trace where the scenario fails: called by whoever sees the error first."""
        if self.recorder is not None and not self._failing and not self.excuse(error) and not only_cancelled(error):
            self._failing = True
            self.recorder.failed(error)

    def _step(self, step: int) -> None:
        try:
            self._look(step)
        except Exception as error:  # trio would only log it, and go on without the scheduler
            self.violations.append(f"what looks at each step failed: {error!r}")
            self._scope.cancel("what looks at each step failed")

    def _look(self, step: int) -> None:
        for look in self._on_step:
            look(step)
        if self.servers and not self.violations:
            for server in self.servers:
                self.violations += server.violations_now()
            for violation in self.violations:
                self.fault(f"this must not be: {violation}")
        if step > MOST_STEPS and self.hang is None:
            self.hang = f"the scenario made {step} steps and has not ended: something goes round in circles"
            self._last_step = step + _LAST_STEPS
            self._scope.cancel("too many steps")
        if self.hang is not None and step > self._last_step:
            self.scheduler.stop = True

    async def main(self, scenario: Scenario, patience: float) -> None:
        """The run itself: the scenario beside the network's carrier, until it ends or patience does."""
        self.scheduler.on_step = self._step
        trio.lowlevel.current_task().name = "scenario"
        async with trio.open_nursery() as simulation_nursery:
            self.threads.nursery = simulation_nursery
            await simulation_nursery.start(self.network.run, name="carry the network")
            simulation_nursery.start_soon(self._lose_patience, patience, name="watch for a hang")
            await trio.lowlevel.checkpoint()
            before = living_tasks()
            with self._scope:
                try:
                    await scenario()
                except (Exception, BaseExceptionGroup) as error:
                    self.failing(error)
                    raise
                await self.threads.ended()
            if self.hang is not None:
                raise HangError(self.hang)
            require(no_task_left(before))
            if self.recorder is not None:
                self.recorder.stop()
            simulation_nursery.cancel_scope.cancel("the scenario has ended")

    async def _lose_patience(self, patience: float) -> None:
        await trio.sleep(patience)
        where = where_it_hangs()
        said = f"the scenario has not ended after {patience:g} virtual seconds{where and f': {where}'}"
        self.hang = f"{said}\nWhat waits:\n{tree_of_tasks()}"
        self._last_step = self.scheduler.step + _LAST_STEPS
        self._scope.cancel("patience is at its end")
        await trio.sleep(_LAST_WORDS)
        lift_shields()


_current: Simulation | None = None


def current() -> Simulation | None:
    """The run that is in progress; None: this is no simulated run."""
    return _current


def note(text: str) -> None:
    """Write a remark into the trace of the run, if there is one: a test's or a tool's own."""
    if _current is not None:
        _current.note(text)


def simulate(
    scenario: Scenario,
    seed: int = 0,
    *,
    given: Mapping[tuple[str, int], int] | None = None,
    conditions: Conditions | None = None,
    prepare: Callable[[Simulation], None] = lambda simulation: None,
    patience: float = PATIENCE,
    settling: bool = False,
    trace: Trace | None = None,
    expect_errors: bool = False,
    excuse: Callable[[BaseException], bool] = lambda error: False,
) -> Outcome:
    """Run a scenario once, in virtual time. Raises nothing that the scenario raises: `Outcome.error` has it.

    Args:
        scenario: an async function without arguments; what it calls finds the run by `current()`.
        seed: what everything comes from; 0 is the plain order.
        given: play these deviations back instead.
        conditions: of the run's network.
        prepare: called with the run before it begins.
        patience: virtual seconds after which it hangs.
        settling: servers must come to rest by themselves before they are shut down.
        trace: write what happens there; it makes a run several times slower.
        expect_errors: what the server logs as an error is no failure.
        excuse: whether what the scenario raised is no failure; what else was found still is.
    """
    global _current
    if _current is not None:
        raise RuntimeError("a simulated run is in progress already, and cannot hold another")
    recorder = None if trace is None else Recorder(trace)
    simulation = Simulation(seed, given, conditions, recorder, settling=settling, excuse=excuse)
    instruments: list[trio.abc.Instrument] = [simulation.scheduler]
    began = time.perf_counter()
    error: BaseException | None = None
    with ExitStack() as around:
        if recorder is not None:
            instruments.append(recorder)
            around.enter_context(recorder.attached(simulation.clock, simulation.scheduler, simulation.network))
        logged = around.enter_context(_errors_logged())
        unraisable = around.enter_context(_unraisable())
        around.enter_context(taken_over(simulation.chance, simulation.clock, simulation.scheduler, simulation.threads))
        prepare(simulation)
        _current = simulation
        try:
            trio.run(simulation.main, scenario, patience, clock=simulation.clock, instruments=instruments)
        except (Exception, BaseExceptionGroup) as failure:
            if isinstance(failure, BaseExceptionGroup) and failure.subgroup(KeyboardInterrupt) is not None:
                raise KeyboardInterrupt from failure  # a person's will, and no outcome of the scenario
            error = _bare(failure)
            if isinstance(error, trio.TrioInternalError) and simulation.scheduler.stop:
                error = HangError(f"{simulation.hang}\nIt did not end when it was cancelled, either.")
                failure.__traceback__ = failure.__cause__ = failure.__context__ = None
        finally:
            _current = None
        if simulation.scheduler.stop:
            _bury(simulation)
            unraisable.clear()
    if error is not None and excuse(error):
        error = None
    found = [*simulation.violations, *unraisable, *(() if expect_errors else logged)]
    if found and error is None:
        error = InvariantError(found)
    if error is not None:
        simulation.failing(error)
    return Outcome(
        seed=seed,
        error=error,
        deviations=simulation.chance.deviations,
        steps=simulation.scheduler.step,
        batches=simulation.scheduler.batches,
        seconds=simulation.clock.current_time(),
        wall=time.perf_counter() - began,
        trace=trace,
    )


def _bury(simulation: Simulation) -> None:
    """Let what is left of a run go that was stopped as it stood: its tasks cannot end any more as tasks do."""
    simulation.scheduler.forget()
    simulation.threads.nursery = None
    simulation.network = Network()
    simulation._scope = trio.CancelScope()
    simulation.servers.clear()
    if simulation.recorder is not None:
        simulation.recorder.forget()
    for _ in range(4):  # a coroutine that is closed runs once more, and brings back what it holds until the next round
        gc.collect()


def _bare(error: BaseException) -> BaseException:
    """The error itself where nurseries have only wrapped it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


@contextmanager
def _errors_logged() -> Any:
    """What the package logs as an error, in words."""
    found: list[str] = []
    handler = _Collect(found)
    logger = logging.getLogger("trio_mcp")
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


class _Collect(logging.Handler):
    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self._note(record, text)
        # Others keep records, pytest for one: what hangs on them would stay in memory and count as left.
        record.msg, record.args = text, ()
        if record.exc_info:
            record.exc_text = record.exc_text or logging.Formatter().formatException(record.exc_info)
            record.exc_info = None

    def _note(self, record: logging.LogRecord, text: str) -> None:
        if record.levelno < logging.ERROR:
            return
        if record.exc_info and record.exc_info[0] is not None:
            text += ": " + "".join(traceback.format_exception_only(*record.exc_info[:2])).strip()
        self._found.append(f"the server logged an error: {record.name}: {text}")


@contextmanager
def _unraisable() -> Any:
    """Errors that nobody could raise, such as a coroutine that was never awaited."""
    found: list[str] = []
    before = sys.unraisablehook

    def collect(unraisable: Any) -> None:
        found.append(f"an error that nobody could raise: {unraisable.exc_value!r} in {unraisable.object!r}")

    sys.unraisablehook = collect
    try:
        yield found
    finally:
        sys.unraisablehook = before
