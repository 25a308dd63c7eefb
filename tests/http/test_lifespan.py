"""The ASGI lifespan around a host: startup, shutdown with a drain, and what goes wrong said in words."""

from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tests.http.servers import small_server
from trio_mcp import Host, Server
from trio_mcp.http.lifespan import run_lifespan


class Manager:
    """The server's side of the lifespan protocol."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self._to_app, self._app_receives = trio.open_memory_channel[dict[str, Any]](5)
        self._changed = trio.lowlevel.ParkingLot()

    def say(self, event: str) -> None:
        self._to_app.send_nowait({"type": f"lifespan.{event}"})

    async def receive(self) -> dict[str, Any]:
        return await self._app_receives.receive()

    async def send(self, message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(message)
        self._changed.unpark_all()

    async def hears(self, event: str) -> dict[str, Any]:
        while not any(message["type"] == f"lifespan.{event}" for message in self.sent):
            await self._changed.park()
        return self.sent[-1]


async def test_startup_runs_the_host_and_shutdown_stops_it(autojump_clock):
    steps: list[str] = []

    @asynccontextmanager
    async def lifespan(server: Server):
        steps.append("entered")
        yield "value"
        steps.append("left")

    host, manager = Host(small_server(lifespan=lifespan)), Manager()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_lifespan, host, manager.receive, manager.send)
        await trio.testing.wait_all_tasks_blocked()
        assert (host.running, manager.sent) == (False, [])
        manager.say("startup")
        await manager.hears("startup.complete")
        assert (host.running, host.lifespan, steps) == (True, "value", ["entered"])
        manager.say("shutdown")
        await manager.hears("shutdown.complete")
    assert steps == ["entered", "left"]
    assert not host.running
    assert [message["type"] for message in manager.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_startup_that_fails_says_why_in_one_line(autojump_clock):
    @asynccontextmanager
    async def lifespan(server: Server):
        await trio.lowlevel.checkpoint()
        raise ValueError("the database is not there")
        yield

    host, manager = Host(small_server(lifespan=lifespan)), Manager()
    manager.say("startup")
    await run_lifespan(host, manager.receive, manager.send)
    assert manager.sent == [
        {"type": "lifespan.startup.failed", "message": "ValueError: the database is not there"},
    ]
    assert not host.running


async def test_a_startup_that_fails_in_a_nursery_of_its_own_says_why_too(autojump_clock):
    async def connect() -> None:
        await trio.lowlevel.checkpoint()
        raise ConnectionRefusedError("no")

    @asynccontextmanager
    async def lifespan(server: Server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connect)
            await trio.sleep_forever()
        yield

    manager = Manager()
    manager.say("startup")
    await run_lifespan(Host(small_server(lifespan=lifespan)), manager.receive, manager.send)
    assert [message["type"] for message in manager.sent] == ["lifespan.startup.failed"]
    assert "ConnectionRefusedError: no" in manager.sent[0]["message"]
    assert "\n" not in manager.sent[0]["message"]


async def test_a_teardown_that_fails_is_said_in_words_and_raised_for_the_log(autojump_clock):
    @asynccontextmanager
    async def lifespan(server: Server):
        yield
        raise ValueError("could not save")

    manager = Manager()
    manager.say("startup")
    manager.say("shutdown")
    with pytest.RaisesGroup(ValueError, allow_unwrapped=True, flatten_subgroups=True):
        await run_lifespan(Host(small_server(lifespan=lifespan)), manager.receive, manager.send)
    assert manager.sent[-1] == {"type": "lifespan.shutdown.failed", "message": "ValueError: could not save"}


async def test_shutdown_drains_first(autojump_clock):
    host, manager = Host(small_server(shutdown_grace=5)), Manager()
    ended = []

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_lifespan, host, manager.receive, manager.send)
        manager.say("startup")
        await manager.hears("startup.complete")
        session = await host.open_session()
        manager.say("shutdown")
        await manager.hears("shutdown.complete")
        ended.append(session.ended.is_set())
    assert ended == [True]


async def test_a_lifespan_that_is_cancelled_leaves_nothing_running(autojump_clock):
    left = []

    @asynccontextmanager
    async def lifespan(server: Server):
        try:
            yield
        finally:
            left.append(True)

    manager = Manager()
    with trio.move_on_after(5):
        manager.say("startup")
        await run_lifespan(Host(small_server(lifespan=lifespan)), manager.receive, manager.send)
    assert left == [True]
