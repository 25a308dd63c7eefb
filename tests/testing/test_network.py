"""The simulated network: what its conditions do to bytes, its faults, and that all of it comes from the seed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_mcp import Server
from trio_mcp.testing import Conditions, Network, connect, serving
from trio_mcp.testing.network import Link
from trio_mcp.testing.sockets import SimulatedSocket
from trio_mcp.testing.streams import SimulatedStream

LOSSLESS = {
    "latency": Conditions(latency=(0.01, 0.5)),
    "pieces": Conditions(fragmentation=1),
    "pieces that take time": Conditions(latency=(0.01, 0.5), fragmentation=0.5),
    "bandwidth": Conditions(bandwidth=1000),
    "stalls": Conditions(stalls=0.5, stall=3),
    "a small buffer": Conditions(buffer=7, fragmentation=0.5, latency=(0, 0.1)),
    "everything": Conditions(latency=(0, 1), bandwidth=5000, fragmentation=0.3, stalls=0.1, buffer=64),
}


class Wire:
    """A client's stream and a server's end of one link."""

    def __init__(self, network: Network, client: SimulatedStream, server: SimulatedSocket) -> None:
        self.network = network
        self.client = client
        self.server = server
        self.stream = SimulatedStream(server)

    @property
    def link(self) -> Link:
        return self.network.links[0]


@asynccontextmanager
async def wired(conditions: Conditions | None = None, seed: int = 1) -> AsyncIterator[Wire]:
    network = Network(seed, conditions)
    listener = network.listen("server")
    async with trio.open_nursery() as nursery:
        with trio.fail_after(100_000):
            await network.ensure_running(nursery)
            client = await network.dial("client", "server")
            yield Wire(network, client, await listener.accept())
        nursery.cancel_scope.cancel()


async def arrivals(wire: Wire, until: int) -> list[tuple[float, bytes]]:
    """When so many bytes came to the server, and which."""
    found: list[tuple[float, bytes]] = []
    while until > 0:
        data = await wire.stream.receive_some()
        found.append((round(trio.current_time(), 6), data))
        until -= len(data)
    return found


async def story(conditions: Conditions, seed: int) -> list[tuple[float, bytes]]:
    """What the server sees of forty bytes sent in twenty."""
    found: list[tuple[float, bytes]] = []
    async with wired(conditions, seed) as wire, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            for number in range(20):
                await wire.client.send_all(b"%02d" % number)
                await trio.sleep(0.05)

        found += await arrivals(wire, 40)
    return found


# What takes time


@pytest.mark.parametrize("name", LOSSLESS)
async def test_whatever_the_weather_every_byte_arrives_in_order_and_the_end_behind_them(name: str, autojump_clock):
    sent = bytes(range(256)) * 4
    async with wired(LOSSLESS[name]) as wire, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            for start in range(0, len(sent), 100):
                await wire.client.send_all(sent[start : start + 100])
            await wire.client.send_eof()

        seen = b""
        while data := await wire.stream.receive_some(33):
            seen += data
        assert seen == sent
        assert 0 < wire.link.up.most <= wire.network.conditions.buffer
        assert wire.link.up.held == 0
        assert wire.link.down.most == 0


async def test_without_conditions_bytes_are_there_at_once(autojump_clock):
    async with wired() as wire:
        await wire.client.send_all(b"x")
        assert wire.server.recv(9) == b"x"
        assert trio.current_time() == 0


async def test_latency_lies_between_its_bounds_and_a_dial_takes_it_both_ways(autojump_clock):
    async with wired(Conditions(latency=(2, 3))) as wire:
        assert 4 <= trio.current_time() <= 6
        taken = []
        for _ in range(50):
            began = trio.current_time()
            await wire.client.send_all(b"x")
            await wire.stream.receive_some()
            taken.append(trio.current_time() - began)
        assert 2 <= min(taken) < 2.2
        assert 2.8 < max(taken) <= 3


async def test_bandwidth_takes_as_long_as_the_bytes_are_many(autojump_clock):
    async with wired(Conditions(bandwidth=100)) as wire:
        for _ in range(3):
            await wire.client.send_all(b"x" * 50)
        assert [(at, len(data)) for at, data in await arrivals(wire, 150)] == [(0.5, 50), (1, 50), (1.5, 50)]


async def test_what_is_sent_at_once_may_arrive_in_pieces_also_where_nothing_takes_time(autojump_clock):
    assert Conditions(fragmentation=1).perfect, "but for the pieces"
    seen = []
    async with wired(Conditions(fragmentation=1)) as wire:
        for _ in range(10):
            await wire.client.send_all(b"0123456789")
            seen += [data for _, data in await arrivals(wire, 10)]
    assert b"".join(seen) == b"0123456789" * 10
    assert len(seen) > 15
    assert len({len(piece) for piece in seen}) > 4


async def test_pieces_that_nobody_reads_grow_together(autojump_clock):
    async with wired(Conditions(fragmentation=1, latency=(0, 0.1))) as wire:
        for number in range(5):
            await wire.client.send_all(b"%d" % number)
        await trio.sleep(5)
        assert wire.server.recv(99) == b"01234"


async def test_a_stall_holds_up_what_is_behind_it(autojump_clock):
    async with wired(Conditions(stalls=1, stall=7)) as wire:
        await wire.client.send_all(b"a")
        assert await arrivals(wire, 1) == [(7, b"a")]
        await wire.client.send_all(b"b")
        wire.network.conditions = Conditions(latency=(0, 0.1))
        await wire.client.send_all(b"c")
        [(_, b), (at, c)] = [*await arrivals(wire, 1), (trio.current_time(), b"")]
        assert (b, at, c) == (b"bc", 14, b"")


async def test_who_sends_to_one_that_does_not_read_waits_at_the_capacity(autojump_clock):
    async with wired(Conditions(buffer=10)) as wire:
        with trio.move_on_after(60) as scope:
            await wire.client.send_all(b"x" * 11)
        assert scope.cancelled_caught
        assert wire.link.up.held == wire.link.up.most == 10
        assert wire.server.recv(4) == b"xxxx"
        assert wire.link.up.room == 4


async def test_a_network_that_takes_time_says_so_where_nobody_carries(autojump_clock):
    network = Network()
    network.listen("server")
    client = await network.dial("client", "server")
    network.conditions = Conditions(latency=(1, 1))
    with pytest.raises(RuntimeError, match=r"start network\.run"):
        await client.send_all(b"x")


@pytest.mark.parametrize(
    "wrong",
    [{"latency": (2, 1)}, {"latency": (-1, 1)}, {"stalls": 2}, {"resets": -1}, {"bandwidth": 0}, {"buffer": 0}],
)
def test_conditions_that_cannot_be_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Conditions(**wrong)


@pytest.mark.parametrize("name", [name for name in LOSSLESS if name not in ("bandwidth",)])
def test_the_same_seed_tells_the_same_story_and_another_one_another(name: str):
    def told(seed: int) -> list[tuple[float, bytes]]:
        return trio.run(story, LOSSLESS[name], seed, clock=MockClock(autojump_threshold=0))

    assert told(1) == told(1)
    assert told(1) != told(2)


# What breaks


async def test_a_network_that_resets_does_it_as_often_as_it_says(autojump_clock):
    async def survives(seed: int, chance: float) -> bool:
        async with wired(Conditions(resets=chance), seed) as wire:
            try:
                await wire.client.send_all(b"x")
                await wire.stream.receive_some()
            except trio.BrokenResourceError:
                with pytest.raises(trio.BrokenResourceError):
                    await wire.client.send_all(b"y")
                return False
            return True

    assert not any([await survives(seed, 1) for seed in range(20)])
    assert 3 < sum([await survives(seed, 0.5) for seed in range(20)]) < 17
    assert all([await survives(seed, 0) for seed in range(20)])


async def test_a_reset_on_purpose_is_found_by_both_ends_and_takes_what_is_in_flight(autojump_clock):
    async with wired(Conditions(latency=(1, 1))) as wire:
        await wire.client.send_all(b"x")
        wire.network.reset(wire.link)
        for stream in (wire.client, wire.stream):
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
        assert not wire.client.is_open


async def test_nothing_passes_a_partition_and_what_waited_goes_on_in_order_once_it_heals(autojump_clock):
    async with wired() as wire:
        with wire.network.partitioned("client", ("server", "another")):
            await wire.client.send_all(b"a")
            await wire.client.send_all(b"b")
            await wire.client.send_eof()
            await trio.sleep(50)
            with pytest.raises(BlockingIOError):
                wire.server.recv(9)
            assert wire.server.hung_up is None
        assert wire.server.recv(9) == b"ab"
        assert wire.server.recv(9) == b""
        await wire.client.aclose()


async def test_a_partition_parts_those_machines_and_no_others(autojump_clock):
    async with wired() as wire:
        wire.network.partition("someone", "server")
        await wire.client.send_all(b"a")
        assert wire.server.recv(9) == b"a"
        wire.network.heal()


async def test_a_reset_waits_for_a_partition_to_heal_too(autojump_clock):
    async with wired(Conditions(latency=(1, 1))) as wire:
        wire.network.partition("server", "client")
        wire.client.reset()
        await trio.sleep(50)
        assert wire.server.hung_up is None
        wire.network.heal()
        await trio.sleep(1.5)
        assert wire.server.hung_up is True


@pytest.mark.parametrize("transport", ["http", "memory", "stdio"])
async def test_a_partition_parts_a_client_from_a_server_on_every_transport(transport: Any, autojump_clock):
    server = Server("parted")
    server.tool(name="where")(lambda: "here")
    async with serving(server) as served, connect(served, transport=transport, name="client") as client:
        served.network.partition("client", "server")
        with trio.move_on_after(10) as scope:
            await client.call_tool("where")
        assert scope.cancelled_caught
        served.network.heal()
        await client.call_tool("where")


# Dialling


async def test_a_dial_is_refused_where_nobody_listens_any_more(autojump_clock):
    network = Network()
    with pytest.raises(ConnectionRefusedError, match="nobody listens at server"):
        await network.dial("client", "server")
    listener = network.listen("server")
    with pytest.raises(OSError, match="listens already"):
        network.listen("server")
    waiting = await network.dial("client", "server")
    listener.close()
    with pytest.raises(trio.BrokenResourceError):
        await waiting.receive_some()
    with pytest.raises(ConnectionRefusedError):
        await network.dial("client", "server")
    network.listen("server")
    await network.dial("client", "server")


async def test_a_dial_that_takes_time_is_refused_where_the_server_goes_meanwhile(autojump_clock):
    network = Network(conditions=Conditions(latency=(1, 1)))
    listener = network.listen("server")

    async def dial() -> None:
        with pytest.raises(ConnectionRefusedError, match="any more"):
            await network.dial("client", "server")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        await trio.sleep(1)
        listener.close()
    assert network.links == []


async def test_a_dial_that_is_given_up_leaves_no_connection(autojump_clock):
    network = Network(conditions=Conditions(latency=(1, 1)))
    network.listen("server")
    with trio.move_on_after(1):
        await network.dial("client", "server")
    assert network.links == []


async def test_a_dial_waits_for_a_partition_to_heal(autojump_clock):
    network = Network()
    network.listen("server")
    network.partition("client", "server")
    at: list[float] = []

    async def dial() -> None:
        await network.dial("client", "server")
        at.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        await wait_all_tasks_blocked()
        await trio.sleep(30)
        network.heal()
    assert at == [30]


async def test_each_machine_has_an_address_and_each_connection_a_name(autojump_clock):
    network = Network()
    listener = network.listen("server")
    for host in ("ann", "ben", "ann"):
        await network.dial(host, "server")
    ends = [await listener.accept() for _ in range(3)]
    assert [link.name for link in network.links] == ["ann #1", "ben #1", "ann #2"]
    assert [end.getpeername()[0] for end in ends] == ["10.0.0.2", "10.0.0.3", "10.0.0.2"]
    assert len({end.getpeername() for end in ends}) == 3
    assert {end.getsockname() for end in ends} == {("127.0.0.1", 8000)}
    assert len({end.fileno() for link in network.links for end in (link.client, link.server)}) == 6
