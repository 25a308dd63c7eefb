"""Both ends of the line between `trio-mcp serve --workers N` and its workers: how one is started, what it inherits.

A worker is this same command, run again with the listening sockets and one end of a socket pair: its **link**. On it
the parent leaves what must not stand in arguments or the environment (the secret for `requestState`) and later says
`stop` and `hurry`; the worker says once that it is up. Its end-of-file tells either side that the other is gone,
however it went. Orders come by link and not by signal, because a signal may come twice: from the parent, and from who
signals a whole group (a terminal, systemd). So to a worker, any number of SIGTERM and SIGINT only begins the shutdown.

It refuses to decide who lives and who dies: `trio_mcp.cli.supervisor` does.
"""

import logging
import math
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Final

import attrs
import msgspec
import trio

from trio_mcp.cli.balance import Balance, shared_memory
from trio_mcp.cli.errors import CliError, one_line
from trio_mcp.cli.supervisor import MARGIN, Bounds, Order, Supervisor, Up
from trio_mcp.serve import Shutdown
from trio_mcp.server import Server

_log = logging.getLogger("trio_mcp.supervisor")

LINK: Final = "_TRIO_MCP_LINK"
"""The environment variable that makes this command a worker: the number of its link's descriptor."""
INHERITING: Final = 10.0
"""Seconds that a worker waits for what its parent wrote before it started it."""
LONGEST_LINE: Final = 64 * 1024


class _Hello(msgspec.Struct):
    """What a worker inherits, besides the link it is written to."""

    number: int
    sockets: list[int]
    memory: int
    secret: bytes


_decode_hello = msgspec.json.Decoder(_Hello).decode
_decode_up = msgspec.json.Decoder(Up).decode


# The parent's end


def check_platform(option: str = "--workers") -> None:
    """Say it where workers cannot be.

    Raises:
        CliError: this system hands no sockets down.
    """
    if os.name != "posix":
        raise CliError(f"{option} needs a Unix system, where processes can share a socket: leave it out here")


def run_workers(count: int, sockets: Sequence[socket.socket], say: Callable[[str], None]) -> int:
    """Serve from bound sockets with so many processes until a signal ends it; the exit code."""
    return trio.run(_supervise, count, sockets, say)


async def _supervise(count: int, sockets: Sequence[socket.socket], say: Callable[[str], None]) -> int:
    inheritance = Inheritance(sockets, shared_memory(count), secrets.token_bytes(32))
    supervisor = Supervisor(
        count,
        partial(start_worker, inheritance),
        announce=lambda banner: say(f"{banner}, {count} workers. Ctrl-C to stop"),
        stopping=inheritance.close_sockets,
    )
    with signals_taken() as signals:
        async with trio.open_nursery() as supervisor_nursery:
            supervisor_nursery.start_soon(supervisor.obey, signals, name="watch for signals")
            code = await supervisor.run()
            supervisor_nursery.cancel_scope.cancel("the last worker has ended")
    os.close(inheritance.memory)
    return code


@contextmanager
def signals_taken() -> Iterator[AsyncIterator[int]]:
    """SIGTERM and SIGINT as an iterator, and afterwards as nothing: the last one must not spoil the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        yield signals


@attrs.frozen
class Inheritance:
    """What every worker inherits, also one that is started later.

    Attributes:
        sockets: listening.
        memory: the descriptor of what they tell each other their connections in.
        secret: for `requestState`.
    """

    sockets: Sequence[socket.socket]
    memory: int
    secret: bytes = attrs.field(repr=False)

    def close_sockets(self) -> None:
        """When the workers stop accepting, nobody should wait in a queue that is never served."""
        for sock in self.sockets:
            sock.close()


async def start_worker(inheritance: Inheritance, number: int) -> "WorkerProcess":
    """Run this command again as a worker.

    It is in a session of its own, so that the terminal's Ctrl-C comes by way of the parent only.

    Raises:
        OSError: the system starts no process.
    """
    with ExitStack() as until_started:
        # Copies, so that no descriptor changes its meaning should the sockets be closed while the process starts.
        handed = [until_started.enter_context(sock.dup()) for sock in inheritance.sockets]
        ours, theirs = socket.socketpair()
        until_started.enter_context(theirs)
        hello = _Hello(number, [sock.fileno() for sock in handed], inheritance.memory, inheritance.secret)
        ours.send(msgspec.json.encode(hello) + b"\n")
        try:
            process = await trio.lowlevel.open_process(
                [sys.executable, *sys.orig_argv[1:]],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), inheritance.memory, *hello.sockets),
                start_new_session=True,
                env={**os.environ, LINK: str(theirs.fileno())},
            )
        except BaseException:
            ours.close()
            raise
    return WorkerProcess(process, ours, Balance(inheritance.memory, number))


class WorkerProcess:
    """A real worker, as `Supervisor` wants one."""

    def __init__(self, process: trio.Process, link: socket.socket, load: Balance) -> None:
        self._load = load
        self._process = process
        self._link = link
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(link))

    @property
    def pid(self) -> int:
        """Its number at the system."""
        return self._process.pid

    async def up(self) -> Up | None:
        """Wait until it serves; None: it will not any more."""
        line = b""
        while not line.endswith(b"\n") and len(line) < LONGEST_LINE:
            try:
                piece = await self._stream.receive_some()
            except trio.BrokenResourceError:  # a reset: it is gone with orders unread
                piece = b""
            if not piece:
                return None
            line += piece
        return _decode_up(line)

    async def wait(self) -> int:
        """Wait for its end."""
        return await self._process.wait()

    def tell(self, order: Order) -> None:
        """Write to its link; who does not read so few bytes is hung, and has a bound."""
        with suppress(OSError):
            self._link.send(order.value.encode() + b"\n")

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def close(self) -> None:
        """Close the link: who is still there takes it for the end of the parent. Nobody waits for it any more."""
        self._link.close()
        self._load.leave()
        self._load.close()


# The worker's end


@attrs.frozen
class Worker:
    """This process as one of several.

    Attributes:
        number: from 1; 0 for one that follows on another (`reload`).
        sockets: listening, shared with the others.
        load: where they tell each other how many connections they have.
        secret: for `requestState`, the same in all of them.
    """

    number: int
    sockets: list[socket.socket]
    load: Balance
    secret: bytes = attrs.field(repr=False)
    link: socket.socket

    @classmethod
    def inherited(cls) -> "Worker | None":
        """What the parent left; None: this is no worker. What this process starts does not inherit it again.

        Raises:
            CliError: it left nothing that makes sense.
        """
        descriptor = os.environ.pop(LINK, None)
        if descriptor is None:
            return None
        try:
            with ExitStack() as unless_whole:
                link = unless_whole.enter_context(socket.socket(fileno=int(descriptor)))
                link.set_inheritable(False)
                link.settimeout(INHERITING)
                hello = _decode_hello(_line(link))
                link.setblocking(False)
                sockets = [socket.socket(fileno=number) for number in hello.sockets]
                load = Balance(hello.memory, hello.number)
                os.close(hello.memory)
                unless_whole.pop_all()
        except (OSError, ValueError, msgspec.DecodeError) as error:
            raise CliError(f"{LINK} is for trio-mcp's own workers; unset it ({one_line(str(error))})") from error
        for sock in sockets:
            sock.set_inheritable(False)
        return cls(hello.number, sockets, load, hello.secret, link)

    def prepare(self, server: Server) -> None:
        """Make a server one of several: a secret that the others have, and no sessions beside others (from 1 on)."""
        settings = server.settings
        sessions = settings.sessions and self.number == 0
        server.settings = attrs.evolve(settings, sessions=sessions, state_secret=settings.state_secret or self.secret)

    def is_up(self, banner: str, bounds: Bounds) -> None:
        """Tell the parent; one that is gone is noticed elsewhere."""
        with suppress(OSError):
            self.link.send(msgspec.json.encode(Up(banner=banner, bounds=bounds)) + b"\n")

    async def run(self, bounds: Bounds, serve: Callable[[], Awaitable[None]], shutdown: Shutdown) -> None:
        """Serve until the parent says `stop`, or is gone, or a signal comes."""
        with signals_taken() as signals:
            async with trio.open_nursery() as worker_nursery:
                worker_nursery.start_soon(self._obey, bounds, shutdown, name=f"obey the parent of worker {self.number}")
                worker_nursery.start_soon(_begin_at_signal, signals, shutdown, name="watch for signals")
                await serve()
                worker_nursery.cancel_scope.cancel("the worker has ended")

    async def _obey(self, bounds: Bounds, shutdown: Shutdown) -> None:
        link = trio.SocketStream(trio.socket.from_stdlib_socket(self.link))
        heard = b""
        while True:
            try:
                piece = await link.receive_some()
            except trio.BrokenResourceError:
                piece = b""
            if not piece:
                break
            heard += piece
            *orders, heard = heard.split(b"\n")
            for order in orders:
                shutdown.begin.set()
                if order == Order.HURRY.value.encode():
                    shutdown.hurry.set()
        _log.warning("worker %d: the parent is gone: shutting down", self.number)
        shutdown.begin.set()
        # Nobody is left to kill this process should it hang, and a hung one keeps the port. So the kernel does, which
        # needs no turn of the loop.
        if math.isfinite(most := bounds.grace + bounds.cleanup + MARGIN):
            signal.setitimer(signal.ITIMER_REAL, most)


def _line(link: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n") and len(data) < LONGEST_LINE:
        piece = link.recv(4096)
        if not piece:
            raise ValueError("the parent is gone")
        data += piece
    return data


async def _begin_at_signal(signals: AsyncIterator[int], shutdown: Shutdown) -> None:
    async for number in signals:
        if not shutdown.begin.is_set():
            _log.info("received %s: shutting down", signal.Signals(number).name)
            shutdown.begin.set()
