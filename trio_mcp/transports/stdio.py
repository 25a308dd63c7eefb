"""stdio: the client is our parent, and we speak through its pipes (basic/transports/stdio).

While we serve, file descriptor 1 leads to stderr, so that a stray `print` in a tool cannot break the protocol, and 0
to nowhere, so that a tool's child process cannot take messages from us.
"""

import os
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from trio_mcp.runtime.host import Host
from trio_mcp.runtime.pipe import Pipe, Write
from trio_mcp.transports.lines import Lines, Read

_CHUNK = 65536


async def serve_stdio_pipe(host: Host, out_fd: int, *, stop: trio.Event | None = None) -> None:
    """Serve stdin and `out_fd`, which is what `own_stdout` gives, until stdin ends or `stop` is set.

    Cancellation: calls are cancelled and awaited; the descriptors are as before.
    """
    with _own_stdin() as in_fd:
        async with _reading(in_fd) as read, _writing(out_fd) as write:
            await Pipe(host, write).run(Lines(read, host.server.settings.max_body), stop=stop)


@contextmanager
def _own_stdin() -> Iterator[int]:
    """Keep stdin to ourselves; everyone else reads an end of file."""
    own = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    try:
        yield own
    finally:
        os.dup2(own, 0)
        os.close(own)


@contextmanager
def own_stdout() -> Iterator[int]:
    """Keep stdout to ourselves and lead everyone else's output to stderr."""
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    try:
        yield own
    finally:
        sys.stdout.flush()
        os.dup2(own, 1)
        os.close(own)


def _pollable(fd: int) -> bool:
    """Whether trio can wait for this descriptor: files cannot be polled, and Windows has its own way."""
    return os.name == "posix" and not stat.S_ISREG(os.fstat(fd).st_mode)


@asynccontextmanager
async def _reading(fd: int) -> AsyncIterator[Read]:
    if _pollable(fd):
        # A duplicate, so that closing it leaves fd alone; closing also gives back blocking mode.
        async with trio.lowlevel.FdStream(os.dup(fd)) as stream:
            yield lambda: _receive(stream)
        return
    yield lambda: trio.to_thread.run_sync(os.read, fd, _CHUNK, abandon_on_cancel=True)


async def _receive(stream: trio.lowlevel.FdStream) -> bytes:
    try:
        return bytes(await stream.receive_some(_CHUNK))
    except trio.BrokenResourceError:  # a terminal that was closed
        return b""


@asynccontextmanager
async def _writing(fd: int) -> AsyncIterator[Write]:
    if _pollable(fd):
        async with trio.lowlevel.FdStream(os.dup(fd)) as stream:
            yield stream.send_all
        return
    yield lambda data: trio.to_thread.run_sync(_write_all, fd, data, abandon_on_cancel=True)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError as error:  # a full disk, say
        raise trio.BrokenResourceError from error
