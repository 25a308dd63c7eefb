"""What is told of a failing run in a terminal: where it leaves the plain way, and the part of its trace that matters.

The whole trace is on the page; a message of thousands of lines tells nothing. It refuses to judge.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from trio_mcp.testing.network import STEPS, Conditions
from trio_mcp.testing.text import Traced, as_text

#: Lines of a trace that a message holds.
MOST: Final = 90
#: Of those, the ones around the first thing out of the ordinary, and before the failure.
_BEFORE: Final = 12
#: Marks of what is out of the ordinary: out of order, on purpose, the failure.
_REMARKABLE: Final = (" ~ ", " * ", " !! ")


def excerpt(trace: Traced, most: int = MOST) -> str:
    """The trace from shortly before the first thing out of the ordinary to the failure, at most so many lines."""
    lines = as_text(trace).splitlines()
    head = next((number for number, line in enumerate(lines) if line.startswith("Time is virtual")), 0) + 2
    remarkable = [
        number for number, line in enumerate(lines) if number >= head and any(mark in line for mark in _REMARKABLE)
    ]
    failed = [number for number in remarkable if " !! " in lines[number]]
    end = len(lines) if not failed else _end_of_block(lines, failed[0])
    begin = max(head, (remarkable[0] if remarkable else head) - _BEFORE)
    shown = lines[begin:end]
    if len(shown) > most:
        half = most // 2
        shown = [*shown[:half], _left_out(len(shown) - most), *shown[-half:]]
    before = [_left_out(begin - head)] if begin > head else []
    after = [_left_out(len(lines) - end)] if len(lines) > end else []
    return "\n".join([*lines[head - 2 : head], *before, *shown, *after])


def _end_of_block(lines: list[str], number: int) -> int:
    """The line behind what is told of the failure."""
    column = lines[number].index("!!")
    end = number + 1
    while end < len(lines) and not lines[end][:column].strip():
        end += 1
    return end


def _left_out(count: int) -> str:
    return f"… {count} lines left out: the page has them (--trio-mcp-trace=FILE.html)"


def network_in_words(conditions: Conditions) -> str:
    """In which ways a network is not as one without conditions; empty where it is."""
    plain = attrs.asdict(Conditions())
    return ", ".join(f"{name} {value}" for name, value in attrs.asdict(conditions).items() if value != plain[name])


def deviations_in_words(
    given: Mapping[tuple[str, int], int], conditions: Conditions | None, out_of_order: Iterable[str]
) -> list[str]:
    """Where a run leaves the plain way: out of order, and what the network did.

    Args:
        out_of_order: the deviations of the order, as the trace tells them.
    """
    order = list(out_of_order)
    lines = ["first in, first out everywhere except:" if order else "first in, first out everywhere"]
    lines += [f"  {text}" for text in order]
    lines += [
        f"  {_network_did(name, number, choice, conditions or Conditions())}"
        for (name, number), choice in given.items()
        if name != "order"
    ]
    return lines


def _network_did(name: str, number: int, choice: int, conditions: Conditions) -> str:
    """One choice of the network in words; `name` is that of its stream (see `network`)."""
    where, _, what = name.rpartition(" ")
    if what == "stalls":
        return f"{where}: stalls for {conditions.stall:g} s before piece {number + 1}"
    if what == "resets":
        return f"{where}: is reset at piece {number + 1}"
    if what == "pieces":
        return f"{where}: what is sent as number {number + 1} arrives in two pieces"
    shortest, longest = conditions.latency
    takes = shortest + (longest - shortest) * choice / (STEPS - 1)
    return f"{name}: piece {number + 1} takes {takes * 1000:.3g} ms"
