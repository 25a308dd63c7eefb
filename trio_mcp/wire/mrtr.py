"""Multi round-trip requests (2026-07-28, basic/patterns/mrtr)."""

from typing import Any

from msgspec import Raw

from trio_mcp.wire.base import Result, Wire
from trio_mcp.wire.lifecycle import RequestParams


class InputRequest(Wire, kw_only=True):
    """A server-to-client request that travels inside a result."""

    method: str
    params: Any = None


class InputRequiredResult(Result, kw_only=True):
    """More is needed: what to ask (`input_requests`) and the sealed state to send back with the answers."""

    input_requests: dict[str, InputRequest] | None = None
    request_state: str | None = None


class InputParams(RequestParams, kw_only=True):
    """Parameters of the three methods that may be retried with answers."""

    input_responses: dict[str, Raw] | None = None
    request_state: str | None = None
