"""What a test client answers to the server's own questions: by functions of the test, one a method.

It refuses to know how a question came: as a request of the session era, or inside a result of the per-request era.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import trio

from trio_mcp.protocol.errors import METHOD_NOT_FOUND, McpError
from trio_mcp.protocol.revisions import Revision
from trio_mcp.testing.client.pending import Json
from trio_mcp.wire.base import RequestId
from trio_mcp.wire.jsonrpc import encode_error, encode_result

Answers = Mapping[str, Callable[[Json], Any]]
"""By method a function of the params, async or not; it may raise `McpError`."""


class Answering:
    """The answers of one client, and which questions are being answered."""

    def __init__(self, answers: Answers) -> None:
        self._answers = {"ping": lambda _: {}, **answers}
        self._scopes: dict[RequestId, trio.CancelScope] = {}

    def knows(self, method: str) -> bool:
        """Whether there is an answer to this method."""
        return method in self._answers

    def capabilities(self, revision: Revision) -> Json:
        """What a client with these answers declares."""
        able: Json = {}
        if self.knows("elicitation/create"):
            able["elicitation"] = {"form": {}, "url": {}} if revision.url_elicitation else {}
        if self.knows("sampling/createMessage"):
            able["sampling"] = {"tools": {}} if revision.sampling_tools else {}
        if self.knows("roots/list"):
            able["roots"] = {}
        return able

    async def answer(self, method: str, params: Json) -> Any:
        """What the test answers.

        Raises:
            McpError: -32601 where it has no answer, or what its function raised.
        """
        if not self.knows(method):
            raise McpError(METHOD_NOT_FOUND, f"Method not found: {method}; this client has no answer to it")
        result = self._answers[method](params)
        return await result if inspect.isawaitable(result) else result

    async def reply(self, id: RequestId, method: str, params: Json) -> bytes | None:
        """The response to a request of the server; None where it was cancelled meanwhile."""
        with trio.CancelScope() as scope:
            self._scopes[id] = scope
            try:
                return encode_result(id, await self.answer(method, params))
            except McpError as error:
                return encode_error(id, error.code, error.message, error.data)
            finally:
                if self._scopes.get(id) is scope:
                    del self._scopes[id]
        return None

    def cancel(self, id: object) -> bool:
        """The server needs no answer any more; False where that question is none that is being answered."""
        scope = self._scopes.get(id) if isinstance(id, (str, int)) else None
        if scope is not None:
            scope.cancel("the server needs no answer any more")
        return scope is not None
