"""What is raised where a signature has no JSON Schema, or where a value does not fit one.

Owns: the exceptions of the schema compiler, and how their texts name a type. Refuses: finding the faults (`faults`).
"""

from collections.abc import Iterable
from typing import Any, get_args

import attrs


class SchemaError(TypeError):
    """A signature that has no JSON Schema; raised at registration and says what to do."""


@attrs.frozen
class Fault:
    """One thing wrong with a value. `path` begins with `$`, the value itself: `$.user.age`, `$.tags[2]`."""

    path: str
    message: str


class FaultsError(ValueError):
    """A value that does not fit. `faults` lists every fault; the text has one a line, for a model to read."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(f"{fault.path}: {fault.message}" for fault in self.faults))


class ArgumentsError(FaultsError):
    """Arguments that do not fit. `faults` as in `FaultsError`."""


class OutputError(FaultsError):
    """A returned value that does not fit the return annotation. `faults` as in `FaultsError`."""


def type_name(type_: Any) -> str:
    """A type as an author would write it."""
    return type_.__name__ if isinstance(type_, type) and not get_args(type_) else str(type_).replace("typing.", "")
