"""How a check says what it found, and how text of a stranger is shown: short, printable, on one line.

A check returns (passed, with a note or without) or raises one of these. It refuses to know what a check asks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final

import msgspec
import trio

SHOWN: Final = 120
"""Characters of what a server says that a row shows."""


class Outcome(Enum):
    """What became of one check in one conversation; the value is the word for it."""

    PASSED = "passed"
    FAILED = "failed"
    WARNING = "warning"
    NOT_OFFERED = "not offered"
    SKIPPED = "skipped"


class Finding(Exception):
    """What ends a check before its end; `str()` says in one line what was found."""


class Fault(Finding):
    """The server does not do it: a failure where the specification says MUST, else a warning."""


class TransportFault(Fault):
    """No answer that could be read: refused, cut off, silent, no HTTP."""


class Silence(TransportFault):
    """Nothing came in time."""


class Doubt(Finding):
    """A warning, whatever the level of the check."""


class NotOffered(Finding):
    """The server does not have what is checked, and need not."""


class Skipped(Finding):
    """It could not be checked here, and the server is not to blame."""


def demand(condition: object, fault: str) -> None:
    """Go on only if it holds.

    Raises:
        Fault: it does not.
    """
    if not condition:
        raise Fault(fault)


@contextmanager
def bounded(seconds: float, waited_for: str) -> Iterator[None]:
    """Give up after so many seconds.

    Raises:
        Silence: they are over.
    """
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise Silence(f"no {waited_for} within {seconds:g} s")


def shown(value: object) -> str:
    """A value of a stranger, as JSON where it can be, without anything that a terminal would obey."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        try:
            value = msgspec.json.encode(value).decode("utf-8", "replace")
        except (TypeError, ValueError, RecursionError):
            value = repr(type(value).__name__)
    return printable(value[: SHOWN + 1])


def quoted(value: object) -> str:
    """As `shown`, in quotation marks."""
    return f'"{shown(value)}"'


def printable(text: str, limit: int = SHOWN) -> str:
    """Text on one line, shortened, with what cannot be printed written as an escape."""
    flat = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: limit + 1])
    return flat if len(flat) <= limit else f"{flat[:limit]}…"


def kind(value: Any) -> str:
    """What sort of JSON a value is, with its article."""
    for types, name in _KINDS:
        if isinstance(value, types):
            return name
    return "null"


_KINDS: Final[tuple[tuple[type | tuple[type, ...], str], ...]] = (
    (bool, "a boolean"),
    (str, "a string"),
    ((int, float), "a number"),
    (list, "an array"),
    (dict, "an object"),
)
