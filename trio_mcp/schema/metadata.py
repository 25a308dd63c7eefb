"""What the metadata of one `Annotated` says: limits, documentation, and what only pydantic can check.

Owns: the constraint objects of msgspec, annotated-types and pydantic, as one set of facts. Refuses: whether a type can
bear a limit (`translator`); metadata of anybody else, which is left alone.
"""

from typing import Any, Final

import attrs
import msgspec

from trio_mcp.schema.class_fields import NODEFAULT
from trio_mcp.schema.errors import SchemaError

LIMITS: Final = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern", "tz")
_DOCS: Final = ("title", "description", "examples")
_LOWER: Final = ("ge", "gt", "min_length")
_UPPER: Final = ("le", "lt", "max_length")
_ANNOTATED_TYPES: Final = {
    "Gt": "gt", "Ge": "ge", "Lt": "lt", "Le": "le",
    "MultipleOf": "multiple_of", "MinLen": "min_length", "MaxLen": "max_length",
}  # fmt: skip


@attrs.define
class Facts:
    """What the metadata of one annotation says."""

    limits: dict[str, Any] = attrs.field(factory=dict)
    docs: dict[str, Any] = attrs.field(factory=dict)
    extra: dict[str, Any] = attrs.field(factory=dict)
    alias: str | None = None
    default: Any = NODEFAULT
    default_factory: Any = None
    foreign: bool = False  # msgspec would not see the constraint
    pydantic: bool = False  # only pydantic can check it

    def limit(self, key: str, value: Any) -> None:
        """Add a constraint to what is there; the tighter one holds."""
        held = self.limits.get(key)
        if held is None or held == value:
            self.limits[key] = value
        elif key in _LOWER:
            self.limits[key] = max(held, value)
        elif key in _UPPER:
            self.limits[key] = min(held, value)
        else:
            raise SchemaError(f"{key} is given twice, as {held!r} and {value!r}: keep one")

    def settle(self) -> None:
        """msgspec takes one lower and one upper bound: keep the tighter of an open and a closed one."""
        for open_, closed, tighter in (("gt", "ge", max), ("lt", "le", min)):
            if open_ in self.limits and closed in self.limits:
                a, b = self.limits[open_], self.limits[closed]
                del self.limits[closed if tighter(a, b) == a else open_]

    def meta(self) -> msgspec.Meta:
        """Limits and documentation in msgspec's terms. Raises: TypeError, ValueError or re.error from msgspec."""
        return msgspec.Meta(**self.limits, **self.docs, extra_json_schema=self.extra or None)

    def read(self, item: Any) -> None:
        """Read one metadata object; what belongs to nobody known is somebody else's marker and is left alone."""
        package = type(item).__module__.partition(".")[0]
        self.foreign |= package in ("annotated_types", "pydantic")
        if getattr(item, "__is_annotated_types_grouped_metadata__", False):
            for inner in item:
                self.read(inner)
        elif isinstance(item, str):
            self.docs.setdefault("description", item)
        elif isinstance(item, msgspec.Meta):
            self._msgspec(item)
        elif package == "annotated_types":
            self._annotated_types(item)
        elif package == "pydantic":
            self._pydantic(item)
        elif type(item).__name__ == "Doc" and isinstance(getattr(item, "documentation", None), str):
            self.docs.setdefault("description", item.documentation)

    def _msgspec(self, item: msgspec.Meta) -> None:
        for key in LIMITS:
            if (value := getattr(item, key)) is not None:
                self.limit(key, value)
        self.docs.update({key: value for key in _DOCS if (value := getattr(item, key)) is not None})
        self.extra.update(item.extra_json_schema or {})

    def _annotated_types(self, item: Any) -> None:
        name = type(item).__name__
        if name in _ANNOTATED_TYPES:
            key = _ANNOTATED_TYPES[name]
            self.limit(key, getattr(item, key))
        elif name == "Timezone" and item.tz in (None, ...):
            self.limit("tz", item.tz is ...)
        else:
            raise SchemaError(f"annotated_types.{name} has no JSON Schema: check it inside the function")

    def _pydantic(self, item: Any) -> None:
        from trio_mcp.schema import pydantic_support

        if not pydantic_support.is_field(item):
            if (pattern := pydantic_support.pattern_of(item)) is not None:
                self.limit("pattern", pattern)
            else:
                self.pydantic = True
            return
        facts = pydantic_support.field_facts(item)
        self.docs.update(facts.docs)
        self.extra.update(facts.extra)
        self.alias, self.default, self.default_factory = facts.alias, facts.default, facts.default_factory
        self.pydantic |= facts.validated_by_pydantic
        for inner in facts.metadata:
            self.read(inner)
