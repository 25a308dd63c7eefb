"""The same run is the same, byte for byte: twice in a process, and in other processes with other hashes and addresses.

That stands for another machine: what differs there beside the wall clock are the order of sets and the places of things
in memory, and nothing of either may be in a trace.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest
import trio

from tests.simulation.scenarios import Case, cases
from trio_mcp import Context, Server
from trio_mcp.testing import Conditions, Cut, Recipe, connect, trace_of, weather
from trio_mcp.testing.campaign import Campaign, Options

ROOT = Path(__file__).parents[2]
CHOSEN = (
    "call_with_progress http 2025-11-25",
    "elicitation http 2026-07-28",
    "subscription sse 2024-11-05",
    "many_calls notifications 2025-03-26",
    "two_clients websocket 2025-11-25",
    "many_calls websocket 2026-07-28",
    "subscription memory 2026-07-28",
    "shutdown 1.5 stdio 2025-06-18",
    "resumed_stream http 2025-11-25",
)
SEEDS = (0, 1, 17)
CUT = Recipe(seed=17, conditions=Conditions(buffer=1024), cut=Cut(60, "abort", "client 1"))


async def threads() -> None:
    """Plain functions: threads that sleep, draw, and report."""
    server = Server("threads")

    @server.tool
    def work(ctx: Context, name: str) -> str:
        for number in range(2):
            trio.from_thread.run(ctx.report_progress, number)
            time.sleep(0.5)
        return f"{name} {os.urandom(4).hex()} {time.time()} {time.perf_counter()}"

    async with connect(server) as client, trio.open_nursery() as nursery:
        for name in "ab":
            nursery.start_soon(client.call_tool, "work", {"name": name})


@cache
def chosen() -> dict[str, Case]:
    found = {case.name: case for case in cases() if case.name in CHOSEN} | {"threads": Case("threads", threads)}
    assert len(found) == len(CHOSEN) + 1, f"not all of them are there: {sorted(found)}"
    return found


def recipes(name: str) -> dict[str, Recipe]:
    """The runs of a scenario: some seeds, and one that is cut."""
    found = {f"{name}, seed {seed}": Recipe(seed=seed, conditions=weather(seed)) for seed in SEEDS}
    return found | {f"{name}, cut": CUT}


def trace(name: str, recipe: Recipe) -> str:
    trace, _ = trace_of(chosen()[name].run, recipe, name)
    return trace.as_json()


def digests() -> dict[str, str]:
    """Of every run; what other processes print."""
    return {
        title: hashlib.sha256(trace(name, recipe).encode()).hexdigest()
        for name in chosen()
        for title, recipe in recipes(name).items()
    }


def elsewhere(hash_seed: str) -> "subprocess.Popen[bytes]":
    """Another process, that makes the same runs in another order of everything that has none."""
    code = "import json; from tests.testing.test_determinism import digests; print(json.dumps(digests()))"
    # Its memory is laid out in another way, whether or not the system does that by itself.
    waste = f"waste = [object() for _ in range({int(hash_seed) * 1000})]; "
    return subprocess.Popen(
        [sys.executable, "-c", waste + code],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
    )


def test_the_same_runs_are_the_same_twice_and_in_processes_with_other_hashes_and_other_memory():
    others = [elsewhere("1"), elsewhere("4242")]
    here = digests()
    assert digests() == here
    for other in others:
        output, _ = other.communicate(timeout=100)
        assert other.returncode == 0
        assert json.loads(output) == here


@pytest.mark.parametrize("name", [*CHOSEN, "threads"])
def test_another_seed_gives_another_trace(name: str):
    conditions = Conditions()  # the order alone
    traces = {trace(name, Recipe(seed=seed, conditions=conditions)) for seed in (0, 1, 2, 3)}
    assert len(traces) > 1
    assert len({trace(name, Recipe(seed=seed, conditions=weather(seed))) for seed in (0, 1, 17)}) == 3


@pytest.mark.parametrize("name", [*CHOSEN, "threads"])
def test_no_event_holds_a_path_of_the_machine_or_an_address_of_memory(name: str):
    for recipe in recipes(name).values():
        for line in trace(name, recipe).splitlines():
            assert str(ROOT) not in line
            assert sys.prefix not in line
            assert not re.search(r"0x[0-9a-f]{6,}", line), line
            assert not re.search(r'"/[a-z]+/[a-z]+/[a-z]', line), line


def test_the_trace_of_a_failure_holds_neither_and_is_the_same():
    async def fails() -> None:
        server = Server("fails")
        server.tool(name="here")(lambda: "here")
        async with connect(server) as client:
            await client.call_tool("here")
            raise LookupError(f"it is {await client.list_tools() == []}")

    one, other = (trace_of(fails, Recipe(seed=3), "fails")[0].as_json() for _ in range(2))
    assert one == other
    assert '"kind": "failure"' in one
    assert "LookupError: it is False" in one
    assert str(ROOT) not in one
    assert sys.prefix not in one


def test_who_watches_changes_nothing():
    for recipe in recipes(CHOSEN[0]).values():
        first, watched = trace_of(chosen()[CHOSEN[0]].run, recipe)
        options = Options(title="unwatched", check_memory=False)
        unwatched = Campaign(chosen()[CHOSEN[0]].run, options)._run(recipe)
        assert first.events
        assert (watched.steps, watched.batches, watched.seconds) == (
            unwatched.steps,
            unwatched.batches,
            unwatched.seconds,
        )
        assert watched.deviations == unwatched.deviations
        assert watched.failure == unwatched.failure
