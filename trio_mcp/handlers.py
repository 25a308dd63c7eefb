"""A user's function, ready to be called: its compiled signature and where it runs. Refuses to know what it is for."""

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from typing import Any

import attrs
import trio

from trio_mcp.auth.tokens import scope_set
from trio_mcp.context import Context
from trio_mcp.exceptions import RegistrationError
from trio_mcp.schema import Arguments, SchemaError, compile_arguments, docstrings


class Place(Enum):
    """Where a function runs."""

    TASK = "the call's own task"
    INLINE = "the call's own task, without awaiting"
    THREAD = "a worker thread"


def name_of(function: Callable[..., Any]) -> str:
    """The function's own name, for a definition or a message."""
    inner = _inner(function)
    return getattr(inner, "__name__", type(inner).__name__)


def describe(function: Callable[..., Any]) -> str | None:
    """The description in a function's docstring, without its sections on parameters; None without one.

    A callable object is described by its `__call__`, else by its class.
    """
    inner = _inner(function)
    is_object = not (inspect.isroutine(inner) or inspect.isclass(inner))
    doc = (type(inner).__call__.__doc__ if is_object else None) or inspect.getdoc(inner)
    return docstrings.parse(doc).text or None


def raw_parameters(function: Callable[..., Any]) -> tuple[str, str | None]:
    """The names of the parameters that get the dict of arguments and the `Context`, if it wants one.

    Raises:
        RegistrationError: not one parameter beside the Context.
    """
    arguments = _compiled(function, strict=False)
    if len(arguments.names) != 1:
        raise RegistrationError(
            f"{name_of(function)} must take one parameter, the dict of arguments, and may take one that is annotated"
            " with Context"
        )
    return arguments.names[0], next(iter(arguments.hidden), None)


def tagged_meta(meta: Mapping[str, Any] | None, tags: Collection[str]) -> dict[str, Any] | None:
    """`_meta` of a definition, with its tags; None where it would be empty.

    Raises:
        RegistrationError: the tags are one string.
    """
    if isinstance(tags, str):
        raise RegistrationError(f"tags are a list of strings: tags=[{tags!r}]")
    merged = dict(meta or {})
    if tags:
        merged.setdefault("tags", sorted(tags))
    return merged or None


def scopes_of(scopes: Collection[str] | None) -> frozenset[str]:
    """The scopes that an access token needs for what is registered.

    Raises:
        RegistrationError: they are one string, or one of them cannot be a scope.
    """
    if isinstance(scopes, str):
        raise RegistrationError(f"scopes are a list of strings: scopes=[{scopes!r}]")
    try:
        return scope_set(scopes or ())
    except ValueError as error:
        raise RegistrationError(str(error)) from error


def _inner(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _compiled(function: Callable[..., Any], *, strict: bool, exclude: Collection[str] = ()) -> Arguments:
    try:
        arguments = compile_arguments(function, hidden=(Context,), strict=strict, exclude=exclude)
    except SchemaError as error:
        raise RegistrationError(str(error)) from error
    if arguments.names[:1] == ("self",):
        raise RegistrationError(
            f"{name_of(function)} is a method without its object: register the bound one, as in"
            f" mcp.add_tool(thing.{name_of(function)})"
        )
    return arguments


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling gives a coroutine; looks through partials and objects with an async `__call__`."""
    inner = _inner(function)
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(type(inner).__call__)


def place_of(function: Callable[..., Any], *, thread: bool | None) -> Place:
    """Where `function` is to run; a plain function goes to a thread unless `thread` is False.

    Raises:
        RegistrationError: generators, or an async function with `thread=True`.
    """
    inner = _inner(function)
    if any(
        inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called)
        for called in (inner, type(inner).__call__)
    ):
        raise RegistrationError(
            f"{name_of(function)} is a generator: return a list, and tell of progress with ctx.report_progress"
        )
    if is_async(function):
        if thread:
            raise RegistrationError(f"{name_of(function)} is async, so it cannot run in a thread: leave thread out")
        return Place.TASK
    return Place.INLINE if thread is False else Place.THREAD


@attrs.frozen(slots=True)
class Handler:
    """One function of a user.

    Attributes:
        hidden: names of parameters that get the `Context`.
    """

    function: Callable[..., Any]
    arguments: Arguments
    place: Place
    hidden: tuple[str, ...]

    @classmethod
    def compile(
        cls, function: Callable[..., Any], *, strict: bool, thread: bool | None, exclude: Collection[str] = ()
    ) -> "Handler":
        """Read a function's signature.

        Raises:
            RegistrationError: something in it cannot be served; names the function and the parameter.
        """
        place = place_of(function, thread=thread)
        arguments = _compiled(function, strict=strict, exclude=exclude)
        return cls(function, arguments, place, tuple(arguments.hidden))

    async def call(self, kwargs: dict[str, Any], context: Context, limiter: trio.CapacityLimiter) -> Any:
        """Run the function.

        Cancellation: an async function sees it at its next checkpoint; a thread is abandoned: its result is
        thrown away and its place in the limiter comes back only when it ends.
        """
        for name in self.hidden:
            kwargs[name] = context
        return await run_function(self.function, self.place, kwargs, context, limiter)


async def run_function(
    function: Callable[..., Any],
    place: Place,
    kwargs: dict[str, Any],
    context: Context,
    limiter: trio.CapacityLimiter,
) -> Any:
    """Run `function` where `place` says; see `Handler.call` for what cancellation leaves behind.

    A plain function may give a coroutine, as wrappers of async functions do: that is awaited in the call's own task.
    """
    if place is Place.TASK:
        return await function(**kwargs)
    if place is Place.INLINE:
        value = function(**kwargs)
    else:
        value = await _run_in_thread(functools.partial(function, **kwargs), name_of(function), context, limiter)
    return await value if inspect.iscoroutine(value) else value


async def _run_in_thread(
    function: Callable[[], Any], name: str, context: Context, limiter: trio.CapacityLimiter
) -> Any:
    def boxed() -> tuple[Any]:
        return (function(),)  # trio refuses a bare coroutine

    try:
        [value] = await trio.to_thread.run_sync(boxed, abandon_on_cancel=True, limiter=limiter, thread_name=name)
        return value
    finally:
        context.abandon()
