"""From a server to rows: which transports and revisions it offers, and every check in every one of them.

A conversation is shared by its checks, and begun anew after one that failed. Whatever a server does, the checks that
concern it end with a row each, and in time. It refuses to print.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs
import trio

from trio_mcp.check import (
    contents,
    dialects,
    features,
    handshake,
    http_session,
    http_streams,
    messaging,
    per_request,
)
from trio_mcp.check.connection import Web
from trio_mcp.check.findings import (
    Doubt,
    Fault,
    NotOffered,
    Outcome,
    Silence,
    Skipped,
    TransportFault,
    bounded,
    printable,
    quoted,
)
from trio_mcp.check.http_talk import DirectTalk, HttpTalk
from trio_mcp.check.registry import CHECKS, Check, Level
from trio_mcp.check.scene import Options, Scene
from trio_mcp.check.stream_talk import NotificationsTalk, SocketTalk, SseTalk
from trio_mcp.check.talk import Talk
from trio_mcp.protocol.revisions import (
    LATEST_SESSION,
    REVISIONS,
    SUPPORTED_VERSIONS,
    V2024_11_05,
    V2025_03_26,
    V2026_07_28,
    Revision,
)
from trio_mcp.wire.base import SERVER_INFO_KEY

_log = logging.getLogger("trio_mcp.check")

#: How many waits one check may take at most, each of them `timeout` long.
CHECK_TIMEOUTS: Final = 4
#: Checks in a row that met silence, after which the rest of a conversation is left out.
PATIENCE: Final = 3

#: The modules of checks, in the order of the report.
_MODULES: Final = (
    handshake,
    messaging,
    http_session,
    http_streams,
    per_request,
    dialects,
    features,
    contents,
)
CHECKS.sort(key=lambda check: [module.__name__ for module in _MODULES].index(check.run.__module__))

_SESSION_REVISIONS: Final = tuple(REVISIONS[v] for v in SUPPORTED_VERSIONS if not REVISIONS[v].per_request)
#: The revisions that each transport is tried with, newest first, and what makes a conversation on it.
TRANSPORTS: Final[dict[str, tuple[str, tuple[Revision, ...], Callable[[Web, Revision], Talk]]]] = {
    "http": ("Streamable HTTP", (V2026_07_28, *_SESSION_REVISIONS), HttpTalk),
    "sse": ("HTTP+SSE", (V2024_11_05,), SseTalk),
    "notifications": ("Notifications dialect", (V2025_03_26,), NotificationsTalk),
    "message": ("Direct replies", (LATEST_SESSION,), DirectTalk),
    "websocket": ("WebSocket", (V2026_07_28, LATEST_SESSION), SocketTalk),
}


class CannotBeginError(Exception):
    """Nothing could be checked; `str()` says why, in one line."""


@attrs.frozen
class Row:
    """What one check found in one conversation."""

    check: Check
    outcome: Outcome
    note: str = ""


@attrs.define
class Column:
    """One revision on one transport: its rows, or why there are none."""

    revision: Revision
    rows: list[Row] = attrs.field(factory=list)
    not_offered: str = ""
    server: str = ""


@attrs.define
class Section:
    """One transport."""

    transport: str
    title: str
    path: str
    columns: list[Column] = attrs.field(factory=list)

    @property
    def offered(self) -> list[Column]:
        """The revisions that the server speaks here."""
        return [column for column in self.columns if not column.not_offered]


async def run_checks(web: Web, options: Options, only: Sequence[str] = ()) -> list[Section]:
    """Check a server over every transport, or those of `only`.

    Cancellation: the conversation that is under way is ended.

    Raises:
        CannotBeginError: there is no server, or none of its transports answers.
    """
    await _look(web)
    sections = []
    for transport, (title, revisions, make) in TRANSPORTS.items():
        if only and transport not in only:
            continue
        section = Section(transport, title, _path(web, transport))
        sections.append(section)
        for revision in revisions:
            section.columns.append(await check_column(web, transport, revision, make, options))
    if not any(section.offered for section in sections):
        reasons = dict.fromkeys(column.not_offered for section in sections for column in section.columns)
        raise CannotBeginError(f"nothing at {web.place.origin} speaks MCP: {'; '.join(reasons)}")
    return sections


def _path(web: Web, transport: str) -> str:
    if transport == "http":
        return web.place.endpoint
    return web.place.path("ws" if transport == "websocket" else transport)


async def _look(web: Web) -> None:
    """See that somebody is there, and where the endpoint is."""
    place = web.place
    try:
        stream = await web.dial()
    except TransportFault as fault:
        raise CannotBeginError(str(fault)) from None
    await trio.aclose_forcefully(stream)
    if place.alternative is not None:
        for path in (place.endpoint, place.alternative):
            try:
                reply = await web.send("POST", path, b"{}", {"Content-Type": "application/json"})
            except Fault:
                continue
            if reply.status not in (404, 405):
                web.place = place.with_endpoint(path)
                return


async def check_column(
    web: Web, transport: str, revision: Revision, make: Callable[[Web, Revision], Talk], options: Options
) -> Column:
    """Every check of one revision on one transport; `make` is that of `TRANSPORTS`."""
    column = Column(revision)
    scene = Scene(web, lambda: make(web, revision), options)
    try:
        fault: Fault | None = None
        try:
            await _open(scene.talk)
        except NotOffered as reason:
            column.not_offered = str(reason)
            return column
        except Fault as error:
            fault = error
        column.server = _name_of(scene.talk)
        await _run_all(scene, list(_applicable(transport, revision)), column, fault)
    finally:
        await scene.talk.aclose()
    return column


async def _open(talk: Talk) -> None:
    """Open a conversation.

    Raises:
        NotOffered: the server does not have this revision, or this transport.
        Fault: it has, and does it wrong.
    """
    try:
        await talk.open()
    except Fault as fault:
        reason = _why_not_offered(talk, fault)
        if reason is None:
            raise
        raise NotOffered(reason) from None
    except NotOffered:
        raise
    except Exception as error:  # what nobody foresaw is a fault, too
        raise _unreadable(error) from None


def _why_not_offered(talk: Talk, fault: Fault) -> str | None:
    """Why a server may answer like this and be right; None: it may not."""
    opening, version = talk.opening, talk.revision.version
    if opening is None:
        return talk.absent(fault)
    if opening.status in (401, 403):
        return f"the server wants authorization: it answered {opening.status} (--token-env, --header)"
    if opening.error is not None:
        return f"{opening.method} in {version} was answered with {opening.told()}"
    answered = (opening.result or {}).get("protocolVersion")
    if isinstance(answered, str) and answered in REVISIONS and answered != version:
        return f"initialize with {version} was answered with {answered}"
    return None


def _name_of(talk: Talk) -> str:
    found = (talk.opening.result if talk.opening else None) or {}
    meta = found.get("_meta")
    stamped = meta.get(SERVER_INFO_KEY) if isinstance(meta, dict) else None
    info = found.get("serverInfo") or stamped or found.get("server_info")
    if not isinstance(info, dict):
        return ""
    return printable(f"{info.get('name', '')} {info.get('version', '')}".strip())


def _applicable(transport: str, revision: Revision) -> Iterator[Check]:
    chosen = [check for check in CHECKS if check.applies(transport, revision)]
    yield from (check for check in chosen if not check.last)
    yield from (check for check in chosen if check.last)


async def _run_all(scene: Scene, checks: list[Check], column: Column, fault: Fault | None) -> None:
    """Run one after the other. A handshake that failed is the first one's row, and the others are skipped."""
    if fault is not None:
        first, *others = checks
        column.rows.append(Row(first, Outcome.FAILED, str(fault)))
        column.rows += [Row(check, Outcome.SKIPPED, "there was no handshake") for check in others]
        return
    silent, given_up = 0, ""
    for check in checks:
        if given_up:
            column.rows.append(Row(check, Outcome.SKIPPED, given_up))
            continue
        row, was_silent = await _run_one(check, scene)
        column.rows.append(row)
        silent = silent + 1 if was_silent else 0
        if silent >= PATIENCE:
            given_up = f"the server was silent {PATIENCE} times in a row"
        elif row.outcome in (Outcome.FAILED, Outcome.WARNING) and check is not checks[-1]:
            given_up = await _renew(scene)


async def _renew(scene: Scene) -> str:
    """Begin the conversation anew; why that could not be, or nothing."""
    try:
        with bounded(CHECK_TIMEOUTS * scene.web.timeout, "new conversation"):
            await scene.renew()
    except (Fault, NotOffered) as finding:
        return f"the conversation could not be begun again: {finding}"
    except Exception as error:  # what nobody foresaw is a fault, too
        return f"the conversation could not be begun again: {_unreadable(error)}"
    return ""


async def _run_one(check: Check, scene: Scene) -> tuple[Row, bool]:
    """One check's row, whatever happens, and whether the server was silent."""
    most = CHECK_TIMEOUTS * scene.web.timeout
    row: Row | None = None
    with trio.move_on_after(most):
        try:
            note = await check.run(scene)
            row = Row(check, Outcome.PASSED, note or "")
        except NotOffered as finding:
            row = Row(check, Outcome.NOT_OFFERED, str(finding))
        except Skipped as finding:
            row = Row(check, Outcome.SKIPPED, str(finding))
        except Doubt as finding:
            row = Row(check, Outcome.WARNING, str(finding))
        except Fault as finding:
            return Row(check, _severity(check), str(finding)), isinstance(finding, Silence)
        except Exception as error:  # what nobody foresaw is the server's doing, or ours: a row in any case
            row = Row(check, _severity(check), str(_unreadable(error)))
    if row is None:
        return Row(check, _severity(check), f"it was not done within {most:g} s"), True
    return row, False


def _unreadable(error: Exception) -> Fault:
    _log.debug("a check ended by accident", exc_info=error)
    return Fault(f"what came could not be read: {type(error).__name__} {quoted(str(error))}")


def _severity(check: Check) -> Outcome:
    return Outcome.FAILED if check.level is Level.MUST else Outcome.WARNING
