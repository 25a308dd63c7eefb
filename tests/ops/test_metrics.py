"""`/metrics` after real calls of both eras, read by Prometheus' own parser."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.registry import REGISTRY

from tests.http.client import META, V2024, Web, served
from tests.http.servers import small_server
from trio_mcp import Server
from trio_mcp.ops import metrics
from trio_mcp.ops.metrics import _ERRORS
from trio_mcp.runtime.tally import MAX_TOOLS
from trio_mcp.serve import http_app
from trio_mcp.transports.memory import serve_stream

ASKING: dict[str, Any] = {f"{META}clientCapabilities": {"elicitation": {"form": {}}}}


@asynccontextmanager
async def measured(server: Server | None = None, *, lane: bool = False, **settings: Any) -> AsyncIterator[Web]:
    server = server or small_server(**settings)
    async with served(server, lane=lane, wrap=lambda app, host: http_app(host, loopback=True)) as web:
        yield web


class Scrape:
    """What one scrape said."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in parser.text_string_to_metric_families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def value(self, name: str, /, **labels: str) -> float | None:
        found = [s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()]
        assert len(found) < 2, (name, labels)
        return found[0] if found else None

    def requests(self, **labels: str) -> dict[tuple[str, str, str], int]:
        """Requests by method, tool and outcome."""
        return {
            (s.labels["method"], s.labels["tool"], s.labels["outcome"]): int(s.value)
            for s in self.samples
            if s.name == "mcp_requests_total" and labels.items() <= s.labels.items()
        }


async def scrape(web: Web) -> Scrape:
    fetch = await web.fetch("GET", path="/metrics")
    assert fetch.status == 200
    assert fetch.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Scrape(fetch.body.decode())


# Requests


async def test_requests_of_both_eras_are_counted_by_what_they_came_to(autojump_clock, lane: bool):
    async with measured(lane=lane, tool_timeout=100) as web:
        session = await web.initialize()
        for ask in (session, web):
            await ask.call("echo", message="hi").done()
            await ask.call("fail", text="for the model").done()
            await ask.call("fail").done()
            await ask.call("wait", seconds=1000).done()
            await ask.call("nobody knows it").done()
            await ask.ask("tools/list").done()
            await ask.ask("no/method").done()
        await session.ask("ping").done()
        seen = await scrape(web)
        assert seen.requests() == {
            ("initialize", "", "ok"): 1,
            ("ping", "", "ok"): 1,
            ("tools/list", "", "ok"): 2,
            ("other", "", "refused"): 2,
            ("tools/call", "echo", "ok"): 2,
            ("tools/call", "fail", "failed"): 2,
            ("tools/call", "fail", "error"): 2,
            ("tools/call", "wait", "timeout"): 2,
            ("tools/call", "other", "error"): 2,
        }
        assert seen.value("mcp_errors_total", tool="fail") == 4
        assert seen.value("mcp_errors_total", tool="wait") == 2
        assert seen.value("mcp_errors_total", tool="echo") == 0


async def test_cancelled_calls_are_counted_with_the_time_of_their_clean_up(autojump_clock, lane: bool):
    async with measured(lane=lane) as web:
        session = await web.initialize()
        of_session, per_request = session.call("stubborn", id=7, seconds=4), web.call("stubborn", seconds=20)
        await trio.sleep(1)
        await session.notify("notifications/cancelled", {"requestId": 7})
        per_request.drop()
        assert (await scrape(web)).value("mcp_calls") == 2
        await trio.sleep(50)
        assert of_session.returned
        seen = await scrape(web)
        assert seen.requests(method="tools/call") == {("tools/call", "stubborn", "cancelled"): 2}
        assert seen.value("mcp_cancelled_total", tool="stubborn") == 2
        assert seen.value("mcp_errors_total", tool="stubborn") == 0
        assert seen.value("mcp_cleanup_seconds_count") == 2
        assert seen.value("mcp_cleanup_seconds_sum") == pytest.approx(24)
        assert seen.value("mcp_cleanup_seconds_bucket", le="2.5") == 0
        assert seen.value("mcp_cleanup_seconds_bucket", le="5.0") == 1
        assert seen.value("mcp_calls") == 0


async def test_a_call_whose_session_is_ended_is_cancelled(autojump_clock):
    async with measured() as web:
        session = await web.initialize()
        session.call("stubborn", seconds=2)
        await trio.sleep(1)
        await session.delete()
        seen = await scrape(web)
        assert seen.requests(tool="stubborn") == {("tools/call", "stubborn", "cancelled"): 1}
        assert seen.value("mcp_cleanup_seconds_sum") == pytest.approx(2)


async def test_a_clean_up_counts_from_the_first_cancellation(autojump_clock):
    async with measured() as web:
        session = await web.initialize()
        session.call("stubborn", id=7, seconds=4)
        await trio.sleep(1)
        await session.notify("notifications/cancelled", {"requestId": 7})
        await trio.sleep(3)
        await session.delete()
        assert (await scrape(web)).value("mcp_cleanup_seconds_sum") == pytest.approx(4)


async def test_a_call_that_asks_for_input_is_no_error(autojump_clock):
    async with measured() as web:
        await web.ask("tools/call", {"name": "ask", "arguments": {}}, meta=ASKING).done()
        seen = await scrape(web)
        assert seen.requests() == {("tools/call", "ask", "input_required"): 1}
        assert (seen.value("mcp_errors_total"), seen.value("mcp_cancelled_total")) == (0, 0)


async def test_durations_are_those_of_the_calls(autojump_clock):
    async with measured() as web:
        session = await web.initialize()
        for seconds in (0.3, 3):
            await session.call("wait", seconds=seconds).done()
        await web.call("wait", seconds=300).done()
        seen = await scrape(web)
        name, labels = "mcp_request_duration_seconds", {"method": "tools/call", "tool": "wait"}
        assert seen.value(f"{name}_count", **labels) == 3
        assert seen.value(f"{name}_sum", **labels) == pytest.approx(303.3)
        buckets = {
            le: seen.value(f"{name}_bucket", **labels, le=le) for le in ("0.25", "0.5", "2.5", "5.0", "60.0", "+Inf")
        }
        assert buckets == {"0.25": 0, "0.5": 1, "2.5": 1, "5.0": 2, "60.0": 2, "+Inf": 3}


async def test_what_is_refused_before_a_call_begins_is_counted_in_either_era(autojump_clock):
    async with measured(max_requests_per_session=1) as web:
        session = await web.initialize()
        session.call("wait", seconds=50)
        await trio.sleep(1)
        assert (await session.ask("tools/list").done()).status == 429
        assert (await web.ask("tools/list", headers={"mcp-method": "tools/call"}).done()).status == 400
        assert (await scrape(web)).requests(method="tools/list") == {("tools/list", "", "refused"): 2}


async def test_calls_of_a_pipe_are_counted_too(autojump_clock):
    async with measured() as web:
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_stream, web.host, theirs)
            await ours.send_all(b'{"jsonrpc":"2.0","id":1,"method":"server/discover"}\n')
            await ours.receive_some()
            await ours.aclose()
        assert (await scrape(web)).requests() == {("server/discover", "", "refused"): 1}


# Labels


async def test_a_client_can_make_no_label(autojump_clock):
    async with measured() as web:
        session = await web.initialize()
        for number in range(20):
            await web.call(f"invented-{number}").done()
            await session.call(f"invented-{number}").done()
            await web.ask(f"invented/{number}").done()
            await session.ask(f"invented/{number}").done()
        fetch = await web.fetch("GET", path="/metrics")
        assert b"invented" not in fetch.body
        assert Scrape(fetch.body.decode()).requests(outcome="error") == {("tools/call", "other", "error"): 40}


async def test_tools_without_end_have_labels_up_to_a_bound(autojump_clock):
    server = Server("many")
    async with measured(server) as web:
        for number in range(MAX_TOOLS + 5):
            server.register_tool(f"tool{number}", "One.", {"type": "object"}, lambda arguments: "", thread=False)
            await web.call(f"tool{number}").done()
        tools = (await scrape(web)).requests(method="tools/call")
        assert len(tools) == MAX_TOOLS + 1
        assert tools["tools/call", "other", "ok"] == 5


async def test_a_tool_keeps_its_counts_when_it_is_gone(autojump_clock):
    server = small_server()
    async with measured(server) as web:
        await web.call("echo", message="hi").done()
        server.remove_tool("echo")
        assert (await scrape(web)).requests() == {("tools/call", "echo", "ok"): 1}


# What is there


async def test_gauges_show_what_is_there(autojump_clock, lane: bool):
    async with measured(lane=lane, threads=3) as web:
        session, _ = await web.initialize(), await web.initialize(V2024)
        stream = session.listen()
        await stream.answered()
        web.ask("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        session.call("wait", seconds=500)
        await trio.sleep(1)
        seen = await scrape(web)
        shown = ("sessions", "calls", "streams", "listeners", "active_connections")
        assert [seen.value(f"mcp_{name}") for name in shown] == [2, 2, 2, 3, 4]  # this request is in hand, too
        assert seen.value("mcp_sessions_opened_total") == 2
        living = trio.lowlevel.current_statistics().tasks_living
        tasks = seen.value("mcp_tasks")
        assert tasks is not None
        assert 0 < living - 2 <= tasks <= living + 2
        await session.delete()
        seen = await scrape(web)
        assert (seen.value("mcp_sessions"), seen.value("mcp_sessions_opened_total")) == (1, 2)


async def test_the_queue_is_what_waits_to_be_written(autojump_clock):
    async with measured(stream_buffer=16, write_timeout=100) as web:
        session = await web.initialize()
        stalled = session.call("flood", times=100)
        stalled.stall()
        await trio.sleep(1)
        depth = (await scrape(web)).value("mcp_queue_depth", queue="messages")
        assert depth is not None
        assert 14 <= depth <= 17
        stalled.go_on()
        await trio.sleep(1)
        assert (await scrape(web)).value("mcp_queue_depth", queue="messages") == 0


async def test_what_waits_for_a_thread_is_in_the_queue(autojump_clock):
    async with measured(threads=1) as web:
        session = await web.initialize()
        web.host.server.limiter.acquire_on_behalf_of_nowait("a thread that runs")
        call = session.call("routed", region="x")
        await trio.sleep(1)
        seen = await scrape(web)
        assert seen.value("mcp_queue_depth", queue="threads") == 1
        assert seen.value("mcp_threads_busy") == 1
        call.drop()
        await session.delete()
        web.host.server.limiter.release_on_behalf_of("a thread that runs")


async def test_http_requests_are_counted_by_the_class_of_their_status(autojump_clock, lane: bool):
    async with measured(lane=lane) as web:
        await web.fetch("GET", path="/tools")
        await web.fetch("GET", path="/nothing")
        await web.fetch("GET", path="/health")
        seen = await scrape(web)
        assert [seen.value("mcp_http_requests_total", status=f"{n}xx") for n in (2, 4, 5)] == [1, 1, 0]


async def test_the_server_and_its_process_are_described(autojump_clock):
    async with measured() as web:
        seen = await scrape(web)
        assert seen.value("mcp_server_info", name="small", version="1.0") == 1
        assert "process_resident_memory_bytes" in seen.families
        assert all(family.documentation for family in seen.families.values())


# How it is served


async def test_openmetrics_is_given_to_who_accepts_it(autojump_clock):
    async with measured() as web:
        await web.call("echo", message="hi").done()
        for version in ("1.0.0", "none"):
            accept = f"application/openmetrics-text;version={version},text/plain;q=0.5"
            fetch = await web.fetch("GET", path="/metrics", headers={"accept": accept})
            assert fetch.headers["content-type"].startswith("application/openmetrics-text; version=")
            families = openmetrics_parser.text_string_to_metric_families(fetch.body.decode())
            assert "mcp_requests" in {family.name for family in families}


async def test_two_servers_of_a_process_stay_apart(autojump_clock):
    before = set(REGISTRY._names_to_collectors)
    async with measured() as one, measured() as other:
        await one.call("echo", message="hi").done()
        assert (await scrape(one)).requests() == {("tools/call", "echo", "ok"): 1}
        assert (await scrape(other)).requests() == {}
    assert set(REGISTRY._names_to_collectors) == before


async def test_without_the_extra_nothing_is_counted_and_the_route_says_what_to_install(
    autojump_clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(metrics, "find_spec", lambda name: None)
    async with measured() as web:
        fetch = await web.fetch("GET", path="/metrics")
        assert (fetch.status, fetch.body.count(b"\n")) == (501, 1)
        assert b"pip install 'trio-mcp[metrics]'" in fetch.body
        assert web.host.tally is None


async def test_switched_off_there_is_no_route_and_nothing_is_counted(autojump_clock):
    async with measured(metrics=False) as web:
        assert (await web.fetch("GET", path="/metrics")).status == 404
        assert (await web.fetch("GET", path="/tools")).status == 200
        assert (await web.call("echo", message="hi").done()).status == 200
        assert web.host.tally is None


async def test_metrics_are_behind_the_host_check(autojump_clock):
    async with measured() as web:
        assert (await web.fetch("GET", path="/metrics", headers={"host": "rebound.example"})).status == 421


async def test_the_page_on_operations_names_every_metric_and_outcome(autojump_clock):
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(mcp_\w+)` \|(.*?)\|", page, re.MULTILINE))
    async with measured(tool_timeout=100) as web:
        await web.call("echo", message="hi").done()
        text = (await web.fetch("GET", path="/metrics")).body.decode()
    shown = set(re.findall(r"^# HELP (mcp_\w+)", text, re.MULTILINE))
    assert shown == set(rows)
    assert {f"`{name}`" for name in _ERRORS} <= set(re.findall(r"`\w+`", page))
    for sample in Scrape(text).samples:
        name = re.sub("_(bucket|count|sum)$", "", sample.name)
        if name in rows:
            assert set(sample.labels) - {"le"} == set(re.findall(r"`(\w+)`", rows[name])), name
