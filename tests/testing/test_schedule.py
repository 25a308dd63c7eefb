"""The order of tasks: first in, first out under seed 0, any order under others, recorded and played back exactly."""

import math
import random
from itertools import permutations
from typing import Any

import attrs
import pytest
import trio
from trio._core import _run as trio_run

from trio_mcp.testing import simulate
from trio_mcp.testing.chance import Chance
from trio_mcp.testing.schedule import Scheduler, batch_of


def order_of(seed: int, tasks: int = 3, rounds: int = 1, given: Any = None) -> tuple[tuple[str, ...], Any]:
    """The order in which tasks that wait for one event run, and the outcome."""
    told: list[str] = []

    async def scenario() -> None:
        for number in range(rounds):
            begin = trio.Event()

            async def wait(name: str, begin: trio.Event = begin) -> None:
                await begin.wait()
                told.append(name)

            async with trio.open_nursery() as nursery:
                for index in range(tasks):
                    nursery.start_soon(wait, f"{chr(97 + index)}{number or ''}")
                await trio.testing.wait_all_tasks_blocked()
                begin.set()

    outcome = simulate(scenario, seed, given=given)
    assert outcome.error is None
    return tuple(told), outcome


# The plain order


def test_seed_0_runs_tasks_in_the_order_in_which_they_were_spawned():
    order, outcome = order_of(0, tasks=8)
    assert order == tuple("abcdefgh")
    assert outcome.deviations == {}
    assert outcome.batches > 0


def test_seed_0_runs_tasks_in_the_order_in_which_they_were_woken():
    told: list[int] = []

    async def scenario() -> None:
        events = [trio.Event() for _ in range(5)]

        async def wait(number: int) -> None:
            await events[number].wait()
            told.append(number)

        async def wake(number: int) -> None:
            events[number].set()
            await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(wait, number)
            await trio.testing.wait_all_tasks_blocked()
            for number in (3, 1, 4, 0, 2):
                nursery.start_soon(wake, number)  # one each, so that each is woken in another step

    assert simulate(scenario, 0).error is None
    # Each of those that wake was spawned in this order, ran in it, and so did those that it woke.
    assert told == [3, 1, 4, 0, 2]


def test_what_one_step_woke_runs_in_the_order_of_spawning():
    told: list[int] = []

    async def scenario() -> None:
        events = [trio.Event() for _ in range(20)]

        async def wait(number: int) -> None:
            await events[number].wait()
            told.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(wait, number)
            await trio.testing.wait_all_tasks_blocked()
            for number in reversed(range(20)):
                events[number].set()

    assert simulate(scenario, 0).error is None
    assert told == list(range(20))


def test_seed_0_ends_deadlines_of_one_moment_in_the_order_of_spawning():
    told: list[int] = []

    async def scenario() -> None:
        async def nap(number: int) -> None:
            await trio.sleep(1)
            told.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(nap, number)

    assert simulate(scenario, 0).error is None
    assert told == list(range(20))


# Other orders


def test_every_order_of_three_tasks_comes_within_a_hundred_seeds():
    assert {order_of(seed)[0] for seed in range(100)} == set(permutations("abc"))


def test_most_seeds_have_an_order_of_their_own_where_there_is_much_to_choose():
    orders = [order_of(seed, tasks=5, rounds=6)[0] for seed in range(100)]
    assert len(set(orders)) > 60


def test_no_task_is_held_back_beyond_its_batch():
    for seed in range(50):
        told, _ = order_of(seed, tasks=3, rounds=5)
        rounds = [{name[0] for name in told[start : start + 3]} for start in range(0, len(told), 3)]
        assert rounds == [{"a", "b", "c"}] * 5, "each round ends before the next begins"


def test_the_same_seed_gives_the_same_order():
    for seed in range(20):
        assert order_of(seed, tasks=6, rounds=3)[0] == order_of(seed, tasks=6, rounds=3)[0]


def test_a_batch_is_put_in_any_order_up_to_its_64th_task_and_plainly_behind_it():
    told, outcome = order_of(1, tasks=80, given={("order", number): 10**6 for number in range(64 * 40)})
    assert sorted(told) == sorted(order_of(0, tasks=80)[0])
    assert max(outcome.deviations.values()) < 90, "no more than there was to choose"
    assert told[-16:-1] != told[:15]
    plain = order_of(0, tasks=80)[0]
    assert list(told[64:]) == [name for name in plain if name in told[64:]]


# Recorded, and played back


def test_a_recorded_run_plays_back_exactly():
    played = 0
    for seed in range(30):
        told, outcome = order_of(seed, tasks=5, rounds=4)
        again, replayed = order_of(seed, tasks=5, rounds=4, given=dict(outcome.deviations))
        assert again == told
        assert replayed.deviations == outcome.deviations
        assert replayed.steps == outcome.steps
        elsewhere, _ = order_of(0, tasks=5, rounds=4, given=dict(outcome.deviations))
        assert elsewhere == told, "the order is all there is"
        played += bool(outcome.deviations)
    assert played > 20


def test_nothing_given_is_the_plain_order_whatever_the_seed():
    assert order_of(17, given={})[0] == order_of(0)[0]
    assert order_of(17, given={})[1].deviations == {}


def test_one_deviation_moves_one_task_and_no_other():
    found = {order_of(0, tasks=4, given={("order", number): 2})[0] for number in range(64 * 6)}
    assert found == {tuple("abcd"), tuple("cabd"), tuple("adbc"), tuple("abdc")}


def test_a_deviation_beyond_what_there_is_to_choose_takes_the_last():
    number = next(n for n in range(64 * 6) if order_of(0, given={("order", n): 2})[0] == tuple("cab"))
    assert order_of(0, given={("order", number): 999})[0] == tuple("cab")
    assert order_of(0, given={("order", 10**9): 1, ("nothing", 0): 1})[0] == tuple("abc")


def test_the_batch_of_a_choice_is_told():
    assert [batch_of(number) for number in (0, 63, 64, 130)] == [0, 0, 1, 2]


def test_a_deviation_is_told_once_for_each_batch_with_the_tasks_that_changed_places():
    told: list[tuple[int, str, str]] = []

    @attrs.define(eq=False)
    class Stand:
        name: str
        _counter: int

    scheduler = Scheduler(Chance(0, {("order", 64): 2, ("order", 65): 1}))
    scheduler.on_deviation = lambda batch, early, late: told.append((batch, early.name, late.name))
    batch: list[Any] = [Stand(name, number) for number, name in enumerate("abc")]
    for task in batch:
        scheduler.task_scheduled(task)
    scheduler.shuffle(batch)
    assert told == [(1, "c", "a")]
    assert [task.name for task in reversed(batch)] == ["c", "b", "a"]


# Trio's own


@pytest.mark.parametrize("fails", [False, True])
def test_trios_own_generator_and_flag_are_put_back(fails: bool):
    before = (trio_run._r, trio_run._ALLOW_DETERMINISTIC_SCHEDULING)
    seen: list[Any] = []

    async def scenario() -> None:
        seen.append(trio_run._r)
        assert trio_run._ALLOW_DETERMINISTIC_SCHEDULING
        if fails:
            raise LookupError

    outcome = simulate(scenario, 3)
    assert (outcome.error is None) != fails
    assert isinstance(seen[0], Scheduler)
    assert (trio_run._r, trio_run._ALLOW_DETERMINISTIC_SCHEDULING) == before
    assert isinstance(trio_run._r, random.Random)


def test_a_run_that_is_interrupted_puts_everything_back():
    before = (trio_run._r, trio_run._ALLOW_DETERMINISTIC_SCHEDULING)

    async def scenario() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(scenario)
    assert (trio_run._r, trio_run._ALLOW_DETERMINISTIC_SCHEDULING) == before
    assert order_of(0)[0] == tuple("abc")


# Chance


def test_a_stream_of_choices_is_its_names_and_its_seeds_alone():
    def choices(seed: int, name: str) -> list[int]:
        chance = Chance(seed)
        for _ in range(3):
            chance.draws("another").pick(10)
        return [chance.draws(name).pick(10) for _ in range(20)]

    assert choices(1, "a") == choices(1, "a")
    assert choices(1, "a") != choices(2, "a")
    assert choices(1, "a") != choices(1, "b")


def test_only_what_left_the_plain_way_is_recorded_and_it_plays_back():
    def draw(chance: Chance) -> list[int]:
        draws = chance.draws("x")
        return [draws.pick(4, 0.5) for _ in range(50)] + [int(draws.happens(0.3)) for _ in range(50)]

    chance = Chance(5)
    drawn = draw(chance)
    assert chance.deviations == {("x", number): choice for number, choice in enumerate(drawn) if choice}
    again = Chance(99, chance.deviations)
    assert draw(again) == drawn
    assert again.deviations == chance.deviations


def test_what_is_given_beyond_the_choices_is_clamped():
    chance = Chance(0, {("x", 0): 9, ("x", 1): 9, ("x", 2): 9})
    draws = chance.draws("x")
    assert (draws.pick(4), draws.pick(1), draws.happens(0)) == (3, 0, True)
    assert chance.deviations == {("x", 0): 3, ("x", 2): 1}


def test_things_happen_as_often_as_their_odds_say():
    draws = Chance(1).draws("x")
    assert all(draws.happens(1) for _ in range(100))
    assert not any(draws.happens(0) for _ in range(100))
    assert math.isclose(sum(draws.happens(0.25) for _ in range(2000)) / 2000, 0.25, abs_tol=0.05)
