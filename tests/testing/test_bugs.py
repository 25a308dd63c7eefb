"""The gallery of seeded bugs: the kit finds each one, shrinks it, replays it, and lets the mended server pass."""

from pathlib import Path

import attrs
import pytest

from tests.testing.bugs import __main__ as command
from tests.testing.bugs import hanging_teardown
from tests.testing.bugs.bug import RUNS, Bug, NotFoundError
from tests.testing.bugs.gallery import BUGS
from tests.testing.bugs.page import MOST, Found, shown, table
from trio_mcp.testing import SimulationFailure, explore
from trio_mcp.testing.campaign import same_failure

ORDERED = [bug for bug in BUGS if bug.ordered]


def name_of(bug: Bug) -> str:
    return bug.name


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """What was found of each bug; hunted once, for all tests that look at it."""
    folder = tmp_path_factory.mktemp("failures")
    return {bug.name: Found(bug=bug, failure=bug.find(failures=folder), seconds=0) for bug in BUGS}


def test_there_are_ten_bugs_and_each_has_its_own_module_and_words():
    modules = {path.stem for path in Path(command.__file__).parent.glob("*.py")}
    assert len(BUGS) == 10
    assert len({bug.sentence for bug in BUGS}) == 10
    assert len(modules - {"__init__", "__main__", "bug", "gallery", "page"}) == 10


@pytest.mark.parametrize("bug", BUGS, ids=name_of)
def test_a_bug_is_found_within_200_runs_and_named(bug: Bug, found: dict[str, Found]):
    failure = found[bug.name].failure
    assert failure.runs <= RUNS
    told = str(failure)
    assert told.startswith(f"{bug.name} failed in run {failure.runs}, with seed {failure.recipe.seed}\n")
    assert bug.says in told.splitlines()[1]


@pytest.mark.parametrize("bug", BUGS, ids=name_of)
def test_a_bug_that_was_found_replays_from_its_file(bug: Bug, found: dict[str, Found]):
    failure = found[bug.name].failure
    assert failure.file is not None
    with pytest.raises(SimulationFailure) as again:
        bug.replay(failure.file)
    assert same_failure(again.value.outcome.failure, failure.outcome.failure or "")
    assert again.value.outcome.steps == failure.outcome.steps
    assert again.value.shrunk == failure.shrunk


@pytest.mark.parametrize("bug", ORDERED, ids=name_of)
def test_a_bug_of_order_needs_another_order_and_shrinks_to_a_few_places(bug: Bug, found: dict[str, Found]):
    explore(
        bug.scenario, seeds=[0], failures=None, patience=bug.patience
    )  # the plain order on a perfect network passes
    one = found[bug.name]
    assert 1 <= one.after <= 5 < one.before


@pytest.mark.parametrize("bug", ORDERED, ids=name_of)
def test_what_a_bug_of_order_was_shrunk_to_is_needed(bug: Bug, found: dict[str, Found]):
    """Without any one of its places the run passes: there is nothing in it that does not matter."""
    shrunk = found[bug.name].failure.shrunk
    for place in shrunk.given or {}:
        fewer = attrs.evolve(shrunk, given={key: value for key, value in (shrunk.given or {}).items() if key != place})
        assert not bug.fails_with(fewer)


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug.way != "explore"], ids=name_of)
def test_a_bug_that_a_cut_finds_needs_the_cut(bug: Bug, found: dict[str, Found]):
    failure = found[bug.name].failure
    assert failure.runs > 1  # the first run is not cut
    assert failure.recipe.cut is not None


@pytest.mark.parametrize("bug", BUGS, ids=name_of)
def test_the_mended_server_passes(bug: Bug):
    """A part of the runs that find the bug; `make simulate` has all of it."""
    report = bug.prove(**{"seeds": RUNS // 8} if bug.way == "explore" else {"most": 12})
    assert report.runs == RUNS // 8 or report.cuts


def test_a_hunt_that_finds_nothing_or_something_else_says_so():
    bug = hanging_teardown.BUG
    mended = attrs.evolve(bug, run=lambda faulty: bug.run(False))
    with pytest.raises(NotFoundError, match="hanging teardown was not found: hanging teardown: 4 runs"):
        mended.find()
    with pytest.raises(NotFoundError, match="found was something else: "):
        attrs.evolve(bug, says="the moon").find()


@pytest.mark.parametrize("bug", BUGS, ids=name_of)
def test_the_trace_of_a_bug_is_shown_from_where_it_becomes_interesting(bug: Bug, found: dict[str, Found]):
    lines = shown(found[bug.name]).splitlines()
    assert 3 <= len(lines) <= MOST
    assert bug.begins in lines[0]
    assert any(" !! " in line for line in lines)


def test_the_page_tells_of_every_bug_and_is_made_anew_between_its_markers(found: dict[str, Found]):
    page = command.PAGE.read_text(encoding="utf-8")
    for bug in BUGS:
        assert f"<!-- {bug.name} -->" in page
    again = command.written(page, found.values())
    assert table(found.values()) in again
    assert command.written(again, found.values()) == again
    assert again.partition("<!--")[0] == page.partition("<!--")[0]
