"""Bytes become lines whatever pieces they come in, and a line that is too long costs no more memory than the bound."""

from collections.abc import Sequence

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trio_mcp.transports.lines import Lines
from trio_mcp.wire.jsonrpc import WireError


class Pieces:
    """A byte stream that gives these pieces, then its end."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self.reads = 0

    async def read(self) -> bytes:
        self.reads += 1
        await trio.lowlevel.checkpoint()
        return self._pieces.pop(0) if self._pieces else b""


async def lines_of(pieces: Sequence[bytes], max_line: int = 100) -> list[bytes | str]:
    """The lines; "too long" for each that is."""
    found: list[bytes | str] = []
    async for line in Lines(Pieces(pieces).read, max_line):
        if isinstance(line, WireError):
            assert line.code == -32600
            assert line.id is None
            assert str(max_line) in str(line)
        found.append("too long" if isinstance(line, WireError) else line)
    return found


def expected(data: bytes, max_line: int) -> list[bytes | str]:
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return ["too long" if len(line) > max_line else line for line in lines]


@given(
    st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\r", b"x" * 9, b"y" * 10, b"z" * 11, b"w" * 35]), max_size=30),
    st.data(),
)
def test_lines_are_the_same_however_the_bytes_are_cut(parts, data):
    text = b"".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=10)))
    pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert trio.run(lines_of, pieces, 10) == expected(text, 10)


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([], []),
        ([b"\n"], [b""]),
        ([b"a\nb\n"], [b"a", b"b"]),
        ([b"a\n", b"b"], [b"a", b"b"]),
        ([b"a", b"", b"b\r\n"], [b"ab\r"]),
        ([b"12345\n"], [b"12345"]),
        ([b"12345"], [b"12345"]),
        ([b"123456\n", b"a\n"], ["too long", b"a"]),
        ([b"123456"], ["too long"]),
        ([b"123", b"456", b"789" * 100, b"\na\n"], ["too long", b"a"]),
        ([b"123456", b"789\n123456\nb\n"], ["too long", "too long", b"b"]),
        ([b"123456", b"\n", b"\n"], ["too long", b""]),
    ],
)
async def test_lines_end_at_newlines_and_at_the_end(pieces, lines):
    assert await lines_of(pieces, 5) == lines


async def test_a_line_without_end_is_not_kept():
    class Endless:
        sent = 0
        largest = 0

        async def read(self) -> bytes:
            await trio.lowlevel.checkpoint()
            self.largest = max(self.largest, len(lines._buffer))
            self.sent += 1
            return b"x" * 1000 if self.sent < 1000 else b""

    endless = Endless()
    lines = Lines(endless.read, 5000)
    assert [isinstance(line, WireError) async for line in lines] == [True]
    assert endless.largest <= 6000


async def test_lines_that_are_there_already_are_given_without_reading():
    pieces = Pieces([b"a\nb\nc\n"])
    lines = Lines(pieces.read, 100)
    assert [await anext(lines) for _ in range(3)] == [b"a", b"b", b"c"]
    assert pieces.reads == 1


async def test_a_cancelled_wait_loses_nothing(autojump_clock):
    class Slow:
        pieces = iter([b"be", b"gin\nend"])

        async def read(self) -> bytes:
            await trio.sleep(10)
            return next(self.pieces, b"")

    lines = Lines(Slow().read, 100)
    with trio.move_on_after(15) as scope:
        await anext(lines)
    assert scope.cancelled_caught
    assert [line async for line in lines] == [b"begin", b"end"]
