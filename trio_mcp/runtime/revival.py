"""Sessions that outlive their process (2025-11-25, basic/transports: Resumability and Redelivery).

Kept is what was agreed (revision, client, log level, subscriptions), how far its numbers are, and which requests are
owed an answer on which stream. Events are the store's. A session is revived by the first request that names it: numbers
go on behind everything that its clients can have seen, and what was in flight is answered with an error on its stream,
where the client that resumes it finds that. It refuses to decide who may come back: the endpoint does.
"""

import json
import logging
from typing import Final

import msgspec

from trio_mcp.protocol.errors import UNAVAILABLE
from trio_mcp.protocol.revisions import REVISIONS
from trio_mcp.protocol.session import State
from trio_mcp.runtime.replay import DurableEventStore
from trio_mcp.runtime.session import DEFAULT_LOG_LEVEL, Session, SessionOwner
from trio_mcp.wire.jsonrpc import Response, WireError, decode, encode_error
from trio_mcp.wire.lifecycle import ClientCapabilities, Implementation
from trio_mcp.wire.logging import LoggingLevel

_log = logging.getLogger("trio_mcp.revival")

#: What was numbered and not yet written when the process died is less than this.
_GAP: Final = 1_000_000
_DEPTH: Final = 1000  # of what we sent ourselves
_RESTARTED: Final = "The server was restarted before this was done: ask again"


class _Record(msgspec.Struct):
    """What is kept of a session. `owed`: by stream, the ids of requests, as JSON: they may be larger than 64 bits."""

    version: str
    next_stream: int
    number: int
    client_info: Implementation | None = None
    capabilities: ClientCapabilities = msgspec.field(default_factory=ClientCapabilities)
    log_level: LoggingLevel = DEFAULT_LOG_LEVEL
    subscribed: list[str] = []
    standing: bool = False
    principal: str = ""
    owed: dict[int, list[str]] = {}


_read = msgspec.json.Decoder(_Record).decode


class SessionKeeper:
    """Keeps one session's record in a store, anew with every change."""

    def __init__(self, store: DurableEventStore, session: Session) -> None:
        self._store = store
        self._session = session
        session.history.on_commit = self.keep

    def keep(self) -> None:
        """Keep the record as it is now; before the handshake is done there is none."""
        session = self._session
        protocol = session.protocol
        if protocol.state is not State.READY or session.history.closed:
            return
        owed: dict[int, list[str]] = {}
        for call in session.calls.values():
            if call.owed and call.outlet.committed:
                owed.setdefault(call.outlet.number, []).append(json.dumps(call.id))
        record = _Record(
            version=protocol.revision.version,
            next_stream=session.next_stream,
            number=session.history.number,
            client_info=protocol.client_info,
            capabilities=protocol.client_capabilities,
            log_level=session.log_level,
            subscribed=sorted(session.subscribed),
            standing=session.standing.committed,
            principal=session.principal,
            owed=owed,
        )
        self._store.keep(session.key, msgspec.json.encode(record))

    def rest(self) -> None:
        """Keep nothing more, and leave what there is to the next process."""
        self._session.history.closed = True
        self._store.leave(self._session.key)


async def revive(host: SessionOwner, store: DurableEventStore, key: str, *, wall_time: float) -> Session | None:
    """The session that a process before kept under this key, not yet running; None where there is none.

    Args:
        wall_time: seconds since the epoch; event numbers go on from there, should the store have missed some.
    """
    recalled = await store.recall(key)
    if recalled is None:
        return None
    try:
        record = _read(recalled.record)
        revision = REVISIONS[record.version]
    except (msgspec.MsgspecError, KeyError) as error:
        _log.warning("session %s cannot go on: %r", key[:8], error)
        return None
    owed = {stream: await _unanswered(store, key, stream, ids) for stream, ids in record.owed.items()}
    session = Session(host, key, public_id=key, principal=record.principal)
    number = max(record.number, recalled.number, round(wall_time * 1e6)) + _GAP
    session.protocol.revive(revision, record.client_info, record.capabilities, number)
    session.log_level = record.log_level
    session.subscribed = frozenset(record.subscribed)
    session.standing.committed = record.standing
    session.lost = range(record.next_stream, record.next_stream + _GAP)
    session.next_stream = session.lost.stop
    session.history.go_on(number)
    for stream, ids in owed.items():
        for id in ids:
            answer = encode_error(json.loads(id), UNAVAILABLE, _RESTARTED)
            session.history.record(stream, answer)
    session.keeper = SessionKeeper(store, session)
    session.keeper.keep()
    return session


async def _unanswered(store: DurableEventStore, key: str, stream: int, ids: list[str]) -> list[str]:
    """Those requests whose answer is not among the stream's events."""
    answered = set()
    for _, data in await store.replay(key, f"{stream}-0"):
        if data:
            try:
                message = decode(data, max_depth=_DEPTH)
            except WireError:  # not from us: the file was altered
                continue
            if isinstance(message, Response):
                answered.add(json.dumps(message.id))
    return [id for id in ids if id not in answered]
