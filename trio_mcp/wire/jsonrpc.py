"""JSON-RPC 2.0 messages: bytes to `Request`, `Notification` or `Response`, and back (basic/index: Messages).

Whatever the bytes are, `decode` returns a message or raises `WireError` with the code to answer and the id to
echo, if one could be read. It refuses to know any method.
"""

import re
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Raw

from trio_mcp.wire.base import UNSET, RequestId, UnsetType

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

EMPTY_OBJECT: Final = Raw(b"{}")


class ErrorBody(msgspec.Struct, omit_defaults=True):
    """The `error` member of a response; `data` is UNSET where there is none."""

    code: int
    message: str
    data: Any = UNSET


class Request(msgspec.Struct, gc=False):
    """A call that must be answered; `params` is the raw bytes of an object."""

    id: RequestId
    method: str
    params: Raw = EMPTY_OBJECT


class Notification(msgspec.Struct, gc=False):
    """A message without an answer."""

    method: str
    params: Raw = EMPTY_OBJECT


class Response(msgspec.Struct, gc=False):
    """The answer to a request: `result` (raw bytes) or `error`. `id` is None where the peer could not read it."""

    id: RequestId | None
    result: Raw | None = None
    error: ErrorBody | None = None


Message: TypeAlias = Request | Notification | Response


class WireError(Exception):
    """Bytes that are no valid message.

    `code` is PARSE_ERROR, INVALID_REQUEST or INVALID_PARAMS, `id` the request's id where it could be read.
    """

    def __init__(self, code: int, message: str, id: RequestId | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.id = id


class _Envelope(msgspec.Struct, gc=False):
    jsonrpc: Literal["2.0"]
    id: str | int | None | UnsetType = UNSET
    method: str | UnsetType = UNSET
    params: Raw = EMPTY_OBJECT
    result: Raw = Raw(b"")
    error: ErrorBody | None = None


class _ResultOut(msgspec.Struct):
    jsonrpc: str
    id: RequestId
    result: Any


class _ErrorOut(msgspec.Struct, omit_defaults=True):
    jsonrpc: str
    error: ErrorBody
    id: RequestId | UnsetType = UNSET


class _NotificationOut(msgspec.Struct, omit_defaults=True):
    jsonrpc: str
    method: str
    params: Any = UNSET


class _RequestOut(msgspec.Struct, omit_defaults=True):
    jsonrpc: str
    id: RequestId
    method: str
    params: Any = UNSET


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_batch = msgspec.json.Decoder(list[Raw]).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
# Possessive, and closed by the end of the text too: it matches at every quote, and so reads no byte twice.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ALL_SQUARE = bytes.maketrans(b"{}", b"[]")


def depth_exceeds(body: bytes, limit: int) -> bool:
    """Whether arrays and objects in `body` nest deeper than `limit`.

    A body with at most `limit` opening brackets cannot, and costs two counts. Else strings are cut out and the
    innermost pairs taken off once for each level: no recursion, and no Python loop over the bytes.
    """
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    # One kind of bracket only: were pairs of two kinds taken off in turn, a round could take two levels.
    rest = _STRINGS.sub(b"", body).translate(_ALL_SQUARE, _NOT_BRACKETS)
    for _ in range(limit):
        shorter = rest.replace(b"[]", b"")
        if shorter == rest:
            return False  # empty, or malformed: the decoder says so
        rest = shorter
    return bool(rest)


def is_batch(body: bytes) -> bool:
    """Whether the JSON text is an array."""
    return body[:1] == b"[" or body.lstrip()[:1] == b"["


def check_text(body: bytes, max_depth: int) -> None:
    """Raise `WireError` (PARSE_ERROR) for text that is not UTF-8 or that nests deeper than `max_depth`."""
    if not body.isascii():
        try:
            str(body, "utf-8")
        except UnicodeDecodeError as error:
            raise WireError(PARSE_ERROR, f"Parse error: not UTF-8 at byte {error.start}") from None
    if depth_exceeds(body, max_depth):
        raise WireError(PARSE_ERROR, f"Parse error: nested deeper than {max_depth} levels")


def decode(body: bytes, *, max_depth: int = 64) -> Message:
    """Read one message.

    Raises:
        WireError: the bytes are not JSON, not JSON-RPC 2.0, or nest too deep.
    """
    check_text(body, max_depth)
    return _decode_one(body)


def decode_batch(body: bytes, *, max_depth: int = 64) -> list[Message | WireError]:
    """Read an array of messages (2025-03-26, basic/index: Batching); each broken member becomes its own error.

    Raises:
        WireError: the text is not a JSON array, or the array is empty.
    """
    check_text(body, max_depth)
    try:
        members = _decode_batch(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise WireError(PARSE_ERROR, f"Parse error: {error}") from None
    if not members:
        raise WireError(INVALID_REQUEST, "Invalid Request: an empty batch")
    messages: list[Message | WireError] = []
    for member in members:
        try:
            messages.append(_decode_one(member))
        except WireError as error:
            messages.append(error)
    return messages


def _decode_one(body: bytes | Raw) -> Message:
    try:
        envelope = _decode_envelope(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _explain(body, error) from None
    method, id = envelope.method, envelope.id
    if method is not UNSET:
        if bytes(memoryview(envelope.params)[:1]) != b"{":
            raise WireError(INVALID_PARAMS, "Invalid params: params must be an object", _readable_id(id))
        if id is UNSET:
            return Notification(method, envelope.params)
        if id is None:
            raise WireError(INVALID_REQUEST, "Invalid Request: id must be a string or an integer, not null")
        return Request(id, method, envelope.params)
    if envelope.error is not None:  # its id is null or absent where the peer could not read ours
        return Response(None if id is UNSET else id, error=envelope.error)
    if not memoryview(envelope.result).nbytes:
        raise WireError(INVALID_REQUEST, "Invalid Request: neither a method, a result nor an error", _readable_id(id))
    if id is UNSET or id is None:
        raise WireError(INVALID_REQUEST, "Invalid Request: a result needs the id of its request")
    return Response(id, result=envelope.result)


def _readable_id(id: object) -> RequestId | None:
    return id if isinstance(id, (str, int)) and not isinstance(id, bool) else None


def _explain(body: bytes | Raw, error: Exception) -> WireError:
    """Tell malformed JSON from JSON that is no message, and save the id where there is one.

    A broken response keeps its id to itself: it names a request of ours, and echoed it would pass for an answer.
    """
    if not isinstance(error, msgspec.ValidationError):
        return WireError(PARSE_ERROR, f"Parse error: {error}")
    try:
        value = _decode_any(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as deeper:
        return WireError(PARSE_ERROR, f"Parse error: {deeper}")
    id = None
    if isinstance(value, dict) and ("method" in value or not value.keys() & {"result", "error"}):
        id = _readable_id(value.get("id"))
    return WireError(INVALID_REQUEST, f"Invalid Request: {error}", id)


def encode_result(id: RequestId, result: Any) -> bytes:
    """A successful response; `result` is a struct, a `Raw` or JSON-able builtins."""
    return _encode(_ResultOut("2.0", id, result))


def encode_error(id: RequestId | None, code: int, message: str, data: Any = UNSET) -> bytes:
    """A failed response; without an id where the request's could not be read.

    What cannot be encoded in `message` (a file name that is no Unicode) becomes "?"; in `data` it raises.
    """
    echoed = UNSET if id is None else id
    try:
        return _encode(_ErrorOut("2.0", ErrorBody(code, message, data), echoed))
    except UnicodeEncodeError:
        readable = message.encode("utf-8", "replace").decode()
        return _encode(_ErrorOut("2.0", ErrorBody(code, readable, data), echoed))


def encode_notification(method: str, params: Any = UNSET) -> bytes:
    """A notification."""
    return _encode(_NotificationOut("2.0", method, params))


def encode_request(id: RequestId, method: str, params: Any = UNSET) -> bytes:
    """A request."""
    return _encode(_RequestOut("2.0", id, method, params))
