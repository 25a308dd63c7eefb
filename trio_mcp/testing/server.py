"""`SimulatedServer`: a whole server as production runs it on a simulated network, and what must hold at its end.

Theory of operation. `serving` runs `serve.serve_worker` with a worker that accepts from the network, beside it pipes as
stdio and embedding have them. When the block ends the server is told to shut down, as SIGTERM does, and must end by
itself within its bounds; then everything of it must be gone. Where the run is `settling` it must first come to rest
with nobody's help: connections, calls and sessions of clients that vanished end by their own timeouts.

It refuses to hide a failure behind another: what the block raised goes first.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from functools import partial
from typing import Any, Final

import trio

from trio_mcp.groups import leaves
from trio_mcp.http.asgi import App, Receive, Scope, Send
from trio_mcp.http.byte_stream import peer_of
from trio_mcp.protocol.errors import INTERNAL_ERROR, McpError
from trio_mcp.protocol.revisions import LATEST_SESSION, REVISIONS
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.replay import EventStore, MemoryEventStore, parse_event_id
from trio_mcp.serve import Shutdown, http_app, limits_of, main_path, serve_worker
from trio_mcp.server import Server
from trio_mcp.testing import invariants
from trio_mcp.testing.client import (
    Client,
    ConnectionLostError,
    RefusedError,
    RequestCancelledError,
    Transport,
    make_client,
)
from trio_mcp.testing.network import Network
from trio_mcp.testing.simulation import current
from trio_mcp.testing.streams import SimulatedStream
from trio_mcp.testing.worker import SimulatedWorker
from trio_mcp.transports.memory import serve_stream

_PIPES: Final = ("memory", "stdio")
#: Seconds beyond its own bounds that a shutdown may take: lingering, last words, goodbyes of single connections.
_ALLOWANCE: Final = 15.0


class _RecordedStore(MemoryEventStore):
    """Keeps in addition every id it was given, so that a gap can be told."""

    def __init__(self, **bounds: int) -> None:
        super().__init__(**bounds)
        self.given: dict[str, dict[int, list[str]]] = {}

    def append(self, session_id: str, event_id: str, data: bytes) -> None:
        """Keep one event."""
        super().append(session_id, event_id, data)
        self.given.setdefault(session_id, {}).setdefault(parse_event_id(event_id)[0], []).append(event_id)


class _Principals:
    """Says who a simulated client is, by its address, as a verified token would."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.of: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope["client"]  # None: it was gone before it was asked for its address
        who = None if client is None else self.of.get(client[0])
        await self._app(scope if who is None else {**scope, "principal": who}, receive, send)


class SimulatedServer:
    """One server on a simulated network; `serving` makes it.

    Attributes:
        server: what is served.
        host: its sessions and calls, while it runs.
        network: what it listens on, under `name`.
        shutdown: tells it to go, as SIGTERM does; `begin_shutdown` and `hurry` set its events.
        clients: everybody who was connected by `connect`, in order.
    """

    def __init__(self, server: Server, network: Network, name: str, event_store: EventStore | None) -> None:
        settings = server.settings
        self.server = server
        self.network = network
        self.name = name
        self.shutdown = Shutdown()
        self.clients: list[Client] = []
        self._store = None
        if event_store is None:
            event_store = self._store = _RecordedStore(
                max_events=settings.replay_events, max_bytes=settings.replay_bytes
            )
        self.host = Host(server, event_store=event_store)
        self._principals = _Principals(http_app(self.host, loopback=True))
        self.worker = SimulatedWorker(
            self._principals,
            partial(network.listen, name),
            limits=limits_of(settings),
            max_connections=settings.max_connections,
            write_timeout=settings.write_timeout,
        )
        self.host.connections = self.worker.count
        self._pipes: dict[int, Any] = {}
        self._pipe_number = 0
        self._principal_of_pipe: dict[str, str] = {}
        self.ended = trio.Event()
        self.ended_at = 0.0

    # Life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until told to shut down. Cancellation: as `serve_http`."""
        try:
            with self.worker.listening():
                async with trio.open_nursery() as server_nursery:
                    with closing(self.network.listen(self._pipe_name, 0, machine=self.name)) as pipes:
                        await server_nursery.start(self._serve, name=f"serve {self.name}")
                        server_nursery.start_soon(self._accept_pipes, pipes, server_nursery, name="accept pipes")
                        task_status.started()
                        await self.ended.wait()
                    # An embedding program ends its pipes with itself; that of stdio has ended with its input by now.
                    server_nursery.cancel_scope.cancel("the server has ended")
        finally:
            self.ended.set()

    async def _serve(self, *, task_status: trio.TaskStatus[Any]) -> None:
        await serve_worker(
            self.host,
            self.worker,
            shutdown=self.shutdown,
            url_path=main_path(self.server.settings),
            task_status=task_status,
        )
        self.ended_at = trio.current_time()
        self.ended.set()

    @property
    def _pipe_name(self) -> str:
        return f"{self.name}, its pipes"

    async def _accept_pipes(self, listener: Any, server_nursery: trio.Nursery) -> None:
        while True:
            end = await listener.accept()
            self._pipe_number += 1
            number = self._pipe_number
            self._pipes[number] = end
            server_nursery.start_soon(self._serve_pipe, end, number, name=f"serve {end.name}")

    async def _serve_pipe(self, end: Any, number: int) -> None:
        peer = peer_of(end)  # None where it has reset already
        who = "" if peer is None else self._principal_of_pipe.get(peer[0], "")
        try:
            await serve_stream(self.host, SimulatedStream(end), principal=who, stop=self.shutdown.begin)
        finally:
            del self._pipes[number]

    # Clients

    @asynccontextmanager
    async def connect(
        self,
        *,
        revision: str = LATEST_SESSION.version,
        transport: Transport = "http",
        principal: str | None = None,
        name: str | None = None,
        headers: Mapping[str, str] | None = None,
        capabilities: Mapping[str, Any] | None = None,
        answers: Mapping[str, Callable[[Any], Any]] | None = None,
        session_of: Client | None = None,
    ) -> AsyncIterator[Client]:
        """A client that has shaken hands; it says goodbye when the block ends. See `connect`.

        Args:
            session_of: speak in the session of this client (over Streamable HTTP), and leave it to that one to end.
        """
        if revision not in REVISIONS:
            raise ValueError(f"revision must be one of {', '.join(REVISIONS)}, not {revision!r}")
        name = name or f"client {len(self.clients) + 1}"
        where = self._pipe_name if transport in _PIPES else self.name
        address = f"10.0.0.{self.network.number_of(name)}"
        if principal is not None:
            (self._principal_of_pipe if transport in _PIPES else self._principals.of)[address] = principal
        client = make_client(
            transport,
            REVISIONS[revision],
            partial(self.network.dial, name, where),
            headers=headers or {},
            name=name,
            capabilities=None if capabilities is None else dict(capabilities),
            answers=answers or {},
            session_of=session_of,
        )
        self.clients.append(client)
        async with client.running():
            yield client

    # Shutdown

    def begin_shutdown(self) -> None:
        """Tell it to go, as the first SIGTERM does."""
        self.shutdown.begin.set()

    def hurry(self) -> None:
        """Cut the grace of its calls short, as the second SIGTERM does."""
        self.shutdown.begin.set()
        self.shutdown.hurry.set()

    @property
    def shutdown_bound(self) -> float:
        """Seconds that a shutdown may take: the calls' grace and clean-up, connections, the lifespan's teardown."""
        settings = self.server.settings
        return settings.shutdown_grace + 3 * settings.cleanup_timeout + settings.eof_grace + _ALLOWANCE

    # What must hold

    def violations_now(self) -> list[str]:
        """What is wrong in the middle of a run."""
        return invariants.within_bounds(self.host)

    def at_rest(self) -> bool:
        """Whether nobody is connected, nothing runs and no session lives."""
        host = self.host
        if any(end.peer.frozen for end in self._pipes.values()):
            # Nobody can tell a silent pipe from one that has nothing to say: it is its parent's to end.
            return not (self.worker.taken or any(session.public_id for session in host.sessions.values()))
        return not (self.worker.taken or self._pipes or host.calls or host.sessions or len(host.subscriptions))

    async def end(self, *, settling: bool) -> list[str]:
        """Shut it down and wait for its end; what was wrong with that.

        Args:
            settling: it must come to rest by itself before.
        """
        found = await self.come_to_rest() if settling else []
        simulation = current()
        if simulation is not None:
            for violation in found:
                simulation.fault(f"this must not be: {violation}")
        began = trio.current_time()
        self.begin_shutdown()
        await self.ended.wait()
        took = self.ended_at - began
        if took > self.shutdown_bound:
            found.append(f"the shutdown took {took:g} s, and may take {self.shutdown_bound:g}")
        return found

    async def come_to_rest(self) -> list[str]:
        """Wait until nothing of any client is left, at most for what its own timeouts add up to; what stays."""
        settings = self.server.settings
        limit = 2 * (settings.session_idle + settings.idle_timeout + settings.request_timeout) + 3600
        began, pause = trio.current_time(), 1.0
        while not self.at_rest() and not self.ended.is_set():
            if trio.current_time() - began > limit:
                return [f"after {limit:g} s on its own there is left of clients that have gone: {self._rest()}"]
            await trio.sleep(pause)
            pause = min(pause * 2, 60)
        return []

    def _rest(self) -> str:
        host = self.host
        found = [end.name for end in self.worker.taken]
        found += [end.name for end in self._pipes.values()]
        found += [f"session {key[:8]}" for key in host.sessions]
        found += [f"call {call.method.name} {call.id!r}" for call in host.calls]
        return ", ".join(found) or f"{len(host.subscriptions)} subscriptions"

    def violations(self) -> list[str]:
        """What is wrong once it has ended."""
        found = invariants.nothing_left(self.host)
        found += [f"a connection is left: {end.name}" for end in self.worker.taken]
        found += invariants.no_write_after_close(self.network.links)
        for client in self.clients:
            found += invariants.answered_once(client)
            if self._store is not None and client.session_id is not None:
                found += invariants.events_gapless(client, self._store.given.get(client.session_id, {}))
        return found


@asynccontextmanager
async def serving(
    server: Server,
    *,
    network: Network | None = None,
    name: str = "server",
    event_store: EventStore | None = None,
) -> AsyncIterator[SimulatedServer]:
    """Serve on a simulated network for the time of the block; then shut down, and see that nothing is left.

    Args:
        network: what it listens on; None: the run's own, or outside of simulated runs a perfect one.
        name: under which it listens there, and is called in partitions.
        event_store: where events wait for clients that come back; None: in memory.

    Raises:
        InvariantError: the shutdown took longer than its bounds, or something is left.
    Cancellation: the server is cancelled and awaited.
    """
    simulation = current()
    if network is None:
        network = Network() if simulation is None else simulation.network
    served = SimulatedServer(server, network, name, event_store)
    failure: BaseException | None = None
    violations: list[str] = []
    async with trio.open_nursery() as serving_nursery:
        if simulation is None or network is not simulation.network:
            await network.ensure_running(serving_nursery)
        await serving_nursery.start(served.run, name=f"serve host {name}")
        if simulation is not None:
            simulation.servers.append(served)
        try:
            yield served
        except (Exception, BaseExceptionGroup) as error:
            failure = error
            if simulation is not None:
                simulation.failing(error)
        excused = failure is None or (follows_from_a_cut if simulation and simulation.was_cut else only_lost)(failure)
        if excused:
            violations = await served.end(settling=simulation is not None and simulation.settling)
        serving_nursery.cancel_scope.cancel("the block has ended")
    if excused:
        invariants.require(violations, served.violations())
    if failure is not None:
        raise failure


def only_lost(error: BaseException) -> bool:
    """Whether all that happened is that a client's connection was lost."""
    return all(isinstance(leaf, ConnectionLostError) for leaf in leaves(error))


def follows_from_a_cut(error: BaseException) -> bool:
    """Whether all that happened is what a client may see that was cut off on purpose, or that cancelled a call.

    A session that ended with its connection refuses what comes to it on another one; an internal error is no refusal.
    """
    return all(
        leaf.code != INTERNAL_ERROR if isinstance(leaf, McpError) else isinstance(leaf, _FOLLOW)
        for leaf in leaves(error)
    )


_FOLLOW: Final = (ConnectionLostError, RefusedError, RequestCancelledError, ConnectionRefusedError)


def connect(
    server: Server | SimulatedServer,
    *,
    revision: str = LATEST_SESSION.version,
    transport: Transport = "http",
    principal: str | None = None,
    network: Network | None = None,
    name: str | None = None,
    headers: Mapping[str, str] | None = None,
    capabilities: Mapping[str, Any] | None = None,
    answers: Mapping[str, Callable[[Any], Any]] | None = None,
) -> AbstractAsyncContextManager[Client]:
    """A client of a server, over the real stack: an async context manager.

    Args:
        server: a server, which is then served for the time of the block (`serving`); or one that is served already.
        revision: of the protocol.
        transport: how the client comes.
        principal: who it is, as a verified token would say; None: nobody was asked.
        network: where `server` is to be served, if it is not yet.
        name: of the client, in traces and partitions; None: `client 1`, `client 2`, …
        headers: sent with every HTTP request.
        capabilities: of the client; None: those that `answers` needs.
        answers: what it answers to requests of the server, by method: a function of the params, async or not.

    Use it under a mock clock (`mcp_clock`), or in a simulated run.
    """
    options: dict[str, Any] = {
        "revision": revision,
        "transport": transport,
        "principal": principal,
        "name": name,
        "headers": headers,
        "capabilities": capabilities,
        "answers": answers,
    }
    if isinstance(server, SimulatedServer):
        return server.connect(**options)
    return _connect(server, network, options)


@asynccontextmanager
async def _connect(server: Server, network: Network | None, options: dict[str, Any]) -> AsyncIterator[Client]:
    async with serving(server, network=network) as served, served.connect(**options) as client:
        yield client
