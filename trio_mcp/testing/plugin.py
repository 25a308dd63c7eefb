"""The pytest plugin: the fixtures `mcp_clock` and `network`, the mark `explore`, and the options that replay and show.

It works beside pytest-trio: a test with the mark is run by `explore`, once for each seed, and every other async test by
pytest-trio as before. It refuses to run async fixtures under `explore`: they would belong to one run, and there are
many.
"""

import inspect
import shlex
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from trio.testing import MockClock

from trio_mcp.testing.campaign import SimulationFailure
from trio_mcp.testing.explore import explore
from trio_mcp.testing.network import Network
from trio_mcp.testing.simulation import current
from trio_mcp.testing.surroundings import FAILURES, Surroundings, surrounded
from trio_mcp.testing.threads import Threads
from trio_mcp.testing.world import threads_taken_over

#: What the mark takes; the rest of `campaign.Options` is the plugin's to say.
_TAKES: Final = {"seeds", "conditions", "settling", "expect_errors", "patience", "do_shrink", "check_memory"}


_Skipped: Final = pytest.skip.Exception


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, under a heading of their own in `pytest --help`."""
    group = parser.getgroup("trio-mcp", "deterministic simulation (trio_mcp.testing)")
    group.addoption("--trio-mcp-seed", type=int, metavar="N", help="run tests marked explore with this seed alone")
    group.addoption("--trio-mcp-seeds", type=int, metavar="N", help="run tests marked explore with so many seeds")
    group.addoption("--trio-mcp-replay", type=Path, metavar="FILE", help="run a test as the failing run kept in FILE")
    group.addoption(
        "--trio-mcp-trace",
        type=Path,
        metavar="FILE.html",
        help="write the trace of a failing or replayed run as one page to look at; FILE.txt: as text",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line(
        "markers",
        "explore(seeds=100, conditions=…, settling=False, expect_errors=False): run the async test under many orders "
        "of its tasks and many networks, each from a seed; see trio_mcp.testing.explore",
    )


@pytest.fixture
def mcp_clock() -> Iterator[MockClock]:
    """A clock that jumps to the next deadline whenever every task waits: an hour of sleeping takes no time.

    Threads take turns with the loop meanwhile, as in a simulated run: else the clock would jump while they work. In a
    test marked `explore`: the clock of the run.
    """
    clock = MockClock(autojump_threshold=0)
    with threads_taken_over(clock, Threads()):
        yield clock


@pytest.fixture
def network(request: pytest.FixtureRequest) -> Network:
    """A perfect simulated network, with the seed of `--trio-mcp-seed`. In a test marked `explore`: that of the run."""
    return Network(request.config.getoption("--trio-mcp-seed") or 0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse what cannot be explored, before anything is set up."""
    mark = item.get_closest_marker("explore")
    if mark is None:
        return
    for wrong in sorted(mark.kwargs.keys() - _TAKES):
        pytest.fail(f"the mark explore takes no {wrong}, but {', '.join(sorted(_TAKES))}", pytrace=False)
    if len(mark.args) + ("seeds" in mark.kwargs) > 1:
        pytest.fail(f"the mark explore takes one argument without a name: the seeds, not {mark.args!r}", pytrace=False)
    if not inspect.iscoroutinefunction(getattr(item, "obj", None)):
        pytest.fail(f"{item.name} is marked explore and is not async", pytrace=False)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Function) -> Generator[None, Any, Any]:
    """Replace a test marked `explore` by its exploration, before pytest-trio, a wrapper too, would take it.

    A failure is shown without pytest's own traceback, which is of how runs are made: that of the run ends its trace.
    """
    mark = item.get_closest_marker("explore")
    if mark is not None:
        _replace(item, mark)
    config = item.config

    def done(text: str) -> None:
        told = text if text.startswith(item.name) else f"{item.name}: {text}"
        item.user_properties.append(("simulation", told))
        ran.append(told)

    replay: Path | None = config.getoption("--trio-mcp-replay")
    passed_over: list[str] = []
    ran: list[str] = []
    by = Surroundings(
        test=item.name,
        command=lambda seed, file: _command(item.nodeid, seed, file),
        failures=config.rootpath / FAILURES,
        trace_page=config.getoption("--trio-mcp-trace"),
        replay=replay,
        passed_over=passed_over.append,
        done=done,
    )
    try:
        with surrounded(by):
            result = yield
    except SimulationFailure as failure:
        told = str(failure)
    else:
        if ran or not passed_over:
            return result
        told = f"{replay} is no run of this test, which has {', '.join(passed_over)}: nothing was replayed"
    pytest.fail(told, pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With `-v`: what explorations and cuts did that found nothing."""
    if terminalreporter.verbosity < 1:
        return
    for report in terminalreporter.getreports("passed"):
        for name, text in report.user_properties:
            if name == "simulation":
                terminalreporter.write_line(text)


def _replace(item: pytest.Function, mark: pytest.Mark) -> None:
    test = item.obj
    given = {name: item.funcargs[name] for name in item._fixtureinfo.argnames}
    bound_to_one_run = [name for name, value in given.items() if type(value).__name__ == "TrioFixture"]
    if bound_to_one_run:
        pytest.fail(
            f"{item.name} is marked explore and uses async fixtures ({', '.join(bound_to_one_run)}): an exploration is "
            f"many runs, so do in the test what they do",
            pytrace=False,
        )

    def exploration(**_: Any) -> None:
        _explore(item, test, given, mark)

    exploration._trio_test_runner_wrapped = True  # type: ignore[attr-defined]  # pytest-trio then lets it be
    item.obj = exploration


def _explore(item: pytest.Function, test: Callable[..., Any], given: dict[str, Any], mark: pytest.Mark) -> None:
    options: dict[str, Any] = dict(mark.kwargs)
    seeds: int | Iterable[int] = options.pop("seeds", mark.args[0] if mark.args else 100)

    skipped: list[str] = []

    async def scenario() -> None:
        simulation = current()
        assert simulation is not None, "explore runs it"
        own = {"network": simulation.network, "mcp_clock": simulation.clock}
        try:
            await test(**{name: own.get(name, value) for name, value in given.items()})
        except _Skipped as skip:
            skipped.append(str(skip.msg))  # and not the exception, which would keep what its frames hold

    alone, many = item.config.getoption("--trio-mcp-seed"), item.config.getoption("--trio-mcp-seeds")
    if alone is not None:
        seeds = [alone]
    elif many is not None:
        seeds = many
    explore(scenario, seeds, title=item.name, **options)
    if skipped:
        pytest.skip(skipped[0])


def _command(nodeid: str, seed: int | None, file: str | None) -> str:
    option = f"--trio-mcp-seed={seed}" if file is None else f"--trio-mcp-replay={shlex.quote(file)}"
    return f"pytest {shlex.quote(nodeid)} {option}"
