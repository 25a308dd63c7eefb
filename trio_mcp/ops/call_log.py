"""The call log: one record a finished call through the logger `trio_mcp.calls`, written in batches off the hot path.

A call pays for a tuple and an append (`batched_log`). Each line carries its facts as attributes of the log record, too,
for formatters that write JSON. It refuses to log what a call was given and what it answered: arguments, results, error
texts. A session is named by the first characters of its id, which do not suffice to speak for it.
"""

import logging
from typing import Any, Final, NamedTuple

import trio

from trio_mcp.ops.batched_log import BatchedLog
from trio_mcp.runtime.call import Answer, Call

_log = logging.getLogger("trio_mcp.calls")

SHORT: Final = 8
"""Characters of a session's id that are shown."""
LONGEST: Final = 100
"""Characters of a request's id or a tool's name that are shown: clients choose them."""


class CallRecord(NamedTuple):
    """What is told of one call.

    Attributes:
        target: the name of the tool or prompt; None where the method has none.
        outcome: `ok`, `failed` (a tool's result with `isError`), `error` (a JSON-RPC error), `input_required`, or
            `cancelled` (nothing was answered).
        seconds: from being taken in to its end.
    """

    method: str
    target: str | None
    request_id: int | float | str
    session: str | None
    revision: str
    outcome: str
    error_code: int | None
    seconds: float


#: How the target of a method is called. A resource is not among them: its URI holds what a call was given.
TARGETS: Final = {"tools/call": "tool", "prompts/get": "prompt"}


class CallLog(BatchedLog[CallRecord]):
    """Records of calls that wait to be written."""

    def take(self, call: Call, answer: Answer | None) -> None:
        """Take in a call that has ended, and what was answered."""
        self._add(
            CallRecord(
                call.method.name,
                call.params.name if call.method.name in TARGETS else None,
                call.id,
                call.session_id,
                call.revision.version,
                "cancelled" if answer is None else answer.outcome,
                None if answer is None else answer.error_code,
                trio.current_time() - call.began,
            )
        )

    def _tell(self, record: CallRecord) -> None:
        milliseconds = round(record.seconds * 1000, 1)
        what = record.method if record.target is None else f"{record.method} {shown(record.target)}"
        _log.info("%s %s %.1fms", what, record.outcome, milliseconds, extra=_facts(record, milliseconds))

    def _tell_dropped(self, count: int) -> None:
        _log.warning("%d calls were not logged: more came than could be written", count)


def _facts(record: CallRecord, milliseconds: float) -> dict[str, Any]:
    facts: dict[str, Any] = {"method": record.method}
    if record.target is not None:
        facts[TARGETS[record.method]] = shown(record.target)
    facts["request_id"] = shown(record.request_id) if isinstance(record.request_id, str) else record.request_id
    if record.session is not None:
        facts["session"] = record.session[:SHORT]
    facts |= {"revision": record.revision, "outcome": record.outcome, "duration_ms": milliseconds}
    if record.error_code is not None:
        facts["error_code"] = record.error_code
    return facts


def shown(text: str) -> str:
    """What a client chose, on one line and not endless."""
    short = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return short if short.isprintable() else ascii(short)
