"""Unions that msgspec refuses: which of several alternatives a value is meant for, found by trying.

Owns: the stand-in for such a union, and the bound on its attempts. Refuses: unions that msgspec tells apart itself.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
import msgspec
import msgspec.inspect as mi

from trio_mcp.schema.stand_ins import build
from trio_mcp.schema.tree import bare, shape

MAX_ATTEMPTS: Final = 10_000  # alternatives tried for one value, some microseconds each
_attempts = threading.local()


@contextlib.contextmanager
def bounded_attempts() -> Iterator[None]:
    """One bound for all the attempts within; inside another one it changes nothing."""
    if getattr(_attempts, "left", None) is not None:
        yield
        return
    _attempts.left = MAX_ATTEMPTS
    try:
        yield
    finally:
        _attempts.left = None


@attrs.define(eq=False)
class UnionOf:
    """A union that msgspec refuses: of the closest alternatives the first that fits exactly, else leniently.

    The alternatives of a recursive union multiply with each level, so that all attempts of one value have one bound.
    """

    arms: tuple[Any, ...]
    _members: list[frozenset[str | None]] = attrs.field(factory=list, init=False)

    def convert(self, value: Any, strict: bool) -> Any:
        """Raises: ValueError where no arm takes the value, RecursionError where there is too much to try."""
        if not self._members:  # not sooner: an arm may be a class that is still being translated
            self._members = [member_names(mi.type_info(arm)) for arm in self.arms]
        with bounded_attempts():
            return self._first(closest(self._members, value), value, strict)

    def _first(self, indexes: list[int], value: Any, strict: bool) -> Any:
        for exact in (True,) if strict else (True, False):
            for index in indexes:
                _attempts.left -= 1
                if _attempts.left < 0:
                    raise RecursionError("too many alternatives to try")
                try:
                    return build(value, self.arms[index], exact)
                except (msgspec.ValidationError, ValueError, TypeError):
                    continue
        raise ValueError("matches none of the types allowed here")


def member_names(node: mi.Type) -> frozenset[str | None]:
    """The members of a class, empty for what is none: a dict drops nothing."""
    found = shape(bare(node))
    return frozenset({field.encode_name for field in found.fields} | {found.tag_field}) if found else frozenset()


def closest(alternatives: list[frozenset[str | None]], value: Any) -> list[int]:
    """Which alternatives, given by their `member_names`, drop the fewest members of an object.

    `{"y": 1}` is not meant for a class with `x`.
    """
    if not isinstance(value, Mapping):
        return list(range(len(alternatives)))
    surplus = [len(set(value) - known) if known else 0 for known in alternatives]
    fewest = min(surplus, default=0)
    return [index for index, count in enumerate(surplus) if count == fewest]
