"""JSON Schema validation for schemas that users wrote by hand, through jsonschema-rs (extra `jsonschema`).

2026-07-28, basic/index: JSON Schema Usage. Never fetches a `$ref`, and bounds the schema's depth and size. Typed
functions do not come here: msgspec validates those.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from trio_mcp.exceptions import RegistrationError
from trio_mcp.schema import Fault

MAX_DEPTH: Final = 64
MAX_SUBSCHEMAS: Final = 10_000

Validate = Callable[[Any], list[Fault]]


def _measure(schema: Any, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise ValueError(f"it nests deeper than {MAX_DEPTH} levels")
    if isinstance(schema, dict):
        return 1 + sum(_measure(value, depth + 1) for value in schema.values())
    if isinstance(schema, list):
        return sum(_measure(value, depth + 1) for value in schema)
    return 0


def _refuse_remote(uri: str) -> Any:
    raise ValueError(f"$ref to {uri} is not followed: put the schema into $defs")


def compile_validator(schema: dict[str, Any], *, owner: str) -> Validate:
    """Make a function that lists every fault of a value.

    Args:
        owner: what the schema belongs to, for messages, such as `tool 'search' inputSchema`.

    Raises:
        RegistrationError: the schema is invalid, too large or refers outside itself, its dialect is unknown, or the
            extra is not installed.
    """
    try:
        import jsonschema_rs
    except ImportError:
        raise RegistrationError(
            f"{owner} is a hand-written JSON Schema, which needs a validator: pip install 'trio-mcp[jsonschema]'"
        ) from None
    try:
        if _measure(schema, 0) > MAX_SUBSCHEMAS:
            raise ValueError(f"it has more than {MAX_SUBSCHEMAS} parts")
        dialect = schema.get("$schema")
        build = jsonschema_rs.Draft202012Validator if dialect is None else jsonschema_rs.validator_for
        validator = build(schema, retriever=_refuse_remote)
    except ValueError as error:
        # jsonschema-rs adds lines on where it failed in the meta-schema, which tell a user nothing.
        at = _path(getattr(error, "instance_path", ())).removeprefix("$").removeprefix(".")
        place = f"{at}: " if at else ""
        message = getattr(error, "message", None) or str(error)
        raise RegistrationError(f"{owner} is not a valid JSON Schema: {place}{message}") from error

    def validate(value: Any) -> list[Fault]:
        if validator.is_valid(value):
            return []
        return [Fault(_path(error.instance_path), error.message) for error in validator.iter_errors(value)]

    return validate


def _path(parts: Any) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


_decode = msgspec.json.Decoder().decode


def decode_object(raw: bytes | msgspec.Raw) -> Any:
    """The value of JSON text; absent text and null are an empty object.

    Raises:
        ValueError: malformed, not UTF-8, or nested too deep.
    """
    try:
        value = _decode(raw) if memoryview(raw).nbytes else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return {} if value is None else value
