"""The supervisor of `--reload`: one server process at a time, replaced when a file has changed.

It owns the policy: when a change is whole, how long an old server may take, what a server that does not come up means.
The listening sockets stay open here all the time, so a connection that is made while no server is there waits, and the
next one serves it. What a process is, and how sockets come to it, is `workers`'; what a change is, is `watch`'s. It
refuses to load what is served: a fault in it ends a process and not the supervisor.

Theory of operation. Three tasks say what is the case: the watch (`_changed`), the process' own (`_Life.code`), the
signals (`stage`). Each wakes the round, which alone starts and ends processes:

    start -> serve until a change, an end or a signal -> let the change settle -> end it -> start …
"""

import logging
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import attrs
import trio

from trio_mcp.cli.balance import shared_memory
from trio_mcp.cli.supervisor import MARGIN, REAPING, Bounds, Order, Process, Stage
from trio_mcp.cli.watch import FileWatch
from trio_mcp.cli.workers import Inheritance, signals_taken, start_worker
from trio_mcp.settings import Settings

_log = logging.getLogger("trio_mcp.reload")

ALONE: Final = 0
"""The number of a process that shares its sockets with no other at the same time."""
SETTLED_AFTER: Final = 5.0
"""Seconds after which changes count as whole although more of them come."""
SHOWN: Final = 3
"""Changed files that are named."""


class Changes(Protocol):
    """What tells of changed files; `watch.FileWatch` is one."""

    async def next(self) -> list[Path]:
        """Wait for changes."""


@attrs.define(eq=False)
class _Life:
    """One process from its start to its end; `code` is None as long as it lives."""

    process: Process
    bounds: Bounds
    code: int | None = None
    up: bool = False

    @property
    def ended(self) -> bool:
        return self.code is not None


class Reloader:
    """Keeps one server process that runs what the files say now.

    Args:
        start: starts a process; raises OSError where that is not possible.
        changes: from which on files count.
        settings: `reload_grace` and `reload_quiet` are applied here; the other limits until a process says its own.
        say: tells people.
        stopping: called once, when no further process will come.
    """

    def __init__(
        self,
        start: Callable[[], Awaitable[Process]],
        changes: Changes,
        settings: Settings,
        say: Callable[[str], None] = lambda text: None,
        stopping: Callable[[], None] = lambda: None,
    ) -> None:
        self.stage = Stage.SERVING
        self._start = start
        self._changes = changes
        self._settings = settings
        self._say = say
        self._when_stopping = stopping
        self._changed: dict[Path, None] = {}
        self._count = 0
        self._news = trio.lowlevel.ParkingLot()

    async def run(self) -> None:
        """Serve until told to stop.

        Cancellation: the process is left to itself, and ends when it notices that nobody is there.
        """
        async with trio.open_nursery() as reload_nursery:
            reload_nursery.start_soon(self._gather, name="gather changed files")
            while self.stage is Stage.SERVING:
                self._changed.clear()
                await self._live(reload_nursery)
            reload_nursery.cancel_scope.cancel("told to stop")

    async def obey(self, signals: AsyncIterable[int]) -> None:
        """The first signal stops, the second hurries, the third kills."""
        async for number in signals:
            _log.info("received %s: stopping", signal.Signals(number).name)
            if self.stage is Stage.SERVING:
                self._when_stopping()
            self.stage = Stage(min(self.stage + 1, Stage.KILLING))
            self._news.unpark_all()

    # What is the case

    async def _gather(self) -> None:
        while True:
            found = await self._changes.next()
            self._changed |= dict.fromkeys(found)
            self._count += 1
            self._news.unpark_all()

    async def _attend(self, life: _Life) -> None:
        up = await life.process.up()
        if up is not None:
            life.up, life.bounds = True, up.bounds
            self._say(f"{up.banner}, again at each change. Ctrl-C to stop")
        life.code = await life.process.wait()
        self._news.unpark_all()

    async def _until(self, true: Callable[[], object]) -> None:
        while not true():
            await self._news.park()

    def _is_over(self) -> bool:
        return self.stage is not Stage.SERVING

    # The round

    async def _live(self, reload_nursery: trio.Nursery) -> None:
        """One process from its start to its end, and then until there is a reason for another."""
        try:
            process = await self._start()
        except OSError as error:
            self._say(f"the server could not be started ({error}); waiting for a change")
            await self._until(lambda: self._changed or self._is_over())
            return
        life = _Life(process, Bounds.of(self._settings))
        reload_nursery.start_soon(self._attend, life, name=f"attend process {process.pid}")
        try:
            await self._until(lambda: self._changed or life.ended or self._is_over())
            if life.ended and not self._changed and not self._is_over():
                self._say(f"{_manner(life)}; waiting for a change")
                await self._until(lambda: self._changed or self._is_over())
            if not self._is_over():
                await self._settle()
                self._say(f"changed: {self._what()}; loading again")
            if not life.ended:
                await self._end(life)
        finally:
            process.close()

    async def _settle(self) -> None:
        """Wait until no file has changed for `Settings.reload_quiet`; an editor or a checkout writes several."""
        with trio.move_on_after(SETTLED_AFTER):
            while not self._is_over():
                count = self._count
                with trio.move_on_after(self._settings.reload_quiet):
                    await self._until(lambda count=count: self._count != count or self._is_over())  # type: ignore[misc]
                if self._count == count:
                    return

    def _what(self) -> str:
        names = [str(path) for path in self._changed]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return ", ".join(names[:SHOWN]) + more

    async def _end(self, life: _Life) -> None:
        """Stop a process, then hurry it, then kill it."""
        grace = life.bounds.grace if self._is_over() else self._settings.reload_grace
        life.process.tell(Order.STOP)
        if not await self._ended(life, grace, Stage.HURRYING):
            life.process.tell(Order.HURRY)
        if not await self._ended(life, life.bounds.cleanup + MARGIN, Stage.KILLING):
            _log.error("the server did not end in time: killing process %d", life.process.pid)
            life.process.kill()
            await self._ended(life, REAPING, None)

    async def _ended(self, life: _Life, patience: float, stage: Stage | None) -> bool:
        """Wait for the end of a process, for so long and not beyond a stage; whether it has ended."""
        with trio.move_on_after(patience):
            await self._until(lambda: life.ended or (stage is not None and self.stage >= stage))
        return life.ended


def _manner(life: _Life) -> str:
    """How a process ended by itself; one that says why needs no more words here."""
    assert life.code is not None
    if life.code < 0:
        return f"the server was killed by signal {-life.code}"
    return f"the server ended with exit code {life.code}" if life.up else "the server did not start"


def run_reloading(
    sockets: Sequence[socket.socket],
    folders: Sequence[Path],
    patterns: Sequence[str],
    settings: Settings,
    say: Callable[[str], None],
) -> int:
    """Serve from bound sockets, what the files say now, until a signal ends it; the exit code.

    Raises:
        CliError: the system does not let it watch.
    """
    # Two changes within a second that leave a file as long as it was would find the bytecode of the first.
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    trio.run(_reloading, sockets, FileWatch(folders, patterns), settings, say)
    return 0


async def _reloading(
    sockets: Sequence[socket.socket], watch: FileWatch, settings: Settings, say: Callable[[str], None]
) -> None:
    # One secret for all of them: what a client was asked before a change it may answer after it.
    inheritance = Inheritance(sockets, shared_memory(1), secrets.token_bytes(32))
    with signals_taken() as signals:
        await watch.begin()
        reloader = Reloader(partial(start_worker, inheritance, ALONE), watch, settings, say, inheritance.close_sockets)
        async with trio.open_nursery() as reload_nursery:
            reload_nursery.start_soon(reloader.obey, signals, name="watch for signals")
            await reloader.run()
            reload_nursery.cancel_scope.cancel("the last server has ended")
    os.close(inheritance.memory)
