"""How many connections each of several processes holds, in memory that they share.

All accept from one socket, and the kernel wakes whoever waits there: the process that is awake anyway takes a whole
burst, and keep-alive leaves it there. So each one looks here first and lets a sibling with fewer go before.

It owns the slots. It refuses locks: each process writes its own slot only (the parent that of one that ended), one
aligned word, and whoever reads an old number is a little less fair.
"""

import mmap
import os
import sys
import tempfile
from typing import Final

ABSENT: Final = -1
"""The slot of one that does not accept."""
_WORD: Final = 8


class Balance:
    """The slots of all, seen by one.

    Args:
        descriptor: of the shared memory; a copy is kept.
        number: of this process, from 1.
    """

    def __init__(self, descriptor: int, number: int) -> None:
        self._memory = mmap.mmap(descriptor, 0)
        self._slots = memoryview(self._memory).cast("q")
        self._own = number - 1
        self._left = False

    def holds(self, connections: int) -> None:
        """Say how many connections this process has."""
        if not self._left:
            self._slots[self._own] = connections

    def leave(self) -> None:
        """Say that it accepts no more."""
        self._left = True
        self._slots[self._own] = ABSENT

    def defers(self) -> bool:
        """Whether a sibling has fewer connections."""
        own = self._slots[self._own]
        return any(ABSENT < other < own for other in self._slots)

    def close(self) -> None:
        """Give up this view of the memory."""
        self._slots.release()
        self._memory.close()


def shared_memory(count: int) -> int:
    """The descriptor of memory for so many processes, none of which accepts yet."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("trio-mcp workers")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.write(descriptor, ABSENT.to_bytes(_WORD, sys.byteorder, signed=True) * count)
    return descriptor
