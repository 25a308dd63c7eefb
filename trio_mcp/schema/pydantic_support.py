"""What of pydantic the schema compiler understands: `Field`, its metadata, and types that validate themselves.

Owns: the only `import pydantic` of the package. It is imported when an annotation already uses pydantic, so
pydantic stays an optional dependency. Refuses: composing JSON Schema (`describer`) and the paths of faults (`faults`).
"""

import re
from collections.abc import Mapping
from typing import Any

import attrs
import msgspec
import pydantic
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from trio_mcp.schema.errors import SchemaError

_GENERAL = "_PydanticGeneralMetadata"
_IGNORED_SETTINGS = {"pattern"}


@attrs.frozen
class FieldFacts:
    """A `Field`, taken apart. `metadata` holds constraint objects still to be translated one by one."""

    metadata: tuple[Any, ...]
    docs: Mapping[str, Any]
    extra: Mapping[str, Any]
    alias: str | None
    default: Any
    default_factory: Any
    validated_by_pydantic: bool


def _alias(info: FieldInfo) -> str | None:
    alias = info.validation_alias if info.validation_alias is not None else info.alias
    if alias is not None and not isinstance(alias, str):
        raise SchemaError(f"a Field alias of type {type(alias).__name__} has no JSON Schema: use one string")
    return alias


def field_facts(info: FieldInfo) -> FieldFacts:
    """Take a `Field(...)` apart, where what it says can be expressed outside of pydantic.

    Raises: SchemaError where the alias is not one string, or the default factory wants the other fields.
    """
    extra = info.json_schema_extra
    if callable(extra):
        raise SchemaError("a callable json_schema_extra cannot be applied here: give a dict")
    merged: dict[str, Any] = dict(extra or {})
    if info.deprecated:
        merged["deprecated"] = True
    if info.default_factory is not None and info.default_factory_takes_validated_data:
        raise SchemaError("a default_factory that takes the other fields cannot be used here")
    docs = {"title": info.title, "description": info.description, "examples": info.examples}
    return FieldFacts(
        metadata=tuple(info.metadata),
        docs={key: value for key, value in docs.items() if value is not None},
        extra=merged,
        alias=_alias(info),
        default=msgspec.NODEFAULT if info.default is PydanticUndefined else info.default,
        default_factory=info.default_factory,
        validated_by_pydantic=info.discriminator is not None,
    )


def is_field(item: Any) -> bool:
    """Whether an object is what `pydantic.Field(...)` returns."""
    return isinstance(item, FieldInfo)


def pattern_of(item: Any) -> str | None:
    """The pattern of pydantic's own constraint holder, or None where it holds anything that only pydantic can check."""
    if type(item).__name__ != _GENERAL:
        return None
    settings = {key: value for key, value in vars(item).items() if value is not None}
    if set(settings) != _IGNORED_SETTINGS:
        return None
    pattern = settings["pattern"]
    return pattern.pattern if isinstance(pattern, re.Pattern) else str(pattern)


@attrs.define(eq=False)
class Adapter:
    """A type which pydantic validates, behind the two calls the compiler needs."""

    type: Any
    adapter: "pydantic.TypeAdapter[Any]"
    _kind: str | None = attrs.field(default=None, init=False)

    @classmethod
    def of(cls, type_: Any) -> "Adapter":
        """Wrap a type. Raises: SchemaError, with pydantic's words, where pydantic cannot build it."""
        try:
            return cls(type_, pydantic.TypeAdapter(type_))
        except (pydantic.errors.PydanticUserError, ImportError, NameError) as error:
            raise SchemaError(f"pydantic cannot build {type_!r}: {str(error).splitlines()[0]}") from None
        except TypeError as error:  # a constraint on a type that cannot bear it
            raise SchemaError(str(error)) from None

    def schema(self, mode: Any) -> dict[str, Any]:
        """The JSON Schema, its references as `#/$defs/Name`. Raises: SchemaError where it has none."""
        try:
            return self.adapter.json_schema(mode=mode, ref_template="#/$defs/{model}")
        except pydantic.errors.PydanticUserError as error:
            raise SchemaError(f"pydantic has no JSON Schema for {self.type!r}: {str(error).splitlines()[0]}") from None

    @property
    def kind(self) -> str:
        """The JSON type of the values, or the empty string where there are several."""
        if self._kind is None:
            schema = self.schema("validation")
            if "$ref" in schema:  # a recursive model stands in its own $defs
                schema = schema["$defs"][schema["$ref"].rpartition("/")[2]]
            kinds = {
                schema["$defs"][arm["$ref"].rpartition("/")[2]].get("type", "") if "$ref" in arm else ""
                for arm in schema.get("anyOf", schema.get("oneOf", ()))
            }
            self._kind = kinds.pop() if len(kinds) == 1 else str(schema.get("type", ""))
        return self._kind

    def convert(self, value: Any, strict: bool) -> Any:
        """Validate a JSON value and construct. Raises: pydantic.ValidationError, which is a ValueError."""
        if strict:  # only the JSON mode of pydantic takes a date from a string when it is strict
            return self.adapter.validate_json(msgspec.json.encode(value), strict=True)
        return self.adapter.validate_python(value)

    def dump(self, value: Any) -> Any:
        """Validate a Python value (instances pass as they are) and give its JSON form. Raises: as `convert`."""
        return self.adapter.dump_python(self.adapter.validate_python(value), mode="json", by_alias=True)

    def explain(self, error: Exception) -> list[tuple[tuple[int | str, ...], str]]:
        """The location and message of each error that `convert` or `dump` raised."""
        if not isinstance(error, pydantic.ValidationError):
            return [((), str(error))]
        details = error.errors(include_url=False, include_context=False, include_input=False)
        return [(detail["loc"], "missing" if detail["type"] == "missing" else detail["msg"]) for detail in details]
