"""The production worker on simulated sockets: hang-ups, slow readers, limits, the drain, and what is handed over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.http.lane_kit import GET, Peer, Worked, echo, post, respond, stream
from trio_mcp import Server
from trio_mcp.http.asgi import App, Receive, Scope, Send
from trio_mcp.http.connection import Limits
from trio_mcp.testing import Conditions, ConnectionLostError, Network, connect, serving, simulate
from trio_mcp.testing.network import Link
from trio_mcp.testing.worker import SimulatedHangups, SimulatedWorker


class House:
    """A worker that serves on a network."""

    def __init__(self, app: App, conditions: Conditions | None, limits: dict[str, Any], **options: Any) -> None:
        self.network = Network(1, conditions)
        self.shutdown = trio.Event()
        self.ended = trio.Event()
        self.worker = SimulatedWorker(
            app, partial(self.network.listen, "server"), limits=Limits(**limits), **{**DEFAULTS, **options}
        )

    async def run(self, *, task_status: trio.TaskStatus[Any]) -> None:
        with self.worker.listening():
            await self.worker.run(
                shutdown=self.shutdown, drain=partial(trio.sleep, 1), close_timeout=5, task_status=task_status
            )
        self.ended.set()

    async def dial(self) -> Peer:
        return Peer(await self.network.dial("client", "server"))


DEFAULTS: dict[str, Any] = {"max_connections": 100, "write_timeout": 30}


@asynccontextmanager
async def housed(app: App, conditions: Conditions | None = None, **options: Any) -> AsyncIterator[House]:
    """It must end by itself at the end of the block, with no connection left."""
    limits: dict[str, Any] = {name: options.pop(name) for name in ("idle", "head_time") if name in options}
    house = House(app, conditions, limits, **options)
    async with trio.open_nursery() as nursery:
        with trio.fail_after(100_000):
            await house.network.ensure_running(nursery)
            await nursery.start(house.run)
            yield house
            house.shutdown.set()
            await house.ended.wait()
        assert house.worker.count() == 0
        assert house.worker.taken == {}
        nursery.cancel_scope.cancel()


# Hang-ups


async def test_a_half_close_keeps_the_answer_coming(autojump_clock):
    worked = Worked()
    async with housed(worked, Conditions(latency=(0.1, 0.2))) as house:
        peer = await house.dial()
        await peer.send(GET)
        await peer.half_close()
        await trio.sleep(10)
        worked.go_on.set()
        answer = await peer.answer()
        assert (answer.status, answer.body) == (200, b"done")
        assert worked.ended == ["answered"]
        await peer.leave()


@pytest.mark.parametrize(("how", "after"), [("reset", 1.0), ("close", 3.0)])
async def test_who_leaves_cancels_the_work_as_soon_as_the_server_can_know(how: str, after: float, autojump_clock):
    """A reset takes one way. A close is told from a half close by bytes that come back as a reset: three."""
    worked = Worked()
    async with housed(worked, Conditions(latency=(1, 1))) as house:
        peer = await house.dial()
        await peer.send(GET)
        await trio.sleep(10)
        assert (worked.began, worked.ended) == (1, [])
        if how == "reset":
            peer.stream.reset()
        else:
            await peer.leave()
        await trio.sleep(after - 0.01)
        assert worked.ended == []
        await trio.sleep(0.02)
        assert worked.ended == ["the client disconnected"]


async def test_on_a_perfect_network_it_is_known_at_once(autojump_clock):
    for how in ("reset", "close_now"):
        worked = Worked()
        async with housed(worked) as house:
            peer = await house.dial()
            await peer.send(GET)
            await wait_all_tasks_blocked()
            began = trio.current_time()
            getattr(peer.stream, how)()
            await wait_all_tasks_blocked()
            assert worked.ended == ["the client disconnected"]
            assert trio.current_time() == began


async def test_who_vanishes_is_not_known_to_be_gone_and_gets_an_answer_that_nobody_reads(autojump_clock):
    worked = Worked()
    async with housed(worked, idle=20) as house:
        peer = await house.dial()
        await peer.send(GET)
        await wait_all_tasks_blocked()
        peer.stream.freeze()
        await trio.sleep(1000)
        assert worked.ended == []
        worked.go_on.set()
        await wait_all_tasks_blocked()
        assert worked.ended == ["answered"]
        await trio.sleep(25)
        assert house.worker.count() == 0, "its connection was idle"


async def test_a_watcher_tells_the_latest_once_what_is_so_already_and_nobody_who_was_forgotten():
    class Told:
        def __init__(self) -> None:
            self.gone: list[bool] = []

        def hung_up(self, *, gone: bool) -> None:
            self.gone.append(gone)

    network = Network()
    links = [Link(network, "client", f"client #{number}", number, "server", 8000) for number in range(4)]
    hangups = SimulatedHangups()
    told = [Told() for _ in links]
    for link in links:
        hangups.know(link.server)
    links[0].client.close()
    async with trio.open_nursery() as nursery:
        await nursery.start(hangups.run)
        for link, one in zip(links, told, strict=True):
            assert hangups.watch(link.server.fileno(), one)
        hangups.forget(links[3].server.fileno(), told[3])
        hangups.forget(links[2].server.fileno(), told[0])
        links[1].client.shutdown(1)
        links[1].client.reset()
        links[2].client.shutdown(1)
        links[3].client.reset()
        await wait_all_tasks_blocked()
        assert [one.gone for one in told] == [[False], [True], [False], []]
        nursery.cancel_scope.cancel()


# Reading and writing


async def test_requests_in_pieces_and_behind_each_other_are_answered_in_order(autojump_clock):
    async with housed(echo, Conditions(latency=(0, 0.1), fragmentation=1, buffer=50)) as house:
        peer = await house.dial()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.send, b"".join(post(b"%d" % number) for number in range(5)))
            for number in range(5):
                assert (await peer.answer()).body == b"POST / %d" % number
        await peer.leave()


async def test_a_client_that_does_not_read_is_cut_after_the_write_timeout(autojump_clock):
    sent: list[int] = []

    async def pours(scope: Scope, receive: Receive, send: Send) -> None:
        await stream(send)
        while True:
            await send({"type": "http.response.body", "body": b"x" * 100, "more_body": True})
            sent.append(100)

    async with housed(pours, Conditions(buffer=1000), write_timeout=7) as house:
        peer = await house.dial()
        await peer.send(GET)
        await wait_all_tasks_blocked()
        assert sum(sent) < 1000
        await trio.sleep(6.9)
        assert house.worker.count() == 1
        await trio.sleep(0.2)
        assert house.worker.count() == 0
        assert len(await peer.read()) == 1000, "what had arrived before the reset"
        with pytest.raises(trio.BrokenResourceError):
            await peer.send(b"x")


async def test_a_client_that_reads_slowly_but_reads_gets_everything(autojump_clock):
    async def big(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"x" * 5000)

    async with housed(big, Conditions(buffer=1000), write_timeout=7) as house:
        peer = await house.dial()
        await peer.send(GET)
        seen = b""
        while len(seen) < 5000:
            await trio.sleep(5)
            seen += await peer.read()
        await peer.leave()


async def test_a_head_that_takes_too_long_is_answered_408(autojump_clock):
    async with housed(echo, head_time=5) as house:
        peer = await house.dial()
        await peer.send(b"GET / HT")
        assert (await peer.answer()).status == 408
        assert 5 <= trio.current_time() <= 6
        await peer.leave()


# Limits and the drain


async def test_more_connections_than_may_be_are_answered_503_until_one_has_left(autojump_clock):
    async with housed(echo, Conditions(latency=(0.1, 0.1)), max_connections=1) as house:
        first = await house.dial()
        await first.send(GET)
        assert (await first.answer()).status == 200
        second = await house.dial()
        answer = await second.answer()
        assert (answer.status, answer[b"connection"], answer[b"retry-after"]) == (503, b"close", b"1")
        assert await second.remains() == b""
        await first.leave()
        await trio.sleep(1)
        third = await house.dial()
        await third.send(GET)
        assert (await third.answer()).status == 200
        await third.leave()


async def test_in_the_drain_nobody_is_accepted_and_who_works_gets_an_answer(autojump_clock):
    worked = Worked()
    async with housed(worked) as house:
        idle, busy = await house.dial(), await house.dial()
        await busy.send(GET)
        await wait_all_tasks_blocked()
        house.shutdown.set()
        await trio.sleep(0.5)
        with pytest.raises(ConnectionRefusedError):
            await house.dial()
        assert house.worker.count() == 2
        await trio.sleep(1)
        assert await idle.read() == b""
        worked.go_on.set()
        answer = await busy.answer()
        assert answer.body == b"done"
        assert await busy.remains() == b""
        for peer in (idle, busy):
            await peer.leave()


async def test_who_comes_at_the_moment_of_the_shutdown_is_served_or_reset_and_holds_up_nobody(autojump_clock):
    async with housed(echo) as house:
        peers = [await house.dial() for _ in range(3)]
        house.shutdown.set()
        peers.append(await house.dial())  # nobody has told the listener yet
        for peer in peers:
            try:
                await peer.send(GET)
            except trio.BrokenResourceError:
                continue
        await house.ended.wait()
        assert trio.current_time() <= 1 + 5
        for peer in peers:
            await peer.leave()


async def test_who_works_too_long_in_the_drain_is_cut(autojump_clock):
    worked = Worked()
    async with housed(worked) as house:
        peer = await house.dial()
        await peer.send(GET)
        await wait_all_tasks_blocked()
        house.shutdown.set()
        await house.ended.wait()
        assert trio.current_time() == 1 + 5
        assert await peer.remains() == b""


# What is handed over


async def test_a_websocket_is_handed_over_also_in_pieces_and_ends_with_either_side(autojump_clock):
    server = Server("socket")

    @server.tool
    async def wait(seconds: float) -> str:
        await trio.sleep(seconds)
        return "waited"

    network = Network(1, Conditions(latency=(0, 0.01), fragmentation=1))
    async with serving(server, network=network) as served:
        async with connect(served, transport="websocket") as client:
            await client.call_tool("wait", {"seconds": 1})
            pending = client.begin("tools/call", {"name": "wait", "arguments": {"seconds": 100}})
            await trio.sleep(1)
            client.abort()
            with pytest.raises(ConnectionLostError):
                await pending.result()
        await trio.sleep(120)
        assert served.at_rest() or served.host.sessions
        async with connect(served, transport="websocket") as client:
            await client.call_tool("wait", {"seconds": 1})


def test_a_connection_that_was_reset_before_it_was_accepted_does_no_harm():
    async def scenario() -> None:
        async with serving(Server("early")) as served:
            for _ in range(3):
                stream = await served.network.dial("client 9", served.name)
                await stream.send_all(post(b"{}", path=b"/mcp"))
                stream.reset()
            await trio.sleep(1)
            assert not served.worker.taken

    for seed in range(10):
        assert simulate(scenario, seed).error is None
