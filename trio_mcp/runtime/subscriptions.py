"""Who hears of changes: one hub of a host, for both eras.

2026-07-28, basic/patterns/subscriptions; before, server/resources: Subscriptions.
It refuses to encode: a listener puts the notification into its own words and its own outlet.
"""

from typing import Final, Protocol

#: kind of change → its notification.
CHANGED: Final = {
    "tools": "notifications/tools/list_changed",
    "prompts": "notifications/prompts/list_changed",
    "resources": "notifications/resources/list_changed",
    "resource": "notifications/resources/updated",
}


class Listener(Protocol):
    """One who wants to hear."""

    def heard(self, kind: str, uri: str | None) -> None:
        """A change happened: `kind` is a key of `CHANGED`, `uri` the resource's. Must not wait."""
        ...

    def farewell(self) -> None:
        """The server goes away: end what is only there to listen, at once."""
        ...


class Subscriptions:
    """The listeners of one host, told in the order they came."""

    def __init__(self) -> None:
        self._listeners: dict[Listener, None] = {}

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: Listener) -> None:
        """Tell `listener` from now on."""
        self._listeners[listener] = None

    def remove(self, listener: Listener) -> None:
        """Tell it no more; unknown ones are let pass."""
        self._listeners.pop(listener, None)

    def publish(self, kind: str, uri: str | None = None) -> None:
        """Tell everyone of a change."""
        for listener in tuple(self._listeners):
            listener.heard(kind, uri)

    def farewell(self) -> None:
        """Tell everyone that the server goes away."""
        for listener in tuple(self._listeners):
            listener.farewell()
