"""A worker on sockets that were bound elsewhere, and how it lets siblings on the same socket have their part."""

import socket
from collections.abc import Iterator

import pytest
import trio

from tests.http.lane_kit import GET, Peer, echo, served, until
from trio_mcp.http import worker
from trio_mcp.http.worker import listen_on


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket that listens on loopback."""
    [sock] = listen_on("127.0.0.1", 0)
    with sock:
        yield sock


class FakeLoad:
    """Siblings that have fewer connections so many times."""

    def __init__(self, fewer: int = 0) -> None:
        self.fewer = fewer
        self.asked = 0
        self.counts: list[int] = []
        self.left = 0

    def holds(self, connections: int) -> None:
        self.counts.append(connections)

    def leave(self) -> None:
        self.left = len(self.counts)

    def defers(self) -> bool:
        self.asked += 1
        self.fewer -= 1
        return self.fewer >= 0


async def answered(peer: Peer) -> None:
    await peer.send(GET)
    assert (await peer.answer()).status == 200
    await peer.leave()


def test_sockets_to_hand_down_listen_and_are_not_inherited_by_accident(listening: socket.socket):
    assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    assert not listening.get_inheritable()


async def test_a_worker_serves_on_a_socket_of_somebody_else_and_closes_its_own_hold_of_it(listening: socket.socket):
    mine = listening.dup()
    async with served(echo, sockets=[mine]) as house:
        assert house.port == listening.getsockname()[1]
        await answered(await house.dial())
    assert mine.fileno() == -1
    with socket.create_connection(listening.getsockname()):
        """Somebody else still listens."""


async def test_tls_is_served_on_it_where_there_is_a_certificate(listening: socket.socket):
    async with served(echo, tls=True, sockets=[listening.dup()]) as house:
        assert house.url.startswith("https://")
        await answered(await house.dial_tls())


async def test_it_says_how_many_connections_it_has_until_it_accepts_no_more(listening: socket.socket):
    load = FakeLoad()
    async with served(echo, sockets=[listening.dup()], load=load) as house:
        assert load.counts == [0]
        first, second = await house.dial(), await house.dial()
        await until(lambda: load.counts == [0, 1, 2])
        await answered(first)
        await until(lambda: load.counts[3:] == [1])
        house.shutdown.set()
        await second.leave()
        await until(lambda: load.counts[4:] == [0])
        assert load.left == 4


async def test_a_connection_that_a_sibling_should_have_is_left_to_it_for_a_moment(listening: socket.socket):
    load = FakeLoad(fewer=2)
    async with served(echo, sockets=[listening.dup()], load=load) as house:
        await answered(await house.dial())
        assert load.asked == 3


async def test_a_connection_that_no_sibling_takes_is_served_all_the_same(listening: socket.socket):
    load = FakeLoad(fewer=1_000_000)
    async with served(echo, sockets=[listening.dup()], load=load) as house:
        await answered(await house.dial())
        assert load.asked == worker._DEFERRED_MOST


async def test_a_connection_that_a_sibling_was_faster_to_take_is_no_fault(listening: socket.socket, monkeypatch):
    taken: list[socket.socket] = []

    async def taken_away(sock: socket.socket, load: FakeLoad) -> None:
        await trio.lowlevel.wait_readable(sock)
        if not taken:
            taken.append(sock.accept()[0])

    monkeypatch.setattr(worker, "_wait_for_turn", taken_away)
    async with served(echo, sockets=[listening.dup()], load=FakeLoad()) as house:
        other = await house.dial()
        await until(lambda: bool(taken))
        await answered(await house.dial())
        await other.leave()
    taken[0].close()
