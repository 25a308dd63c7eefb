"""The official Python SDK's server, in a process of its own: what is found there is told, and nothing breaks.

What it does otherwise than the specification says is written down here as found (mcp 2.3.0), so that a change of the
SDK, or of a check, is seen.
"""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from trio_mcp.check.connection import Web
from trio_mcp.check.findings import Outcome
from trio_mcp.check.place import parse
from trio_mcp.check.runner import Section, run_checks
from trio_mcp.check.scene import Options

ROOT = Path(__file__).parents[2]
PATIENCE = 60
SESSIONS = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]
ALL = ["2026-07-28", *SESSIONS]


@asynccontextmanager
async def sdk_server(transport: str) -> AsyncIterator[int]:
    """Its port; the process is killed at the end."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.check.python_sdk_server", transport],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        line = b""
        with trio.fail_after(PATIENCE):
            while not line.endswith(b"\n"):
                piece = await process.stdout.receive_some()
                assert piece, "the server ended"
                line += piece
        yield int(line)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):  # a killed process ends at once
            await process.wait()
        await process.stdout.aclose()


async def checked(transport: str, path: str) -> dict[str, Section]:
    async with sdk_server(transport) as port:
        web = Web(parse(f"http://127.0.0.1:{port}{path}"))
        with trio.fail_after(PATIENCE):
            sections = await run_checks(web, Options())
        await web.aclose()
    return {section.transport: section for section in sections}


def found(section: Section, outcome: Outcome) -> dict[str, list[str]]:
    """The checks with an outcome, and in which revisions."""
    checks: dict[str, list[str]] = {}
    for column in section.offered:
        for row in column.rows:
            if row.outcome is outcome:
                checks.setdefault(row.check.id, []).append(column.revision.version)
    return checks


async def test_streamable_http_of_the_sdk():
    sections = await checked("http", "/mcp")
    assert [column.revision.version for column in sections["http"].offered] == ALL
    assert [name for name, section in sections.items() if section.offered] == ["http"]
    assert found(sections["http"], Outcome.FAILED) == {
        "headers.version": ["2026-07-28"],  # a header of the session era decides alone, whatever the body says
        "batch.accepted": ["2025-03-26"],
    }
    assert found(sections["http"], Outcome.WARNING) == {
        "headers.version-missing": ["2026-07-28"],
        "errors.invalid-request": SESSIONS,
        "http.content-type": ALL,
        "lists.cursor": ALL,
        "tools.unknown": ALL,
        "resources.unknown": SESSIONS,
        "prompts.unknown": ALL,
    }


async def test_http_with_sse_of_the_sdk():
    sections = await checked("sse", "/sse")
    assert [name for name, section in sections.items() if section.offered] == ["sse"]
    assert found(sections["sse"], Outcome.FAILED) == {}
    assert set(found(sections["sse"], Outcome.WARNING)) == {
        "lists.cursor",
        "tools.unknown",
        "resources.unknown",
        "prompts.unknown",
    }
