"""What holds for every test: hypothesis is deterministic, and a trio test ends with no task left over."""

from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest
import trio
from hypothesis import settings

from tests.external import missing
from trio_mcp.testing.tasks import living_tasks

pytest_plugins = ["trio_mcp.testing.plugin"]

# No wall clock (deadline), no memory of earlier runs (database), the same examples each time (derandomize).
settings.register_profile("house", deadline=None, database=None, derandomize=True, print_blob=True)
settings.load_profile("house")


async def run_to_the_last_task(test: Callable[[], Awaitable[None]]) -> None:
    """Run the test with its fixtures; what it started outside their nurseries (system tasks) must have ended, too."""
    before = living_tasks()
    await test()
    left = sorted(task.name for task in living_tasks() - before)
    assert not left, f"tasks left over by the test: {left}"


def trio_run_to_the_last_task(test: Callable[[], Awaitable[None]], **options: Any) -> None:
    """`trio.run` for pytest-trio, with the check above."""
    trio.run(run_to_the_last_task, test, **options)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """pytest-trio takes the runner from the first `trio` marker that names one."""
    for item in items:
        if item.get_closest_marker("trio") is not None:
            item.add_marker(pytest.mark.trio(run=trio_run_to_the_last_task), append=False)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was not tested because a program of the system is not here: nobody reads reasons of skips."""
    for line in missing(terminalreporter.stats.get("skipped", ())):
        terminalreporter.write_line(line, yellow=True, bold=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Some tests log what is no Unicode, and between processes only Unicode can be reported."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "replace").decode()) for name, text in report.sections]
    return report
