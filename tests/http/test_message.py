"""Which status carries which error, in each era."""

import pytest

from tests.http.fetch import Fetch
from trio_mcp import Settings
from trio_mcp.http.asgi import Exchange
from trio_mcp.http.message import PER_REQUEST_STATUS, SESSION_STATUS, respond_error, status_headers


@pytest.mark.parametrize(
    ("code", "status"),
    [(-32700, 400), (-32600, 400), (-32602, 400), (-32020, 400), (-32021, 400), (-32022, 400), (-32601, 404)],
)
def test_errors_of_the_per_request_era_have_their_status(code: int, status: int):
    assert PER_REQUEST_STATUS[code] == status


@pytest.mark.parametrize("code", [-32603, -32000, 1, 0])
def test_an_error_of_the_application_is_an_answer_and_200(code: int):
    assert code not in PER_REQUEST_STATUS


def test_errors_of_the_session_era_are_answers_but_for_what_was_not_taken_in():
    assert set(SESSION_STATUS.values()) == {429, 503}
    assert set(SESSION_STATUS) == {429, 503}


@pytest.mark.parametrize("status", [200, 400, 404, 429, 503])
async def test_429_and_503_say_when_to_come_back(status: int):
    fetch = Fetch("POST", "/mcp", [], [b""])
    exchange = Exchange(fetch.scope, fetch.receive, fetch.send, Settings())
    await respond_error(exchange, status, -32600, "no", id="i", data={"a": 1}, headers=((b"x-more", b"1"),))
    assert fetch.json == {
        "jsonrpc": "2.0",
        "id": "i",
        "error": {"code": -32600, "message": "no", "data": {"a": 1}},
    }
    assert ("retry-after" in fetch.headers) == (status in (429, 503)) == bool(status_headers(status))
    assert fetch.headers["x-more"] == "1"


async def test_an_error_without_an_id_or_data_has_no_such_members():
    fetch = Fetch("POST", "/mcp", [], [b""])
    exchange = Exchange(fetch.scope, fetch.receive, fetch.send, Settings())
    await respond_error(exchange, 400, -32700, "no")
    assert fetch.json == {"jsonrpc": "2.0", "error": {"code": -32700, "message": "no"}}


@pytest.mark.parametrize("id", ["", 0, "0"])
async def test_an_id_that_is_falsy_is_an_id(id: str | int):
    fetch = Fetch("POST", "/mcp", [], [b""])
    await respond_error(Exchange(fetch.scope, fetch.receive, fetch.send, Settings()), 400, -32600, "no", id=id)
    assert fetch.json["id"] == id
