"""Log messages to the client (server/utilities/logging)."""

from typing import Any, Final, Literal, TypeAlias, get_args

from trio_mcp.wire.base import Wire
from trio_mcp.wire.lifecycle import RequestParams

LoggingLevel: TypeAlias = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
#: Severity of each level, ascending (RFC 5424 section 6.2.1, turned round).
SEVERITY: Final[dict[str, int]] = {level: rank for rank, level in enumerate(get_args(LoggingLevel))}


class SetLevelParams(RequestParams, kw_only=True):
    """Parameters of `logging/setLevel` (until 2025-11-25)."""

    level: LoggingLevel


class LogMessageParams(Wire, kw_only=True):
    """Parameters of `notifications/message`."""

    level: LoggingLevel
    data: Any
    logger: str | None = None
