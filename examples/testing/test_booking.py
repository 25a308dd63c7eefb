"""What the box office must hold to, in virtual time, under many orders of its tasks, and wherever it is cut off."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from booking import HOLD, Bank, Office, make_server  # type: ignore[import-not-found]  # it stands beside this file
from trio.testing import MockClock

from trio_mcp.testing import (
    Conditions,
    SimulatedServer,
    answered_once,
    cancel_everywhere,
    cut_everywhere,
    living_tasks,
    no_task_left,
    nothing_left,
    require,
    serving,
    within_bounds,
)


@asynccontextmanager
async def opened(office: Office) -> AsyncIterator[SimulatedServer]:
    """The office, served for the time of the block; at its end who has a seat has paid for it, and nobody else has."""
    try:
        async with serving(make_server(office)) as server:
            yield server
    finally:
        holders = sorted(name for name in office.seats.values() if name is not None)
        payers = sorted(office.bank.paid)
        assert holders == payers, f"seats of {holders}, paid by {payers}"


async def test_a_seat_that_is_not_paid_for_is_free_again(mcp_clock: MockClock) -> None:
    office = Office({"A1": None}, Bank(delay=30 * 60))
    async with opened(office) as server, server.connect() as ada:
        call = ada.begin("tools/call", {"name": "book", "arguments": {"name": "Ada"}})
        await trio.sleep(HOLD - 1)
        assert office.seats == {"A1": "Ada"}
        await trio.sleep(2)
        assert office.seats == {"A1": None}
        assert (await call.result())["content"][0]["text"] == "Not paid in time."


@pytest.mark.explore(seeds=500)
async def test_a_seat_is_sold_once() -> None:
    office = Office({"A1": None})
    async with (
        opened(office) as server,
        server.connect(revision="2026-07-28") as ada,
        server.connect() as bob,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(ada.call_tool, "book", {"name": "Ada"})
        nursery.start_soon(bob.call_tool, "book", {"name": "Bob"})


@pytest.mark.explore(seeds=100, conditions=Conditions(latency=(0.05, 2), bandwidth=5_000, fragmentation=0.3))
async def test_a_customer_in_a_tunnel_gets_the_seat() -> None:
    office = Office({"A1": None})
    async with opened(office) as server, server.connect(name="ada") as ada:
        call = ada.begin("tools/call", {"name": "book", "arguments": {"name": "Ada"}})
        await trio.sleep(4)
        with server.network.partitioned("ada", "server"):
            await trio.sleep(10 * 60)
        assert (await call.result())["content"][0]["text"] == "A1"


async def a_customer() -> None:
    async with opened(Office({"A1": None})) as server, server.connect(revision="2026-07-28") as ada:
        await ada.call_tool("book", {"name": "Ada"})


def test_a_customer_who_leaves_keeps_no_seat() -> None:
    cut_everywhere(a_customer)


def test_a_customer_who_thinks_again_keeps_no_seat() -> None:
    cancel_everywhere(a_customer, "book")


async def test_a_server_told_to_go_ends_what_it_began(mcp_clock: MockClock) -> None:
    before = living_tasks()
    async with opened(Office({"A1": None})) as server:
        async with server.connect() as ada:
            call = ada.begin("tools/call", {"name": "book", "arguments": {"name": "Ada"}})
            await trio.sleep(1)
            server.begin_shutdown()
            assert (await call.result())["content"][0]["text"] == "A1"
        require(within_bounds(server.host), answered_once(ada))
    require(nothing_left(server.host), no_task_left(before))
