"""Shrinking on made-up failures: the smallest set within the budget, and nothing that does not fail."""

import random
from collections.abc import Callable

import pytest

from trio_mcp.testing.chance import Deviations
from trio_mcp.testing.shrink import shrink

MANY: Deviations = {("order", number): 1 + number % 7 for number in range(100)}


class Failing:
    """A failure that needs certain deviations; counts how often it was asked."""

    def __init__(self, needs: Callable[[set[int]], bool]) -> None:
        self.asked = 0
        self.tried: list[Deviations] = []
        self._needs = needs

    def __call__(self, deviations: Deviations) -> bool:
        self.asked += 1
        self.tried.append(dict(deviations))
        return self._needs({number for _, number in deviations})


def numbers(deviations: Deviations) -> set[int]:
    return {number for _, number in deviations}


@pytest.mark.parametrize(
    "needed", [{0}, {99}, {50}, {3, 97}, {10, 11, 12}, {1, 20, 40, 60, 80}, set(range(0, 100, 11))]
)
def test_what_is_needed_is_found_and_nothing_else_is_left(needed: set[int]):
    fails = Failing(lambda some: needed <= some)
    smallest, spent = shrink(MANY, fails, 1000)
    assert numbers(smallest) == needed
    assert spent == fails.asked < 400


def test_one_of_a_hundred_is_found_in_a_few_runs():
    fails = Failing(lambda some: 42 in some)
    shrink(dict.fromkeys(MANY, 1), fails, 1000)
    assert fails.asked < 30


def test_what_fails_without_any_deviation_takes_one_run():
    fails = Failing(lambda some: True)
    assert shrink(MANY, fails, 1000) == ({}, 1)


@pytest.mark.parametrize("seed", range(20))
def test_of_a_failure_with_several_causes_one_is_left_and_none_of_it_can_be_spared(seed: int):
    dice = random.Random(seed)
    causes = [frozenset(dice.sample(range(100), dice.randint(1, 4))) for _ in range(4)]
    fails = Failing(lambda some: any(cause <= some for cause in causes))
    smallest, _ = shrink(MANY, fails, 2000)
    left = numbers(smallest)
    assert fails(smallest)
    assert all(not any(cause <= left - {number} for cause in causes) for number in left), "each one is needed"


def test_a_failure_that_needs_an_even_number_is_shrunk_to_one_that_loses_it_with_any():
    fails = Failing(lambda some: len(some) % 2 == 0 and {5, 6} <= some)
    smallest, _ = shrink(MANY, fails, 2000)
    assert fails(smallest)
    assert all(not fails({k: v for k, v in smallest.items() if k != key}) for key in smallest)


def test_choices_become_as_small_as_still_fail():
    given = {("order", 1): 9, ("pieces", 2): 40, ("stalls", 0): 1}

    def fails(some: Deviations) -> bool:
        return some.get(("order", 1), 0) >= 1 and some.get(("pieces", 2), 0) >= 15

    smallest, _ = shrink(given, fails, 100)
    assert smallest[("order", 1)] == 1
    assert 15 <= smallest[("pieces", 2)] < 40
    assert ("stalls", 0) not in smallest


@pytest.mark.parametrize("most", [0, 1, 2, 5, 17, 60])
def test_no_more_runs_are_spent_than_may_be_and_what_is_left_fails(most: int):
    fails = Failing(lambda some: {10, 30, 50, 70, 90} <= some)
    smallest, spent = shrink(MANY, fails, most)
    assert spent == fails.asked <= most
    assert {10, 30, 50, 70, 90} <= numbers(smallest)
    assert smallest == MANY or smallest in fails.tried


def test_nothing_is_asked_twice():
    fails = Failing(lambda some: {10, 30, 50, 70, 90} <= some)
    shrink(MANY, fails, 1000)
    tried = [tuple(sorted(some.items())) for some in fails.tried]
    assert len(tried) - len(set(tried)) <= len(tried) // 10, "or hardly anything"


def test_what_was_given_is_left_alone():
    given = dict(MANY)
    shrink(given, lambda some: 3 in numbers(some), 1000)
    assert given == MANY
