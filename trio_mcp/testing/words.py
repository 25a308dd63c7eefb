"""Bytes on a link in a few words, for the trace: `POST /mcp tools/call 3`, `200: result 3`, `event: progress`."""

import re
from typing import Final

_REQUEST: Final = re.compile(rb"\A([A-Z]+) (\S+) HTTP/1\.1\r\n")
_STATUS: Final = re.compile(rb"\AHTTP/1\.1 (\d+)")
_METHOD: Final = re.compile(rb'"method":\s*"([^"]{1,60})"')
_ID: Final = re.compile(rb'"id":\s*("[^"]{0,40}"|-?\d{1,18})')
_TOOL: Final = re.compile(rb'"params":\s*\{[^{}]*?"name":\s*"([^"]{1,60})"')
_ANSWER: Final = re.compile(rb'"(result|error)":')
_LAST_EVENT: Final = re.compile(rb"(?i)\r\nlast-event-id: *(\S+)")


def in_words(data: bytes) -> str:
    """What a piece of a connection says."""
    parts: list[str] = []
    if request := _REQUEST.match(data):
        parts.append(f"{_text(request[1])} {_text(request[2]).partition('?')[0]}")
        if last := _LAST_EVENT.search(data):
            parts.append(f"after {_text(last[1])}")
    elif status := _STATUS.match(data):
        parts.append(_text(status[1]))
    messages = _messages(data)
    if not messages and b"event-stream" in data:
        parts.append("stream")
    parts += messages[:4]
    if len(messages) > 4:
        parts.append(f"and {len(messages) - 4} more")
    if parts:
        return " ".join(parts)
    if data.strip(b"0123456789abcdef\r\n") == b":":
        return "keepalive"
    if data.startswith(b"0\r\n"):
        return "end of stream"
    return f"{len(data)} bytes"


def _messages(data: bytes) -> list[str]:
    found = []
    for line in re.split(rb"\r?\n", data):
        id = _ID.search(line)
        number = f" {_text(id[1])}" if id else ""
        if method := _METHOD.search(line):
            tool = _TOOL.search(line) if method[1] == b"tools/call" else None
            found.append(_text(method[1]) + (f" {_text(tool[1])}" if tool else "") + number)
        elif answer := _ANSWER.search(line):
            found.append(_text(answer[1]) + number)
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
