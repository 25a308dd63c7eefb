"""Elicitation forms: what a server asks a user, and what of the answer may be believed (client/elicitation).

Owns: `Form`, and the check of an answer, which comes from outside. Decisions:

- A dict is sent as it was given; a type makes its form (`elicitation_form`).
- A field left out is its default, or None where the type allows that. A null for a field that may be left out counts
  as left out. A field that was not asked for is dropped.

Refuses: sending, keys and rounds (`context`), and what a form may hold (`elicitation_schema`).
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs
import msgspec

from trio_mcp.elicitation_form import Target, form_of_type
from trio_mcp.elicitation_schema import check_form, faults_of, got
from trio_mcp.schema import ArgumentsError, Fault, convert
from trio_mcp.schema.errors import FaultsError
from trio_mcp.schema.faults import MAX_FAULTS
from trio_mcp.wire.base import JsonObject

Action: TypeAlias = Literal["accept", "decline", "cancel"]


class ElicitationFault(FaultsError):
    """An answer that does not fit the form. `faults` lists every fault; the text has one a line."""


@attrs.frozen
class Elicited:
    """What the user did. `content` only with `accept`: a dict, or an instance of the type that was asked for."""

    action: Action
    content: Any = None


@attrs.frozen
class Form:
    """A form, and the reader of its answers. Made by `Form.of`; immutable."""

    requested_schema: JsonObject
    _target: Target | None = None

    @classmethod
    def of(cls, schema_or_type: Any) -> "Form":
        """A form from a JSON Schema (a dict, kept as it is) or from a type; None asks only for the consent.

        Raises: ValueError that names the field, where the form is not flat or its parts do not fit together.
        """
        if not isinstance(schema_or_type, dict):
            return cls(*form_of_type(schema_or_type))
        check_form(schema_or_type)
        return cls(schema_or_type)

    @staticmethod
    def read_action(raw: Any) -> Elicited:
        """The action alone, of an answer in URL mode; takes what `read` takes. Raises: ElicitationFault."""
        return Elicited(_answer(raw)[0])

    def read(self, raw: Any) -> Elicited:
        """Check an ElicitResult (JSON text as bytes or `msgspec.Raw`, or a decoded dict) against the form.

        Raises: ElicitationFault with every fault.
        """
        action, content = _answer(raw)
        if action != "accept":
            return Elicited(action)
        content = {} if content is None else content
        if not isinstance(content, Mapping):
            raise ElicitationFault([Fault("$.content", f"expected an object, got {got(content)}")])
        values = self._values(content)
        return Elicited("accept", values if self._target is None else _converted(self._target, values))

    def _values(self, content: Mapping[Any, Any]) -> dict[str, Any]:
        """The fields that were asked for, each one checked, with defaults for those left out."""
        properties: JsonObject = self.requested_schema["properties"]
        required = self.requested_schema.get("required", ())
        values: dict[str, Any] = {}
        faults: list[Fault] = []
        for name, asked in properties.items():
            value: Any = content.get(name)
            if value is None and (name not in required or name not in content):
                if "default" in asked:
                    values[name] = _copied(asked["default"])
                elif name in required:
                    faults.append(Fault(_path(name), "missing"))
                continue
            found = list(faults_of(asked, value, _path(name)))
            values[name] = int(value) if asked["type"] == "integer" and not found else value
            faults += found
        if self.requested_schema.get("additionalProperties") is False:
            faults += [Fault(_path(str(name)[:100]), "unknown") for name in content if name not in properties]
        if faults:
            raise ElicitationFault(faults[:MAX_FAULTS])
        return values


def _answer(raw: Any) -> tuple[Action, Any]:
    if not isinstance(raw, Mapping):
        try:
            raw = msgspec.json.decode(raw)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
            raise ElicitationFault([Fault("$", "not valid JSON")]) from None
    if not isinstance(raw, Mapping):
        raise ElicitationFault([Fault("$", f"expected an object, got {got(raw)}")])
    action = raw.get("action")
    if action not in ("accept", "decline", "cancel"):
        raise ElicitationFault([Fault("$.action", "must be one of accept, decline, cancel")])
    return action, raw.get("content")


def _converted(target: Target, values: dict[str, Any]) -> Any:
    if target.type is type(None):
        return None
    for name in target.nullable:
        values.setdefault(name, None)
    try:
        if target.wrapped:
            return convert(values["value"], target.type)
        built = convert({**values, **target.constants}, target.type)
    except ArgumentsError as error:
        around = "$.content.value" if target.wrapped else "$.content"
        raise ElicitationFault(Fault(around + fault.path[1:], fault.message) for fault in error.faults) from None
    if target.tuple_type is None:
        return built
    return target.tuple_type(*(getattr(built, name) for name in target.tuple_type._fields))


def _path(name: str) -> str:
    return f"$.content.{name}"


def _copied(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value
