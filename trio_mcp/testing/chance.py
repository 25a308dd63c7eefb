"""Chance: every choice of a simulated run, drawn from its seed, recorded, and played back.

A choice is a number; 0 is always the plain one: first in, first out, whole, at once, nothing breaks. What is recorded
is therefore only where a run left the plain way: its deviations. Each part of a run draws from a stream of its own, by
name, so that to take a choice away in one place moves none in another; that is what makes a failure shrink.
"""

import random
from collections.abc import Mapping
from typing import TypeAlias

#: (name of the stream, number of the draw in it) to the choice, where that is not 0.
Deviations: TypeAlias = dict[tuple[str, int], int]


class Draws:
    """One stream of choices.

    Attributes:
        name: whose choices these are.
        drawn: how many there have been.
    """

    __slots__ = ("_chance", "_given", "_random", "drawn", "name")

    def __init__(self, chance: "Chance", name: str) -> None:
        self.name = name
        self.drawn = 0
        self._chance = chance
        self._given = chance.given
        self._random = random.Random(f"{chance.seed} {name}")

    def pick(self, choices: int, odds: float = 1) -> int:
        """One of `choices` choices from 0 on; the plain one unless the dice fall within `odds`."""
        choice = 0
        if self._given is None and choices > 1 and (odds >= 1 or self._random.random() < odds):
            choice = self._random.randrange(choices)
        return self._next(choice, choices)

    def happens(self, odds: float) -> bool:
        """Whether something happens that does not on the plain way."""
        return bool(self._next(int(self._given is None and self._random.random() < odds), 2))

    def _next(self, choice: int, choices: int) -> int:
        self.drawn += 1
        return self.take(choice, self.drawn - 1, choices)

    def take(self, choice: int, number: int, choices: int) -> int:
        """Note a choice of so many that somebody else made, under a number of theirs.

        Returns what is played back instead, where this run plays back.
        """
        if self._given is not None:
            choice = min(self._given.get((self.name, number), 0), choices - 1)
        if choice:
            self._chance.deviations[self.name, number] = choice
        return choice


class Chance:
    """All choices of one run.

    Args:
        seed: what they come from.
        given: play these deviations back instead; what is not among them is plain.

    Attributes:
        deviations: where this run left the plain way.
    """

    def __init__(self, seed: int, given: Mapping[tuple[str, int], int] | None = None) -> None:
        self.seed = seed
        self.given = given
        self.deviations: Deviations = {}
        self._streams: dict[str, Draws] = {}

    def draws(self, name: str) -> Draws:
        """The stream of that name."""
        found = self._streams.get(name)
        if found is None:
            found = self._streams[name] = Draws(self, name)
        return found

    def generator(self, name: str) -> random.Random:
        """A generator for what is no choice of the schedule or the network: ids, keys, a tool's own dice."""
        return random.Random(f"{self.seed} {name}")
