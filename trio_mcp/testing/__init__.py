"""Deterministic simulation: a server's real stack on simulated sockets, under a virtual clock, every run from a seed.

`connect` gives a client of a server. `explore`, `cut_everywhere` and `cancel_everywhere` run a scenario many times and
tell of the first failure how to replay it. `docs/testing.md` is the way in.
"""

from trio_mcp.testing.campaign import Report, SimulationFailure
from trio_mcp.testing.client import Client
from trio_mcp.testing.client.pending import ConnectionLostError, Pending, RefusedError, RequestCancelledError
from trio_mcp.testing.cutting import cancel_everywhere, cut_everywhere
from trio_mcp.testing.explore import explore, replay, trace_of, weather, write_page
from trio_mcp.testing.invariants import (
    InvariantError,
    answered_once,
    events_gapless,
    memory_back,
    no_task_left,
    no_write_after_close,
    nothing_left,
    require,
    within_bounds,
)
from trio_mcp.testing.network import Conditions, Link, Network
from trio_mcp.testing.page import as_page
from trio_mcp.testing.recipe import Cut, Recipe, read_recipe
from trio_mcp.testing.server import SimulatedServer, connect, serving
from trio_mcp.testing.simulation import HangError, Outcome, current, note, simulate
from trio_mcp.testing.tasks import living_tasks, tree_of_tasks
from trio_mcp.testing.text import as_text
from trio_mcp.testing.trace import Trace

__all__ = [
    "Client",
    "Conditions",
    "ConnectionLostError",
    "Cut",
    "HangError",
    "InvariantError",
    "Link",
    "Network",
    "Outcome",
    "Pending",
    "Recipe",
    "RefusedError",
    "Report",
    "RequestCancelledError",
    "SimulatedServer",
    "SimulationFailure",
    "Trace",
    "answered_once",
    "as_page",
    "as_text",
    "cancel_everywhere",
    "connect",
    "current",
    "cut_everywhere",
    "events_gapless",
    "explore",
    "living_tasks",
    "memory_back",
    "no_task_left",
    "no_write_after_close",
    "note",
    "nothing_left",
    "read_recipe",
    "replay",
    "require",
    "serving",
    "simulate",
    "trace_of",
    "tree_of_tasks",
    "weather",
    "within_bounds",
    "write_page",
]
