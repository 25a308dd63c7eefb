"""`Host`: what outlives a request: the lifespan, the sessions, the subscriptions, the calls in flight, and the drain.

A host is run once, by whoever serves. It is one of the two places that catch `Exception`: a session that fails ends
itself and is logged here, never its siblings. It refuses to know how messages arrive.
"""

import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from trio_mcp.auth.resource import ProtectedResource
from trio_mcp.protocol.errors import UNAVAILABLE, McpError
from trio_mcp.protocol.per_request import without_sessions
from trio_mcp.protocol.seal import Sealer
from trio_mcp.runtime.call import Answer, Call
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.runtime.replay import DurableEventStore, EventStore, MemoryEventStore
from trio_mcp.runtime.revival import SessionKeeper, revive
from trio_mcp.runtime.session import Session
from trio_mcp.runtime.subscriptions import Subscriptions
from trio_mcp.runtime.tally import Tally
from trio_mcp.server import Server

_log = logging.getLogger("trio_mcp.host")


class Host:
    """Everything of one served server that is not one connection.

    Args:
        event_store: where events wait for clients that come back; None keeps them in memory.
        new_session_id: makes session ids: visible ASCII, at least 128 bits that cannot be guessed.
        worker: the number of this process, where several serve together.

    Attributes:
        call_watchers: told of each call that has ended, with its answer; None where there was none.
        draining: no new work is taken.
        running: between the lifespan's start and its end.
        began: when `run` began, on trio's clock, None before; `epoch` is that clock's zero as seconds of wall time.
        sessions_opened: how many there have been.
        tally: where calls are counted; None: nowhere. Whoever shows the numbers puts it here.
        connections: counts those that are open, where whoever serves can tell.
        protected: what guards it, where requests come with verified tokens; None: nothing does.
    """

    def __init__(
        self,
        server: Server,
        *,
        event_store: EventStore | None = None,
        new_session_id: Callable[[], str] = lambda: secrets.token_urlsafe(24),
        worker: int | None = None,
    ) -> None:
        settings = server.settings
        self.server = server
        self.worker = worker
        if event_store is None:
            event_store = MemoryEventStore(max_events=settings.replay_events, max_bytes=settings.replay_bytes)
        self.event_store: EventStore = event_store
        self._durable = event_store if isinstance(event_store, DurableEventStore) else None
        self._reviving = trio.Lock()
        self.subscriptions = Subscriptions()
        self.sessions: dict[str, Session] = {}
        self.calls: dict[Call, None] = {}
        self.call_watchers: Sequence[Callable[[Call, Answer | None], None]] = ()
        self.sealer = Sealer(settings.state_secret or secrets.token_bytes(32))
        self.lifespan: Any = None
        self.protected: ProtectedResource | None = None
        self.running = False
        self.draining = False
        self.began: float | None = None
        self.sessions_opened = 0
        self.tally: Tally | None = None
        self._new_session_id = new_session_id
        self._host_nursery: trio.Nursery | None = None  # of run(), while it runs
        self._token: trio.lowlevel.TrioToken | None = None
        self._stopped = trio.Event()
        self._quiet: trio.Event | None = None
        self.epoch = 0.0
        self.connections: Callable[[], int] | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Enter the lifespan, own the sessions until `stop`, leave the lifespan. Runs once.

        Cancellation: sessions and calls are cancelled and awaited, and the lifespan's teardown still runs, for at
        most `Settings.cleanup_timeout`.
        """
        self.began = trio.current_time()
        self.epoch = time.time() - self.began
        self._token = trio.lowlevel.current_trio_token()
        async with _entered(self.server) as self.lifespan:
            stop_observing = self.server.observe(self.publish)
            try:
                async with trio.open_nursery() as host_nursery:
                    self._host_nursery = host_nursery
                    self.running = True
                    host_nursery.start_soon(self._hurry_replies, name="hurry replies")
                    task_status.started()
                    await self._stopped.wait()
                    host_nursery.cancel_scope.cancel("the server stopped")
            finally:
                self.running = False
                self.draining = True
                self._host_nursery = None
                stop_observing()

    # Sessions

    async def open_session(
        self,
        *,
        pipe: Outlet | None = None,
        standing: Outlet | None = None,
        transport: str = "http",
        key: str | None = None,
        principal: str = "",
    ) -> Session:
        """Start a session.

        Args:
            pipe: the outlet of the connection that it is the session of; nobody else can name it.
            standing: the outlet on which everything of it goes out; None: each call has its own, and it one more.
            transport: what it came in by; see `Session`.
            key: its id; None: a new one.

        It belongs to `principal`: nobody else finds it.

        Raises:
            McpError: 503; the server drains, or holds `Settings.max_sessions` sessions. -32022: it keeps none
                (`Settings.sessions`); a pipe's session lives and ends with the pipe, and may be.
        """
        if pipe is None and not self.server.settings.sessions:
            raise without_sessions()
        if self._host_nursery is None or self.draining:
            raise unavailable("The server is shutting down")
        if len(self.sessions) >= self.server.settings.max_sessions:
            raise unavailable(f"The server holds {len(self.sessions)} sessions, its limit: try again later")
        key = key or self._new_session_id()
        if pipe is None:
            session = Session(self, key, public_id=key, standing=standing, transport=transport, principal=principal)
        else:
            session = Session(self, key, public_id=None, standing=pipe, transport="pipe", principal=principal)
        if self._durable is not None and session.transport == "http":
            session.keeper = SessionKeeper(self._durable, session)
        self.sessions[key] = session
        self.sessions_opened += 1
        await self._host_nursery.start(self._run_session, session, name=f"run session {key[:8]}")
        return session

    async def _run_session(
        self, session: Session, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        try:
            await session.run(task_status=task_status)
        except* Exception:  # also one that failed while it was being cancelled
            _log.exception("session %s failed and was ended", session.key[:8])
            session.history.forget()
        finally:
            self.sessions.pop(session.key, None)

    def find(self, session_id: str, principal: str = "") -> Session | None:
        """The session of that id, unless it has ended or is about to, or belongs to another principal."""
        session = self.sessions.get(session_id)
        return None if session is None or session.ending or session.principal != principal else session

    async def revive(self, session_id: str, principal: str = "") -> Session | None:
        """The principal's session of that id, where the event store knows it from a process before; else None.

        Raises:
            McpError: 503; as `open_session`.
        """
        if self._durable is None or self._host_nursery is None or self.draining:
            return None
        async with self._reviving:  # two requests that come at a time must not make two sessions of it
            if session_id in self.sessions:
                return self.find(session_id, principal)
            if len(self.sessions) >= self.server.settings.max_sessions:
                raise unavailable(f"The server holds {len(self.sessions)} sessions, its limit: try again later")
            session = await revive(self, self._durable, session_id, wall_time=self.wall_time())
            if session is not None:
                self.sessions[session_id] = session
                await self._host_nursery.start(self._run_session, session, name=f"run session {session_id[:8]}")
                _log.info("session %s goes on", session_id[:8])
            return self.find(session_id, principal)

    async def end_session(self, session: Session, reason: str) -> None:
        """End a session and wait for its clean-up, at most `Settings.cleanup_timeout`. It is unknown at once."""
        self.sessions.pop(session.key, None)
        session.end(reason)
        with trio.move_on_after(self.server.settings.cleanup_timeout):
            await session.ended.wait()

    # Calls

    def call_began(self, call: Call) -> None:
        """Count a call in."""
        self.calls[call] = None

    def call_ended(self, call: Call, outcome: str) -> None:
        """Count a call out."""
        self.calls.pop(call, None)
        if self.tally is not None:
            self.tally.ended(call, outcome)
        if not self.calls and self._quiet is not None:
            self._quiet.set()

    async def _hurry_replies(self) -> None:
        """Let replies that stay uncommitted for `Settings.commit_after` become streams.

        Calls are in the order they began, so one task looks after all of them and a call pays nothing for it.
        """
        patience = self.server.settings.commit_after
        while True:
            now = trio.current_time()
            due = now + patience
            for call in self.calls:
                if call.began + patience > now:
                    due = call.began + patience
                    break
                call.outlet.hurry()
            await trio.sleep_until(due)

    # Changes

    def publish(self, kind: str, uri: str | None = None) -> None:
        """Tell everyone who listens of a change; from any thread."""
        try:
            here = trio.lowlevel.current_trio_token()
        except RuntimeError:
            here = None
        if here is self._token:
            self.subscriptions.publish(kind, uri)
        elif self._token is not None:
            try:
                self._token.run_sync_soon(self.subscriptions.publish, kind, uri)
            except trio.RunFinishedError:
                return

    def wall_time(self) -> float:
        """Seconds since the epoch at the start, advanced by trio's clock, so that a mock clock rules it."""
        return self.epoch + trio.current_time()

    # Shutdown

    async def drain(self, hurry: trio.Event | None = None) -> None:
        """Take no new work, end streams at once, let calls finish, cancel the rest and await their clean-up.

        Bounded by `Settings.shutdown_grace` and then `Settings.cleanup_timeout`; `hurry` cuts the first short. The
        host itself still runs: `stop` ends it.
        """
        settings = self.server.settings
        self.draining = True
        self.subscriptions.farewell()
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(settings.shutdown_grace) as grace:
            await self._calls_ended(grace, hurry)
        if self.calls:
            _log.warning("cancelling %d calls that did not finish in time", len(self.calls))
        for call in tuple(self.calls):
            call.cancel("the server goes away")
        for session in tuple(self.sessions.values()):
            session.end(for_good=False)
        with trio.move_on_after(settings.cleanup_timeout) as cleanup:
            await self._calls_ended(cleanup, None)
            for session in tuple(self.sessions.values()):
                await session.ended.wait()
        if self.calls:
            _log.error("%d calls did not clean up within %g s", len(self.calls), settings.cleanup_timeout)

    async def _calls_ended(self, scope: trio.CancelScope, hurry: trio.Event | None) -> None:
        """Wait until no call is left, or `hurry` is set."""
        if not self.calls:
            return
        self._quiet = trio.Event()
        if hurry is None:
            await self._quiet.wait()
            return
        async with trio.open_nursery() as drain_nursery:
            drain_nursery.start_soon(_cancel_when, hurry, scope, name="watch for hurry")
            await self._quiet.wait()
            drain_nursery.cancel_scope.cancel("no call is left")

    def stop(self) -> None:
        """Let `run` leave: sessions that are left are cancelled, then the lifespan is torn down."""
        self.draining = True
        self._stopped.set()


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel("hurried")


def unavailable(message: str) -> McpError:
    """503 as a JSON-RPC error."""
    return McpError(UNAVAILABLE, message)


@asynccontextmanager
async def _entered(server: Server) -> AsyncIterator[Any]:
    """The server's lifespan; its teardown runs also when we are cancelled, and is bounded.

    The scope is around the whole of it, because a lifespan may hold a nursery of its own across its `yield`.
    """
    failure: BaseException | None = None
    with trio.CancelScope() as lifespan_scope:
        async with server.lifespan(server) as value:
            try:
                yield value
            except BaseException as error:  # the teardown comes first, then this goes on
                failure = error
            # Shielded for cleanup_timeout: a teardown cut at its first await would leak what the lifespan holds.
            lifespan_scope.shield = True
            lifespan_scope.deadline = trio.current_time() + server.settings.cleanup_timeout
    if lifespan_scope.cancelled_caught:
        _log.error("the lifespan's teardown did not end within %g s", server.settings.cleanup_timeout)
    if isinstance(failure, BaseExceptionGroup):
        failure = failure.split(trio.Cancelled)[1]
    if failure is not None and not isinstance(failure, trio.Cancelled):
        raise failure
    # Cancelled goes on where it came from outside; a lifespan that cancelled a scope of its own has ended with it.
    await trio.lowlevel.checkpoint_if_cancelled()
