"""The call log, in virtual time: what is told of a call, and that nothing is told of what it was given."""

import logging

import pytest
import trio
import trio.testing

from tests.http.client import Session, Web, served
from trio_mcp import Context, Server, Settings, ToolError
from trio_mcp.ops.batched_log import BOUND, INTERVAL
from trio_mcp.ops.call_log import LONGEST, CallLog, CallRecord, shown

CALL = CallRecord("tools/call", "greet", 3, "abcdefghijkl", "2025-11-25", "ok", None, 0.0123)


def kept(log: CallLog, *records: CallRecord) -> None:
    """Put records in as `take` does."""
    for record in records:
        log._taken += 1
        log._records.append(record)


async def written(caplog: pytest.LogCaptureFixture, *records: CallRecord) -> list[logging.LogRecord]:
    log = CallLog()
    kept(log, *records)
    log.stop()
    with caplog.at_level(logging.INFO, "trio_mcp.calls"):
        await log.run()
    return caplog.records


async def test_a_call_is_logged_with_its_facts(caplog: pytest.LogCaptureFixture):
    [record] = await written(caplog, CALL)
    assert record.getMessage() == "tools/call greet ok 12.3ms"
    facts = ("method", "tool", "request_id", "session", "revision", "outcome", "duration_ms")
    assert [vars(record)[name] for name in facts] == [
        *("tools/call", "greet", 3, "abcdefgh", "2025-11-25", "ok", 12.3),
    ]
    assert "error_code" not in vars(record)


async def test_what_is_not_there_is_not_told(caplog: pytest.LogCaptureFixture):
    [record] = await written(caplog, CALL._replace(method="tools/list", target=None, session=None, error_code=-1))
    assert record.getMessage() == "tools/list ok 12.3ms"
    assert not {"tool", "prompt", "session"} & set(vars(record))
    assert vars(record)["error_code"] == -1


async def test_what_a_client_chose_forges_no_line(caplog: pytest.LogCaptureFixture):
    [record] = await written(caplog, CALL._replace(target="a\nERROR b", request_id="x\r\n" + "y" * 999))
    assert record.getMessage() == r"tools/call 'a\nERROR b' ok 12.3ms"
    assert "\n" not in vars(record)["tool"] + vars(record)["request_id"]
    assert len(vars(record)["request_id"]) < LONGEST + 20


def test_ordinary_names_are_shown_as_they_are():
    assert shown("wetter_für-Köln") == "wetter_für-Köln"
    assert shown("x" * 200) == "x" * LONGEST + "…"


async def test_lines_are_written_within_the_interval_and_at_the_end(caplog, autojump_clock):
    log = CallLog()
    with caplog.at_level(logging.INFO, "trio_mcp.calls"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.run)
            kept(log, CALL)
            assert not caplog.records
            await trio.sleep(INTERVAL * 2)
            assert len(caplog.records) == 1
            kept(log, CALL)
            nursery.cancel_scope.cancel()
    assert len(caplog.records) == 2


async def test_more_than_can_wait_is_dropped_oldest_first_and_told(caplog: pytest.LogCaptureFixture):
    records = await written(caplog, *(CALL._replace(target=str(number)) for number in range(BOUND + 3)))
    assert records[0].getMessage() == "tools/call 3 ok 12.3ms"
    assert records[-1].getMessage() == "3 calls were not logged: more came than could be written"


# Outcomes


def server() -> Server:
    made = Server("watched", settings=Settings(call_log=True))

    @made.tool
    async def fine() -> str:
        return "fine"

    @made.tool
    async def unwell() -> str:
        raise ToolError("hush")

    @made.tool
    async def broken() -> str:
        raise RuntimeError("hush")

    @made.tool
    async def long() -> str:
        await trio.sleep_forever()
        return ""

    @made.tool(timeout=1)
    async def late() -> str:
        await trio.sleep_forever()
        return ""

    @made.prompt
    async def asks() -> str:
        return "hush"

    @made.resource("hush://{name}")
    async def read(name: str) -> str:
        return name

    return made


async def ended(web: Web) -> CallRecord:
    """What is told of the one call since the last."""
    await trio.testing.wait_all_tasks_blocked()
    log = web.host.call_watchers[0].__self__  # type: ignore[attr-defined]
    [record] = log._records
    log._records.clear()
    return record


@pytest.mark.parametrize("era", ["session", "per request"])
async def test_each_outcome_has_its_name(era: str, autojump_clock):
    async with served(server()) as web:
        web.host.call_watchers = [CallLog().take]
        asked = await web.initialize() if era == "session" else web
        session = asked.id if isinstance(asked, Session) else None
        revision = "2025-11-25" if session else "2026-07-28"
        for tool, outcome, seconds in (("fine", "ok", 0), ("unwell", "failed", 0), ("late", "timeout", 1)):
            await asked.call(tool).done()
            record = await ended(web)
            assert record[:2] == ("tools/call", tool)
            assert record[3:7] == (session, revision, outcome, None)
            assert record.seconds == pytest.approx(seconds, abs=0.01)
        for tool in ("broken", "no such tool"):
            await asked.call(tool).done()
            record = await ended(web)
            assert (record.target, record.outcome) == (tool, "error")
            assert record.error_code in (-32603, -32602)
        await asked.ask("prompts/get", {"name": "asks"}).done()
        assert (await ended(web))[:2] == ("prompts/get", "asks")
        await asked.ask("resources/read", {"uri": "hush://secret"}).done()
        record = await ended(web)
        assert record[:2] == ("resources/read", None)
        assert "hush" not in str(record)


async def test_a_call_that_is_cancelled_says_so(autojump_clock):
    async with served(server()) as web:
        web.host.call_watchers = [CallLog().take]
        fetch = web.call("long")
        await trio.testing.wait_all_tasks_blocked()
        fetch.drop()
        assert (await ended(web)).outcome == "cancelled"
        session = await web.initialize()
        fetch = session.call("long", id=9)
        await trio.testing.wait_all_tasks_blocked()
        await session.notify("notifications/cancelled", {"requestId": 9})
        assert (await ended(web)).outcome == "cancelled"
        fetch.drop()


async def test_a_question_of_the_per_request_era_says_so(autojump_clock):
    made = Server("asking")

    @made.tool
    async def ask(ctx: Context) -> str:
        return str(await ctx.list_roots())

    async with served(made) as web:
        web.host.call_watchers = [CallLog().take]
        meta: dict = {"io.modelcontextprotocol/clientCapabilities": {"roots": {}}}
        await web.ask("tools/call", {"name": "ask", "arguments": {}}, meta=meta).done()
        assert (await ended(web)).outcome == "input_required"
