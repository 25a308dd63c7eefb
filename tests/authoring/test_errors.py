"""What a tool raises: which text reaches the client, and what stays in the log."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.authoring.client import connected
from trio_mcp import McpError, Server, ToolError

TEXT = {"type": "text"}
GENERIC = "Internal error in tools/call: see the server's log"


def raiser(error: BaseException) -> Callable[[], Any]:
    async def fail() -> str:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ToolError("No such city: Ulm"), {"content": [TEXT | {"text": "No such city: Ulm"}], "isError": True}),
        (ToolError(), {"content": [TEXT | {"text": ""}], "isError": True}),
        (
            ExceptionGroup("nursery", [ToolError("one"), ExceptionGroup("inner", [ToolError("two")])]),
            {"content": [TEXT | {"text": "one\ntwo"}], "isError": True},
        ),
    ],
    ids=["text", "empty", "group"],
)
async def test_a_tool_error_is_a_result_for_the_model_to_read(caplog, error, expected):
    mcp = Server("s")
    mcp.add_tool(raiser(error))
    async with connected(mcp) as client:
        assert await client.call("fail") == expected
    assert caplog.records == []


async def test_an_mcp_error_is_an_error_with_its_code_text_and_data(caplog):
    mcp = Server("s")
    mcp.add_tool(raiser(McpError(4711, "Closed today", {"until": "Monday"})))
    async with connected(mcp) as client:
        error = await client.fail("tools/call", {"name": "fail"})
        assert error == {"code": 4711, "message": "Closed today", "data": {"until": "Monday"}}
    assert caplog.records == []


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("secret"),
        KeyError("secret"),
        SystemExit("secret"),
        ExceptionGroup("secret", [ToolError("harmless"), RuntimeError("secret")]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_any_other_error_is_generic_for_the_client_and_one_traceback_in_the_log(caplog, error):
    mcp = Server("s")
    mcp.add_tool(raiser(error))
    async with connected(mcp) as client:
        response = await client.request("tools/call", {"name": "fail"})
        assert response["error"] == {"code": -32603, "message": GENERIC}
        assert "secret" not in str(response)
    [record] = caplog.records
    assert (record.levelno, record.name) == (logging.ERROR, "trio_mcp.dispatch")
    assert record.exc_info is not None
    assert record.exc_info[1] is error
