"""Elicitation: asking the user (client/elicitation). Since 2025-06-18."""

from typing import Literal

from trio_mcp.wire.base import JsonObject, Wire


class ElicitParams(Wire, kw_only=True):
    """Parameters of `elicitation/create`; `mode` and the URL form since 2025-11-25."""

    message: str
    mode: Literal["form", "url"] | None = None
    requested_schema: JsonObject | None = None
    url: str | None = None
    elicitation_id: str | None = None


class ElicitResult(Wire, kw_only=True):
    """What the user did; `content` only with `accept`."""

    action: Literal["accept", "decline", "cancel"]
    content: JsonObject | None = None


class ElicitationCompleteParams(Wire, kw_only=True):
    """Parameters of `notifications/elicitation/complete` (2025-11-25)."""

    elicitation_id: str
