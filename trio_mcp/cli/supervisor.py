"""The supervisor of `--workers N`: it keeps N processes alive, tells them to go, and knows what to make of their ends.

It owns the policy: who is started when, what a death means, who waits how long for whom. It refuses to know what a
process is (`trio_mcp.cli.workers` starts real ones, tests have fakes) and what is served.

Theory of operation. One task a worker goes round: start a process, wait until it is up, wait until it ends. Nothing in
that round looks at siblings, so one that ends never takes another with it. What is common to all is the stage:

    serving --signal--> stopping --signal--> hurrying --signal--> killing

A stage is entered once, tells every living process, and sets how long each may still take; a process that is started
meanwhile is told when it is there. The stage also becomes `stopping` when going on makes no sense: a first start that
failed, or a worker that dies again and again. `run` ends with the last process.
"""

import enum
import logging
import math
import signal
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Final, Protocol

import attrs
import trio

from trio_mcp.cli.errors import FAILED
from trio_mcp.settings import Settings

_log = logging.getLogger("trio_mcp.supervisor")

FIRST_DELAY: Final = 0.5
"""Seconds before a worker that died is started again; the delay doubles with each quick death in a row."""
LONGEST_DELAY: Final = 30.0
STEADY: Final = 60.0
"""Seconds of serving after which a death is an accident, and no more one in a row."""
MOST_QUICK_DEATHS: Final = 5
"""Quick deaths in a row of one worker after which it makes no sense to go on."""
MARGIN: Final = 5.0
"""Seconds that a worker may take beyond what its own limits add up to, before it counts as hung."""
REAPING: Final = 10.0
"""Seconds until a killed process is given up: the kernel ends it at once, but for a disk that does not answer."""


class Order(enum.Enum):
    """What a worker is told."""

    STOP = "stop"
    HURRY = "hurry"


class Stage(enum.IntEnum):
    """How far the end has come."""

    SERVING = 0
    STOPPING = 1
    HURRYING = 2
    KILLING = 3


@attrs.frozen(kw_only=True)
class Bounds:
    """How long a worker takes to go, in seconds.

    Attributes:
        grace: for calls in flight, once it is told to stop.
        cleanup: for everything after that, or once it is told to hurry.
    """

    grace: float
    cleanup: float

    @classmethod
    def of(cls, settings: Settings) -> "Bounds":
        """What the shutdown of one server adds up to: calls, connections and the lifespan clean up in turn."""
        return cls(grace=settings.shutdown_grace, cleanup=3 * settings.cleanup_timeout)


@attrs.frozen(kw_only=True)
class Up:
    """What a worker says once it serves.

    Attributes:
        banner: what is served where, for people.
    """

    banner: str
    bounds: Bounds


class Process(Protocol):
    """One running worker."""

    @property
    def pid(self) -> int:
        """Its number at the system."""

    async def up(self) -> Up | None:
        """Wait until it serves; None: it will not any more."""

    async def wait(self) -> int:
        """Wait for its end: the exit code, or the negative number of the signal that killed it."""

    def tell(self, order: Order) -> None:
        """Tell it, without waiting; one that is gone hears nothing."""

    def kill(self) -> None:
        """End it at once."""

    def close(self) -> None:
        """Give up what leads to it."""


@attrs.define(eq=False)
class _Life:
    """One process from its start to its end."""

    number: int
    process: Process
    scope: trio.CancelScope
    bounds: Bounds
    served: float = math.nan
    killed: bool = False

    def __str__(self) -> str:
        return f"worker {self.number} (process {self.process.pid})"

    @property
    def came_up(self) -> bool:
        return not math.isnan(self.served)


class Supervisor:
    """Keeps `count` workers.

    Args:
        start: starts the process of a worker, by its number; raises OSError where that is not possible.
        announce: called once, with what the first worker says, when all are up.
        stopping: called once, when the first of them is about to be told to stop.
    """

    def __init__(
        self,
        count: int,
        start: Callable[[int], Awaitable[Process]],
        *,
        announce: Callable[[str], None] = lambda banner: None,
        stopping: Callable[[], None] = lambda: None,
    ) -> None:
        self.count = count
        self.stage = Stage.SERVING
        self._start = start
        self._announce = announce
        self._when_stopping = stopping
        self._code = 0
        self._banner = ""
        self._lives: set[_Life] = set()
        self._stopping = trio.Event()

    async def run(self) -> int:
        """Keep the workers until the last has ended; the exit code for the whole.

        0: told to stop, and all ended well. Else that of a worker that could not begin, or 1: one died again and again,
        or ended badly, or had to be killed.

        The first is started alone, so that a fault of the server itself is told once.

        Cancellation: workers are left to themselves, and end when they notice that nobody is there.
        """
        async with trio.open_nursery() as supervisor_nursery:
            settled = [trio.Event() for _ in range(self.count)]
            for number, event in enumerate(settled, 1):
                if self.stage is Stage.SERVING:
                    supervisor_nursery.start_soon(self._keep, number, event, name=f"keep worker {number}")
                    if number == 1:
                        await event.wait()
                else:
                    event.set()
            for event in settled:
                await event.wait()
            if self.stage is Stage.SERVING:
                self._announce(self._banner)
        return self._code

    async def obey(self, signals: AsyncIterable[int]) -> None:
        """Go one stage further with each signal."""
        async for number in signals:
            self.signalled(signal.Signals(number).name)

    def signalled(self, name: str) -> None:
        """The first signal stops, the second hurries, the third kills."""
        count = f"{len(self._lives)} worker{'' if len(self._lives) == 1 else 's'}"
        if self.stage is Stage.SERVING:
            _log.info("received %s: telling %s to stop (again to hurry)", name, count)
            self._enter(Stage.STOPPING)
        elif self.stage is Stage.STOPPING:
            _log.info("received %s again: hurrying %s (again to kill)", name, count)
            self._enter(Stage.HURRYING)
        elif self.stage is Stage.HURRYING:
            _log.warning("received %s a third time: killing %s", name, count)
            self._enter(Stage.KILLING)

    # The end

    def _enter(self, stage: Stage) -> None:
        if self.stage is Stage.SERVING:
            self._when_stopping()
        self.stage = stage
        self._stopping.set()
        for life in self._lives:
            self._tell(life)

    def _give_up(self, code: int) -> None:
        """End the whole because of one."""
        self._code = self._code or code
        if self.stage is Stage.SERVING:
            self._enter(Stage.STOPPING)

    def _tell(self, life: _Life) -> None:
        """Let one process know the stage, and how long it has."""
        now, bounds = trio.current_time(), life.bounds
        if self.stage is Stage.STOPPING:
            life.process.tell(Order.STOP)
            life.scope.deadline = now + bounds.grace + bounds.cleanup + MARGIN
        elif self.stage is Stage.HURRYING:
            life.process.tell(Order.STOP)
            life.process.tell(Order.HURRY)
            life.scope.deadline = min(life.scope.deadline, now + bounds.cleanup + MARGIN)
        elif self.stage is Stage.KILLING:
            self._kill(life)

    def _kill(self, life: _Life) -> None:
        if not life.killed:
            life.killed = True
            self._code = self._code or FAILED
            life.process.kill()

    # One worker

    async def _keep(self, number: int, settled: trio.Event) -> None:
        """Start a worker, and again when it dies, until the end; `settled` once it is up or the end has begun."""
        quick_deaths = 0
        try:
            while self.stage is Stage.SERVING:
                ended = await self._live(number, settled)
                if self.stage is not Stage.SERVING:
                    return
                if not settled.is_set():
                    self._could_not_begin(ended)
                    return
                steady = trio.current_time() - ended.served >= STEADY  # False for one that never came up
                quick_deaths = 1 if steady else quick_deaths + 1
                if quick_deaths >= MOST_QUICK_DEATHS:
                    _log.error("%s. That was %d times in a row: giving up", ended.how, quick_deaths)
                    self._give_up(FAILED)
                    return
                delay = min(FIRST_DELAY * 2 ** (quick_deaths - 1), LONGEST_DELAY)
                _log.error("%s; starting it again in %g s", ended.how, delay)
                with trio.move_on_after(delay):
                    await self._stopping.wait()
        finally:
            settled.set()

    def _could_not_begin(self, ended: "_End") -> None:
        """The first start of a worker failed; one that ended with a code of its own has said why."""
        if ended.code <= 0:
            _log.error("%s before it was up: cannot begin", ended.how)
        self._give_up(ended.code if ended.code > 0 else FAILED)

    async def _live(self, number: int, settled: trio.Event) -> "_End":
        """One process from its start to its end."""
        try:
            process = await self._start(number)
        except OSError as error:
            return _End(f"worker {number} could not be started ({error})", 0)
        life = _Life(number, process, trio.CancelScope(), Bounds.of(Settings()))
        self._lives.add(life)
        try:
            self._tell(life)  # what was said while it was being started
            code = await self._watch(life, settled)
        finally:
            self._lives.discard(life)
            process.close()
        end = _End(f"{life} {_manner(code)}", code, life.served)
        # One that was not up yet may have had a signal, sent to all, before it could take any.
        excused = life.killed or (not life.came_up and code in (-signal.SIGTERM, -signal.SIGINT))
        if code and self.stage is not Stage.SERVING and not excused:
            _log.error("%s after it was told to stop", end.how)
            self._code = self._code or FAILED
        return end

    async def _watch(self, life: _Life, settled: trio.Event) -> int:
        """Wait for the end of a process, for no longer than the stage allows; how it ended."""
        process = life.process
        with life.scope:
            up = await process.up()
            if up is not None:
                life.served, life.bounds = trio.current_time(), up.bounds
                self._banner = self._banner or up.banner
                _log.info("%s is up", life)
                settled.set()
            return await process.wait()
        _log.error("%s did not end in time: killing it", life)
        self._kill(life)
        with trio.move_on_after(REAPING):
            return await process.wait()
        return -signal.SIGKILL


@attrs.frozen
class _End:
    """How a worker ended, and since when it had served."""

    how: str
    code: int
    served: float = math.nan


def _manner(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
