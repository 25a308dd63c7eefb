"""What takes half an hour takes no time: keepalives, silences, and sessions that nobody comes back to."""

from functools import partial
from typing import Any

import trio
from trio.testing import MockClock

from trio_mcp import Server, Settings
from trio_mcp.testing import Network, Trace, connect, serving, simulate
from trio_mcp.testing.client import Transport


async def half_an_hour(transport: Transport, revision: str) -> None:
    async with connect(Server("patient"), transport=transport, revision=revision) as client, client.listen():
        await trio.sleep(30 * 60 + 1)


def keepalives(**options: Any) -> int:
    trace = Trace("half an hour", 0)
    outcome = simulate(partial(half_an_hour, **options), trace=trace)
    assert outcome.error is None, outcome.failure
    assert outcome.seconds >= 30 * 60
    sent = [event["at"] for event in trace.events if event["kind"] == "send" and event["text"] == "keepalive"]
    return sum(at <= 30 * 60 for at in sent)  # once the client leaves, one more asks whether it still reads


def test_half_an_hour_of_keepalives_on_a_standing_stream():
    assert keepalives(transport="http", revision="2025-11-25") == 30 * 60 / 15


def test_half_an_hour_of_keepalives_on_a_subscription():
    assert keepalives(transport="http", revision="2026-07-28") == 30 * 60 / 15


def test_half_an_hour_of_keepalives_over_http_with_sse():
    assert keepalives(transport="sse", revision="2024-11-05") == 30 * 60 / 30


async def test_a_session_that_nobody_comes_back_to_ends_by_itself(mcp_clock: MockClock):
    server = Server("forgetful", settings=Settings(session_idle=30 * 60))
    async with serving(server) as served, served.connect() as client:
        await client.ping()
        client.abort()
        await trio.sleep(30 * 60 - 1)
        assert len(served.host.sessions) == 1
        await trio.sleep(2)
        assert not served.host.sessions


async def test_a_network_of_ones_own_serves_two_servers(mcp_clock: MockClock, network: Network):
    async with (
        serving(Server("one"), network=network, name="one") as one,
        serving(Server("other"), network=network, name="other") as other,
        one.connect(name="ada") as ada,
        other.connect(name="ada") as as_well,
    ):
        assert ada.server_info is not None
        assert as_well.server_info is not None
        assert (ada.server_info.name, as_well.server_info.name) == ("one", "other")
