"""Heads of responses: what may stand in them, and what is remembered of them."""

from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import trio

from tests.http.lane_kit import GET, bench, respond
from trio_mcp.http import response as response_module
from trio_mcp.http.asgi import CONNECTION_EXTENSION, JSON_TYPE, Header, Receive, Scope, Send
from trio_mcp.http.response import check_headers
from trio_mcp.protocol.headers import SESSION_ID

SPLITTING = [b"a\r\nb: c", b"a\nb", b"a\rb", b"a\0b", b"\n", b"a\n"]


@pytest.mark.parametrize("text", SPLITTING)
def test_what_would_split_a_response_is_refused_in_names_and_values(text: bytes):
    check_headers([(b"x-a", b"caf\xc3\xa9\t \x7f"), (b"x-b", b"")])
    for header in ((text, b"a"), (b"x-a", text)):
        with pytest.raises(ValueError, match="CR, LF or NUL"):
            check_headers([JSON_TYPE, header])


@pytest.mark.parametrize("way", ["whole", "messages"])
@pytest.mark.parametrize("header", [(b"x-a", b"a\r\nb: c"), (b"x\na", b"a"), (SESSION_ID, b"a\r\nb: c")])
async def test_a_header_that_would_split_the_response_is_500_and_one_traceback(
    way: str, header: Header, autojump_clock, caplog: pytest.LogCaptureFixture
):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if way == "whole":
            await scope["extensions"][CONNECTION_EXTENSION].respond(200, (JSON_TYPE, header), b"{}")
        else:
            await send({"type": "http.response.start", "status": 200, "headers": [JSON_TYPE, header]})
            await send({"type": "http.response.body", "body": b"{}"})

    async with bench(app) as lab:
        for _ in range(2):  # what was refused once is not remembered as good
            peer = lab.connect()
            await peer.send(GET)
            answer = await peer.answer()
            assert (answer.status, answer[b"connection"], answer[b"b"]) == (500, b"close", None)
            assert await peer.remains() == b""
    assert [record.getMessage() for record in caplog.records] == ["the application failed on GET b'/'"] * 2
    assert all("CR, LF or NUL" in str(record.exc_info) for record in caplog.records)


@pytest.mark.parametrize("way", ["whole", "messages"])
async def test_after_a_refused_header_the_application_may_answer_in_other_words(way: str, autojump_clock):
    bad: tuple[Header, ...] = ((b"content-length", b"7"), (b"x-a", b"\n"))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        refused = respond(send, b"{}", x_a="\n")
        if way == "whole":
            refused.close()
            refused = scope["extensions"][CONNECTION_EXTENSION].respond(200, bad, b"{}")
        with pytest.raises(ValueError, match="CR, LF or NUL"):
            await refused
        await respond(send, b"sorry", 503, length=False)

    async with bench(app) as lab:
        peer = lab.connect()
        for _ in range(2):
            await peer.send(GET)
            answer = await peer.answer()
            assert (answer.status, answer.body, answer[b"connection"]) == (503, b"sorry", None)


async def test_the_heads_of_many_sessions_are_remembered_as_one(autojump_clock):
    headers: tuple[Header, ...] = ()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await scope["extensions"][CONNECTION_EXTENSION].respond(200, headers, b"{}")

    response_module._whole_head.cache_clear()
    async with bench(app) as lab:
        peer = lab.connect()
        for number in range(50):
            headers = (JSON_TYPE, (SESSION_ID, b"session-%d" % number))
            await peer.send(GET)
            answer = await peer.answer()
            found: dict[bytes, Any] = dict(answer.headers)
            assert list(found) == [b"content-type", SESSION_ID, b"content-length", b"date"]
            assert found[SESSION_ID] == b"session-%d" % number
        headers = ((b"connection", b"close"), (SESSION_ID, b"last"))
        await peer.send(GET)
        answer = await peer.answer()
        assert (answer[SESSION_ID], answer[b"connection"]) == (b"last", b"close")
        assert await peer.remains() == b""
    assert response_module._whole_head.cache_info().currsize == 2


@pytest.mark.parametrize("status", [200, 204])
async def test_a_whole_response_has_a_length_where_it_may_have_content(status: int, autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await scope["extensions"][CONNECTION_EXTENSION].respond(status, (), b"")

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(GET)
        assert (await peer.answer())[b"content-length"] == (b"0" if status == 200 else None)


async def test_the_length_of_what_head_does_not_get_keeps_the_connection(autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"7")]})
        await send({"type": "http.response.body"})

    async with bench(app) as lab:
        peer = lab.connect()
        for _ in range(2):
            await peer.send(GET.replace(b"GET", b"HEAD"))
            answer = await peer.answer("HEAD")
            assert (answer[b"content-length"], answer[b"connection"]) == (b"7", None)


async def test_the_date_is_new_also_where_the_clock_of_this_run_is_behind_the_last(
    monkeypatch: pytest.MonkeyPatch, autojump_clock
):
    monkeypatch.setattr(response_module, "_date", (trio.current_time() + 1000, b"date: long ago\r\n\r\n"))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(GET)
        date = (await peer.answer())[b"date"]
        assert date is not None
        assert parsedate_to_datetime(date.decode()).tzinfo is not None
