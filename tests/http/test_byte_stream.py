"""Bytes of one connection: within bounds in both directions, over real sockets and over any stream."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from tests.http.lane_kit import descriptors, tcp_pair
from trio_mcp.http.byte_stream import CHUNK, PeerGoneError, SocketBytes, StreamBytes, name_of, peer_of


@contextmanager
def connected(*, write_timeout: float = 30, buffer: int | None = None) -> Iterator[tuple[SocketBytes, socket.socket]]:
    """Our end and the other; `buffer` makes the kernel's small, so that writing meets its end."""
    server, client = tcp_pair()
    with client, server:
        if buffer is not None:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        client.settimeout(10)
        yield SocketBytes(server, write_timeout), client


def fill(ours: SocketBytes) -> int:
    """Write until the kernel takes no more."""
    written = 0
    while True:
        try:
            written += ours._sock.send(b"." * CHUNK)
        except BlockingIOError:
            return written


def vanish(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()


def drain(client: socket.socket) -> bytes:
    seen = b""
    while data := client.recv(CHUNK):
        seen += data
    return seen


# Sockets


async def test_bytes_are_read_and_then_the_end():
    with connected() as (ours, client):
        client.sendall(b"abc")
        assert await ours.read() == b"abc"
        client.shutdown(socket.SHUT_WR)
        assert await ours.read() == b""
        assert await ours.read() == b""


async def test_a_reset_reads_as_the_end_and_writes_as_a_peer_that_is_gone():
    with connected() as (ours, client):
        vanish(client)
        assert await ours.read() == b""
        with pytest.raises(PeerGoneError):
            await ours.write(b"x")


async def test_a_cancelled_read_loses_nothing():
    with connected() as (ours, client):
        with trio.move_on_after(0):
            await ours.read()
        client.sendall(b"abc")
        assert await ours.read() == b"abc"


async def test_more_than_the_kernel_takes_is_written_as_the_peer_reads():
    with connected(buffer=65536) as (ours, client):
        data = bytes(range(256)) * 80_000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.write, data)
            received = await trio.to_thread.run_sync(lambda: b"".join(iter_exactly(client, len(data))))
        assert received == data


def iter_exactly(client: socket.socket, size: int) -> Iterator[bytes]:
    while size > 0:
        data = client.recv(CHUNK)
        size -= len(data)
        yield data


async def test_a_peer_that_does_not_read_is_cut_off_with_a_reset(autojump_clock):
    with connected(write_timeout=30, buffer=65536) as (ours, client):
        began = trio.current_time()
        with pytest.raises(PeerGoneError, match="did not read for 30 s"):
            await ours.write(b"x" * 20_000_000)
        assert trio.current_time() - began == 30
        assert ours.fileno() == -1
        with pytest.raises(ConnectionResetError):
            drain(client)


async def test_a_write_stays_cancellable_and_bounded_by_whoever_calls(autojump_clock):
    with connected(buffer=65536) as (ours, _):
        with trio.move_on_after(3) as scope:
            await ours.write(b"x" * 20_000_000)
        assert scope.cancelled_caught


async def test_after_an_abort_everything_says_that_the_peer_is_gone():
    with connected() as (ours, client):
        ours.abort()
        ours.abort()
        assert await ours.read() == b""
        with pytest.raises(PeerGoneError):
            await ours.write(b"x")
        assert ours.write_now(b"x") is False
        ours.say_end()
        await ours.aclose()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


async def test_an_abort_wakes_whoever_reads():
    with connected() as (ours, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.read)
            await wait_all_tasks_blocked()
            ours.abort()


async def test_a_close_delivers_what_was_written():
    with connected() as (ours, client):
        await ours.write(b"last words")
        await ours.aclose()
        await ours.aclose()
        assert drain(client) == b"last words"


async def test_saying_the_end_leaves_the_other_direction_open():
    with connected() as (ours, client):
        await ours.write(b"last words")
        ours.say_end()
        assert drain(client) == b"last words"
        client.sendall(b"I see")
        assert await ours.read() == b"I see"


async def test_what_is_written_at_once_arrives():
    with connected() as (ours, client):
        assert ours.write_now(b"probe")
        await ours.write(b" and more")
        await ours.aclose()
        assert drain(client) == b"probe and more"


async def test_what_is_written_ahead_is_left_out_of_the_next_write_and_of_no_other():
    with connected() as (ours, client):
        assert ours.write_now(b"HTTP/1.1 ", ahead=True)
        assert ours.write_now(b"HTTP/1.1 ", ahead=True)
        await ours.write(b"HTTP/1.1 200 OK")
        await ours.write(b"HTTP/1.1 404")
        await ours.aclose()
        assert drain(client) == b"HTTP/1.1 200 OKHTTP/1.1 404"


@pytest.mark.parametrize("ahead", [False, True])
async def test_nothing_is_written_at_once_where_the_kernel_takes_nothing(ahead: bool):
    with connected(buffer=65536) as (ours, client):
        size = fill(ours)
        assert ours.write_now(b"probe", ahead=ahead)
        client.settimeout(10)
        received = b"".join(iter_exactly(client, size))
        await ours.write(b"probed")
        await ours.aclose()
        assert received + drain(client) == b"." * size + b"probed"


async def test_nothing_is_written_into_the_middle_of_a_write_that_waits():
    with connected(buffer=65536) as (ours, client):
        data = b"x" * 20_000_000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.write, data)
            await wait_all_tasks_blocked()
            received = client.recv(CHUNK)  # there is room now, and the writer has not run yet
            assert ours.write_now(b"probe")
            received += await trio.to_thread.run_sync(lambda: b"".join(iter_exactly(client, len(data) - len(received))))
        assert received == data
        assert ours.write_now(b"now")
        await ours.aclose()
        assert drain(client) == b"now"


async def test_the_socket_goes_on_as_a_stream():
    with connected() as (ours, client):
        stream = ours.into_stream()
        await ours.aclose()
        ours.abort()
        await stream.send_all(b"still here")
        await stream.aclose()
        assert drain(client) == b"still here"


async def test_no_end_leaves_a_descriptor_behind():
    before = descriptors()
    for end in ("close", "abort", "stream", "stall"):
        with connected(write_timeout=0.01, buffer=65536) as (ours, _):
            if end == "close":
                await ours.aclose()
            elif end == "abort":
                ours.abort()
            elif end == "stream":
                await ours.into_stream().aclose()
            else:
                with pytest.raises(PeerGoneError):
                    await ours.write(b"x" * 20_000_000)
    assert descriptors() == before


def test_addresses_are_told_where_there_are_some():
    server, client = tcp_pair()
    with server, client:
        assert peer_of(server) == client.getsockname() == name_of(client)
        assert name_of(server) == client.getpeername()
    assert peer_of(server) is None
    assert name_of(object()) is None
    left, right = socket.socketpair()
    with left, right:
        assert peer_of(left) is None


# Any stream


async def test_a_stream_is_read_to_its_end(autojump_clock):
    ours, theirs = memory_stream_pair()
    lane = StreamBytes(ours, 30)
    await theirs.send_all(b"abc")
    await theirs.aclose()
    assert [await lane.read(), await lane.read()] == [b"abc", b""]
    with pytest.raises(PeerGoneError):
        await lane.write(b"x")
    await lane.aclose()
    assert await lane.read() == b""


async def test_each_chunk_of_a_write_has_the_timeout_for_itself(autojump_clock):
    ours, theirs = lockstep_stream_pair()
    lane = StreamBytes(ours, 30)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lane.write, b"x" * (3 * CHUNK))
        for _ in range(3):
            await trio.sleep(25)
            received = 0
            while received < CHUNK:
                received += len(await theirs.receive_some(CHUNK - received))
    began = trio.current_time()
    with pytest.raises(PeerGoneError, match="30 s"):
        await lane.write(b"x" * (3 * CHUNK))
    assert trio.current_time() - began == 30


async def test_a_stream_can_say_nothing_without_waiting(autojump_clock):
    ours, _ = memory_stream_pair()
    lane = StreamBytes(ours, 30)
    assert not lane.write_now(b"probe", ahead=True)
    assert lane.fileno() == -1
    lane.say_end()
    lane.abort()
    await lane.write(b"x")
    assert lane.into_stream() is ours
    await lane.aclose()
    await ours.send_all(b"x")


async def test_the_close_of_a_stream_is_bounded(autojump_clock):
    class Sticky(trio.abc.HalfCloseableStream):
        """Its close waits for a peer that does not come."""

        closed = False

        async def aclose(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                self.closed = True

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            raise AssertionError

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            raise AssertionError

        async def wait_send_all_might_not_block(self) -> None:
            raise AssertionError

        async def send_eof(self) -> None:
            raise AssertionError

    stream, began = Sticky(), trio.current_time()
    await StreamBytes(stream, 30).aclose()
    assert stream.closed
    assert trio.current_time() - began == 1


@pytest.mark.parametrize(("ahead", "reads"), [(False, False), (True, True)])
async def test_a_probe_that_went_out_in_part_can_only_stand_if_the_rest_follows(ahead: bool, reads: bool):
    with connected() as (ours, client):

        class Full:
            """A fake of a socket with room for two bytes more."""

            def send(self, data: bytes) -> int:
                return ours_sock.send(data[:2])

        ours_sock, ours._sock = ours._sock, Full()  # type: ignore[assignment]
        assert ours.write_now(b"abc", ahead=ahead) is reads
        ours._sock = ours_sock
        if ahead:
            await ours.write(b"abcdef")
        ours_sock.close()
        assert drain(client) == (b"abcdef" if ahead else b"ab")
