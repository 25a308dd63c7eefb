"""The house's rules hold in the package as it stands, and each rule refuses what it is there to refuse."""

from collections.abc import Callable

import pytest

from tests import house_rules as house
from tests.house_rules import SOURCES, Source

Rule = Callable[[Source], list[str]]

# One row: a rule, a path, what it must refuse there, what it must let pass there.
SHOWN: list[tuple[Rule, str, str, str]] = [
    (
        house.imports_go_downward,
        "wire/base.py",
        "from trio_mcp.protocol import methods",
        "from trio_mcp.wire import sse",
    ),
    (house.imports_go_downward, "protocol/session.py", "import trio_mcp.server", "import trio_mcp.wire.base"),
    (house.imports_go_downward, "tools.py", "from trio_mcp.runtime.call import Call", "from trio_mcp.schema import x"),
    (house.imports_go_downward, "tools.py", "def f():\n    from trio_mcp.serve import x", "from .wire import base"),
    (house.imports_go_downward, "tools.py", "import_module('trio_mcp.serve')", "import_module(target)"),
    (house.imports_go_downward, "runtime/call.py", "from ..http import app", "from .. import version"),
    (house.imports_go_downward, "runtime/__init__.py", "from ..http.app import a", "from .call import Call"),
    (house.imports_go_downward, "runtime/call.py", "from trio_mcp import Server", "from trio_mcp.server import Server"),
    (house.imports_go_downward, "http/app.py", "import trio_mcp", "from trio_mcp.version import __version__"),
    (
        house.imports_go_downward,
        "http/app.py",
        "from trio_mcp.ops import cors",
        "from trio_mcp.transports import stdio",
    ),
    (house.imports_go_downward, "ops/cors.py", "from trio_mcp.cli import main", "from trio_mcp.http import asgi"),
    (house.imports_go_downward, "serve.py", "import trio_mcp.testing", "from trio_mcp.cli import main"),
    (house.wire_imports_only_msgspec, "wire/base.py", "import attrs", "import msgspec, typing, collections.abc"),
    (house.wire_imports_only_msgspec, "wire/base.py", "import logging", "from trio_mcp.wire.base import Wire"),
    (house.wire_imports_only_msgspec, "wire/base.py", "from trio_mcp.version import x", "from . import sse"),
    (house.protocol_knows_no_clock_no_task_no_log, "protocol/session.py", "import trio", "import attrs"),
    (house.protocol_knows_no_clock_no_task_no_log, "protocol/session.py", "from time import time", "import enum"),
    (house.protocol_knows_no_clock_no_task_no_log, "protocol/x.py", "def f():\n    import logging", "import re"),
    (house.the_http_server_is_known_only_to_its_seam, "http/asgi.py", "from hypercorn.config import x", "import h11"),
    (house.the_http_server_is_known_only_to_its_seam, "http/worker.py", "import httptools", "import hypercorn.config"),
    (house.no_asyncio, "runtime/x.py", "import asyncio.events", "import trio"),
    (house.no_type_checking_blocks, "tools.py", "if typing.TYPE_CHECKING:\n    pass", "from typing import Any"),
    (house.no_type_checking_blocks, "tools.py", "from typing import TYPE_CHECKING as T", "x = 'TYPE_CHECKING'"),
    (
        house.nurseries_open_only_at_their_owners,
        "runtime/call.py",
        "async def f():\n    async with trio.open_nursery() as call_nursery: pass",
        "open_nursery = 1",
    ),
    (
        house.nurseries_open_only_at_their_owners,
        "runtime/session.py",
        "async def f():\n    async with trio.open_nursery() as nursery: pass",
        "async def f():\n    async with lock, trio.open_nursery() as self._session_nursery: pass",
    ),
    (house.nurseries_open_only_at_their_owners, "serve.py", "n = open_nursery()", "serve_nursery = None"),
    (house.every_task_has_a_name, "x.py", "nursery.start_soon(f)", "nursery.start_soon(f, name='write s1')"),
    (house.every_task_has_a_name, "x.py", "self._host_nursery.start(f)", "host_nursery.start(f, 1, name=name)"),
    (house.every_task_has_a_name, "x.py", "self.group.start_soon(f, 1)", "thread.start()"),
    (house.no_system_tasks, "x.py", "trio.lowlevel.spawn_system_task(f)", "trio.lowlevel.current_task()"),
    (house.every_shield_gives_its_reason, "x.py", "CancelScope(shield=True)", "CancelScope(shield=True)  # why"),
    (house.every_shield_gives_its_reason, "x.py", "# why\n\nscope.shield = True", "# why\nscope.shield = True"),
    (house.every_shield_gives_its_reason, "x.py", "move_on_after(1, shield=x)  # noqa: X1", "Scope(shield=False)"),
    (house.every_shield_gives_its_reason, "x.py", "f(shield=1)\n# late", "# why\nf(\n    1,\n    shield=True,\n)"),
    (house.no_time_sleep, "x.py", "time.sleep(1)", "trio.sleep(1)"),
    (house.no_time_sleep, "x.py", "from time import sleep", "from trio import sleep"),
    (house.no_async_generators, "x.py", "async def f():\n    yield 1", "def f():\n    yield 1"),
    (
        house.no_async_generators,
        "x.py",
        "@fixture\nasync def f():\n    if x:\n        yield 1",
        "@contextlib.asynccontextmanager\nasync def f():\n    yield 1",
    ),
    (
        house.no_async_generators,
        "x.py",
        "async def f():\n    return (x async for x in y)",
        "async def f():\n    def g():\n        yield 1\n    return [x async for x in y]",
    ),
    (house.everything_is_caught_only_at_the_boundaries, "x.py", "try: f()\nexcept: pass", "try: f()\nfinally: g()"),
    (
        house.everything_is_caught_only_at_the_boundaries,
        "runtime/call.py",
        "try: f()\nexcept (OSError, Exception): pass",
        "try: f()\nexcept (OSError, ValueError): pass",
    ),
    (
        house.everything_is_caught_only_at_the_boundaries,
        "x.py",
        "try: f()\nexcept* builtins.BaseException as e: pass",
        "try: f()\nexcept ExceptionGroup: pass",
    ),
    (house.everything_is_caught_only_at_the_boundaries, "x.py", "suppress(Exception)", "suppress(OSError)"),
    (house.revision_dates_are_written_once, "x.py", "a == '2025-11-25'", "'''As of 2025-11-25.'''  # 2025-11-25"),
    (house.revision_dates_are_written_once, "x.py", "f'x{a}2026-07-28'", "'draft/2020-12/schema'"),
    (house.revision_dates_are_written_once, "x.py", "x = b'2024-11-05'", "class A:\n    '2024-11-05'"),
]

RULES = sorted({row[0] for row in SHOWN}, key=lambda rule: rule.__name__)

# The files that a table of owners names, each with a snippet that is refused elsewhere.
CATCH_ALL = "try: f()\nexcept Exception: pass"
NURSERY = "async def f():\n    async with open_nursery() as a_nursery: pass"
OWNED: list[tuple[Rule, str, str]] = [
    *((house.everything_is_caught_only_at_the_boundaries, path, CATCH_ALL) for path in house.CATCH_ALL_OWNERS),
    *((house.nurseries_open_only_at_their_owners, path, NURSERY) for path in house.NURSERY_OWNERS),
    *(
        (house.the_http_server_is_known_only_to_its_seam, path, "import hypercorn")
        for path in sorted(house.HYPERCORN_OWNERS)
    ),
    *(
        (house.the_http_server_is_known_only_to_its_seam, path, "import httptools")
        for path in sorted(house.HTTPTOOLS_OWNERS)
    ),
    (house.revision_dates_are_written_once, house.DATES_OWNER, "x = '2025-11-25'"),
    (house.no_time_sleep, house.SLEEP_OWNER, "time.sleep(1)"),
    (house.imports_go_downward, "testing/client.py", "from trio_mcp import Server"),
    (house.imports_go_downward, "__init__.py", "from trio_mcp.serve import serve_http"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: Rule):
    assert [violation for source in SOURCES.values() for violation in rule(source)] == []


def test_no_module_imports_itself_by_way_of_others():
    assert house.cycle(SOURCES) == []


def test_the_rules_read_the_whole_package():
    assert {"trio_mcp.wire.base", "trio_mcp.protocol.revisions", "trio_mcp.version"} <= set(SOURCES)


@pytest.mark.parametrize(("rule", "path", "refused", "passed"), SHOWN)
def test_a_rule_refuses_what_breaks_it_and_nothing_else(rule: Rule, path: str, refused: str, passed: str):
    assert len(rule(Source(path, refused))) == 1
    assert rule(Source(path, passed)) == []


@pytest.mark.parametrize(("rule", "path", "text"), OWNED)
def test_an_owner_may_do_what_others_may_not(rule: Rule, path: str, text: str):
    assert rule(Source(f"{path}some.py" if path.endswith("/") else path, text)) == []
    assert rule(Source("runtime/somewhere_else.py", text)) != []


def test_a_new_folder_needs_a_rank_and_a_new_authoring_module_does_not():
    assert house.imports_go_downward(Source("novelty/thing.py", "")) != []
    assert house.imports_go_downward(Source("novelty.py", "")) == []
    assert house.imports_go_downward(Source("novelty.py", "import trio_mcp.http.app")) != []


def test_a_cycle_is_found_even_inside_functions():
    modules = {
        "trio_mcp.a": Source("a.py", "from trio_mcp import b"),
        "trio_mcp.b": Source("b.py", "import trio_mcp.c.d"),
        "trio_mcp.c.d": Source("c/d.py", "def f():\n    from ..a import x"),
        "trio_mcp.e": Source("e.py", "from trio_mcp.a import x"),
    }
    assert set(house.cycle(modules)) == {"trio_mcp.a", "trio_mcp.b", "trio_mcp.c.d"}
    del modules["trio_mcp.b"]
    assert house.cycle(modules) == []
