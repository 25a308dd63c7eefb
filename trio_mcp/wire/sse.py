"""Server-sent events (WHATWG HTML, section 9.2): the encoder of our streams and the decoder that reads them back."""

from collections.abc import Iterator
from typing import Final

import msgspec

KEEPALIVE: Final = b":\n\n"


def encode_event(data: bytes, *, id: str | None = None, event: str | None = None, retry: int | None = None) -> bytes:
    r"""One event; `retry` in milliseconds. `data` is JSON on one line, or any text without `\r`.

    An id or an event name must not hold line breaks; ours never do.
    """
    head = ""
    if id is not None:
        head = f"id: {id}\n"
    if event is not None:
        head += f"event: {event}\n"
    if retry is not None:
        head += f"retry: {retry}\n"
    if b"\n" in data:
        data = data.replace(b"\n", b"\ndata: ")
    return b"%bdata: %b\n\n" % (head.encode(), data)


class Event(msgspec.Struct):
    """One event as read from a stream; `id` is the last one seen, `retry` only where this event set it."""

    data: str
    event: str = "message"
    id: str | None = None
    retry: int | None = None


class Decoder:
    """Bytes in any pieces to events, as a browser's EventSource reads them; comments are counted in `comments`.

    `last_id` is what `Last-Event-ID` should say: the id of the last event that was complete.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._after_cr = False
        self._at_start = True
        self._id: str | None = None
        self._data: list[str] = []
        self._event = ""
        self._retry: int | None = None
        self.last_id: str | None = None
        self.comments = 0

    def feed(self, piece: bytes) -> list[Event]:
        """The events that `piece` completes."""
        return [event for line in self._lines(piece) if (event := self._line(line)) is not None]

    def _lines(self, piece: bytes) -> Iterator[str]:
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        if piece.endswith(b"\r"):
            self._after_cr = True
        first, *lines = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._buffer += first
        for line in lines:
            text = self._buffer.decode("utf-8", "replace")
            yield text.removeprefix("\ufeff") if self._at_start else text
            self._at_start = False
            self._buffer = bytearray(line)

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        name, colon, value = line.partition(":")
        if not name and colon:
            self.comments += 1
            return None
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit() and len(value) < 16:
            self._retry = int(value)
        return None

    def _dispatch(self) -> Event | None:
        data, event, retry = self._data, self._event, self._retry
        self._data, self._event, self._retry = [], "", None
        self.last_id = self._id
        if not data:
            return None
        return Event("\n".join(data), event or "message", self.last_id, retry)
