"""Who hung up: one watcher for all connections of a worker, so that a disconnect is seen while the application works.

The kernel tells it through one epoll set (`EPOLLRDHUP`), at no cost to a request: nothing is spawned, nothing read, and
bytes of a pipelined request in front of the hang-up do not hide it. Where there is no epoll, or no socket, a
connection watches by reading ahead instead (`connection`).
"""

import select
from contextlib import suppress
from typing import Protocol

import trio


class Watched(Protocol):
    """A connection that wants to know."""

    def hung_up(self, *, gone: bool) -> None:
        """The peer sends no more; `gone`: it does not read either. Must not wait."""
        ...


class Hangups:
    """The watcher. `run` is a task of the worker."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._watched: dict[int, Watched] = {}

    def watch(self, fd: int, connection: Watched) -> bool:
        """Tell `connection` of hang-ups of `fd`; False where that cannot be, or `run` does not run."""
        if self._epoll is None:
            return False
        # Edge-triggered: each change is told once, and unread bytes do not wake us again and again.
        self._epoll.register(fd, select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLET)
        self._watched[fd] = connection
        return True

    def forget(self, fd: int, connection: Watched) -> None:
        """Stop telling `connection`, whose descriptor was `fd`: it may be closed by now, and be another's already."""
        if self._watched.get(fd) is connection:
            del self._watched[fd]
            if self._epoll is not None:
                with suppress(OSError):  # closed already, so the kernel has forgotten it by itself
                    self._epoll.unregister(fd)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled; started once `watch` can be called. Cancellation: the set is closed."""
        if not hasattr(select, "epoll"):
            task_status.started()
            return
        self._epoll = select.epoll()
        task_status.started()
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for fd, events in self._epoll.poll(0):
                    connection = self._watched.get(fd)
                    if connection is not None:
                        connection.hung_up(gone=bool(events & (select.EPOLLHUP | select.EPOLLERR)))
        finally:
            self._watched.clear()
            self._epoll.close()
            self._epoll = None
