"""`Surroundings`: what the test that runs wants of every campaign in it. The plugin says so; nobody passes it on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

#: Where files of failing runs are kept.
FAILURES: Final = ".trio_mcp/failures"


@attrs.frozen(kw_only=True)
class Surroundings:
    """What goes for a campaign that does not say otherwise.

    Attributes:
        test: its name, for files that it keeps: two tests may have one scenario; empty: the scenario's is taken.
        command: makes the command that replays a seed, or a kept file, of the two arguments; None: a line of Python.
        failures: the folder where failing runs are kept; None: nowhere.
        trace_page: where to write the page of a failing run, or of a replayed one (its text, where the name ends in
            `.txt`); None: nowhere.
        replay: a kept file, which the campaign of its scenario runs instead of anything else.
        passed_over: is told of each campaign that was not run because the kept file is of another.
        done: is told in words what a campaign did that found nothing.
    """

    test: str = ""
    command: Callable[[int | None, str | None], str] | None = None
    failures: Path | None = Path(FAILURES)
    trace_page: Path | None = None
    replay: Path | None = None
    passed_over: Callable[[str], None] = lambda title: None
    done: Callable[[str], None] = lambda text: None


_surroundings = Surroundings()


def surroundings() -> Surroundings:
    """Those of now."""
    return _surroundings


@contextmanager
def surrounded(by: Surroundings) -> Iterator[None]:
    """Have these for the time of the block."""
    global _surroundings
    before, _surroundings = _surroundings, by
    try:
        yield
    finally:
        _surroundings = before
