"""`Scheduler`: the order in which trio's tasks run, chosen from the seed, recorded and played back.

Trio runs tasks in batches: all that are runnable, then all that those made runnable. Within a batch any order is
allowed, and production shuffles. Here the plain order is first in, first out, and each place where a run leaves it is
a choice of `chance`. Tasks that one step made runnable together count in the order in which they were spawned: trio
keeps them in sets, whose order is that of memory addresses.

It refuses to hold a task back beyond its batch: real trio never does.
"""

from collections.abc import Callable
from typing import Any, Final

import trio

from trio_mcp.testing.chance import Chance

#: How often the dice decide, in one run: a few surprises find other bugs than many.
_ODDS: Final = (0.03, 0.1, 0.3, 1.0)
_PLACES: Final = 64
"""Choices within one batch; in a larger one the tasks behind them run in their plain order."""


class Scheduler(trio.abc.Instrument):
    """Stands in for trio's generator of random numbers, and counts the steps of a run.

    Attributes:
        step: task steps so far.
        batches: batches of more than one task so far.
        stop: end the run here and now, whatever its tasks want.
        on_step: called after every step, with its number.
        on_deviation: called for each batch that left the plain order: its number, the task that ran too early, and the
            one that should have run then.
    """

    def __init__(self, chance: Chance) -> None:
        self.step = 0
        self.batches = 0
        self.stop = False
        self.on_step: Callable[[int], None] | None = None
        self.on_deviation: Callable[[int, Any, Any], None] | None = None
        self._draws = chance.draws("order")
        self._woken: dict[Any, tuple[int, int]] = {}
        self._dice = chance.generator("dice of the order")
        self._choose: Callable[[list[Any]], int] | None = None
        self._priorities: dict[Any, float] = {}
        if chance.given is None and chance.seed:  # seed 0 is the plain order
            self._choose, self._odds = self._by_dice, self._dice.choice(_ODDS)
            if self._dice.random() < 0.4:
                self._choose = self._by_priority
        self._plays_back = bool(chance.given)

    # trio's instrument

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        """It was made runnable."""
        self._woken[task] = (self.step, task._counter)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It has run."""
        self.step += 1
        if self.on_step is not None:
            self.on_step(self.step)

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """It has ended."""
        self._priorities.pop(task, None)

    def forget(self) -> None:
        """Let go of all tasks."""
        self._woken.clear()
        self._priorities.clear()

    # trio's generator

    def random(self) -> float:
        """Where trio only asks whether to reverse a batch: no."""
        return 1.0

    def shuffle(self, batch: list[Any]) -> None:
        """Put a batch into the order in which it will run; trio takes from the end.

        Raises:
            RuntimeError: once `stop` is set; trio then ends the run as it stands.
        """
        if self.stop:
            raise RuntimeError("the run was stopped")
        woken = self._woken
        if len(batch) > 1:
            batch.sort(key=woken.__getitem__)
            self.batches += 1
            if self._choose is not None or self._plays_back:
                self._deviate(batch)
            batch.reverse()
        woken.clear()

    def _deviate(self, batch: list[Any]) -> None:
        plain, told = batch.copy(), False
        for place in range(min(len(batch) - 1, _PLACES)):
            wanted = 0 if self._choose is None else self._choose(plain)
            chosen = self._draws.take(wanted, self.batches * _PLACES + place, len(plain))
            if chosen and not told and self.on_deviation is not None:
                told = True
                self.on_deviation(self.batches, plain[chosen], plain[0])
            batch[place] = plain.pop(chosen)
        batch[len(batch) - len(plain) :] = plain

    def _by_dice(self, waiting: list[Any]) -> int:
        if self._odds < 1 and self._dice.random() >= self._odds:
            return 0
        return self._dice.randrange(len(waiting))

    def _by_priority(self, waiting: list[Any]) -> int:
        """Each task has a rank that now and then changes: so one can be late again and again, as on a busy machine."""
        ranks = self._priorities
        for task in waiting:
            if task not in ranks or self._dice.random() < self._odds / 20:
                ranks[task] = self._dice.random()
        return min(range(len(waiting)), key=lambda index: ranks[waiting[index]])


def batch_of(number: int) -> int:
    """The batch that a choice of the order belongs to."""
    return number // _PLACES
