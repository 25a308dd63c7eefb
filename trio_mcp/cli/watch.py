"""Files that change: the only place that knows watchfiles (extra `reload`), loaded when something is to be watched.

watchfiles' own async interface is an async generator on anyio; here a thread of trio waits on its watcher, which looks
at a stop event every `STEP`, so that being cancelled leaves a thread behind for no longer than that. It refuses to
decide what a change means: `reload` does.
"""

import fnmatch
import logging
import threading
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from trio_mcp.cli.errors import CliError, told

STEP: Final = 50
"""Milliseconds between two looks at the stop event, and of silence after which changes are handed on."""
GROUPED: Final = 200
"""Milliseconds after which changes are handed on although there are more."""
ROUND: Final = 100
"""Milliseconds after which the watcher comes back empty-handed; the first time it does, it watches."""

#: Folders that hold no source of the author's.
IGNORED: Final = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist", "htmlcov"})
PYTHON: Final = "*.py"


def check_watcher() -> None:
    """Say it where nothing can be watched.

    Raises:
        CliError: watchfiles is not installed.
    """
    if find_spec("watchfiles") is None:
        raise CliError("--reload needs watchfiles: pip install 'trio-mcp[reload]'")


@attrs.frozen
class Relevant:
    """Which files count: Python, and those that fit a pattern; nothing in hidden or generated folders.

    Attributes:
        folders: that are watched, resolved.
        patterns: for a file's name, or its path below a folder.
    """

    folders: Sequence[Path]
    patterns: Sequence[str] = ()

    def __call__(self, change: Any, path: str) -> bool:
        """Whether a file counts; the first argument is watchfiles' own."""
        below = self.below(Path(path))
        if below is None or any(part in IGNORED or part.startswith(".") for part in below.parts[:-1]):
            return False
        if any(fnmatch.fnmatch(text, one) for one in self.patterns for text in (below.name, below.as_posix())):
            return True
        return fnmatch.fnmatch(below.name, PYTHON) and not below.name.startswith(".")  # editors keep .#name.py

    def below(self, path: Path) -> Path | None:
        """A path as it is below the nearest of the folders."""
        found = [path.relative_to(folder) for folder in self.folders if path.is_relative_to(folder)]
        return min(found, key=lambda one: len(one.parts), default=None)


class FileWatch:
    """Changes below some folders, from `begin` on.

    Cancellation: the thread that waits ends within `STEP`; nothing can be waited for after that.
    """

    def __init__(self, folders: Sequence[Path], patterns: Sequence[str] = ()) -> None:
        self.relevant = Relevant([folder.resolve() for folder in folders], patterns)
        self._stop = threading.Event()
        self._found: Iterator[set[tuple[Any, str]]] = iter(())

    async def begin(self) -> None:
        """Watch: what changes from now on is told by `next`.

        Raises:
            CliError: the system does not let it watch.
        """
        import watchfiles

        for folder in self.relevant.folders:
            if not folder.is_dir():
                raise CliError(f"cannot watch for changes: there is no folder {folder}")
        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells of each change at info
        self._found = watchfiles.watch(
            *self.relevant.folders,
            watch_filter=self.relevant,
            debounce=GROUPED,
            step=STEP,
            stop_event=self._stop,
            rust_timeout=ROUND,
            yield_on_timeout=True,
            raise_interrupt=False,
            ignore_permission_denied=True,
        )
        try:
            await self._in_thread(any_set=True)
        except (OSError, RuntimeError) as error:
            raise CliError(f"cannot watch for changes: {told(error)}; WATCHFILES_FORCE_POLLING=1 may help") from error

    async def next(self) -> list[Path]:
        """Wait for changes: the files, sorted, as they are below their folder."""
        found = await self._in_thread(any_set=False)
        return sorted({self.relevant.below(Path(path)) or Path(path) for _, path in found})

    async def _in_thread(self, *, any_set: bool) -> set[tuple[Any, str]]:
        try:
            return await trio.to_thread.run_sync(self._wait, any_set, abandon_on_cancel=True)
        except trio.Cancelled:
            self._stop.set()
            raise

    def _wait(self, any_set: bool) -> set[tuple[Any, str]]:
        for found in self._found:
            if found or any_set:
                return found
        return set()  # stopped: nobody is waiting any more
