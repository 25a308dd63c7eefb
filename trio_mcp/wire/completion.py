"""Argument completion (server/utilities/completion)."""

from typing import Literal

from trio_mcp.wire.base import Result, Wire
from trio_mcp.wire.lifecycle import RequestParams


class Reference(Wire, kw_only=True):
    """What is being completed: a prompt by `name`, or a resource template by `uri`."""

    type: Literal["ref/prompt", "ref/resource"]
    name: str | None = None
    uri: str | None = None


class CompletionArgument(Wire, kw_only=True):
    """The argument and what has been typed of it."""

    name: str
    value: str


class CompletionContext(Wire, kw_only=True):
    """Arguments that are settled already. Since 2025-06-18."""

    arguments: dict[str, str] | None = None


class CompleteParams(RequestParams, kw_only=True):
    """Parameters of `completion/complete`."""

    ref: Reference
    argument: CompletionArgument
    context: CompletionContext | None = None


class Completion(Wire, kw_only=True):
    """Suggestions, best first, at most 100; `total` counts those left out too."""

    values: list[str]
    total: int | None = None
    has_more: bool | None = None


class CompleteResult(Result, kw_only=True):
    """The answer to `completion/complete`."""

    completion: Completion
