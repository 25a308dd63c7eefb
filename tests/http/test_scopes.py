"""Scopes of tools, resources and prompts: 403 before anything runs, in both eras; lists show what one may not call."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from tests.auth.issuer import URL, now
from tests.http.client import V2025_03, V2025_11, Session, Web, request, served
from tests.http.fetch import Fetch
from trio_mcp import Context, RegistrationError, Server, Settings
from trio_mcp.auth import AccessToken, StaticTokens
from trio_mcp.ops.bearer import Bearer

READER = "readers-token-is-long-enough-for-this"
WRITER = "writers-token-is-long-enough-for-this"
ROOT = "roots-token-is-long-enough-for-this-too"
METADATA = "http://127.0.0.1:8000/.well-known/oauth-protected-resource/mcp"
ERAS = ("session", "per request")


def scoped(ran: list[str], *, auth: bool = True, **settings: Any) -> Server:
    """A server whose parts ask for scopes."""
    tokens = {
        READER: AccessToken("reader", scopes="read"),
        WRITER: AccessToken("writer", scopes="read write", claims={"email": "w@example.org"}),
        ROOT: AccessToken("root", unrestricted=True),
    }
    options = {"authorization_servers": [URL], **settings}
    server = Server("scoped", auth=StaticTokens(tokens) if auth else None, settings=Settings(**options))

    @server.tool(scopes=["write"])
    async def write() -> str:
        ran.append("write")
        return "written"

    @server.tool(scopes=["write", "admin"])
    async def erase() -> str:
        ran.append("erase")
        return "erased"

    @server.tool
    async def whoami(ctx: Context) -> str:
        token = ctx.access_token
        said = (None, None) if token is None else (sorted(token.scopes), token.claims.get("email"))
        return f"{ctx.principal} {said[0]} {said[1]} {'authorization' in ctx.headers}"

    @server.tool
    async def peek(ctx: Context, uri: str) -> str:
        return str((await ctx.read_resource(uri))[0].text)

    @server.resource("secret://one", scopes=["write"])
    async def secret() -> str:
        ran.append("secret")
        return "one"

    @server.resource("secret://{name}/many", scopes=["write"])
    async def secrets(name: str) -> str:
        ran.append("secrets")
        return name

    @server.resource("open://one")
    async def public() -> str:
        return "open"

    @server.prompt(scopes=["write"])
    async def draft(topic: str) -> str:
        ran.append("draft")
        return topic

    @server.completion("draft", "topic")
    async def topics(value: str) -> list[str]:
        ran.append("topics")
        return ["secret topic"]

    return server


@asynccontextmanager
async def guarded(ran: list[str], **settings: Any) -> AsyncIterator[Web]:
    server = scoped(ran, **settings)
    assert server.auth is not None
    async with served(server, wrap=partial(Bearer, verifier=server.auth, now=now)) as web:
        yield web


def bearing(token: str) -> dict[str, Any]:
    return {"authorization": f"Bearer {token}"}


async def opened(web: Web, token: str, revision: str = V2025_11) -> Session:
    params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    fetch = await web.fetch(body=request(0, "initialize", params), headers=bearing(token))
    session = Session(web, fetch.headers["mcp-session-id"], revision)
    session.headers.update(bearing(token))
    assert (await session.notify("notifications/initialized")).status == 202
    return session


async def ask(web: Web, era: str, token: str, method: str, params: Any, **headers: Any) -> Fetch:
    """One request in one era."""
    if era == "session":
        return await (await opened(web, token)).ask(method, params, id="i", headers=headers).done()
    return await web.ask(method, params, id="i", headers={**bearing(token), **headers}).done()


REFERENCE = {"ref": {"type": "ref/prompt", "name": "draft"}, "argument": {"name": "topic", "value": ""}}
TEMPLATE = {"ref": {"type": "ref/resource", "uri": "secret://{name}/many"}, "argument": {"name": "name", "value": ""}}
GUARDED: list[tuple[str, Any]] = [
    ("tools/call", {"name": "write", "arguments": {}}),
    ("resources/read", {"uri": "secret://one"}),
    ("resources/read", {"uri": "secret://x/many"}),
    ("prompts/get", {"name": "draft", "arguments": {"topic": "x"}}),
    ("completion/complete", REFERENCE),
    ("completion/complete", TEMPLATE),
]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(("method", "params"), GUARDED)
async def test_without_the_scopes_it_is_403_before_anything_runs(era: str, method: str, params: Any, autojump_clock):
    ran: list[str] = []
    async with guarded(ran) as web:
        fetch = await ask(web, era, READER, method, params)
        assert fetch.status == 403
        assert fetch.headers["www-authenticate"] == (
            f'Bearer error="insufficient_scope", error_description="Insufficient scope: {method} needs write",'
            f' scope="read write", resource_metadata="{METADATA}"'
        )
        assert fetch.json["id"] == "i"
        assert fetch.error["code"] == 403
        assert fetch.error["data"] == {"requiredScopes": ["write"]}
        assert ran == []
        for token in (WRITER, ROOT):
            assert (await ask(web, era, token, method, params)).status == 200


@pytest.mark.parametrize("era", ERAS)
async def test_all_scopes_that_lack_are_told_at_once(era: str, autojump_clock):
    async with guarded([]) as web:
        fetch = await ask(web, era, READER, "tools/call", {"name": "erase", "arguments": {}})
        assert 'scope="admin read write"' in fetch.headers["www-authenticate"]
        fetch = await ask(web, era, WRITER, "tools/call", {"name": "erase", "arguments": {}})
        assert fetch.status == 403


@pytest.mark.parametrize("era", ERAS)
async def test_it_is_403_also_where_replies_are_always_streams(era: str, autojump_clock):
    async with guarded([], json_response=False) as web:
        assert (await ask(web, era, READER, *GUARDED[0])).status == 403
        assert (await ask(web, era, WRITER, *GUARDED[0])).streams
        fetch = await ask(web, era, READER, *GUARDED[0], accept="text/event-stream")
        assert fetch.status == 403


async def test_subscribing_needs_the_scopes_of_what_is_subscribed_to(autojump_clock):
    async with guarded([]) as web:
        session = await opened(web, READER)
        assert (await session.ask("resources/subscribe", {"uri": "secret://one"}).done()).status == 403
        assert (await session.ask("resources/subscribe", {"uri": "open://one"}).done()).status == 200
        assert web.host.find(session.id, "reader").subscribed == {"open://one"}  # type: ignore[union-attr]  # it is there
        params = {"notifications": {"resourceSubscriptions": ["open://one", "secret://x/many"]}}
        assert (await web.ask("subscriptions/listen", params, headers=bearing(READER)).done()).status == 403


async def test_in_a_batch_only_its_own_answer_is_an_error(autojump_clock):
    ran: list[str] = []
    async with guarded(ran) as web:
        session = await opened(web, READER, V2025_03)
        body = [request(1, *GUARDED[0]), request(2, "tools/call", {"name": "whoami", "arguments": {}})]
        answers = (await session.open(body=body).done()).json
        assert [answer["id"] for answer in answers if "error" in answer] == [1]
        assert ran == []


@pytest.mark.parametrize("era", ERAS)
async def test_a_tool_reads_for_its_caller_only_what_the_caller_may_read(era: str, autojump_clock):
    ran: list[str] = []
    async with guarded(ran) as web:
        peek = {"name": "peek", "arguments": {"uri": "secret://one"}}
        fetch = await ask(web, era, READER, "tools/call", peek)
        assert fetch.error["data"] == {"requiredScopes": ["write"]}
        assert ran == []
        assert "one" in str((await ask(web, era, WRITER, "tools/call", peek)).result)
        peek["arguments"] = {"uri": "open://one"}
        assert "open" in str((await ask(web, era, READER, "tools/call", peek)).result)


@pytest.mark.parametrize("era", ERAS)
async def test_lists_show_what_one_may_not_call(era: str, autojump_clock):
    async with guarded([]) as web:
        lists = [(await ask(web, era, token, "tools/list", {})).result["tools"] for token in (READER, WRITER, ROOT)]
        assert lists[0] == lists[1] == lists[2]
        assert [tool["name"] for tool in lists[0]] == ["write", "erase", "whoami", "peek"]


@pytest.mark.parametrize("era", ERAS)
async def test_a_function_learns_who_calls_and_sees_no_token(era: str, autojump_clock):
    async with guarded([]) as web:
        fetch = await ask(web, era, WRITER, "tools/call", {"name": "whoami", "arguments": {}})
        assert fetch.result["content"][0]["text"] == "writer ['read', 'write'] w@example.org False"


async def test_the_token_of_the_request_counts_and_not_the_one_that_opened_the_session(autojump_clock):
    tokens = {READER: AccessToken("same", scopes="read"), WRITER: AccessToken("same", scopes="write")}
    server = scoped([])
    async with served(server, wrap=partial(Bearer, verifier=StaticTokens(tokens), now=now)) as web:
        session = await opened(web, WRITER)
        write = {"name": "write", "arguments": {}}
        assert (await session.ask("tools/call", write).done()).status == 200
        assert (await session.ask("tools/call", write, headers=bearing(READER)).done()).status == 403


async def test_malformed_parameters_are_told_of_as_ever(autojump_clock):
    async with guarded([]) as web:
        for era in ERAS:
            assert (await ask(web, era, READER, "tools/call", {})).error["code"] == -32602
            assert (await ask(web, era, READER, "tools/call", {"name": "nothing"})).error["code"] == -32602
            assert (await ask(web, era, READER, "resources/read", {"uri": "none://x"})).error["code"] in (
                -32602,
                -32002,
            )


@pytest.mark.parametrize("era", ERAS)
async def test_where_the_server_has_no_auth_nobody_is_asked_for_scopes(era: str, autojump_clock):
    async with served(scoped([], auth=False)) as web:
        assert (await ask(web, era, "any", *GUARDED[0])).status == 200
        fetch = await ask(web, era, "any", "tools/call", {"name": "whoami", "arguments": {}})
        assert fetch.result["content"][0]["text"] == "None None None True"


async def test_a_request_that_went_around_the_wrapper_has_no_scopes(autojump_clock):
    """Fail closed: an endpoint that forgets to pass the authorization on must not open what is guarded."""
    server = scoped([])
    async with served(server) as web:
        Bearer(web.app, web.host, StaticTokens({READER: "x"}))
        for era in ERAS:
            assert (await ask(web, era, "any", *GUARDED[0])).status == 403


@pytest.mark.parametrize("wrong", ["write", ["two words"], ['a"b'], [""]])
@pytest.mark.parametrize("kind", ["tool", "resource", "template", "prompt"])
def test_scopes_that_cannot_be_are_refused_at_registration(wrong: Any, kind: str):
    server = Server("x")

    async def function(name: str = "") -> str:
        return name

    adders: dict[str, Any] = {
        "tool": server.add_tool,
        "prompt": server.add_prompt,
        "resource": partial(server.add_resource, "x://y"),
        "template": partial(server.add_resource, "x://{name}"),
    }
    with pytest.raises(RegistrationError, match="scope"):
        adders[kind](plain if kind == "resource" else function, scopes=wrong)


async def plain() -> str:
    return ""


def test_tools_of_a_hand_written_schema_have_scopes_too():
    server = Server("x")
    assert not server.scoped
    tool = server.register_tool("raw", "Raw.", {"type": "object"}, lambda arguments: "", scopes=["write"])
    assert tool.scopes == {"write"}
    assert server.scoped
