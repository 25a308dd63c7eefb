"""A result has the fields of its revision and no later ones, and what it was made from stays whole."""

import copy
from typing import Any

import msgspec
import pytest

from trio_mcp.protocol.revisions import REVISIONS, Revision
from trio_mcp.protocol.shaping import older_content, shape, shape_progress
from trio_mcp.wire.base import UNSET, JsonObject, Result
from trio_mcp.wire.completion import CompleteResult, Completion
from trio_mcp.wire.content import (
    Annotations,
    AudioContent,
    ContentBlock,
    EmbeddedResource,
    Icon,
    ImageContent,
    ResourceContents,
    ResourceLink,
    TextContent,
)
from trio_mcp.wire.lifecycle import (
    DiscoverResult,
    Implementation,
    InitializeResult,
    ProgressParams,
    ServerCapabilities,
)
from trio_mcp.wire.mrtr import InputRequiredResult
from trio_mcp.wire.prompts import GetPromptResult, ListPromptsResult, Prompt, PromptArgument, PromptMessage
from trio_mcp.wire.resources import (
    ListResourcesResult,
    ListResourceTemplatesResult,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
)
from trio_mcp.wire.subscriptions import ListenResult
from trio_mcp.wire.tools import CallToolResult, ListToolsResult, Tool, ToolAnnotations

R2024, R03, R06, R11, R2026 = REVISIONS.values()
STAMP: JsonObject = {"io.modelcontextprotocol/serverInfo": {"name": "s", "version": "1"}}
META: JsonObject = {"com.example/a": 1}
ICONS = [Icon("data:,")]
HINTS = Annotations(audience=["user"], priority=1.0, last_modified="2025-01-12T15:00:58Z")
CONTENTS = ResourceContents(uri="a:b", mime_type="text/plain", text="x", meta=META)
SCHEMA: JsonObject = {"type": "object"}

BLOCKS: list[ContentBlock] = [
    TextContent("x", HINTS, META),
    ImageContent("", "image/png", HINTS, META),
    AudioContent("", "audio/wav", HINTS, META),
    EmbeddedResource(CONTENTS, HINTS, META),
    ResourceLink("a:b", "b", "B", "about b", "text/plain", 0, ICONS, HINTS, META),
]


def everything() -> dict[str, Result]:
    """A result of each kind with every field that any revision has."""
    definition: dict[str, Any] = {"title": "T", "description": "d", "icons": ICONS, "meta": META}
    arguments = [PromptArgument(name="a", title="A", description="d", required=True)]
    return {
        "initialize": InitializeResult(
            protocol_version="x",
            capabilities=ServerCapabilities(
                experimental={}, logging={}, completions={}, prompts={}, resources={}, tools={}
            ),
            server_info=Implementation(
                name="s", version="1", title="S", description="d", icons=ICONS, website_url="https://s"
            ),
            instructions="i",
            meta=META,
        ),
        "tools/list": ListToolsResult(
            tools=[
                Tool(
                    name="t",
                    input_schema=SCHEMA,
                    output_schema=SCHEMA,
                    annotations=ToolAnnotations(title="T", read_only_hint=True),
                    **definition,
                )
            ],
            next_cursor="c",
            meta=META,
        ),
        "resources/list": ListResourcesResult(
            resources=[Resource(uri="a:b", name="b", mime_type="x/y", size=0, annotations=HINTS, **definition)]
        ),
        "resources/templates/list": ListResourceTemplatesResult(
            resource_templates=[
                ResourceTemplate(uri_template="a:{b}", name="b", mime_type="x/y", annotations=HINTS, **definition)
            ]
        ),
        "resources/read": ReadResourceResult(contents=[CONTENTS]),
        "prompts/list": ListPromptsResult(prompts=[Prompt(name="p", arguments=arguments, **definition)]),
        "prompts/get": GetPromptResult(
            messages=[PromptMessage("user", block) for block in BLOCKS], description="d", meta=META
        ),
        "tools/call": CallToolResult(content=list(BLOCKS), structured_content={"x": None}, is_error=True, meta=META),
        "completion/complete": CompleteResult(completion=Completion(values=["a"], total=1, has_more=False)),
        "empty": Result(),
    }


def shaped(result: Any, revision: Revision) -> Any:
    """The result as it stands on the wire."""
    result = shape(result, revision, stamp=STAMP, ttl_ms=5000, cache_scope="private")
    return msgspec.json.decode(msgspec.json.encode(result))


def places(value: Any, path: str = "") -> set[str]:
    """Every place of a JSON value where an object has a member; array items share one place."""
    if isinstance(value, dict):
        own = {f"{path}.{key}".removeprefix(".") for key in value}
        return own.union(*(places(item, f"{path}.{key}".removeprefix(".")) for key, item in value.items()))
    if isinstance(value, list):
        return set().union(*(places(item, path) for item in value))
    return set()


# By hand from the five schemas: what each result may hold at the oldest, and what each revision adds.
FIRST, TITLES, ICON = "2024-11-05", "2025-06-18", "2025-11-25"
CONTENT_FIRST = (
    "type text data mimeType annotations annotations.audience annotations.priority resource resource.uri "
    "resource.mimeType resource.text"
)
CONTENT_TITLES = (
    "_meta _meta.com.example/a annotations.lastModified resource._meta resource._meta.com.example/a uri name title "
    "description size"
)
CONTENT_ICONS = "icons icons.src"
OWN_META = "_meta _meta.com.example/a"


def below(prefix: str, names: str) -> str:
    return " ".join(f"{prefix}.{name}" for name in names.split())


ADDED: dict[str, dict[str, str]] = {
    "initialize": {
        FIRST: f"{OWN_META} protocolVersion capabilities instructions serverInfo serverInfo.name serverInfo.version "
        + below("capabilities", "experimental logging prompts resources tools"),
        "2025-03-26": "capabilities.completions",
        TITLES: "serverInfo.title",
        ICON: below("serverInfo", f"{CONTENT_ICONS} description websiteUrl"),
    },
    "tools/list": {
        FIRST: f"{OWN_META} tools nextCursor " + below("tools", "name description inputSchema inputSchema.type"),
        "2025-03-26": below("tools.annotations", "title readOnlyHint") + " tools.annotations",
        TITLES: below("tools", f"title outputSchema outputSchema.type {OWN_META}"),
        ICON: below("tools", CONTENT_ICONS),
    },
    "resources/list": {
        FIRST: "resources "
        + below(
            "resources", "uri name description mimeType size annotations annotations.audience annotations.priority"
        ),
        TITLES: below("resources", f"title annotations.lastModified {OWN_META}"),
        ICON: below("resources", CONTENT_ICONS),
    },
    "resources/templates/list": {
        FIRST: "resourceTemplates "
        + below(
            "resourceTemplates",
            "uriTemplate name description mimeType annotations annotations.audience annotations.priority",
        ),
        TITLES: below("resourceTemplates", f"title annotations.lastModified {OWN_META}"),
        ICON: below("resourceTemplates", CONTENT_ICONS),
    },
    "resources/read": {
        FIRST: "contents " + below("contents", "uri mimeType text"),
        TITLES: below("contents", OWN_META),
    },
    "prompts/list": {
        FIRST: "prompts "
        + below("prompts", "name description arguments arguments.name arguments.description arguments.required"),
        TITLES: below("prompts", f"title arguments.title {OWN_META}"),
        ICON: below("prompts", CONTENT_ICONS),
    },
    "prompts/get": {
        FIRST: f"{OWN_META} description messages messages.role messages.content "
        + below("messages.content", CONTENT_FIRST),
        TITLES: below("messages.content", CONTENT_TITLES),
        ICON: below("messages.content", CONTENT_ICONS),
    },
    "tools/call": {
        FIRST: f"{OWN_META} isError content " + below("content", CONTENT_FIRST),
        TITLES: below("content", CONTENT_TITLES) + " structuredContent structuredContent.x",
        ICON: below("content", CONTENT_ICONS),
    },
    "completion/complete": {FIRST: "completion completion.values completion.total completion.hasMore"},
    "empty": {FIRST: ""},
}
CACHED = {"tools/list", "resources/list", "resources/templates/list", "resources/read", "prompts/list"}


@pytest.mark.parametrize("revision", [R2024, R03, R06, R11], ids=lambda revision: revision.version)
@pytest.mark.parametrize("kind", ADDED)
def test_an_older_revision_gets_every_field_it_has_and_none_that_came_later(kind, revision):
    allowed = {place for since, text in ADDED[kind].items() if since <= revision.version for place in text.split()}
    assert places(shaped(everything()[kind], revision)) == allowed


@pytest.mark.parametrize("kind", sorted(set(ADDED) - {"initialize"}))
def test_the_newest_revision_gets_everything_and_its_stamps(kind):
    stamps = {"_meta", "resultType", "_meta.io.modelcontextprotocol/serverInfo"}
    stamps |= {f"_meta.io.modelcontextprotocol/serverInfo.{name}" for name in ("name", "version")}
    cached = {"ttlMs", "cacheScope"} if kind in CACHED else set()
    every = {place for text in ADDED[kind].values() for place in text.split()}
    value = shaped(everything()[kind], R2026)
    assert places(value) == every | stamps | cached
    assert value["resultType"] == "complete"
    assert value["_meta"].items() >= STAMP.items()
    if cached:
        assert (value["ttlMs"], value["cacheScope"]) == (5000, "private")


@pytest.mark.parametrize("revision", REVISIONS.values(), ids=lambda revision: revision.version)
def test_shaping_changes_nothing_that_a_result_was_made_from(revision):
    results = everything()
    held = [
        value
        for result in results.values()
        for field in ("tools", "resources", "resource_templates", "prompts", "contents", "messages", "content")
        for value in getattr(result, field, [])
    ]
    initialize = results["initialize"]
    assert isinstance(initialize, InitializeResult)
    held += [initialize.capabilities, initialize.server_info, STAMP, META, HINTS, *BLOCKS]
    before = copy.deepcopy(held)
    for result in results.values():
        shape(result, revision, stamp=STAMP, ttl_ms=1, cache_scope="public")
    assert held == before


def test_the_lists_that_a_result_was_given_stay_as_they_were():
    content, tools = [BLOCKS[4]], [Tool(name="t", input_schema={}, title="T")]
    shape(CallToolResult(content=content), R2024, stamp={}, ttl_ms=0, cache_scope="")
    shape(ListToolsResult(tools=tools), R2024, stamp={}, ttl_ms=0, cache_scope="")
    assert content == [BLOCKS[4]]
    assert tools[0].title == "T"


# Stamps and hints of the newest revision


def test_a_results_own_meta_and_hints_win():
    result = ListToolsResult(tools=[], meta={**STAMP, "x": 1}, ttl_ms=0, cache_scope="public")
    result.meta = {"io.modelcontextprotocol/serverInfo": "mine", "x": 1}
    value = shaped(result, R2026)
    assert value["_meta"] == {"io.modelcontextprotocol/serverInfo": "mine", "x": 1}
    assert (value["ttlMs"], value["cacheScope"]) == (0, "public")


def test_stamping_does_not_write_into_the_results_own_meta():
    meta: JsonObject = {"x": 1}
    shape(Result(meta=meta), R2026, stamp=STAMP, ttl_ms=0, cache_scope="")
    assert meta == {"x": 1}


def test_what_asks_for_input_says_so_and_carries_no_caching_hints():
    value = shaped(InputRequiredResult(result_type="input_required", request_state="s"), R2026)
    assert value == {"resultType": "input_required", "requestState": "s", "_meta": STAMP}


def test_discovery_and_the_end_of_a_subscription_are_stamped():
    value = shaped(DiscoverResult(supported_versions=["x"], capabilities=ServerCapabilities()), R2026)
    assert value.keys() == {"supportedVersions", "capabilities", "resultType", "_meta", "ttlMs", "cacheScope"}
    assert value["capabilities"] == {}
    assert shaped(ListenResult(), R2026) == {"resultType": "complete", "_meta": STAMP}


@pytest.mark.parametrize("revision", [R2024, R03, R06, R11], ids=lambda revision: revision.version)
def test_stamps_that_a_result_brings_along_are_taken_off_for_a_session(revision):
    result = ListToolsResult(tools=[], result_type="complete", ttl_ms=1, cache_scope="public")
    assert shaped(result, revision) == {"tools": []}


@pytest.mark.parametrize("revision", REVISIONS.values(), ids=lambda revision: revision.version)
def test_what_is_no_result_of_ours_passes_as_it_is(revision):
    for value in (msgspec.Raw(b'{"a":1}'), {"a": 1}, None, [1]):
        assert shape(value, revision, stamp=STAMP, ttl_ms=1, cache_scope="x") is value


# Structured content and output schemas


@pytest.mark.parametrize(
    ("structured", "versions"),
    [
        ({"a": 1}, {"2025-06-18", "2025-11-25", "2026-07-28"}),
        ({}, {"2025-06-18", "2025-11-25", "2026-07-28"}),
        ([1], {"2026-07-28"}),
        ("x", {"2026-07-28"}),
        (0, {"2026-07-28"}),
        (None, {"2026-07-28"}),
        (UNSET, set()),
    ],
)
def test_structured_content_is_an_object_until_it_may_be_anything(structured, versions):
    for revision in REVISIONS.values():
        value = shaped(CallToolResult(content=[], structured_content=structured), revision)
        assert ("structuredContent" in value) is (revision.version in versions)


@pytest.mark.parametrize(
    ("output", "versions"),
    [
        ({"type": "object"}, {"2025-06-18", "2025-11-25", "2026-07-28"}),
        ({"type": "array"}, {"2026-07-28"}),
        ({"type": ["object", "null"]}, {"2026-07-28"}),
        ({"anyOf": [{"type": "object"}]}, {"2026-07-28"}),
        ({}, {"2026-07-28"}),
        (None, set()),
    ],
)
def test_an_output_schema_is_of_an_object_until_it_may_be_of_anything(output, versions):
    for revision in REVISIONS.values():
        tools = [Tool(name="t", input_schema={}, output_schema=output)]
        (tool,) = shaped(ListToolsResult(tools=tools), revision)["tools"]
        assert ("outputSchema" in tool) is (revision.version in versions)


# Content


def test_a_link_is_put_into_words_where_links_are_unknown():
    for revision in (R2024, R03):
        assert older_content(BLOCKS[4], revision) == TextContent(
            "[resource b](a:b): about b", annotations=Annotations(audience=["user"], priority=1.0)
        )
        assert older_content(ResourceLink("a:b", "b"), revision) == TextContent("[resource b](a:b)")
    assert older_content(BLOCKS[4], R11) is BLOCKS[4]


def test_audio_is_named_where_audio_is_unknown():
    block = older_content(BLOCKS[2], R2024)
    assert isinstance(block, TextContent)
    assert "audio/wav" in block.text
    assert isinstance(older_content(BLOCKS[2], R03), AudioContent)


def test_a_block_without_later_fields_is_not_copied():
    for block in (TextContent("x"), EmbeddedResource(ResourceContents(uri="a:b", text="x"))):
        assert older_content(block, R2024) is block


def test_progress_has_no_message_at_the_oldest_and_the_callers_own_stays():
    params = ProgressParams(progress_token=1, progress=0.5, total=1, message="half")
    assert shape_progress(params, R2024) == ProgressParams(progress_token=1, progress=0.5, total=1)
    assert params.message == "half"
    for revision in (R03, R06, R11, R2026):
        assert shape_progress(params, revision) is params
