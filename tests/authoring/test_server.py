"""`Server` itself: what it says of itself, its lifespan, its pages, and second registrations of one name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from tests.authoring.client import ERAS, PER_REQUEST, SESSION, Client, connected, text_of
from trio_mcp import Context, Icon, RegistrationError, Server, Settings


def test_the_least_server_has_a_name():
    mcp = Server("mine")
    assert (mcp.name, mcp.info.version, mcp.instructions) == ("mine", "0.0.0", None)
    assert repr(mcp) == "<Server 'mine': 0 tools, 0 resources, 0 prompts>"


def full() -> Server:
    return Server(
        "mine",
        version="1.2",
        instructions="Be kind.",
        title="My server",
        icons=[Icon("data:,x", mime_type="image/png")],
        website_url="https://server.example",
    )


FULL = {
    "name": "mine",
    "version": "1.2",
    "title": "My server",
    "icons": [{"src": "data:,x", "mimeType": "image/png"}],
    "websiteUrl": "https://server.example",
}
CAPABILITIES = {
    "logging": {},
    "prompts": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "tools": {"listChanged": True},
}


async def test_a_session_is_told_who_serves():
    server = full()
    for revision, expected in ((SESSION, FULL), ("2024-11-05", {"name": "mine", "version": "1.2"}), (SESSION, FULL)):
        async with connected(server, revision) as client:
            assert client.handshake == {
                "protocolVersion": revision,
                "capabilities": CAPABILITIES,
                "serverInfo": expected,
                "instructions": "Be kind.",
            }


async def test_discovery_tells_who_serves():
    async with connected(full(), PER_REQUEST) as client:
        found = await client.ask("server/discover")
        assert found["instructions"] == "Be kind."
        assert found["capabilities"] == CAPABILITIES
        assert found["supportedVersions"][0] == PER_REQUEST
        assert found["_meta"] == {"io.modelcontextprotocol/serverInfo": FULL}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"page_size": 0}, "page_size must be at least 1, not 0"),
        ({"on_duplicate": "raise"}, "on_duplicate must be one of error, replace, ignore, not 'raise'"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Server("s", **options)


# ---- lifespan


async def test_the_lifespan_surrounds_the_serving_and_its_value_is_in_every_context():
    story: list[str] = []

    @asynccontextmanager
    async def lifespan(server: Server) -> AsyncIterator[dict[str, str]]:
        story.append(f"open {server.name}")
        yield {"db": "connected"}
        await trio.lowlevel.checkpoint()
        story.append("close")

    mcp = Server("s", lifespan=lifespan)

    @mcp.tool
    async def of_tool(ctx: Context) -> str:
        return ctx.lifespan["db"]

    @mcp.resource("x://db")
    def of_resource(ctx: Context) -> str:
        return ctx.lifespan["db"]

    @mcp.prompt
    async def of_prompt(ctx: Context) -> str:
        story.append("used")
        return ctx.lifespan["db"]

    async with connected(mcp) as client:
        assert text_of(await client.call("of_tool")) == "connected"
        assert (await client.read_resource("x://db"))[0]["text"] == "connected"
        got = await client.ask("prompts/get", {"name": "of_prompt"})
        assert got["messages"][0]["content"]["text"] == "connected"
    assert story == ["open s", "used", "close"]


async def test_a_server_without_a_lifespan_has_none_in_its_context():
    mcp = Server("s")

    @mcp.tool
    async def ask(ctx: Context) -> bool:
        return ctx.lifespan is None

    async with connected(mcp) as client:
        assert text_of(await client.call("ask")) == "true"


async def test_a_server_may_be_served_again():
    mcp = Server("s")
    mcp.add_tool(lambda: 1, name="one")
    for era in ERAS:
        async with connected(mcp, era) as client:
            assert text_of(await client.call("one")) == "1"


# ---- pages


def paged(page_size: int | None) -> Server:
    mcp = Server("s", page_size=page_size)
    for n in range(5):
        mcp.add_tool(lambda: None, name=f"t{n}")
        mcp.add_prompt(lambda: "", name=f"t{n}")
        mcp.add_resource(f"x://{n}", lambda: "", name=f"t{n}")
        mcp.add_resource(f"x://{n}/{{a}}", lambda a: "", name=f"t{n}")
    return mcp


async def pages(client: Client, method: str, key: str) -> list[list[str]]:
    found, cursor = [], None
    while True:
        page = await client.ask(method, {} if cursor is None else {"cursor": cursor})
        found.append([item["name"] for item in page[key]])
        cursor = page.get("nextCursor")
        if cursor is None:
            return found


LISTS = [
    ("tools/list", "tools"),
    ("prompts/list", "prompts"),
    ("resources/list", "resources"),
    ("resources/templates/list", "resourceTemplates"),
]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(("method", "key"), LISTS)
async def test_every_list_comes_in_pages_and_in_the_order_of_registration(era, method, key):
    async with connected(paged(2), era) as client:
        assert await pages(client, method, key) == [["t0", "t1"], ["t2", "t3"], ["t4"]]
        assert await pages(client, method, key) == [["t0", "t1"], ["t2", "t3"], ["t4"]]


@pytest.mark.parametrize("page_size", [None, 5, 6])
async def test_a_page_that_holds_all_has_no_successor(page_size):
    async with connected(paged(page_size)) as client:
        assert await pages(client, "tools/list", "tools") == [["t0", "t1", "t2", "t3", "t4"]]


@pytest.mark.parametrize(("method", "key"), LISTS)
async def test_the_empty_cursor_is_the_beginning(method, key):
    async with connected(paged(2)) as client:
        page = await client.ask(method, {"cursor": ""})
        assert [item["name"] for item in page[key]] == ["t0", "t1"]


@pytest.mark.parametrize("cursor", ["nonsense", "%%%", "dDk=", "ü", "/w==", "dDE"])
@pytest.mark.parametrize("era", ERAS)
async def test_a_cursor_that_is_not_ours_is_refused(era, cursor):
    async with connected(paged(2), era) as client:
        for method, _ in LISTS:
            error = await client.fail(method, {"cursor": cursor})
            assert error == {
                "code": -32602,
                "message": "Invalid params: unknown cursor; list again from the beginning",
                "data": {"cursor": cursor},
            }


async def test_a_cursor_stays_right_when_items_come_and_go_behind_it():
    mcp = paged(2)
    async with connected(mcp) as client:
        cursor = (await client.ask("tools/list"))["nextCursor"]
        mcp.remove_tool("t0")
        mcp.add_tool(lambda: None, name="t5")
        page = await client.ask("tools/list", {"cursor": cursor})
        assert [item["name"] for item in page["tools"]] == ["t2", "t3"]
        mcp.remove_tool("t3")  # the item that the next cursor names
        error = await client.fail("tools/list", {"cursor": page["nextCursor"]})
        assert error["code"] == -32602


# ---- one name, twice


def registered(mcp: Server, value: str) -> None:
    mcp.add_tool(lambda: value, name="t")
    mcp.add_prompt(lambda: value, name="t")
    mcp.add_resource("x://t", lambda: value, name="t")
    mcp.add_resource("x://t/{a}", lambda a: value, name="t")


async def values(mcp: Server) -> list[str]:
    async with connected(mcp) as client:
        prompt = await client.ask("prompts/get", {"name": "t"})
        return [
            text_of(await client.call("t")),
            prompt["messages"][0]["content"]["text"],
            (await client.read_resource("x://t"))[0]["text"],
            (await client.read_resource("x://t/a"))[0]["text"],
        ]


async def test_a_second_registration_is_an_error_by_default():
    mcp = Server("s")
    registered(mcp, "old")
    changes = mcp.changes
    again: list[tuple[str, Any]] = [
        ("tool 't'", lambda: mcp.add_tool(lambda: "new", name="t")),
        ("tool 't'", lambda: mcp.register_tool("t", "d", {"type": "object"}, lambda params: "new")),
        ("prompt 't'", lambda: mcp.add_prompt(lambda: "new", name="t")),
        ("resource 'x://t'", lambda: mcp.add_resource("x://t", lambda: "new", name="t")),
        ("resource 'x://t/{a}'", lambda: mcp.add_resource("x://t/{a}", lambda a: "new", name="t")),
    ]
    for what, register in again:
        with pytest.raises(RegistrationError) as caught:
            register()
        assert str(caught.value) == (
            f"there is a {what} already: give this one another name, or Server(on_duplicate='replace')"
        )
    assert mcp.changes == changes
    assert await values(mcp) == ["old"] * 4


async def test_a_second_registration_may_replace_the_first():
    mcp = Server("s", on_duplicate="replace")
    registered(mcp, "old")
    mcp.add_tool(lambda: 1, name="later")
    changes = mcp.changes
    registered(mcp, "new")
    assert mcp.changes == changes + 4
    assert list(mcp.tools) == ["t", "later"]
    assert await values(mcp) == ["new"] * 4


async def test_a_second_registration_may_be_ignored():
    mcp = Server("s", on_duplicate="ignore")
    registered(mcp, "old")
    first, changes = mcp.tools["t"], mcp.changes
    registered(mcp, "new")
    assert mcp.add_tool(lambda: "new", name="t") is first
    assert mcp.changes == changes
    assert await values(mcp) == ["old"] * 4


async def test_a_thread_limiter_belongs_to_one_server():
    assert Server("a", settings=Settings(threads=3)).limiter.total_tokens == 3
    assert Server("a").limiter is not Server("b").limiter


@pytest.mark.parametrize("era", ERAS)
async def test_a_resource_that_changes_outside_a_call_is_told_to_its_subscribers(era):
    mcp = Server("s")
    async with connected(mcp, era) as client:
        if era == PER_REQUEST:
            wanted = {"resourceSubscriptions": ["note://1"]}
            await client.begin("subscriptions/listen", {"notifications": wanted})
            await client.hear("notifications/subscriptions/acknowledged")
        else:
            await client.ask("resources/subscribe", {"uri": "note://1"})
        mcp.resource_updated("note://2")
        mcp.resource_updated("note://1")
        await client.hear("notifications/resources/updated", 1)
        (told,) = client.heard_of("notifications/resources/updated")
        assert told["uri"] == "note://1"
