"""Subscriptions of the per-request era (2026-07-28, basic/patterns/subscriptions)."""

from msgspec import field

from trio_mcp.wire.base import JsonObject, Result, Wire
from trio_mcp.wire.lifecycle import RequestParams


class SubscriptionFilter(Wire, kw_only=True):
    """Which changes a client wants to hear of; what is left out is not sent."""

    tools_list_changed: bool = False
    prompts_list_changed: bool = False
    resources_list_changed: bool = False
    resource_subscriptions: list[str] | None = None


class ListenParams(RequestParams, kw_only=True):
    """Parameters of `subscriptions/listen`."""

    notifications: SubscriptionFilter


class AcknowledgedParams(Wire, kw_only=True):
    """Parameters of `notifications/subscriptions/acknowledged`: the subset that is honoured."""

    notifications: SubscriptionFilter
    meta: JsonObject | None = field(default=None, name="_meta")


class ListenResult(Result, kw_only=True):
    """The empty result that ends a subscription from the server's side."""
