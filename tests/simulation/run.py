"""`make simulate`: every guarantee under thousands of schedules and a cut at every place; its figures go to the docs.

Cases are shared out among the processors. A case that fails is told as a test would tell it, and nothing is written.
"""

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tests.simulation.guarantees import GUARANTEES, cancellations_of, cases_of
from tests.simulation.scenarios import cases
from trio_mcp.testing import SimulationFailure, cancel_everywhere, cut_everywhere, explore

PAGE = Path(__file__).parents[2] / "docs" / "guarantees.md"
BEGIN, END = "<!-- figures: make simulate -->", "<!-- end of figures -->"
SEEDS = 160


class Job(NamedTuple):
    """What one process does at a time: a case, and the tool to cancel in it or None."""

    case: str
    tool: str | None
    seeds: int
    cut_seed: int = 0


class Done(NamedTuple):
    """What came of it."""

    job: Job
    schedules: int
    places: int
    cuts: int
    steps: int
    seconds: float
    failure: str | None


def work(job: Job) -> Done:
    """Explore and cut one case."""
    case = next(case for case in cases() if case.name == job.case)
    began = time.perf_counter()
    schedules = places = cuts = steps = 0
    try:
        if job.tool is None:
            report = explore(case.run, job.seeds, title=case.name, settling=True)
            schedules, steps = report.schedules, report.steps
        if job.tool is not None or case.cut:
            if job.tool is None:
                report = cut_everywhere(case.run, title=case.name, seeds=[job.cut_seed])
            else:
                title = f"{case.name}, {job.tool} cancelled"
                report = cancel_everywhere(case.run, job.tool, title=title, seeds=[job.cut_seed])
            places, cuts, steps = report.checkpoints, report.cuts, steps + report.steps
    except SimulationFailure as failure:
        return Done(job, schedules, places, cuts, steps, time.perf_counter() - began, str(failure))
    return Done(job, schedules, places, cuts, steps, time.perf_counter() - began, None)


def jobs(seeds: int) -> list[Job]:
    """Everything there is to do, each once."""
    found = [Job(case.name, None, seeds) for case in cases()]
    found += [Job(case.name, tool, seeds) for guarantee in GUARANTEES for case, tool in cancellations_of(guarantee)]
    return found


def table(done: list[Done]) -> str:
    """The figures as the page has them."""
    by_job = {(one.job.case, one.job.tool): one for one in done}
    lines = ["| guarantee | scenarios | schedules | places | cuts |", "|---|---|---:|---:|---:|"]
    for guarantee in GUARANTEES:
        some = [by_job[case.name, None] for case in cases_of(guarantee)]
        some += [by_job[case.name, tool] for case, tool in cancellations_of(guarantee)]
        names = ", ".join(f"`{name}`" for name in guarantee.scenarios)
        more = ", ".join(f"`{name}` with `{tool}` cancelled" for name, tool in guarantee.cancelled)
        figures = (sum(one.schedules for one in some), sum(one.places for one in some), sum(one.cuts for one in some))
        cells = " | ".join(f"{figure:,}".replace(",", " ") for figure in figures)
        lines.append(f"| {guarantee.sentence} | {names or more} on {len(some)} ways | {cells} |")
    totals = (
        len(done),
        sum(one.schedules for one in done),
        sum(one.cuts for one in done),
        sum(one.places for one in done),
    )
    text = "In all {} campaigns, {} schedules and {} cuts at {} places, {} task steps.".format(
        *(f"{figure:,}".replace(",", " ") for figure in (*totals, sum(one.steps for one in done)))
    )
    return "\n".join([*lines, "", text])


def main() -> None:
    """Run all, print as it goes, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"schedules of each case ({SEEDS})")
    parser.add_argument("--cut-seed", type=int, default=0, help="the order that is cut; 0 is first in, first out")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    arguments = parser.parse_args()
    wanted = [job._replace(cut_seed=arguments.cut_seed) for job in jobs(arguments.seeds) if arguments.only in job.case]
    whole = not arguments.only and not arguments.cut_seed  # else the page is not written
    began, done = time.perf_counter(), []
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for number, one in enumerate(pool.imap_unordered(work, wanted), 1):
            done.append(one)
            what = one.job.case + (f", {one.job.tool} cancelled" if one.job.tool else "")
            print(
                f"[{number}/{len(wanted)}] {what}: {one.schedules} schedules, {one.cuts} cuts, {one.seconds:.1f} s",
                flush=True,
            )
            if one.failure is not None:
                print(one.failure, flush=True)
    failed = [one.job.case for one in done if one.failure is not None]
    if failed:
        sys.exit(f"{len(failed)} campaigns failed, and nothing was written: {', '.join(failed)}")
    figures = table(done) if whole else ""
    print(f"{figures}\n{time.perf_counter() - began:.0f} s")
    if figures:
        text = PAGE.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
