"""The access log, in virtual time."""

import logging

import pytest
import trio

from trio_mcp.ops.access_log import AccessLog
from trio_mcp.ops.batched_log import BOUND, INTERVAL

RECORD = (("192.0.2.7", 1234), "POST", b"/mcp?session_id=secret", 200, 321, 0.0123, "1.1")


async def test_a_request_is_logged_with_its_facts_and_without_its_query(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    log = AccessLog()
    with caplog.at_level(logging.INFO, "trio_mcp.access"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.run)
            log.take(RECORD)
            assert not caplog.records
            await trio.sleep(INTERVAL * 2)
            (record,) = caplog.records
            log.stop()
    assert record.getMessage() == '192.0.2.7 "POST /mcp HTTP/1.1" 200 321 12.3ms'
    assert (record.__dict__["status"], record.__dict__["path"], record.__dict__["duration_ms"]) == (200, "/mcp", 12.3)
    assert record.__dict__["protocol"] == "HTTP/1.1"


@pytest.mark.parametrize("end", ["stop", "cancel"])
async def test_what_waits_is_written_at_the_end(
    end: str, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    log = AccessLog()
    with caplog.at_level(logging.INFO, "trio_mcp.access"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.run)
            await trio.testing.wait_all_tasks_blocked()
            log.take(RECORD)
            log.stop() if end == "stop" else nursery.cancel_scope.cancel()
    assert len(caplog.records) == 1


async def test_more_than_can_wait_is_dropped_oldest_first_and_told(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    log = AccessLog()
    for number in range(BOUND + 3):
        log.take((None, "GET", b"/%d" % number, 200, 0, 0.0, "2"))
    log.stop()
    with caplog.at_level(logging.INFO, "trio_mcp.access"):
        await log.run()
    assert caplog.records[0].getMessage() == '- "GET /3 HTTP/2" 200 0 0.0ms'
    assert caplog.records[-1].getMessage() == "3 requests were not logged: more came than could be written"
