"""What log records look like: a line for people, or a JSON object for programs. On stderr: stdout belongs to stdio.

It owns the set-up of logging, which the library itself never does, and both formats. The facts of a record are the
attributes that the one who logs gives as `extra=`. It refuses to let a record fail: what cannot be shown is named.
"""

import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec

#: What every record has; anything else on it is a fact that somebody gave.
PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: Names that a JSON line has of its own; a fact of that name is told apart by a line below it.
OWN: Final = frozenset({"ts", "level", "logger", "event", "process", "exception", "stack"})
#: Facts that the text of a record does not have already, as people see them behind it.
SHOWN: Final = ("session", "request_id")

DIM: Final = "\033[2m"
RESET: Final = "\033[0m"
COLOURS: Final = {"DEBUG": "\033[36m", "INFO": "\033[32m", "WARNING": "\033[33m", "ERROR": "\033[31m"}
COLOURS_BRIGHT: Final = {"CRITICAL": "\033[1;31m"}


def set_up_logging(level: str, form: str = "text", who: str = "", stream: TextIO | None = None) -> None:
    """Log from `level` on, as `text` or as `json`; does nothing where logging is set up already.

    Args:
        who: the process, where several write to the same place.
    """
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(who) if form == "json" else TextLines(who, coloured=is_coloured(stream)))
    logging.basicConfig(level=level.upper(), handlers=[handler])


def is_coloured(stream: TextIO) -> bool:
    """Whether colours are wanted: on a terminal, unless NO_COLOR is set to something or the terminal is a dumb one."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class TextLines(logging.Formatter):
    """A line for people: time, level, logger and text; a traceback below it."""

    def __init__(self, who: str = "", *, coloured: bool = False) -> None:
        super().__init__(datefmt="%H:%M:%S")
        self._who = f"{who} " if who else ""
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """Lay a record out."""
        time, level, name = self.formatTime(record, self.datefmt), record.levelname, record.name
        if self._coloured:
            colour = COLOURS.get(level) or COLOURS_BRIGHT.get(level, "")
            time, level, name = f"{DIM}{time}{RESET}", f"{colour}{level}{RESET}", f"{DIM}{name}{RESET}"
        facts = "".join(f" {key}={text_of(vars(record)[key])}" for key in SHOWN if key in vars(record))
        lines = [f"{time} {level} {self._who}{name}: {event_of(record)}{facts}"]
        if record.exc_info:
            lines.append(traceback_of(self, record))
        if record.stack_info:
            lines.append(record.stack_info)
        return "\n".join(lines)


class JsonLines(logging.Formatter):
    """A JSON object a line: `ts` (UTC), `level`, `logger`, `event`, the facts of the record, `exception`."""

    def __init__(self, who: str = "") -> None:
        super().__init__()
        self._who = who

    def format(self, record: logging.LogRecord) -> str:
        """Lay a record out."""
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": event_of(record),
        }
        if self._who:
            line["process"] = self._who
        for key, value in vars(record).items():
            if key not in PLAIN:
                line[f"{key}_" if key in OWN else key] = encodable(value)
        if record.exc_info:
            line["exception"] = traceback_of(self, record)
        if record.stack_info:
            line["stack"] = record.stack_info
        return msgspec.json.encode(line).decode()


def event_of(record: logging.LogRecord) -> str:
    """The text of a record; where its arguments do not fit, the text without them."""
    try:
        return _clean(record.getMessage())
    except Exception as error:
        return _clean(f"{record.msg!s} (its arguments do not fit: {type(error).__name__})")


def traceback_of(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback of a record, or why there is none."""
    try:
        assert record.exc_info
        return _clean(formatter.formatException(record.exc_info))
    except Exception as error:
        return f"{record.exc_info!r:.200} (no traceback: {type(error).__name__})"


def encodable(value: Any) -> Any:
    """A value, if it can be JSON; else its text, or the name of its type."""
    if type(value) in (int, float, bool, type(None)):
        return value
    if type(value) is str:
        return _clean(value)
    try:
        text = msgspec.json.encode(value)
        text.decode()
        return msgspec.Raw(text)
    except Exception:
        return text_of(value)


def text_of(value: Any) -> str:
    """The text of a value; the name of its type where it has none."""
    try:
        return _clean(str(value))
    except Exception:
        return f"<{type(value).__name__}>"


def _clean(text: str) -> str:
    """Text that can be encoded: lone surrogates, as of file names that are no UTF-8, are escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
