"""Completions of prompt arguments and template variables (server/utilities/completion)."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs
import trio

from trio_mcp.context import Context
from trio_mcp.exceptions import RegistrationError
from trio_mcp.handlers import Handler, name_of
from trio_mcp.wire.completion import CompleteParams, Completion

MAX_VALUES: Final = 100


@attrs.frozen(slots=True, eq=False)
class RegisteredCompletion:
    """A function that suggests values for one argument.

    Attributes:
        value, arguments: names of the function's parameters for what was typed and for what is settled.
    """

    handler: Handler
    value: str
    arguments: str | None

    async def complete(self, params: CompleteParams, context: Context, limiter: trio.CapacityLimiter) -> Completion:
        """Run the function; a list becomes at most 100 values with the total told. Cancellation: as `Handler.call`."""
        kwargs: dict[str, Any] = {self.value: params.argument.value}
        if self.arguments is not None:
            kwargs[self.arguments] = (params.context.arguments if params.context else None) or {}
        return _completion(await self.handler.call(kwargs, context, limiter))


def _completion(value: Completion | str | Iterable[Any] | None) -> Completion:
    if isinstance(value, Completion):
        if len(value.values) <= MAX_VALUES:
            return value
        total = len(value.values) if value.total is None else value.total
        return Completion(values=value.values[:MAX_VALUES], total=total, has_more=True)
    values = [value] if isinstance(value, str) else [str(item) for item in value or ()]
    return Completion(values=values[:MAX_VALUES], total=len(values), has_more=len(values) > MAX_VALUES)


def make_completion(function: Callable[..., Any]) -> RegisteredCompletion:
    """A completion from a function of the value and, if it wants them, the settled arguments.

    Raises:
        RegistrationError: the function takes no value, or more than these two (and a Context).
    """
    handler = Handler.compile(function, strict=False, thread=None)
    names = handler.arguments.names
    if not 1 <= len(names) <= 2:
        raise RegistrationError(
            f"{name_of(function)} must take the value typed so far and, if wanted, a dict of the settled arguments"
        )
    return RegisteredCompletion(handler, names[0], names[1] if len(names) == 2 else None)
