"""Resources and templates: what they show, what they give, what they refuse."""

import base64
import datetime
import logging
from dataclasses import dataclass
from typing import Any

import pytest

from tests.authoring.client import ERAS, PER_REQUEST, SESSION, connected
from trio_mcp import (
    Annotations,
    Context,
    File,
    Icon,
    Image,
    McpError,
    NotFoundError,
    RegistrationError,
    ResourceContents,
    ResourceError,
    Server,
    TextContent,
)

PNG = b"\x89PNG\r\n\x1a\n"


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@dataclass
class Setting:
    name: str
    value: int


# A row: what the function returns, what is said of its type, what the client reads.
VALUES: list[tuple[Any, str | None, dict[str, Any]]] = [
    ("text", None, {"mimeType": "text/plain", "text": "text"}),
    ("# Title", "text/markdown", {"mimeType": "text/markdown", "text": "# Title"}),
    (b"\x00\xff", None, {"mimeType": "application/octet-stream", "blob": coded(b"\x00\xff")}),
    (b"\x00\xff", "image/x-own", {"mimeType": "image/x-own", "blob": coded(b"\x00\xff")}),
    (b"a,b", "text/csv", {"mimeType": "text/csv", "text": "a,b"}),
    ({"a": [1]}, None, {"mimeType": "application/json", "text": '{"a":[1]}'}),
    ([1, 2], None, {"mimeType": "application/json", "text": "[1,2]"}),
    (3, None, {"mimeType": "application/json", "text": "3"}),
    (
        Setting("a", 1),
        "application/x.own+json",
        {"mimeType": "application/x.own+json", "text": '{"name":"a","value":1}'},
    ),
    (TextContent("t"), None, {"mimeType": "text/plain", "text": "t"}),
    (Image(PNG), None, {"mimeType": "image/png", "blob": coded(PNG)}),
    (File("a: 1", format="yaml"), None, {"mimeType": "application/yaml", "text": "a: 1"}),
]


@pytest.mark.parametrize(("value", "mime_type", "expected"), VALUES, ids=lambda value: str(value)[:20])
async def test_a_value_is_read_as_text_bytes_or_json(value, mime_type, expected):
    mcp = Server("s")

    @mcp.resource("config://app", mime_type=mime_type)
    async def config() -> Any:
        return value

    async with connected(mcp) as client:
        assert await client.read_resource("config://app") == [{"uri": "config://app", **expected}]


async def test_one_resource_may_have_several_contents_with_their_own_uris():
    mcp = Server("s")

    @mcp.resource("dir://all")
    async def everything() -> list[Any]:
        return [ResourceContents(uri="dir://a", text="a", meta={"k": 1}), "b"]

    async with connected(mcp) as client:
        assert await client.read_resource("dir://all") == [
            {"uri": "dir://a", "text": "a", "_meta": {"k": 1}},
            {"uri": "dir://all", "mimeType": "text/plain", "text": "b"},
        ]


@pytest.mark.parametrize("era", ERAS)
async def test_every_option_is_shown(era):
    mcp = Server("s")
    shown: dict[str, Any] = {
        "title": "The configuration",
        "description": "How it is set up.",
        "mime_type": "application/json",
        "annotations": Annotations(audience=["assistant"], priority=1, last_modified="1999-12-31T00:00:00Z"),
        "icons": [Icon("data:,x")],
        "meta": {"owner": "team"},
        "tags": ["b", "a"],
    }
    mcp.add_resource("config://app", lambda: {"a": 1}, name="app", size=2, **shown)
    mcp.add_resource("config://{part}", lambda part: part, name="part", **shown)
    expected = {
        "title": "The configuration",
        "description": "How it is set up.",
        "mimeType": "application/json",
        "annotations": {"audience": ["assistant"], "priority": 1, "lastModified": "1999-12-31T00:00:00Z"},
        "icons": [{"src": "data:,x"}],
        "_meta": {"owner": "team", "tags": ["a", "b"]},
    }
    async with connected(mcp, era) as client:
        [resource] = (await client.ask("resources/list"))["resources"]
        assert resource == {"uri": "config://app", "name": "app", "size": 2, **expected}
        [template] = (await client.ask("resources/templates/list"))["resourceTemplates"]
        assert template == {"uriTemplate": "config://{part}", "name": "part", **expected}


async def test_name_and_description_are_the_functions_own_by_default():
    mcp = Server("s")

    @mcp.resource("config://app")
    def config() -> str:
        """How it is set up."""
        return "x"

    assert config() == "x"
    async with connected(mcp) as client:
        [resource] = (await client.ask("resources/list"))["resources"]
        assert resource == {"uri": "config://app", "name": "config", "description": "How it is set up."}


# ---- templates


async def read_user(id: int, ctx: Context) -> dict[str, Any]:
    return {"id": id, "era": ctx.revision.per_request}


async def read_file(path: str) -> str:
    return path


async def read_page(q: str = "", limit: int = 10, sort: str | None = None) -> list[Any]:
    return [q, limit, sort]


async def read_tags(tags: tuple[str, ...] = ()) -> list[str]:
    return list(tags)


async def read_segments(parts: tuple[str, ...] = (), depth: int = 0) -> list[Any]:
    return [*parts, depth]


async def needs_query(q: str) -> str:
    return q


async def read_day(day: datetime.date) -> str:
    return day.strftime("%A")


TEMPLATES: list[tuple[str, Any, str, str]] = [
    ("users://{id}/profile", read_user, "users://7/profile", '{"id":7,"era":false}'),
    ("files://{+path}", read_file, "files://a/b.txt", "a/b.txt"),
    ("files:///{path}", read_file, "files:///a%20b", "a b"),
    ("search://x{?q,limit,sort}", read_page, "search://x", '["",10,null]'),
    ("search://x{?q,limit,sort}", read_page, "search://x?q=cats", '["cats",10,null]'),
    ("search://x{?q,limit,sort}", read_page, "search://x?q=c%26d&limit=3&sort=up", '["c&d",3,"up"]'),
    ("search://x?fixed=1{&q,limit}", read_page, "search://x?fixed=1&q=a", '["a",10,null]'),
    ("tags://x{?tags*}", read_tags, "tags://x?tags=a&tags=b", '["a","b"]'),
    ("tags://x/{tags*}", read_tags, "tags://x/a,b", '["a","b"]'),
    ("tree://x{/parts*}", read_segments, "tree://x/a/b", '["a","b",0]'),
    ("tree://x{/parts*}{?depth}", read_segments, "tree://x/a/b?depth=2", '["a","b",2]'),
    ("days://{day}", read_day, "days://1999-12-31", "Friday"),
]


@pytest.mark.parametrize(("template", "function", "uri", "text"), TEMPLATES)
async def test_a_template_gives_its_variables_to_the_function_as_their_types(template, function, uri, text):
    mcp = Server("s")
    mcp.add_resource(template, function)
    async with connected(mcp) as client:
        [contents] = await client.read_resource(uri)
        assert (contents["uri"], contents["text"]) == (uri, text)
        assert (await client.ask("resources/list"))["resources"] == []


async def test_a_resource_comes_before_templates_and_these_in_their_order():
    mcp = Server("s")
    mcp.add_resource("x://{a}", lambda a: f"first {a}", name="first")
    mcp.add_resource("x://{b}", lambda b: f"second {b}", name="second")
    mcp.add_resource("x://plain", lambda: "plain", name="plain")
    async with connected(mcp) as client:
        assert (await client.read_resource("x://plain"))[0]["text"] == "plain"
        assert (await client.read_resource("x://other"))[0]["text"] == "first other"


async def test_a_strict_server_still_takes_numbers_from_a_uri():
    mcp = Server("s", strict=True)
    mcp.add_resource("users://{id}/profile", read_user)
    async with connected(mcp) as client:
        assert (await client.read_resource("users://7/profile"))[0]["text"] == '{"id":7,"era":false}'


TRAVERSALS = [
    "files://../secret",
    "files://a/../../secret",
    "files://..%2Fsecret",
    "files://%2e%2e/secret",
    "files:///etc/passwd",
    "files://a%5C..%5Csecret",
    "files://a%00b",
]


@pytest.mark.parametrize("uri", TRAVERSALS)
@pytest.mark.parametrize("era", ERAS)
async def test_a_path_that_leads_outside_is_no_resource(uri, era):
    mcp = Server("s")
    ran: list[str] = []
    mcp.add_resource("files://{+path}", lambda path: ran.append(path), name="files")
    async with connected(mcp, era) as client:
        error = await client.fail("resources/read", {"uri": uri})
        assert error["data"] == {"uri": uri}
    assert ran == []


async def test_traversal_is_let_through_where_it_is_allowed():
    mcp = Server("s")
    mcp.add_resource("files://{+path}", read_file, allow_traversal=True)
    async with connected(mcp) as client:
        assert (await client.read_resource("files://../x"))[0]["text"] == "../x"


# ---- what is not there, and what fails


@pytest.mark.parametrize(("era", "code"), [(SESSION, -32002), (PER_REQUEST, -32602)])
@pytest.mark.parametrize("uri", ["users://x/y/z", "users://seven/profile", "users://8/profile"])
async def test_a_missing_resource_has_the_code_of_its_era_and_names_the_uri(era, code, uri):
    mcp = Server("s")

    @mcp.resource("users://{id}/profile")
    async def profile(id: int) -> str:
        raise NotFoundError(f"users://{id}/profile")

    async with connected(mcp, era) as client:
        error = await client.fail("resources/read", {"uri": uri})
        assert error == {"code": code, "message": f"Resource not found: {uri}", "data": {"uri": uri}}


@pytest.mark.parametrize("era", ERAS)
async def test_the_text_of_a_resource_error_reaches_the_client_and_no_other(era, caplog):
    mcp = Server("s")

    @mcp.resource("x://told")
    async def told() -> str:
        raise ResourceError("The disk is full")

    @mcp.resource("x://coded")
    def coded() -> str:
        raise McpError(4711, "Closed", {"until": "Monday"})

    @mcp.resource("x://secret")
    def secret() -> str:
        raise RuntimeError("secret")

    @mcp.resource("x://none")
    async def none() -> None:
        return None

    generic = {"code": -32603, "message": "Internal error in resources/read: see the server's log"}
    async with connected(mcp, era) as client:
        error = await client.fail("resources/read", {"uri": "x://told"})
        assert error == {"code": -32603, "message": "The disk is full"}
        error = await client.fail("resources/read", {"uri": "x://coded"})
        assert error == {"code": 4711, "message": "Closed", "data": {"until": "Monday"}}
        assert caplog.records == []
        assert await client.fail("resources/read", {"uri": "x://secret"}) == generic
        assert await client.fail("resources/read", {"uri": "x://none"}) == generic
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "raise ResourceError where there is nothing to read" in caplog.text


@pytest.mark.parametrize(
    ("uri", "function", "options", "message"),
    [
        ("config", lambda: "", {}, "'config' has no scheme: a resource needs a URI such as 'config://app'"),
        ("{scheme}://x", lambda scheme: "", {}, "has no scheme"),
        ("x://plain", read_file, {}, "read_file takes path, which 'x://plain' does not give"),
        ("x://{other}", read_file, {}, "read_file lacks a parameter for other"),
        ("x://{path}/{path2}", read_file, {}, "read_file lacks a parameter for path2"),
        ("x://{?q}", needs_query, {}, "does not always give q, which needs_query requires: give a default"),
        ("x://{path", read_file, {}, "x://{path"),
        ("x://{path}", read_file, {"size": 3}, "is a template, and its resources have no common size"),
        ("x://a", lambda: "", {"mimetype": "text/plain"}, "unknown option mimetype: there are name, title"),
        ("x://a", lambda: "", {"tags": "a"}, "tags are a list of strings"),
    ],
)
def test_what_cannot_be_a_resource_is_refused_with_the_reason(uri, function, options, message):
    mcp = Server("s")
    with pytest.raises(RegistrationError, match=message):
        mcp.resource(uri, **options)(function)
    assert not mcp.resources
    assert not mcp.templates


def test_a_decorator_without_its_uri_is_explained():
    mcp: Any = Server("s")
    with pytest.raises(RegistrationError, match=r'needs its URI: @mcp.resource\("config://app"\)'):
        mcp.resource(read_file)


# ---- changes


@pytest.mark.parametrize("era", ERAS)
async def test_resources_come_and_go_while_clients_listen(era):
    mcp = Server("s")
    changed = "notifications/resources/list_changed"
    async with connected(mcp, era) as client:
        if era == PER_REQUEST:
            await client.begin("subscriptions/listen", {"notifications": {"resourcesListChanged": True}})
            await client.hear("notifications/subscriptions/acknowledged")
        mcp.add_resource("x://a", lambda: "a", name="a")
        await client.hear(changed, 1)
        mcp.add_resource("x://{b}", lambda b: b, name="b")
        await client.hear(changed, 2)
        assert (await client.read_resource("x://a"))[0]["text"] == "a"
        mcp.remove_resource("x://a")
        await client.hear(changed, 3)
        assert (await client.read_resource("x://a"))[0]["text"] == "a"  # by the template
        mcp.remove_resource("x://{b}")
        await client.hear(changed, 4)
        await client.fail("resources/read", {"uri": "x://a"})
        with pytest.raises(KeyError):
            mcp.remove_resource("x://a")


@pytest.mark.parametrize("era", ERAS)
async def test_those_who_subscribed_to_a_resource_hear_that_it_changed(era):
    mcp = Server("s")
    updated = "notifications/resources/updated"

    @mcp.tool
    async def change(uri: str, ctx: Context) -> None:
        ctx.notify_resource_updated(uri)

    async with connected(mcp, era) as client:
        if era == PER_REQUEST:
            id, _ = await client.begin("subscriptions/listen", {"notifications": {"resourceSubscriptions": ["x://a"]}})
            await client.hear("notifications/subscriptions/acknowledged")
            expected = {"uri": "x://a", "_meta": {"io.modelcontextprotocol/subscriptionId": id}}
        else:
            await client.ask("resources/subscribe", {"uri": "x://a"})
            expected = {"uri": "x://a"}
        await client.call("change", uri="x://b")
        await client.call("change", uri="x://a")
        assert await client.hear(updated) == [expected]
        if era == SESSION:
            await client.ask("resources/unsubscribe", {"uri": "x://a"})
            await client.call("change", uri="x://a")
            await client.ask("ping")
            assert client.heard_of(updated) == [expected]
