"""What a received message means, once the protocol has let it pass."""

from typing import Any

import msgspec

from trio_mcp.protocol.methods import Method
from trio_mcp.wire.base import ProgressToken, RequestId
from trio_mcp.wire.jsonrpc import ErrorBody
from trio_mcp.wire.lifecycle import InitializeParams


class InitializeReceived(msgspec.Struct, gc=False):
    """A client opens a session; answer with the negotiated revision."""

    id: RequestId
    params: InitializeParams


class RequestReceived(msgspec.Struct, gc=False):
    """A request to be answered exactly once, or cancelled."""

    id: RequestId
    method: Method
    params: Any


class Initialized(msgspec.Struct, gc=False):
    """The client has seen the answer to `initialize`."""


class CancelReceived(msgspec.Struct, gc=False):
    """The peer no longer wants the answer to one of its requests, which is in flight."""

    id: RequestId
    reason: str | None


class ResponseReceived(msgspec.Struct, gc=False):
    """The answer to one of our requests: `result` as raw bytes, or `error`."""

    id: RequestId
    result: msgspec.Raw | None
    error: ErrorBody | None


class ProgressReceived(msgspec.Struct, gc=False):
    """Progress of one of our requests."""

    token: ProgressToken
    params: Any


class Ignored(msgspec.Struct, gc=False):
    """Nothing to do; `why` is for the log."""

    why: str


Event = (
    InitializeReceived | RequestReceived | Initialized | CancelReceived | ResponseReceived | ProgressReceived | Ignored
)
