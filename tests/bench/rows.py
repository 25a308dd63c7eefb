"""The rows of the bench: what each measures, of whom, what counts in it, and what the issue wants of the figures.

It owns names, units and targets. It refuses to measure.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import attrs

from tests.bench import moments, streams, wire
from tests.bench.load import LOADS, Load, measure
from tests.bench.peers import BARE, FASTMCP, OURS, SDK, TUNED, TYPESCRIPT

Figures = dict[str, float]
#: Row, then peer, then one entry a round.
Results = dict[str, dict[str, list[Figures]]]
_ALL: Final = (OURS, SDK, TUNED, FASTMCP, TYPESCRIPT)


@attrs.frozen(kw_only=True)
class Plan:
    """How long and how often; seconds, and counts."""

    rounds: int = 5
    seconds: float = 2
    warm_up: float = 1
    sessions: int = 800
    notifications: int = 20_000
    cancels: int = 300
    starts: int = 10


QUICK_PLAN: Final = Plan(rounds=1, seconds=1, sessions=200, notifications=5_000, cancels=60, starts=3)


@attrs.frozen
class Column:
    """One figure of a row: its key, its heading, and the digits behind the point."""

    key: str
    heading: str
    digits: int = 0


@attrs.frozen(kw_only=True)
class Row:
    """One row: `take` measures one peer once.

    Args:
        columns: what to show.
        drawn: what the chart shows; None: the first column.
        less: less is better in what is drawn.
        ratios: columns in which we are compared.
        repeat: rounds of this row; None: those of the plan.
    """

    title: str
    columns: tuple[Column, ...]
    take: Callable[[str, Plan], Figures]
    peers: tuple[str, ...] = _ALL
    drawn: Column | None = None
    less: bool = False
    ratios: tuple[str, ...] = ()
    repeat: Callable[[Plan], int] = lambda plan: plan.rounds


_RATE: Final = (Column("rate", "requests/s"), Column("cpu_us", "CPU µs each", 1), Column("busy", "of its core", 2))
_ONE: Final = (
    Column("rate", "requests/s"),
    Column("p50_us", "p50 µs"),
    Column("p99_us", "p99 µs"),
    Column("cpu_us", "CPU µs each", 1),
)
_NOTES: Final = (Column("rate", "messages/s"), Column("cpu_us", "CPU µs each", 1))
_TIMES: Final = (Column("wall_ms", "ms"), Column("cpu_ms", "CPU ms"), Column("rss_mb", "resident MB"))
_WEIGHT: Final = (
    Column("kb_each", "KB each", 1),
    Column("back_percent", "% given back"),
    Column("again_percent", "% more for a 2nd wave"),
    Column("descriptors_left", "descriptors left"),
)
_CANCELS: Final = (Column("p50_ms", "p50 ms", 2), Column("p99_ms", "p99 ms", 2), Column("cancelled", "cancels"))


def _load(load: Load, peer: str, plan: Plan) -> Figures:
    return measure(load, peer, seconds=plan.seconds, warm_up=plan.warm_up)


def _load_row(name: str, title: str, columns: tuple[Column, ...] = _RATE) -> Row:
    load = LOADS[name]
    one = columns is _ONE
    ratios = ("rate", "p50_us" if one else "cpu_us")
    drawn = Column("p50_us", "p50 µs") if one else Column("per_cpu_s", "requests per second of CPU time")
    take = partial(_load, load)
    return Row(title=title, columns=columns, take=take, peers=load.peers, drawn=drawn, less=one, ratios=ratios)


def _progress(era: str, peer: str, plan: Plan) -> Figures:
    return streams.progress(peer, era, count=plan.notifications)


def _standing(vanish: bool, peer: str, plan: Plan) -> Figures:
    return streams.standing(peer, count=plan.sessions, vanish=vanish)


def _once(plan: Plan) -> int:
    return 1


def _starts(plan: Plan) -> int:
    return plan.starts


ROWS: Final[Mapping[str, Row]] = {
    "call-session": _load_row("call-session", "tools/call of async def echo, session era"),
    "call-per-request": _load_row("call-per-request", "tools/call of async def echo, per-request era"),
    "plain-session": _load_row("plain-session", "tools/call of def echo (in a thread), session era"),
    "plain-per-request": _load_row("plain-per-request", "tools/call of def echo (in a thread), per-request era"),
    "list-session": _load_row("list-session", "tools/list of 100 tools, session era"),
    "list-per-request": _load_row("list-per-request", "tools/list of 100 tools, per-request era"),
    "one-session": _load_row("one-session", "one client on one connection, session era", _ONE),
    "one-per-request": _load_row("one-per-request", "one client on one connection, per-request era", _ONE),
    "bare": _load_row("bare", "the bare limit: trio and httptools answering a constant"),
    "bare-one": _load_row("bare-one", "the bare limit, one client", _ONE),
    "progress-session": Row(
        title="progress notifications of one call, session era",
        columns=_NOTES,
        drawn=Column("per_cpu_s", "messages per second of CPU time"),
        take=partial(_progress, wire.SESSION),
        ratios=("rate", "cpu_us"),
    ),
    "progress-per-request": Row(
        title="progress notifications of one call, per-request era",
        columns=_NOTES,
        drawn=Column("per_cpu_s", "messages per second of CPU time"),
        take=partial(_progress, wire.PER_REQUEST),
        ratios=("rate", "cpu_us"),
    ),
    "standing": Row(
        title="sessions with a standing stream, ended with DELETE",
        columns=_WEIGHT,
        take=partial(_standing, False),
        less=True,
        ratios=("kb_each",),
        repeat=_once,
    ),
    "vanished": Row(
        title="sessions with a standing stream, whose clients vanish",
        columns=_WEIGHT,
        take=partial(_standing, True),
        less=True,
        ratios=("kb_each",),
        repeat=_once,
    ),
    "start": Row(
        title="start of the process to its first answer",
        columns=_TIMES,
        take=lambda peer, plan: moments.start(peer),
        less=True,
        ratios=("wall_ms", "cpu_ms"),
        repeat=_starts,
    ),
    "import": Row(
        title="import to a constructed server",
        columns=_TIMES,
        take=lambda peer, plan: moments.imports(peer),
        peers=(OURS, SDK, FASTMCP, TYPESCRIPT),
        less=True,
        ratios=("wall_ms", "cpu_ms", "rss_mb"),
        repeat=_starts,
    ),
    "cancel": Row(
        title="the client closes until the tool's finally runs, as served by default",
        columns=_CANCELS,
        take=lambda peer, plan: moments.cancel(peer, "stream", count=plan.cancels),
        less=True,
        repeat=_once,
    ),
    "cancel-json": Row(
        title="the same where replies are set to JSON",
        columns=_CANCELS,
        take=lambda peer, plan: moments.cancel(peer, "json", count=plan.cancels),
        less=True,
        repeat=_once,
    ),
}
QUICK_ROWS: Final = (
    "call-session",
    "call-per-request",
    "one-session",
    "bare",
    "bare-one",
    "progress-session",
    "standing",
    "start",
    "import",
    "cancel",
)


def median(results: Results, row: str, peer: str, key: str) -> float | None:
    """The median of one figure over the rounds; None where it was not measured.

    `per_cpu_s` is how many a second of processor time answers: the rate on a machine of one's own.
    """
    if key == "per_cpu_s":
        cost = median(results, row, peer, "cpu_us")
        return 1e6 / cost if cost else None
    values = [figures[key] for figures in results.get(row, {}).get(peer, ()) if key in figures]
    return statistics.median(values) if values else None


def advantage(results: Results, row: str, peer: str, key: str, *, ours: str = OURS) -> float | None:
    """How many times better we are than a peer in one figure: more of a rate, less of anything else."""
    mine, theirs = median(results, row, ours, key), median(results, row, peer, key)
    if not mine or not theirs:
        return None
    return mine / theirs if key == "rate" else theirs / mine


@attrs.frozen
class Target:
    """One target of the issue.

    Args:
        peer: compared with it; None: the figure itself counts.
        key: what decides. For loads that fill the server's core that is the CPU a request: on a quiet machine the
            rate is its inverse, and on a busy one it is still true. For one client it is the p50, for the same
            reason: its rate is the inverse of its mean latency, which neighbours spoil.
        most: the figure may be at most this; otherwise it must be at least this.
    """

    title: str
    row: str
    key: str
    bound: float
    peer: str | None = attrs.field(default=None, kw_only=True)
    most: bool = attrs.field(default=False, kw_only=True)
    unit: str = attrs.field(default="×", kw_only=True)

    def measured(self, results: Results) -> float | None:
        """The figure that decides; None where it was not measured."""
        if self.peer is None:
            return median(results, self.row, OURS, self.key)
        return advantage(results, self.row, self.peer, self.key)

    def verdict(self, results: Results) -> str:
        """Met or missed, and by how much."""
        value = self.measured(results)
        if value is None:
            return "not measured"
        short = (value - self.bound if self.most else self.bound - value) / self.bound
        return f"missed by {short:.0%}" if short > 0 else f"met, with {-short:.0%} to spare"


TARGETS: Final[Sequence[Target]] = (
    Target("tools/call, session era, tuned Python SDK", "call-session", "cpu_us", 4, peer=TUNED),
    Target("tools/call, session era, TypeScript SDK", "call-session", "cpu_us", 3.5, peer=TYPESCRIPT),
    Target("tools/call, per-request era, tuned Python SDK", "call-per-request", "cpu_us", 3.5, peer=TUNED),
    Target("tools/call, per-request era, TypeScript SDK", "call-per-request", "cpu_us", 6, peer=TYPESCRIPT),
    Target("one client (p50), session era, FastMCP", "one-session", "p50_us", 15, peer=FASTMCP),
    Target("one client (p50), per-request era, FastMCP", "one-per-request", "p50_us", 15, peer=FASTMCP),
    Target("progress, session era, TypeScript SDK", "progress-session", "cpu_us", 3, peer=TYPESCRIPT),
    Target("progress, per-request era, TypeScript SDK", "progress-per-request", "cpu_us", 3, peer=TYPESCRIPT),
    Target("a standing session", "standing", "kb_each", 25, most=True, unit=" KB"),
    Target("given back to the system after DELETE", "standing", "back_percent", 95, unit=" %"),
    Target("growth of a second wave", "standing", "again_percent", 5, most=True, unit=" %"),
    Target("the same, of clients that vanish", "vanished", "again_percent", 5, most=True, unit=" %"),
    Target("import, CPU, Python SDK", "import", "cpu_ms", 2, peer=SDK),
    Target("import, memory, Python SDK", "import", "rss_mb", 2, peer=SDK),
    Target("start to first answer, CPU, Python SDK", "start", "cpu_ms", 2, peer=SDK),
    Target("cancel p99", "cancel", "p99_ms", 5, most=True, unit=" ms"),
)


def fractions(results: Results) -> list[tuple[str, float]]:
    """How much of the bare limit each era reaches."""
    found = []
    for row, bare, key in (
        ("call-session", "bare", "cpu_us"),
        ("call-per-request", "bare", "cpu_us"),
        ("one-session", "bare-one", "p50_us"),
        ("one-per-request", "bare-one", "p50_us"),
    ):
        mine, limit = median(results, row, OURS, key), median(results, bare, BARE, key)
        if mine and limit:
            found.append((ROWS[row].title, limit / mine))
    return found


def share_of_core(results: Results) -> float | None:
    """What part of its core a server typically got under a load that could fill it."""
    shares = [
        figures["busy"]
        for name in results
        if name in LOADS and LOADS[name].connections > 1
        for rounds in results[name].values()
        for figures in rounds
    ]
    return statistics.median(shares) if shares else None
