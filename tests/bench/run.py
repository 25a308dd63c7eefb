"""The bench: every row, every peer, in turn, round after round. `make bench`, or `tests/bench/run.py --quick`.

It owns the order of things and the command line. Everything is on loopback and bounded; servers die with it.
"""

import argparse
import json
import os
import platform
import resource
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

sys.path.insert(0, str(Path(__file__).absolute().parent.parent.parent))

from tests.bench import chart, report
from tests.bench.install import NotInstalledError, find_wrk, install_peers
from tests.bench.peers import BARE, CORES, HERE, LABELS, LOAD_CORE, OURS, ROOT
from tests.bench.rows import QUICK_PLAN, QUICK_ROWS, ROWS, Plan, Results, share_of_core

DOCS = ROOT / "docs"
DESCRIPTORS = 8192
QUIET = 0.95


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="bench", description="trio_mcp beside other MCP servers, on this machine")
    parser.add_argument("--quick", action="store_true", help="a minute or two: one short round of the main rows")
    parser.add_argument("--only", nargs="+", metavar="ROW", choices=ROWS, help=f"rows: {', '.join(ROWS)}")
    peers = [name.replace(" ", "-") for name in LABELS]
    parser.add_argument("--peers", nargs="+", metavar="PEER", choices=peers, help=f"servers: {', '.join(peers)}")
    parser.add_argument("--rounds", type=int, help="rounds; medians are taken over them")
    parser.add_argument("--seconds", type=float, help="of each load, whole")
    parser.add_argument("--no-install", action="store_true", help="the peers are there")
    parser.add_argument("--show", type=Path, metavar="FILE", help="measure nothing: report a file of results/")
    parser.add_argument("--write", action="store_true", help="write into docs/, as a whole run does")
    return parser.parse_args()


def plan_of(chosen: argparse.Namespace) -> Plan:
    """The plan, with what the command line changes in it."""
    plan = QUICK_PLAN if chosen.quick else Plan()
    changes: dict[str, Any] = {}
    if chosen.rounds is not None:
        changes["rounds"] = max(1, chosen.rounds)
    if chosen.seconds is not None:
        changes["seconds"] = max(1.0, chosen.seconds)
    return attrs.evolve(plan, **changes)


def run(names: list[str], peers: list[str], plan: Plan) -> tuple[Results, list[str]]:
    """Measure; what went wrong comes back beside what was measured."""
    results: Results = {name: {} for name in names}
    wrong: list[str] = []
    rounds = max(ROWS[name].repeat(plan) for name in names)
    for round in range(rounds):
        for name in names:
            row = ROWS[name]
            if round >= row.repeat(plan):
                continue
            for peer in row.peers:
                if peer in peers:
                    _say(f"round {round + 1} of {row.repeat(plan)}: {name}, {LABELS[peer]}")
                    try:
                        figures = row.take(peer, plan)
                    except Exception as error:
                        wrong.append(f"{name}, {LABELS[peer]}, round {round + 1}: {error}")
                    else:
                        results[name].setdefault(peer, []).append(figures)
    _say("")
    return results, wrong


def _say(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def machine(plan: Plan, results: Results) -> str:
    """The machine in general terms, how often things were measured, and whether it had other work."""
    versions = f"{platform.system()}, {platform.machine()}, Python {platform.python_version()}"
    how = f"{plan.rounds} rounds of {plan.seconds:g} s" if plan.rounds > 1 else f"one round of {plan.seconds:g} s"
    text = (
        f"Taken on {datetime.now(UTC):%Y-%m-%d} on a machine with {len(CORES)} cores ({versions}); "
        f"medians of {how} for each load, servers in turn."
    )
    share = share_of_core(results)
    if share is not None and share < QUIET:
        text += (
            f" The machine had other work: under load the servers got {share:.0%} of their core (median), and the "
            "load no more of its own. So rates are too low, most of all the high ones, and p99 too long; CPU figures "
            "and p50 suffer little."
        )
    return text


def write(results: Results, machine: str) -> None:
    """The figures and the chart into docs/."""
    report.write_into(DOCS / "performance.md", report.markdown(results, machine))
    (DOCS / "bench.svg").write_text(chart.chart(results), encoding="utf-8")


def show(path: Path, *, into_docs: bool) -> None:
    """The report of a former run."""
    whole = json.loads(path.read_text())
    print(report.terminal(whole["rows"]), whole["machine"], sep="\n\n")
    if into_docs:
        write(whole["rows"], whole["machine"])


def save(results: Results, wrong: list[str], plan: Plan) -> Path:
    """Keep the raw figures; returns where."""
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    whole = {"machine": machine(plan, results), "plan": attrs.asdict(plan), "wrong": wrong, "rows": results}
    path.write_text(json.dumps(whole, indent=1))
    return path


def main() -> int:
    """The exit code is 0 when everything of ours was measured, whatever the figures are."""
    chosen = options()
    if chosen.show:
        show(chosen.show, into_docs=chosen.write)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(DESCRIPTORS, hard)), hard))
    try:
        find_wrk()
        if not chosen.no_install:
            install_peers()
    except NotInstalledError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if len(CORES) < 2:
        print("bench: one core only: server and load share it, so look at the CPU figures", file=sys.stderr)
    names = list(chosen.only or (QUICK_ROWS if chosen.quick else ROWS))
    peers = [name for name in LABELS if not chosen.peers or name.replace(" ", "-") in chosen.peers]
    plan = plan_of(chosen)
    os.sched_setaffinity(0, {LOAD_CORE})
    began = time.monotonic()
    results, wrong = run(names, peers, plan)
    raw = save(results, wrong, plan)
    print(report.terminal(results))
    print(f"\n{machine(plan, results)}\nIt took {time.monotonic() - began:.0f} s. Raw figures: {raw.relative_to(ROOT)}")
    for line in wrong:
        print(f"wrong: {line}", file=sys.stderr)
    whole = not chosen.quick and not chosen.only and not chosen.peers
    if chosen.write or (whole and not wrong):
        write(results, machine(plan, results))
    return 1 if any(f", {LABELS[one]}, " in line for line in wrong for one in (OURS, BARE)) else 0


if __name__ == "__main__":
    sys.exit(main())
