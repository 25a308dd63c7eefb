"""Custom routes: a function of a user's that answers HTTP requests of a path beside the MCP endpoint.

It owns the pair that such a function sees, `HttpRequest` and `HttpResponse`, which path belongs to which function, and
the names that are taken. It refuses to know ASGI: `http.custom_route` does.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, TypedDict
from urllib.parse import parse_qsl

import attrs
import msgspec
import trio

from trio_mcp.exceptions import RegistrationError
from trio_mcp.handlers import Place, place_of
from trio_mcp.returns import to_builtins
from trio_mcp.schema import Arguments, SchemaError, compile_arguments
from trio_mcp.schema.signatures import called

#: Paths of our own beside the MCP endpoint. Nothing below the last one is free either (RFC 9728).
OPERATIONAL_PATHS: Final = (
    "/health",
    "/ready",
    "/metrics",
    "/tools",
    "/resources",
    "/prompts",
    "/openapi.json",
    "/docs",
    "/introspection",
    "/introspection/events",
)
TRANSPORT_PATHS: Final = ("/sse", "/messages", "/message", "/notifications", "/ws")
METADATA_PATH: Final = "/.well-known/oauth-protected-resource"

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
#: Pairs of a query beyond which a request is malformed.
MAX_QUERY: Final = 1000
_SEGMENT: Final = re.compile(r"\{([^\W\d]\w*)\}")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
#: Headers that say how a response is framed: the server's to send.
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "trailer"})


class RouteOptions(TypedDict, total=False):
    """What `@mcp.route(…)` takes beside the path.

    Keys:
        methods: of HTTP; ["GET"] by default. HEAD comes with GET.
        timeout: seconds that one request may take; None: `Settings.tool_timeout`; `math.inf`: no bound.
        thread: False runs a quick plain function in the request's own task instead of a thread.
    """

    methods: Collection[str]
    timeout: float | None
    thread: bool | None


class MalformedRequestError(ValueError):
    """The request does not say what the function wants to read. Not caught, it is answered 400, with its text."""


class Query(Mapping[str, str]):
    """The parameters of a query, decoded. A name may come more than once: the mapping has the first value."""

    __slots__ = ("_values",)

    def __init__(self, text: str = "") -> None:
        self._values: dict[str, list[str]] = {}
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_QUERY)
        except ValueError as error:
            raise MalformedRequestError(f"the query has more than {MAX_QUERY} parameters") from error
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> str:
        return self._values[name][0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Query({self._values})"

    def all(self, name: str) -> list[str]:
        """Every value of a name, in the order they came; none: an empty list."""
        return list(self._values.get(name, ()))


@attrs.frozen(kw_only=True, eq=False)
class HttpRequest:
    """A request of a custom route. Ask for it by annotation.

    Attributes:
        method: HEAD, too, where the route has GET.
        path: decoded, from the mount point on.
        path_params: the text of each `{name}`.
        query: the parameters behind the question mark.
        headers: names in lower case.
        client: the address of the peer, where it is known.
        principal: who it is, where the server authenticates; else "".
        lifespan: what the server's lifespan yielded.
    """

    method: str
    path: str
    path_params: Mapping[str, str] = attrs.Factory(dict)
    query: Query = attrs.Factory(Query)
    headers: Mapping[str, str] = attrs.Factory(dict)
    client: str | None = None
    principal: str = ""
    lifespan: Any = None
    _body: bytes = attrs.field(default=b"", repr=False)

    async def body(self) -> bytes:
        """The whole body, at most `Settings.max_body` bytes: a larger request has been refused.

        From a function that runs in a thread: `trio.from_thread.run(request.body)`. Cancellation: nothing is lost.
        """
        await trio.lowlevel.checkpoint()
        return self._body

    async def json(self) -> Any:
        """The body as JSON. Cancellation: as `body`.

        Raises:
            MalformedRequestError: it is none.
        """
        body = await self.body()
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedRequestError(f"the body is not JSON: {error}") from None


def _pairs(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return tuple((name.lower(), value) for name, value in pairs)


@attrs.frozen(eq=False)
class HttpResponse:
    """A response of a custom route.

    Args:
        body: text, bytes, or what JSON can show; None: nothing.
        status: 200 to 599.
        headers: a mapping, or pairs where a name comes more than once.
        content_type: None: what fits the body.

    Raises:
        ValueError: a status or a header that cannot be sent, or a body where there is none (204, 304).
    """

    body: Any = None
    status: int = attrs.field(default=200)
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_pairs, kw_only=True)
    content_type: str | None = attrs.field(default=None, kw_only=True)

    @status.validator
    def _check_status(self, attribute: object, value: int) -> None:
        if not (isinstance(value, int) and 200 <= value <= 599):
            raise ValueError(f"a status is a number from 200 to 599, not {value!r}")
        if value in (204, 304) and self.body not in (None, b"", ""):
            raise ValueError(f"a response with status {value} has no body")

    @headers.validator
    def _check_headers(self, attribute: object, value: tuple[tuple[str, str], ...]) -> None:
        for name, text in value:
            if not _TOKEN.fullmatch(name) or name in _FRAMING:
                raise ValueError(f"{name!r} is not a header that a route can send")
            _check_value(name, text)

    @content_type.validator
    def _check_type(self, attribute: object, value: str | None) -> None:
        if value is not None:
            _check_value("content-type", value)

    def encoded(self) -> tuple[bytes, str | None]:
        """The body as bytes, and its type.

        Raises:
            TypeError: JSON cannot show it.
        """
        body = self.body
        if body is None:
            return b"", self.content_type
        if isinstance(body, str):
            return body.encode(), self.content_type or "text/plain; charset=utf-8"
        if isinstance(body, (bytes, bytearray, memoryview)):
            return bytes(body), self.content_type or "application/octet-stream"
        return msgspec.json.encode(to_builtins(body)), self.content_type or "application/json"


def _check_value(name: str, text: str) -> None:
    """RFC 9110 section 5.5: a line break in a value would be another header."""
    if not isinstance(text, str) or any(character in text for character in "\r\n\0") or not _is_latin(text):
        raise ValueError(f"the value of the header {name!r} cannot be sent: {text!r}")


def _is_latin(text: str) -> bool:
    return all(character <= "\xff" for character in text)


def to_response(value: Any) -> HttpResponse:
    """What a route's function returned, as a response; None is 204."""
    if isinstance(value, HttpResponse):
        return value
    return HttpResponse(status=HTTPStatus.NO_CONTENT) if value is None else HttpResponse(value)


# Registration


@attrs.frozen(eq=False)
class RegisteredRoute:
    """One function and the requests that it answers.

    Attributes:
        names: what stands in braces in the path.
        hidden: the function's parameters that get the request.
    """

    path: str
    methods: frozenset[str]
    function: Callable[..., Any]
    place: Place
    timeout: float | None
    names: tuple[str, ...]
    hidden: tuple[str, ...]
    _arguments: Arguments

    def arguments(self, request: HttpRequest) -> dict[str, Any]:
        """The function's keyword arguments.

        Raises:
            ArgumentsError: what stands in the path does not fit the function.
        """
        wanted = {name: text for name, text in request.path_params.items() if name in self._arguments.names}
        kwargs = self._arguments.convert(wanted)
        return {**kwargs, **dict.fromkeys(self.hidden, request)}


class Routes:
    """The custom routes of one server."""

    def __init__(self) -> None:
        #: By the shape of their path, and there by method; literal paths are their own shape.
        self._shapes: dict[tuple[str, ...], dict[str, RegisteredRoute]] = {}

    def __iter__(self) -> Iterator[RegisteredRoute]:
        for methods in self._shapes.values():
            yield from dict.fromkeys(methods.values())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def taken(self, route: RegisteredRoute) -> list[str]:
        """The methods of `route` that another route of the same path has already."""
        return sorted(route.methods & self._shapes.get(_shape(route.path), {}).keys())

    def add(self, route: RegisteredRoute) -> None:
        """Take a route in, in place of what has its methods."""
        self._shapes.setdefault(_shape(route.path), {}).update(dict.fromkeys(route.methods, route))

    def find(self, path: str) -> tuple[dict[str, RegisteredRoute], tuple[str, ...]] | None:
        """The routes of a path, by method, and what stands for its names, in order; None where there is no route.

        A literal path wins, then the first that fits, in the order of registration.
        """
        if not self._shapes:
            return None
        parts = tuple(path.split("/")[1:])
        literal = self._shapes.get(parts)
        if literal is not None:
            return literal, ()
        for shape, methods in self._shapes.items():
            values = _fits(shape, parts)
            if values is not None:
                return methods, values
        return None


def _fits(shape: tuple[str, ...], parts: tuple[str, ...]) -> tuple[str, ...] | None:
    """What stands for the names of a shape in a path, or None where it is another path."""
    if len(shape) != len(parts):
        return None
    pairs = tuple(zip(shape, parts, strict=True))
    if any(given != wanted if wanted != "{}" else not given for wanted, given in pairs):
        return None
    return tuple(given for wanted, given in pairs if wanted == "{}")


def _shape(path: str) -> tuple[str, ...]:
    return tuple(_SEGMENT.sub("{}", part) for part in path.split("/")[1:])


def make_route(
    path: str, function: Callable[..., Any], options: RouteOptions, *, reserved: Collection[str]
) -> RegisteredRoute:
    """A route from its path and its function.

    Args:
        reserved: paths that are taken by the server itself.

    Raises:
        RegistrationError: the path, the methods or the signature cannot be served; names the function.
    """
    where = called(function)
    path, names = _checked_path(path, where, reserved)
    try:
        arguments = compile_arguments(function, hidden=(HttpRequest,))
    except SchemaError as error:
        raise RegistrationError(str(error)) from error
    required = set(arguments.schema.get("required", ()))
    surplus = sorted(required - set(names))
    if surplus:
        raise RegistrationError(
            f"{where}: parameter {surplus[0]!r}: it is neither in the path {path!r} nor annotated with HttpRequest"
        )
    return RegisteredRoute(
        path=path,
        methods=_methods(options, where),
        function=function,
        place=place_of(function, thread=options.get("thread")),
        timeout=_timeout(options, where),
        names=names,
        hidden=tuple(arguments.hidden),
        arguments=arguments,
    )


def _checked_path(path: str, where: str, reserved: Collection[str]) -> tuple[str, tuple[str, ...]]:
    if not isinstance(path, str) or not path.startswith("/"):
        raise RegistrationError(
            f'{where}: a route needs its path, from the slash on: @mcp.route("/path"), not {path!r}'
        )
    path = path.rstrip("/") or "/"
    parts = path.split("/")[1:]
    if path != "/" and (not all(parts) or {".", ".."}.intersection(parts) or re.search(r"[?#\s]", path)):
        raise RegistrationError(f"{where}: the path {path!r} has an empty or dotted segment, a query or a space")
    names = tuple(found[1] for part in parts if (found := _SEGMENT.fullmatch(part)))
    braces = path.count("{") + path.count("}")
    if braces != 2 * len(names) or len(set(names)) != len(names):
        raise RegistrationError(f"{where}: in {path!r} each {{name}} must be a whole segment, with a name of its own")
    if path in reserved or path == METADATA_PATH or path.startswith(METADATA_PATH + "/"):
        raise RegistrationError(f"{where}: the path {path!r} is the server's own: choose another")
    return path, names


def _methods(options: RouteOptions, where: str) -> frozenset[str]:
    given = options.get("methods", ("GET",))
    if isinstance(given, str) or not given:
        raise RegistrationError(f'{where}: methods are a list: methods=["GET"], not {given!r}')
    methods = frozenset(method.upper() for method in given)
    unknown = sorted(methods.difference(METHODS))
    if unknown:
        raise RegistrationError(f"{where}: unknown method {unknown[0]!r}: there are {', '.join(METHODS)}")
    return methods | {"HEAD"} if "GET" in methods else methods


def _timeout(options: RouteOptions, where: str) -> float | None:
    timeout = options.get("timeout")
    if timeout is not None and not (isinstance(timeout, (int, float)) and timeout > 0):
        raise RegistrationError(f"{where}: timeout is a number of seconds above 0, not {timeout!r}")
    return timeout
