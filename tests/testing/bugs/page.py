"""What is told of the hunts: the table, and of each shrunk trace the part where the bug shows.

It refuses to hunt.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from tests.testing.bugs.bug import Bug
from trio_mcp.testing import SimulationFailure, as_text

MOST: Final = 25
"""Lines of a trace that are shown."""
_LAST: Final = 8
"""Of those, kept for the end."""
_TIME: Final = re.compile(r" *(?:\d+:)?\d+:\d\d\.\d{3}")
_PAUSE: Final = re.compile(r" +---- \+")
#: What the house does by itself all the time, and how nurseries pass on what has happened already.
_ROUTINE: Final = re.compile(
    r"its deadline has passed.*: (?:patrol connections|carry the network|hurry replies|ping the client|trio_mcp)"
    r"|\]: reaches|[<>] (?:keepalive|[26] bytes)|raised exception|aclose_forcefully"
    r"|the client has left|the connection is closed"
)
_HARNESS: Final = "test"
"""The lane of what holds the scenario; of it only what it says is of interest."""
_TOLD: Final = re.compile(r" (?:#|!!) ")


@attrs.frozen(kw_only=True)
class Found:
    """A bug that was found.

    Attributes:
        before: deviations of the run that failed.
        seconds: of wall time, for finding, shrinking and telling.
    """

    bug: Bug
    failure: SimulationFailure
    seconds: float

    @property
    def before(self) -> int:
        return self.failure.before

    @property
    def after(self) -> int:
        return len(self.failure.shrunk.given or {})

    @property
    def how(self) -> str:
        """Where the run leaves the plain way, in a few words."""
        cut = self.failure.shrunk.cut
        return f"seed {self.failure.recipe.seed}" if cut is None else str(cut)


def table(found: Iterable[Found]) -> str:
    """A row for each."""
    rows = [
        f"| {one.bug.name} | `{one.bug.way}` | {one.how} | {one.failure.runs} | {one.before} → {one.after} "
        f"| {one.seconds:.1f} |"
        for one in found
    ]
    head = ["| bug | found by | at | runs needed | deviations, shrunk | seconds |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def shown(one: Found) -> str:
    """The part of the shrunk trace where the bug shows, as text, and how it failed."""
    trace = one.failure.outcome.trace
    assert trace is not None, "the last run of a campaign has one"
    lines = list(_without_routine(as_text(trace).splitlines()))
    failed = next(number for number, line in enumerate(lines) if " !! " in line)
    column = lines[failed].index("!!")
    failure = [lines[failed], *_rows_of(lines[failed + 1 :], column + 3)][:_LAST]
    begin = next(number for number, line in enumerate(lines) if one.bug.begins in line)
    end = next((number for number in range(begin, failed) if one.bug.ends in lines[number]), failed)
    body = lines[begin:end][: MOST - 1 - len(failure)]
    return "\n".join(line.rstrip() for line in [*body, f"{'…':>{column + 1}}", *failure])


def _without_routine(lines: Sequence[str]) -> Iterable[str]:
    """The lines of a trace without what the house does by itself; a time moves on to the next line that stays."""
    time, width, leaving_out = "", 0, False
    for line in lines:
        stamp = _TIME.match(line)
        if stamp:
            time, width = stamp[0], len(stamp[0])
        lane = line[width + 2 :].partition(" ")[0]
        if lane or not width:  # else it is a further row of the line before
            leaving_out = bool(_ROUTINE.search(line) or _PAUSE.match(line)) or (
                lane == _HARNESS and not _TOLD.search(line)
            )
        if not leaving_out:
            yield time + line[width:] if time else line
            time = ""


def _rows_of(lines: Sequence[str], indent: int) -> Iterable[str]:
    """The further rows of what is said in one event."""
    for line in lines:
        if line[:indent].strip() or "What waits:" in line:
            return
        yield line
