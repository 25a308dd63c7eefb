"""HTTP headers of the protocol, and how they must agree with the body.

2026-07-28, basic/transports/streamable-http: Request Metadata; earlier, basic/transports: Protocol Version Header.
Names come lower-cased and as bytes, as ASGI gives them. It refuses to know sockets or statuses.
"""

import base64
import binascii
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from trio_mcp.protocol.errors import HEADER_MISMATCH, McpError

SESSION_ID: Final = b"mcp-session-id"
PROTOCOL_VERSION: Final = b"mcp-protocol-version"
METHOD: Final = b"mcp-method"
NAME: Final = b"mcp-name"
PARAM_PREFIX: Final = "mcp-param-"
LAST_EVENT_ID: Final = b"last-event-id"

_SENTINEL: Final = re.compile(r"=\?base64\?(.*)\?=", re.DOTALL)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VISIBLE: Final = re.compile(rb"[\x20-\x7e\t]*")
# Bounded: an integer may lie between ±2**53, and `int` refuses more than 4300 digits.
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,64}(\.0*)?")
_REFUSED: Final = re.compile(rb"(?:^|;)\s*q=0(?:\.0*)?\s*(?:;|$)")
_JSON_RANGES: Final = (b"application/json", b"application/*", b"*/*")
_SSE_RANGES: Final = (b"text/event-stream", b"text/*", b"*/*")
#: Keywords of JSON Schema under which keys are names, not keywords; and those whose values are no schemas.
_NAMING: Final = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"}
)
_NO_SCHEMAS: Final = frozenset({"const", "enum", "default", "examples", "dependentRequired", "x-mcp-header"})


class Headers(Mapping[bytes, bytes]):
    """The headers of one request: name to value, and which names came twice.

    Values are trimmed of optional whitespace (RFC 9110 section 5.5). The values of a repeated name are joined by
    commas (section 5.3): right for lists such as Accept, and equal to nothing where there must be one.
    """

    __slots__ = ("_values", "repeated")

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._values = dict(raw)
        self.repeated: frozenset[bytes] = frozenset()
        if len(self._values) != len(raw):
            lines: dict[bytes, list[bytes]] = {}
            for name, value in raw:
                lines.setdefault(name, []).append(value.strip(b" \t"))
            self._values = {name: b", ".join(values) for name, values in lines.items()}
            self.repeated = frozenset(name for name, values in lines.items() if len(values) > 1)

    def __getitem__(self, name: bytes) -> bytes:
        return self._values[name].strip(b" \t")

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def get(self, name: bytes, default: Any = None) -> Any:
        """The value, or `default` where it is absent."""
        value = self._values.get(name)
        return default if value is None else value.strip(b" \t")

    def text(self, name: bytes) -> str | None:
        """The value as text (latin-1, which cannot fail), or None where it is absent."""
        value = self._values.get(name)
        return None if value is None else value.strip(b" \t").decode("latin-1")

    def as_text(self) -> dict[str, str]:
        """All headers as text, for users."""
        return {name.decode("latin-1"): value.strip(b" \t").decode("latin-1") for name, value in self._values.items()}


@functools.lru_cache(maxsize=256)
def accepts(accept: bytes | None) -> tuple[bool, bool]:
    """Whether a client takes application/json and text/event-stream, by its Accept header (RFC 9110 section 12.5.1).

    A header that is absent takes everything. A range with q=0 is refused, and the narrowest range decides.
    """
    if accept is None:
        return True, True
    ranges: dict[bytes, bool] = {}
    for part in accept.lower().split(b","):
        media, _, parameters = part.partition(b";")
        media = media.strip()
        ranges[media] = ranges.get(media, False) or _REFUSED.search(parameters) is None
    return _taken(ranges, _JSON_RANGES), _taken(ranges, _SSE_RANGES)


def _taken(ranges: Mapping[bytes, bool], narrowest_first: tuple[bytes, ...]) -> bool:
    return next((ranges[media] for media in narrowest_first if media in ranges), False)


def is_json(content_type: bytes | None) -> bool:
    """Whether a Content-Type is application/json, whatever its parameters."""
    if content_type == b"application/json":
        return True
    return content_type is not None and content_type.partition(b";")[0].strip().lower() == b"application/json"


def mismatch(message: str) -> McpError:
    """-32020 HeaderMismatch."""
    return McpError(HEADER_MISMATCH, f"Header mismatch: {message}")


def decode_value(name: str, value: bytes) -> str:
    """The value of an `Mcp-Name` or `Mcp-Param-*` header: plain visible ASCII, or strict base64 between its sentinels.

    Raises:
        McpError: -32020; characters that no header may hold, wrong alphabet, padding or UTF-8.
    """
    if not _VISIBLE.fullmatch(value):
        raise mismatch(f"{name} holds characters that a header value must not hold; send it as =?base64?…?=")
    text = value.decode("ascii")
    wrapped = _SENTINEL.fullmatch(text)
    if wrapped is None:
        return text
    encoded = wrapped[1]
    try:
        decoded = base64.b64decode(encoded, validate=True)
        if base64.b64encode(decoded).decode() != encoded:
            raise mismatch(f"{name} holds base64 that is not in canonical form")
        return decoded.decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise mismatch(f"{name} holds invalid base64 of UTF-8") from None


def check_standard(headers: Headers, version: str, method: str, name: str | None) -> None:
    """Demand `MCP-Protocol-Version`, `Mcp-Method` and, with `name`, `Mcp-Name`, each once and equal to the body.

    Raises:
        McpError: -32020 that says which header and how it differs.
    """
    if not headers.repeated and _all_plainly(headers, version, method, name):
        return
    if headers.repeated:
        for header in (PROTOCOL_VERSION, METHOD, NAME):
            if header in headers.repeated:
                raise mismatch(f"{_shown(header)} is sent more than once")
    _check_equal(headers, PROTOCOL_VERSION, version)
    _check_equal(headers, METHOD, method)
    if name is not None:
        value = headers.get(NAME)
        if value is None:
            raise mismatch("Mcp-Name is missing")
        if decode_value("Mcp-Name", value) != name:
            raise mismatch(f"Mcp-Name is {value.decode()!r} but the body says {name!r}")


def _all_plainly(headers: Headers, version: str, method: str, name: str | None) -> bool:
    """Whether all three headers are there as they stand in the body: the common case, without decoding or words."""
    get = headers.get
    if get(PROTOCOL_VERSION) != version.encode() or get(METHOD) != method.encode():
        return False
    if not (version.isascii() and method.isascii()):  # equal, and still no value that a header may hold
        return False
    return name is None or (get(NAME) == name.encode() and name.isascii() and name.isprintable() and name[:2] != "=?")


def _check_equal(headers: Headers, header: bytes, expected: str) -> None:
    value = headers.text(header)
    if value is None:
        raise mismatch(f"{_shown(header)} is missing")
    if value != expected or not value.isascii():
        raise mismatch(f"{_shown(header)} is {value!r} but the body says {expected!r}")


def _shown(header: bytes) -> str:
    return {PROTOCOL_VERSION: "MCP-Protocol-Version", METHOD: "Mcp-Method", NAME: "Mcp-Name"}[header]


class ParamHeader:
    """One parameter that clients mirror into `Mcp-Param-{label}` (2026-07-28, server/tools: x-mcp-header)."""

    __slots__ = ("header", "label", "path", "type")

    def __init__(self, label: str, path: tuple[str, ...], type: str) -> None:
        self.label = label
        self.header = (PARAM_PREFIX + label.lower()).encode("ascii")
        self.path = path
        self.type = type

    def check(self, headers: Headers, arguments: Any) -> None:
        """Demand the header exactly where the body has a value, and equal to it; integers compare as numbers.

        Raises:
            McpError: -32020.
        """
        name = f"Mcp-Param-{self.label}"
        value = arguments
        for key in self.path:
            value = value.get(key) if isinstance(value, dict) else None
        sent = headers.get(self.header)
        if self.header in headers.repeated:
            raise mismatch(f"{name} is sent more than once")
        if value is None:
            if sent is not None:
                raise mismatch(f"{name} is sent but the body has no value for {'.'.join(self.path)}")
            return
        if sent is None:
            raise mismatch(f"{name} is missing")
        if not _equal(decode_value(name, sent), value):
            raise mismatch(f"{name} is {sent.decode()!r} but the body says {value!r}")


def _equal(sent: str, value: object) -> bool:
    if isinstance(value, bool):
        return sent == ("true" if value else "false")
    if isinstance(value, (int, float)):
        return _INTEGER.fullmatch(sent) is not None and int(sent.partition(".")[0]) == value
    return sent == value


def param_headers(schema: Mapping[str, Any]) -> tuple[ParamHeader, ...]:
    """The `x-mcp-header` annotations of an input schema, validated.

    Raises:
        ValueError: a name that is no token or is used twice, a type that is not string, integer or boolean, or an
            annotation that is not reached through `properties` alone.
    """
    found: list[ParamHeader] = []
    _collect(schema, (), found)
    labels = [header.label.lower() for header in found]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"x-mcp-header {label!r} is used twice; names are compared without case")
    if _count_annotations(schema) != len(found):
        raise ValueError("x-mcp-header stands where `properties` alone does not lead (items, $ref, anyOf, …)")
    return tuple(found)


def _collect(schema: Mapping[str, Any], path: tuple[str, ...], found: list[ParamHeader]) -> None:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return
    for key, property in properties.items():
        if not isinstance(property, dict):
            continue
        here = (*path, key)
        if "x-mcp-header" in property:
            label, type = property["x-mcp-header"], property.get("type")
            if not isinstance(label, str) or not _TOKEN.fullmatch(label):
                raise ValueError(f"x-mcp-header of {'.'.join(here)} must be a header token (RFC 9110), not {label!r}")
            if type not in ("string", "integer", "boolean"):
                raise ValueError(f"x-mcp-header of {'.'.join(here)} needs a string, integer or boolean, not {type!r}")
            found.append(ParamHeader(label, here, type))
        _collect(property, here, found)


def _count_annotations(schema: object, *, names: bool = False) -> int:
    """How many `x-mcp-header` keywords a schema holds anywhere; inside `properties` keys are names, not keywords."""
    if isinstance(schema, list):
        return sum(_count_annotations(item) for item in schema)
    if not isinstance(schema, dict):
        return 0
    count = 0 if names else int("x-mcp-header" in schema)
    for key, value in schema.items():
        if names or key not in _NO_SCHEMAS:
            count += _count_annotations(value, names=not names and key in _NAMING)
    return count
