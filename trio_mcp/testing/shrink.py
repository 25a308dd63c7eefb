"""Shrinking: from all the places where a failing run leaves the plain way to a small set that still fails.

Delta debugging (Zeller and Hildebrandt, 2002) over the deviations: larger parts first, then single ones, then smaller
choices in what is left. It refuses to know what a deviation means.
"""

from collections.abc import Callable

from trio_mcp.testing.chance import Deviations


def shrink(deviations: Deviations, fails: Callable[[Deviations], bool], most: int) -> tuple[Deviations, int]:
    """The smallest set found that still fails, and how many runs that took.

    Args:
        fails: whether a run with these deviations fails in the same way.
        most: runs that may be spent.
    """
    budget = _Budget(fails, most)
    if budget.fails({}):
        return {}, budget.spent
    left = _fewer(deviations, budget)
    while True:
        smaller = _smaller(left, budget)
        if smaller == left:
            return left, budget.spent
        left = _fewer(smaller, budget)  # with smaller choices some may be needed no more


def _fewer(deviations: Deviations, budget: "_Budget") -> Deviations:
    """Some of the same places: none of them can be left out."""
    keys = list(deviations)
    pieces = 2
    while len(keys) > 1 and budget.left:
        size = -(-len(keys) // pieces)
        for start in range(0, len(keys), size):
            rest = keys[:start] + keys[start + size :]
            if budget.fails({key: deviations[key] for key in rest}):
                keys = rest
                pieces = max(pieces - 1, 2)
                break
        else:
            if size == 1:
                break
            pieces = min(pieces * 2, len(keys))
    return {key: deviations[key] for key in keys}


def _smaller(deviations: Deviations, budget: "_Budget") -> Deviations:
    """The same places with smaller choices."""
    for key, choice in list(deviations.items()):
        for less in (1, choice // 2):
            if 0 < less < deviations[key]:
                tried = {**deviations, key: less}
                if budget.fails(tried):
                    deviations = tried
    return deviations


class _Budget:
    """Counts runs."""

    def __init__(self, fails: Callable[[Deviations], bool], most: int) -> None:
        self._fails = fails
        self.left = most
        self.spent = 0

    def fails(self, deviations: Deviations) -> bool:
        """Whether these still fail; once nothing is left, no."""
        if not self.left:
            return False
        self.left -= 1
        self.spent += 1
        return self._fails(deviations)
