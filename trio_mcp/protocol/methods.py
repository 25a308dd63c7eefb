"""Every method of every revision: one row each, with its parameters, its direction and when it was there."""

from enum import Enum
from typing import Any, Final

import attrs
import msgspec

from trio_mcp.protocol.errors import PARSE_ERROR, McpError, invalid_params
from trio_mcp.protocol.revisions import V2024_11_05, V2025_06_18, V2025_11_25, V2026_07_28, Revision
from trio_mcp.wire import completion, elicitation, lifecycle, logging, prompts, resources, subscriptions, tools


class Direction(Enum):
    """Who sends it."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"
    BOTH = "both"


@attrs.frozen(kw_only=True, eq=False)
class Method:
    """A row of the table. `since` and `until` are inclusive; `until` None: still there."""

    name: str
    params: type
    notification: bool = False
    direction: Direction = Direction.TO_SERVER
    since: Revision = V2024_11_05
    until: Revision | None = None
    #: The parameter that `Mcp-Name` repeats (2026-07-28, basic/transports/streamable-http: Standard Request Headers).
    named_by: str | None = None
    #: May answer `input_required`.
    input_required: bool = False
    #: The result carries caching hints.
    cacheable: bool = False
    decode_params: Any = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "decode_params", msgspec.json.Decoder(self.params).decode)

    def within(self, revision: Revision) -> bool:
        """Whether `revision` has this method."""
        return self.since.rank <= revision.rank and (self.until is None or revision.rank <= self.until.rank)

    def read(self, params: msgspec.Raw) -> Any:
        """The typed parameters.

        Raises:
            McpError: -32602 with the place of the first fault; -32700 where the text is no JSON.
        """
        try:
            return self.decode_params(params)
        except msgspec.ValidationError as error:
            raise invalid_params(f"Invalid params for {self.name}: {error}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise McpError(PARSE_ERROR, f"Parse error: {error}") from None


def _request(name: str, params: Any = lifecycle.RequestParams, **facts: Any) -> Method:
    return Method(name=name, params=params, **facts)


def _notification(name: str, params: Any = lifecycle.RequestParams, **facts: Any) -> Method:
    return Method(name=name, params=params, notification=True, **facts)


_SESSION_ONLY: Final[dict[str, Any]] = {"until": V2025_11_25}
_TO_CLIENT: Final[dict[str, Any]] = {"direction": Direction.TO_CLIENT}

METHODS: Final[dict[str, Method]] = {
    method.name: method
    for method in (
        _request("initialize", lifecycle.InitializeParams, **_SESSION_ONLY),
        _request("ping", direction=Direction.BOTH, **_SESSION_ONLY),
        _request("server/discover", since=V2026_07_28, cacheable=True),
        _request("tools/list", lifecycle.PaginatedParams, cacheable=True),
        _request("tools/call", tools.CallToolParams, named_by="name", input_required=True),
        _request("resources/list", lifecycle.PaginatedParams, cacheable=True),
        _request("resources/templates/list", lifecycle.PaginatedParams, cacheable=True),
        _request("resources/read", resources.ReadResourceParams, named_by="uri", input_required=True, cacheable=True),
        _request("resources/subscribe", resources.SubscribeParams, **_SESSION_ONLY),
        _request("resources/unsubscribe", resources.SubscribeParams, **_SESSION_ONLY),
        _request("prompts/list", lifecycle.PaginatedParams, cacheable=True),
        _request("prompts/get", prompts.GetPromptParams, named_by="name", input_required=True),
        _request("completion/complete", completion.CompleteParams),
        _request("logging/setLevel", logging.SetLevelParams, **_SESSION_ONLY),
        _request("subscriptions/listen", subscriptions.ListenParams, since=V2026_07_28),
        _request("sampling/createMessage", **_TO_CLIENT, **_SESSION_ONLY),
        _request("roots/list", **_TO_CLIENT, **_SESSION_ONLY),
        _request("elicitation/create", since=V2025_06_18, **_TO_CLIENT, **_SESSION_ONLY),
        _notification("notifications/initialized", **_SESSION_ONLY),
        _notification("notifications/cancelled", lifecycle.CancelledParams, direction=Direction.BOTH),
        _notification("notifications/progress", lifecycle.ProgressParams, direction=Direction.BOTH),
        _notification("notifications/roots/list_changed", **_SESSION_ONLY),
        _notification("notifications/message", logging.LogMessageParams, **_TO_CLIENT),
        _notification("notifications/tools/list_changed", **_TO_CLIENT),
        _notification("notifications/prompts/list_changed", **_TO_CLIENT),
        _notification("notifications/resources/list_changed", **_TO_CLIENT),
        _notification("notifications/resources/updated", resources.ResourceUpdatedParams, **_TO_CLIENT),
        _notification(
            "notifications/elicitation/complete",
            elicitation.ElicitationCompleteParams,
            since=V2025_11_25,
            **_TO_CLIENT,
            **_SESSION_ONLY,
        ),
        _notification(
            "notifications/subscriptions/acknowledged",
            subscriptions.AcknowledgedParams,
            since=V2026_07_28,
            **_TO_CLIENT,
        ),
    )
}


def find_request(name: str, revision: Revision, receiver: Direction) -> Method | None:
    """The row of a request that `receiver` may get in this revision, or None."""
    method = METHODS.get(name)
    if method is None or method.notification or not method.within(revision):
        return None
    return method if method.direction in (receiver, Direction.BOTH) else None
