"""The trace as text: one line for each event that matters, in the order in which they happened.

It owns the words. What is said of an event is said here once (`tell`), for the terminal and for the page alike, and is
the same, byte for byte, wherever the trace is the same. It refuses to judge: it tells a trace that a newer recorder
made, or one that begins in the middle, as far as it understands it. All text in a trace comes from elsewhere (names,
reasons, what a tool said), so nothing in it reaches a terminal that a terminal would obey, or that could pass for
another line.
"""

import json
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

WIDTH: Final = 120
MINOR: Final = frozenset({"run", "sleep", "wake", "jump"})
"""Kinds that most readers leave out: a task's single steps, and jumps, which the times show."""
SIMULATION: Final = "simulation"
"""The lane of what happens in none."""
_LANE_WIDTH: Final = 26
_LONGEST: Final = 120
_DEEPEST: Final = 10
_NAMED_AT_MOST: Final = 6
_A_BREAK: Final = 1.0
"""Seconds from which a jump of the clock is worth a line of its own."""
_SIGNS: Final = "+ starts  - ends  > sends  < receives  x cancels  @ deadline  = link  * fault  ~ out of order  # note"
_OF_THE_NETWORK: Final = frozenset({"arrive", "link"})
"""Kinds that some task's step brings about, and that are not its own doing."""


class Traced(Protocol):
    """What a trace has: `Trace`, or anything like it."""

    @property
    def title(self) -> str:
        """The name of the test."""

    @property
    def seed(self) -> int | None:
        """The seed of the run, where it had one."""

    @property
    def command(self) -> str:
        """The one command that runs it again."""

    @property
    def events(self) -> Sequence[Mapping[str, Any]]:
        """What happened, in order; each is JSON with at least `kind` and `at`."""


@attrs.frozen(kw_only=True)
class Line:
    """What is said of one event.

    Attributes:
        at: virtual seconds.
        depth: how many nurseries deep its task stands.
        sign: one or two characters that tell what sort of event it is.
        what: one line, or several; not yet safe for a terminal.
        more: what belongs to it and is long, as a traceback is.
        minor: left out unless every step is wanted.
    """

    at: float
    lane: str
    depth: int
    sign: str
    what: str
    more: str = ""
    minor: bool = False


def as_text(trace: Traced, *, verbose: bool = False) -> str:
    """The trace for a terminal of 120 columns: virtual time, lane, and what happened, indented by nursery.

    Args:
        verbose: also each step of each task: when it ran, waited and was woken.
    """
    lines = tell(trace)
    shown = [line for line in lines if verbose or not line.minor]
    times = max((len(clock(line.at)) for line in shown), default=0)
    lanes = min(max((len(plain(line.lane)) for line in shown), default=0), _LANE_WIDTH)
    out = [*_heading(trace), ""]
    before: float | None = None
    for line in shown:
        passed = 0.0 if before is None else line.at - before
        if passed >= _A_BREAK:
            out.append(f"{'':{times}}  ---- +{duration(passed)} {'-' * 12}")
        time = clock(line.at) if before is None or passed else ""
        out += _columns(line, f"{time:>{times}}  {_clip(line.lane, lanes):{lanes}}  ")
        before = line.at
    return "\n".join([*out, "", *_ending(trace, lines)]) + "\n"


def _heading(trace: Traced) -> list[str]:
    said = [plain(trace.title), *([] if trace.seed is None else [f"seed {trace.seed}"])]
    return [*said, f"Again: {plain(trace.command)}", "", f"Time is virtual. {_SIGNS}"]


def _ending(trace: Traced, lines: Sequence[Line]) -> list[str]:
    tasks = sum(event.get("kind") == "task" for event in trace.events)
    passed = duration(lines[-1].at - lines[0].at) if lines else "0 s"
    failed = any(event.get("kind") == "failure" for event in trace.events)
    seed = "" if trace.seed is None else f", seed {trace.seed}"
    verdict = "Failed" if failed else "Passed"
    return [
        f"{verdict}{seed}: {len(lines)} events of {tasks} tasks in {passed} of virtual time.",
        f"Again: {plain(trace.command)}",
    ]


def _columns(line: Line, left: str) -> list[str]:
    """One event as one line or more; those after the first have nothing in the columns of time and lane."""
    indent = "  " * min(line.depth, _DEEPEST)
    first, after = f"{left}{indent}{line.sign} ", " " * (len(left) + len(indent) + len(line.sign) + 1)
    rows: list[str] = []
    for text in line.what.split("\n"):
        rows += _wrapped(text, WIDTH - len(after))
    quote = f"{' ' * len(left)}{indent}| "
    quoted = [quote + row for text in line.more.splitlines() for row in _wrapped(text, WIDTH - len(quote))]
    return [(first + rows[0]).rstrip(), *(f"{after}{row}".rstrip() for row in rows[1:]), *map(str.rstrip, quoted)]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(plain(text), width, break_on_hyphens=False, drop_whitespace=True) or [""]


def plain(text: str) -> str:
    """The text on one line, with everything written out that a terminal would obey or not show."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "backslashreplace").decode() for one in text
    )


def _shortened(text: str) -> str:
    """The text, or its beginning where it is long: trio puts whole exceptions into reasons."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _clip(text: str, width: int) -> str:
    text = plain(text)
    return text if len(text) <= width else text[: width - 1] + "…"


def clock(at: float) -> str:
    """A moment: minutes, seconds and milliseconds, and hours where there are any."""
    seconds, milliseconds = divmod(round(at * 1000), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    tail = f"{seconds:02}.{milliseconds:03}"
    return f"{hours}:{minutes:02}:{tail}" if hours else f"{minutes}:{tail}"


def duration(seconds: float) -> str:
    """A span in the two units that say it best."""
    if not math.isfinite(seconds):
        return "for ever"
    for unit, size in (("us", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        number = seconds / size
        if abs(number) < 999.5 and (unit != "s" or abs(number) < 59.95):
            return f"{number:.0f} {unit}" if abs(number) >= 100 else f"{round(number, 1):g} {unit}"
    whole = round(seconds)
    for unit, size, lesser, parts in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            many, rest = divmod(whole, size)
            return f"{many} {unit} {rest // parts} {lesser}" if rest // parts else f"{many} {unit}"
    return f"{whole} s"


def tell(trace: Traced) -> list[Line]:
    """A line for each event, in order, minor ones too."""
    teller, leads_to = _Teller(), _what_deadlines_lead_to(trace.events)
    return [teller.line(event, leads_to.get(index)) for index, event in enumerate(trace.events)]


def _what_deadlines_lead_to(events: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """For each deadline of one task alone, by its index: `end`, `act` or `nothing`, whichever the task does next.

    Who sleeps waits under a deadline, and most of those that pass are only that: the sleep is over. One that the task
    ends by is a cancellation like any other; one after which it does nothing to be seen is a step like any other.
    """
    found: dict[int, str] = {}
    next_of: dict[Any, str] = {}
    for index in range(len(events) - 1, -1, -1):
        event = events[index]
        kind, task = event.get("kind"), event.get("task")
        if kind == "exit":
            next_of[task] = "act" if event.get("how") == "done" else "end"
        elif kind == "sleep":
            next_of[task] = "nothing"
        elif kind == "cancel" and event.get("source") == "deadline" and len(event.get("tasks") or ()) == 1:
            [reached] = event["tasks"]
            found[index] = next_of.get(reached, "nothing")
        elif kind not in MINOR and kind not in _OF_THE_NETWORK and next_of.get(task) != "end":
            next_of[task] = "act"
    return found


@attrs.define
class _Task:
    """What is known of a task so far."""

    name: str
    lane: str
    depth: int
    born: float
    steps: int = 0


class _Teller:
    """Goes through the events once, and remembers what later ones refer to."""

    def __init__(self) -> None:
        self._tasks: dict[Any, _Task] = {}
        self._sent: dict[Any, Mapping[str, Any]] = {}
        self._depth_of_lane: dict[str, int] = {}
        self._words: dict[str, Callable[[Mapping[str, Any]], tuple[str, str]]] = {
            "task": self._begins,
            "run": self._runs,
            "sleep": self._waits,
            "wake": self._woken,
            "exit": self._ends,
            "cancel": self._cancels,
            "send": self._sends,
            "arrive": self._arrives,
            "link": lambda event: ("=", f"{event.get('link')}: {event.get('what')}"),
            "fault": lambda event: ("*", str(event.get("text"))),
            "deviation": lambda event: ("~", str(event.get("text"))),
            "note": lambda event: ("#", str(event.get("text"))),
            "jump": self._jumps,
            "failure": lambda event: ("!!", str(event.get("text"))),
        }

    def line(self, event: Mapping[str, Any], leads_to: str | None = None) -> Line:
        """What is said of the next event; `leads_to`: of a deadline of one task alone."""
        kind = str(event.get("kind"))
        sign, what = self._words.get(kind, self._unknown)(event)
        if leads_to in ("act", "nothing"):
            sign, what = "@", f"{event.get('reason') or 'its deadline has passed'}: {self._name(event['tasks'][0])}"
        lane, depth = self._place(event)
        return Line(
            at=float(event.get("at", 0.0)),
            lane=lane,
            depth=depth,
            sign=sign,
            what=what,
            more=str(event.get("traceback") or "") if kind == "failure" else "",
            minor=kind in MINOR or leads_to == "nothing" or (kind == "cancel" and not event.get("tasks")),
        )

    def _place(self, event: Mapping[str, Any]) -> tuple[str, int]:
        """Lane and depth: of its task (for a cancel by nobody, the first it reaches), else of the lane it names."""
        kind, number = event.get("kind"), event.get("task")
        if kind == "cancel" and number is None:
            number = next(iter(event.get("tasks") or ()), None)
        task = self._tasks.get(number)
        if kind in ("fault", "deviation", "jump"):
            return SIMULATION, 0
        if kind == "arrive":
            sent = self._sent.get(event.get("id"), {})
            lane = str(sent.get("from" if event.get("lost") else "to") or SIMULATION)
        elif kind == "send":
            lane = str(event.get("from") or (task.lane if task else SIMULATION))
        else:
            lane = str(event.get("lane") or (task.lane if task else SIMULATION))
        if task is not None and task.lane == lane:
            return lane, task.depth if kind in ("task", "exit") else task.depth + 1
        return lane, self._depth_of_lane.get(lane, -1) + 1

    def _name(self, number: Any) -> str:
        task = self._tasks.get(number)
        return f"task {number}" if task is None else task.name

    def _begins(self, event: Mapping[str, Any]) -> tuple[str, str]:
        parent = self._tasks.get(event.get("parent"))
        task = _Task(
            name=str(event.get("name")),
            lane=str(event.get("lane") or SIMULATION),
            depth=0 if parent is None else parent.depth + 1,
            born=float(event.get("at", 0.0)),
        )
        self._tasks[event.get("task")] = task
        self._depth_of_lane.setdefault(task.lane, task.depth)
        return "+", task.name

    def _runs(self, event: Mapping[str, Any]) -> tuple[str, str]:
        if task := self._tasks.get(event.get("task")):
            task.steps += 1
        return ".", f"{self._name(event.get('task'))} runs"

    def _waits(self, event: Mapping[str, Any]) -> tuple[str, str]:
        deadline = event.get("deadline")
        until = "" if deadline is None or not math.isfinite(deadline) else f" until {clock(deadline)} at most"
        return ".", f"{self._name(event.get('task'))} waits{until}"

    def _woken(self, event: Mapping[str, Any]) -> tuple[str, str]:
        by = event.get("by")
        return ".", f"{self._name(event.get('task'))} is woken{'' if by is None else f' by {self._name(by)}'}"

    def _ends(self, event: Mapping[str, Any]) -> tuple[str, str]:
        number, how = event.get("task"), str(event.get("how"))
        if (task := self._tasks.get(number)) is None:
            return "-", f"{self._name(number)}  [{how}]"
        lived = float(event.get("at", 0.0)) - task.born
        steps = f", {task.steps} step{'' if task.steps == 1 else 's'}" if task.steps else ""
        return "-", f"{task.name}  [{how}, {f'after {duration(lived)}' if lived > 0 else 'at once'}{steps}]"

    def _cancels(self, event: Mapping[str, Any]) -> tuple[str, str]:
        names = [self._name(number) for number in event.get("tasks") or ()]
        if len(names) > _NAMED_AT_MOST:
            names[_NAMED_AT_MOST - 1 :] = [f"{len(names) - _NAMED_AT_MOST + 1} more"]
        source, by = event.get("source"), event.get("by")
        origin = ", ".join([*([str(source)] if source else []), *([] if by is None else [f"by {self._name(by)}"])])
        reason = _shortened(str(event.get("reason") or "no reason given"))
        return "x", f"{reason}{f'  [{origin}]' if origin else ''}: {', '.join(names) or 'reaches no task'}"

    def _sends(self, event: Mapping[str, Any]) -> tuple[str, str]:
        self._sent[event.get("id")] = event
        return ">", f"{event.get('text')}  [{event.get('size')} B on {event.get('link')}]"

    def _arrives(self, event: Mapping[str, Any]) -> tuple[str, str]:
        sent = self._sent.get(event.get("id"))
        if sent is None:
            return ("x", "something is lost") if event.get("lost") else ("<", "something arrives")
        if event.get("lost"):
            return "x", f"{sent.get('text')}  [lost on {sent.get('link')}]"
        taken = float(event.get("at", 0.0)) - float(sent.get("at", 0.0))
        return "<", f"{sent.get('text')}  [on {sent.get('link')}, {duration(taken) if taken > 0 else 'at once'}]"

    def _jumps(self, event: Mapping[str, Any]) -> tuple[str, str]:
        return ".", f"the clock jumps to {clock(float(event.get('to', 0.0)))}"

    def _unknown(self, event: Mapping[str, Any]) -> tuple[str, str]:
        rest = {key: value for key, value in event.items() if key not in ("kind", "at", "task")}
        return "?", f"{event.get('kind')} {json.dumps(rest, default=str, sort_keys=True)}"
