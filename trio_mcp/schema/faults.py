"""Every fault of a value that does not fit, with the path to each.

Owns: finding them, by trying each part alone and going down only where one fails; the bounds that keep a hostile value
from costing or telling too much. Refuses: what a fault is called (`wording`).
"""

import contextlib
import functools
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import msgspec
import msgspec.inspect as mi

from trio_mcp.schema.errors import Fault
from trio_mcp.schema.stand_ins import build
from trio_mcp.schema.tree import (
    Shape,
    arms,
    bare,
    item_types,
    kind_of,
    kinds_of,
    options,
    pydantic_adapter,
    python_type,
    shape,
)
from trio_mcp.schema.unions import bounded_attempts, closest, member_names
from trio_mcp.schema.wording import got, one_of, plain_words, wanted

MAX_FAULTS: Final = 100  # a hostile list of a million wrong items must not become a million lines
MAX_CHECKS: Final = 5_000  # parts tried one by one, over all; beyond them only the first fault inside a part is told
MAX_LEVELS: Final = 32  # likewise downwards: each level tries everything below it again
_SUFFIX: Final = re.compile(r"^(.*) - at `(.*)`$", re.DOTALL)


def find_faults(node: mi.Type, value: Any, strict: bool, error: Exception) -> list[Fault]:
    """Every fault of a value that was refused with `error`; never an empty list."""
    finder = _FaultFinder(strict)
    with contextlib.suppress(RecursionError), bounded_attempts():
        finder.check(node, value, "$")
    if len(finder.faults) >= MAX_FAULTS:
        finder.faults[MAX_FAULTS - 1 :] = [Fault("$", "there are more faults than are listed")]
    if finder.faults:
        return finder.faults
    return [Fault("$", "nested too deeply" if isinstance(error, RecursionError) else plain_words(str(error)))]


def member(path: str, key: Any) -> str:
    """The path of one member or item."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if re.fullmatch(r"[\w-]{1,100}", str(key)) else f"{path}[{str(key)[:100]!r}]"


def surplus_faults(found: Shape, value: Mapping[Any, Any], path: str) -> Iterator[Fault]:
    """One fault for each member that a class does not have."""
    names = [field.encode_name for field in found.fields]
    message = f"unknown; known are {', '.join(names)}" if names else "unknown; there are no arguments"
    for key in value:
        if key not in names and key != found.tag_field:
            yield Fault(member(path, key), message)


def pydantic_faults(adapter: Any, error: ValueError, path: str) -> Iterator[Fault]:
    """The faults that pydantic found itself."""
    for location, message in adapter.explain(error):
        yield Fault(functools.reduce(member, location, path), message)


class _FaultFinder:
    """Finds every fault of a value: tries each part alone, and goes down only where one fails."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.faults: list[Fault] = []
        self.checks = MAX_CHECKS
        self.level = 0

    def add(self, path: str, message: str) -> None:
        self.faults.append(Fault(path, message))

    @property
    def exhausted(self) -> bool:
        """Whether enough has been told, or tried."""
        return len(self.faults) >= MAX_FAULTS or self.checks <= 0

    def check(self, node: mi.Type, value: Any, path: str) -> None:
        """List what is wrong with `value`, if anything."""
        if self.exhausted:
            return
        self.checks -= 1
        try:
            build(value, python_type(node), self.strict)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            before = len(self.faults)
            if self.level < MAX_LEVELS:
                self.level += 1
                self._inside(bare(node), value, path)
                self.level -= 1
            if len(self.faults) == before:
                self._explain(bare(node), value, path, str(error))

    def _inside(self, node: mi.Type, value: Any, path: str) -> None:
        found = shape(node)
        if arms(node):
            self._union(node, value, path)
        elif (adapter := pydantic_adapter(node)) is not None:
            try:
                adapter.convert(value, self.strict)
            except ValueError as error:
                self.faults += pydantic_faults(adapter, error, path)
        elif isinstance(value, Mapping):
            if found is not None and not found.array:
                self._fields(found, value, path)
            elif isinstance(node, mi.DictType):
                for key, item in value.items():
                    if self.exhausted:
                        break
                    self.check(node.key_type, key, f"{member(path, key)} (the key)")
                    self.check(node.value_type, item, member(path, key))
        elif isinstance(value, list | tuple):
            for index, (inner, item) in enumerate(zip(item_types(node, found, len(value)), value, strict=True)):
                if self.exhausted:
                    break
                self.check(inner, item, f"{path}[{index}]")

    def _fields(self, found: Shape, value: Mapping[Any, Any], path: str) -> None:
        for field in found.fields:
            if field.encode_name in value:
                self.check(field.type, value[field.encode_name], member(path, field.encode_name))
            elif field.required:
                self.add(member(path, field.encode_name), "missing")
        if found.closed:
            self.faults += islice(surplus_faults(found, value, path), max(0, MAX_FAULTS - len(self.faults)))

    def _union(self, node: mi.Type, value: Any, path: str) -> None:
        """Report against the alternative that fits best; a scalar which fits none is told of all of them at once."""
        kind = kind_of(value)
        fitting = [arm for arm in arms(node) if kind in kinds_of(arm)]
        if kind == "s":
            if len(fitting) == 1 and value is not None:
                self.check(fitting[0], value, path)
            return
        if isinstance(value, Mapping) and self._tagged(fitting, value, path):
            return
        best: list[Fault] | None = None
        for index in closest([member_names(arm) for arm in fitting], value):
            attempt = _FaultFinder(self.strict)
            attempt.checks, attempt.level = self.checks, self.level
            attempt.check(fitting[index], value, path)
            self.checks = attempt.checks
            if best is None or len(attempt.faults) < len(best):
                best = attempt.faults
        self.faults += best or []

    def _tagged(self, fitting: list[mi.Type], value: Mapping[Any, Any], path: str) -> bool:
        """Whether the alternatives are told apart by a tag; then the faults are those of the one that was meant."""
        shapes = [(shape(bare(arm)), arm) for arm in fitting]
        fields = {found.tag_field if found else None for found, _ in shapes}
        tag_field = fields.pop() if len(fields) == 1 else None
        if tag_field is None:
            return False
        tags = [found.tag for found, _ in shapes if found]
        if tag_field not in value:
            self.add(member(path, tag_field), f"missing; {one_of(tags)}")
        elif value[tag_field] not in tags:
            self.add(member(path, tag_field), one_of(tags))
        else:
            self.check(fitting[tags.index(value[tag_field])], value, path)
        return True

    def _explain(self, node: mi.Type, value: Any, path: str, message: str) -> None:
        suffix = _SUFFIX.match(message)
        if suffix:
            message = suffix[1]
            path += suffix[2].removeprefix("$") if suffix[2].startswith("$") and "..." not in suffix[2] else ""
        allowed = options(node)
        if allowed is not None and (isinstance(node, mi.CustomType) or message.startswith("Invalid enum value")):
            message = one_of(allowed)
        elif (alternatives := arms(node)) and plain_words(message) == message:
            message = f"expected {' or '.join(dict.fromkeys(map(wanted, alternatives)))}, got {got(value)}"
        self.add(path, plain_words(message))
