"""What the logs of requests and of calls share: records wait, and a task makes their lines, off the hot path.

Who is logged pays for a record and an append. It refuses to know what a record tells.
"""

from abc import ABC, abstractmethod
from collections import deque
from typing import Final, Generic, TypeVar

import trio

INTERVAL: Final = 0.25
BOUND: Final = 10_000

Record = TypeVar("Record")


class BatchedLog(ABC, Generic[Record]):
    """Records that wait to be written, by `run`, as often as `INTERVAL`.

    At most `BOUND` wait; when full the oldest is dropped, and how many were is told.
    """

    def __init__(self) -> None:
        self._records: deque[Record] = deque(maxlen=BOUND)
        self._taken = 0
        self._stop = trio.Event()

    def _add(self, record: Record) -> None:
        self._taken += 1
        self._records.append(record)

    async def run(self) -> None:
        """Write what comes until `stop`. Cancellation: what waits is written."""
        try:
            while not self._stop.is_set():
                with trio.move_on_after(INTERVAL):
                    await self._stop.wait()
                self._write()
        finally:
            self._write()

    def stop(self) -> None:
        """Let `run` write what is left and return."""
        self._stop.set()

    def _write(self) -> None:
        records, self._records = self._records, deque(maxlen=BOUND)
        dropped, self._taken = self._taken - len(records), 0
        for record in records:
            self._tell(record)
        if dropped:
            self._tell_dropped(dropped)

    @abstractmethod
    def _tell(self, record: Record) -> None:
        """Log one record."""

    @abstractmethod
    def _tell_dropped(self, count: int) -> None:
        """Log that so many records were dropped."""
