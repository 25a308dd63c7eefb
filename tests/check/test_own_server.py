"""Our own server passes every check of its own checker, over real sockets and in memory."""

import re
from functools import partial
from pathlib import Path

import pytest
import trio

from examples import everything
from tests.check.kit import column_of, full_server, in_memory, notes
from trio_mcp import Server, Settings, Shutdown, demo, serve_http
from trio_mcp.check.connection import Web
from trio_mcp.check.findings import Outcome
from trio_mcp.check.place import parse
from trio_mcp.check.report import Report, markdown
from trio_mcp.check.runner import TRANSPORTS, CannotBeginError, Section, run_checks
from trio_mcp.check.scene import Options
from trio_mcp.version import __version__

GOLDEN = Path(__file__).parent / "demo.md"
PATIENCE = 60


async def checked(server: Server, **options: object) -> list[Section]:
    """All checks over real sockets."""
    shutdown = Shutdown()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            [url] = await nursery.start(partial(serve_http, server, port=0, shutdown=shutdown))
            web = Web(parse(url))
            sections = await run_checks(web, Options(**options))  # type: ignore[arg-type]
            await web.aclose()
            shutdown.begin.set()
    return sections


def troubles(sections: list[Section]) -> list[str]:
    return [
        f"{section.transport} {column.revision.version} {row.check.id}: {row.note}"
        for section in sections
        for column in section.columns
        for row in column.rows
        if row.outcome in (Outcome.FAILED, Outcome.WARNING)
    ]


@pytest.mark.parametrize("server", [demo.mcp, everything.mcp], ids=["demo", "everything"])
async def test_our_servers_offer_everything_and_pass(server: Server):
    sections = await checked(server)
    assert troubles(sections) == []
    assert [section.transport for section in sections] == list(TRANSPORTS)
    assert [column.not_offered for section in sections for column in section.columns] == [""] * 10


def normalised(text: str) -> str:
    text = re.sub(r"p50 [\d.]+ ms", "p50 … ms", text)
    return text.replace(__version__, "VERSION").replace(__version__.replace(".", "\\."), "VERSION")


async def test_the_report_is_what_it_was():
    report = Report("http://127.0.0.1:8000/mcp", "2026-01-02", await checked(demo.mcp))
    assert normalised(markdown(report)) == GOLDEN.read_text(encoding="utf-8")


async def test_a_server_with_one_transport_is_told_from_one_with_all(autojump_clock):
    server = full_server()
    server.settings = Settings(transports=["sse"])
    async with in_memory(server=server) as web:
        sections = await run_checks(web, Options())
    offered = {section.transport: bool(section.offered) for section in sections}
    assert offered == {"http": False, "sse": True, "notifications": False, "message": False, "websocket": False}
    assert troubles(sections) == []


async def test_only_what_is_asked_for_is_checked(autojump_clock):
    async with in_memory() as web:
        sections = await run_checks(web, Options(), ["message", "sse"])
    assert [section.transport for section in sections] == ["sse", "message"]


async def test_a_server_without_sessions_offers_one_revision(autojump_clock):
    server = full_server()
    server.settings = Settings(sessions=False)
    async with in_memory(server=server) as web:
        [section] = await run_checks(web, Options(), ["http"])
    assert [column.revision.version for column in section.offered] == ["2026-07-28"]
    assert troubles([section]) == []


async def test_every_check_is_passed_somewhere_by_a_server_that_has_everything(autojump_clock):
    async with in_memory() as web:
        sections = await run_checks(web, Options())
    rows = [row for section in sections for column in section.columns for row in column.rows]
    passed = {row.check.id for row in rows if row.outcome is Outcome.PASSED}
    assert {row.check.id for row in rows} - passed == {"tools.headers"}  # whose subject the fixture has not
    assert troubles(sections) == []


async def test_nothing_that_could_change_anything_is_called(autojump_clock):
    server, called = Server("careful", version="1"), []

    @server.tool
    async def change() -> str:
        called.append("change")
        return "changed"

    async with in_memory(server=server) as web:
        await run_checks(web, Options())
        assert called == []
        column = await column_of(web, tool="change")
    assert called == ["change"]
    assert notes(column, Outcome.PASSED)["tools.call"] == '"change"'


async def test_a_server_behind_a_token_says_so(autojump_clock):
    server = full_server()
    server.settings = Settings(allowed_hosts=["elsewhere.example"])
    async with in_memory(server=server) as web:
        with pytest.raises(CannotBeginError, match="speaks MCP"):
            await run_checks(web, Options())
