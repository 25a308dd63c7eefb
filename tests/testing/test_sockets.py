"""Simulated sockets against the kernel's: the same small scripts on both give the same observations."""

import errno
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import trio
from trio.testing import check_half_closeable_stream, wait_all_tasks_blocked

from tests.http.lane_kit import tcp_pair
from trio_mcp.testing.network import Conditions, Link, Network
from trio_mcp.testing.sockets import SimulatedSocket
from trio_mcp.testing.streams import SimulatedStream

RESET = b"\1\0\0\0\0\0\0\0"
PATIENCE = 5
"""Real seconds that the kernel may take to pass a packet on; it takes none, unless something is wrong."""

#: What happens between a client (c) and a server (s), and what each sees of it. `hang`: what a watcher of hang-ups was
#: told last; `fill`: send until nothing fits; `drain`: read until nothing is there, and how that ended.
SCRIPTS = {
    "bytes arrive in order and nothing is read before they come": """
        s recv: EAGAIN; c send ab: 2; c send cd: 2; s recv: abcd; s recv: EAGAIN; s hang: -""",
    "sending nothing sends nothing": "c send : 0; s recv: EAGAIN; c close: ok; s recv: end",
    "a close is an end behind what was sent": """
        c send ab: 2; c close: ok; s hang: half; s recv: ab; s recv: end; s recv: end""",
    "a half close leaves the other direction open": """
        c send ab: 2; c shut: ok; s hang: half; s send xy: 2; s recv: ab; s recv: end; c recv: xy; c recv: EAGAIN;
        c send z: EPIPE; s close: ok; c recv: end; c hang: gone""",
    "after half closes from both sides each sees the end and no error": """
        c shut: ok; s shut: ok; c hang: gone; s hang: gone; c recv: end; s recv: end; s send x: EPIPE; c send x: EPIPE;
        c recv: end; s recv: end""",
    "one who was half closed and closes is told to be gone": "c shut: ok; s hang: half; s close: ok; c hang: gone",
    "a peer that closed answers bytes with a reset, of which a send learns and a read sees the end": """
        c close: ok; s hang: half; s send x: 1; s hang: gone; s recv: end; s send x: EPIPE; s send x: EPIPE;
        s recv: end; s shut: ENOTCONN; s name: ENOTCONN""",
    "a reset is told once, to whoever reads first": """
        c linger: ok; c close: ok; s hang: gone; s recv: ECONNRESET; s recv: end; s send x: EPIPE; s shut: ENOTCONN""",
    "a reset is told once, to whoever sends first": """
        c linger: ok; c close: ok; s hang: gone; s send x: ECONNRESET; s recv: end; s send x: EPIPE;
        s name: ENOTCONN""",
    "what arrived before a reset can still be read": """
        c send ab: 2; c linger: ok; c close: ok; s hang: gone; s recv: ab; s recv: ECONNRESET; s recv: end""",
    "a send learns of a reset also while something is unread": """
        c send ab: 2; c linger: ok; c close: ok; s hang: gone; s send x: ECONNRESET; s recv: ab; s recv: end""",
    "closing with something unread is a reset": """
        s send ab: 2; c send cd: 2; c close: ok; s hang: gone; s recv: cd; s recv: ECONNRESET; s recv: end""",
    "closing with something unread after a half close resets one who has seen the end": """
        s send ab: 2; c shut: ok; s hang: half; c close: ok; s hang: gone; s recv: end; s send x: EPIPE; s recv: end""",
    "a half close before a reset is an end and no error for a reader": """
        c send ab: 2; c shut: ok; c linger: ok; c close: ok; s hang: gone; s recv: ab; s recv: end; s send x: EPIPE""",
    "a reset after the own half close is told, too": """
        s shut: ok; c hang: half; c recv: end; c linger: ok; c close: ok; s hang: gone; s recv: ECONNRESET; s recv: end;
        s send x: EPIPE""",
    "everything unread can be read before a close, which is then none but an end": """
        s send ab: 2; c recv: ab; c close: ok; s hang: half; s recv: end""",
    "a closed socket refuses everything": """
        c close: ok; c send x: EBADF; c recv: EBADF; c shut: EBADF; c linger: EBADF; c name: EBADF; c close: ok""",
    "shutting twice is no error": "c shut: ok; c shut: ok; s recv: end; s send x: 1; c recv: x",
    "a full buffer refuses, and takes more once somebody has read": """
        c fill: full; c send x: EAGAIN; s drain: EAGAIN; c send x: 1; s recv: x; s recv: EAGAIN""",
    "a half close behind a full buffer comes after every byte": "c fill: full; c shut: ok; s drain: end; s hang: half",
    "a close behind a full buffer comes after every byte": "c fill: full; c close: ok; s drain: end; s hang: half",
    "who closes with a full buffer unread resets the sender": """
        c fill: full; s close: ok; c hang: gone; c send x: ECONNRESET; c send x: EPIPE; c recv: end""",
    "both directions are full by themselves": """
        c fill: full; s send ab: 2; c recv: ab; s fill: full; s drain: EAGAIN; c drain: EAGAIN""",
}


class Ends:
    """Both ends of a connection, of whichever kernel, and what their watchers were told."""

    def __init__(self, client: Any, server: Any) -> None:
        self.sockets = {"c": client, "s": server}
        self.sent = {"c": b"", "s": b""}

    def told(self, end: str) -> bool | None:
        raise NotImplementedError

    def see(self, end: str, what: str, data: str) -> str:
        """Do one thing once; what is seen of it."""
        try:
            return self._do(end, self.sockets[end], what, data.encode())
        except OSError as error:
            return errno.errorcode[error.errno or 0]

    def _do(self, end: str, sock: Any, what: str, data: bytes) -> str:
        match what:
            case "send":
                return str(sock.send(data))
            case "recv":
                return sock.recv(65536).decode() or "end"
            case "hang":
                return {None: "-", False: "half", True: "gone"}[self.told(end)]
            case "fill":
                return self._fill(end, sock)
            case "drain":
                return self._drain("c" if end == "s" else "s", sock)
            case "shut":
                sock.shutdown(socket.SHUT_WR)
            case "linger":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            case "name":
                sock.getpeername()
            case "close":
                sock.close()
            case _:
                raise AssertionError(what)
        return "ok"

    def _fill(self, end: str, sock: Any) -> str:
        refused = 0
        while refused < 100:  # the kernel makes room while it passes on
            try:
                part = b"%08d" % len(self.sent[end])
                self.sent[end] += part[: sock.send(part)]
            except BlockingIOError:
                refused += 1
        return "full"

    def _drain(self, sender: str, sock: Any) -> str:
        seen = b""
        give_up = time.monotonic() + PATIENCE
        while len(seen) < len(self.sent[sender]) and time.monotonic() < give_up:
            try:
                seen += sock.recv(65536)
            except BlockingIOError:
                continue
        assert seen == self.sent[sender], "all of it, in order"
        return sock.recv(65536).decode() or "end"


class KernelEnds(Ends):
    """Of the real kernel, which takes a moment to pass on what was sent."""

    def __init__(self, client: socket.socket, server: socket.socket, epoll: select.epoll) -> None:
        super().__init__(client, server)
        self._epoll = epoll
        self._told: dict[int, bool] = {}
        self._numbers = {"c": client.fileno(), "s": server.fileno()}
        for number in self._numbers.values():  # as `http.hangup` does
            epoll.register(number, select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLET)

    def told(self, end: str) -> bool | None:
        for number, events in self._epoll.poll(0):
            self._told[number] = bool(events & (select.EPOLLHUP | select.EPOLLERR))
        return self._told.get(self._numbers[end])

    def observe(self, end: str, what: str, data: str, expected: str) -> str:
        """The same, given time where it only has not come yet."""
        give_up = time.monotonic() + PATIENCE
        while True:
            seen = self.see(end, what, data)
            if seen == expected or time.monotonic() > give_up or not (seen == "EAGAIN" or what == "hang"):
                return seen


class SimulatedEnds(Ends):
    """Of the simulation, on a perfect network."""

    def __init__(self, client: SimulatedSocket, server: SimulatedSocket) -> None:
        super().__init__(client, server)
        self._told: dict[str, bool] = {}
        client.watch = lambda gone: self._told.update(c=gone)
        server.watch = lambda gone: self._told.update(s=gone)

    def told(self, end: str) -> bool | None:
        return self._told.get(end)


@contextmanager
def kernel() -> Iterator[KernelEnds]:
    with ExitStack() as closing:
        server, client = tcp_pair()
        for sock in (server, client):
            closing.enter_context(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        yield KernelEnds(client, server, closing.enter_context(select.epoll()))


def steps(script: str) -> Iterator[tuple[str, str, str, str]]:
    """Of a script: whose, what, with what, and what is seen."""
    for step in script.split(";"):
        done, _, expected = step.strip().rpartition(": ")
        end, _, what = done.partition(" ")
        what, _, data = what.partition(" ")
        yield end, what, data.strip(), expected


scripts = pytest.mark.parametrize("name", SCRIPTS)


@scripts
async def test_on_simulated_sockets(name: str):
    link = Link(Network(), "client", "client #1", 1, "server", 8000)
    ends = SimulatedEnds(link.client, link.server)
    for number, (end, what, data, expected) in enumerate(steps(SCRIPTS[name])):
        assert (number, end, what, data, ends.see(end, what, data)) == (number, end, what, data, expected)


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="the rules are those of Linux")
@scripts
def test_on_the_kernel(name: str):
    with kernel() as ends:
        for number, (end, what, data, expected) in enumerate(steps(SCRIPTS[name])):
            seen = ends.observe(end, what, data, expected)
            assert (number, end, what, data, seen) == (number, end, what, data, expected)


# What the kernel cannot show in a script


def pair(network: Network | None = None) -> tuple[SimulatedSocket, SimulatedSocket]:
    """A client's and a server's end."""
    link = Link(network or Network(), "client", "client #1", 1, "server", 8000)
    return link.client, link.server


class OneReader(SimulatedStream):
    """Of whose two readers the second is refused; the kit's own stream lets both wait."""

    def __init__(self, sock: SimulatedSocket) -> None:
        super().__init__(sock)
        self._receives = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._receives:
            raise trio.BusyResourceError
        self._receives = True
        try:
            return await super().receive_some(max_bytes)
        finally:
            self._receives = False


async def test_a_stream_of_it_is_a_half_closeable_stream_as_trio_wants_it(autojump_clock):
    async def stream_pair() -> tuple[SimulatedStream, SimulatedStream]:
        client, server = pair()
        return OneReader(client), OneReader(server)

    async def clogged() -> tuple[SimulatedStream, SimulatedStream]:
        one, other = await stream_pair()
        for stream in (one, other):
            stream.socket.send(b"x" * stream.socket.outgoing.room)
        return one, other

    with trio.fail_after(1000):
        await check_half_closeable_stream(stream_pair, clogged)


@pytest.mark.parametrize("how", ["close", "reset", "break_off"])
async def test_who_waits_for_bytes_wakes_when_there_will_be_none(how: str, autojump_clock):
    client, server = pair()
    seen: list[bytes | str] = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            await server.wait_readable()
            try:
                seen.append(server.recv(9))
            except OSError as error:
                seen.append(type(error).__name__)

        await wait_all_tasks_blocked()
        assert seen == []
        if how == "break_off":
            server.break_off()
        else:
            getattr(client, how)()
    assert seen == [b"" if how == "close" else "ConnectionResetError"]


async def test_who_waits_for_room_wakes_when_some_was_read_and_when_the_peer_is_gone(autojump_clock):
    client, server = pair()
    with trio.fail_after(5):
        client.send(b"x" * client.outgoing.capacity)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.wait_writable)
            await wait_all_tasks_blocked()
            server.recv(1)
        assert client.send(b"yy") == 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.wait_writable)
            await wait_all_tasks_blocked()
            server.reset()
        with pytest.raises(ConnectionResetError):
            client.send(b"z")


@pytest.mark.parametrize("what", ["wait_readable", "wait_writable"])
async def test_who_waits_on_a_socket_that_is_closed_here_is_told_so(what: str, autojump_clock):
    client, _ = pair()
    client.send(b"x" * client.outgoing.capacity)

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await getattr(client, what)()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            client.notify_closing()
            client.close()
        await wait()
        with trio.testing.assert_checkpoints():
            await wait()


async def test_waiting_is_a_checkpoint_also_where_nothing_is_waited_for():
    client, server = pair()
    client.send(b"x")
    with trio.testing.assert_checkpoints():
        await server.wait_readable()
    with trio.testing.assert_checkpoints():
        await server.wait_writable()


async def test_a_reset_overtakes_what_is_in_flight_and_spares_what_has_arrived(autojump_clock):
    network = Network(conditions=Conditions(latency=(1, 1)))
    client, server = pair(network)
    lost: list[tuple[int, bool]] = []

    class Watcher:
        def link_arrived(self, number: int, lost_: bool) -> None:
            lost.append((number, lost_))

        def link_told(self, *_: Any) -> None: ...
        def link_sent(self, *_: Any) -> None: ...
        def fault(self, *_: Any) -> None: ...

    network.watcher = Watcher()
    async with trio.open_nursery() as nursery:
        await network.ensure_running(nursery)
        client.send(b"early")
        await trio.sleep(1.1)
        client.send(b"late")
        client.reset()
        await trio.sleep(1.5)
        assert server.recv(99) == b"early"
        with pytest.raises(ConnectionResetError):
            server.recv(99)
        assert lost == [(1, False), (2, True)]
        nursery.cancel_scope.cancel()


async def test_bytes_that_meet_a_closed_end_on_their_way_are_answered_with_a_reset_after_the_way_back(autojump_clock):
    network = Network(conditions=Conditions(latency=(1, 1)))
    client, server = pair(network)
    told: list[tuple[float, bool]] = []
    server.watch = lambda gone: told.append((trio.current_time(), gone))
    async with trio.open_nursery() as nursery:
        await network.ensure_running(nursery)
        client.close()
        await trio.sleep(0.5)
        assert server.send(b"crosses the FIN") == 15
        await trio.sleep(5)
        assert told == [(1, False), (2.5, True)]
        nursery.cancel_scope.cancel()


async def test_who_is_frozen_finds_it_broken_and_the_other_finds_a_peer_that_does_nothing(autojump_clock):
    client, server = pair()
    stream = SimulatedStream(client)
    client.send(b"last words")

    async def read() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        stream.freeze()
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"x")
    await stream.aclose()
    stream.reset()
    assert server.recv(99) == b"last words"
    assert server.hung_up is None
    with pytest.raises(BlockingIOError):
        server.recv(99)
    sent = server.send(b"x" * 99_999)
    assert sent == server.outgoing.capacity, "nobody reads"
    with pytest.raises(BlockingIOError):
        server.send(b"x")


async def test_a_stalled_stream_takes_nothing_until_it_goes_on(autojump_clock):
    client, server = pair()
    stream = SimulatedStream(client)
    stream.stall()
    server.send(b"here")
    with trio.move_on_after(100) as scope:
        await stream.receive_some()
    assert scope.cancelled_caught
    stream.go_on()
    assert await stream.receive_some() == b"here"


async def test_a_stalled_stream_that_is_closed_here_wakes_who_reads_it(autojump_clock):
    stream = SimulatedStream(pair()[0])
    stream.stall()

    async def read() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            await stream.aclose()


async def test_who_writes_after_closing_is_remembered_and_the_receiving_half_cannot_be_shut():
    client, _ = pair()
    with pytest.raises(NotImplementedError, match="only the sending half"):
        client.shutdown(socket.SHUT_RD)
    client.close()
    assert not client.wrote_late
    assert client.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        client.send(b"x")
    assert client.wrote_late
