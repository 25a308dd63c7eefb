"""The wire structs carry the schema's fields under the schema's names, and nothing that is absent."""

import importlib
import inspect
import pkgutil
from typing import Any

import msgspec
import pytest
from msgspec import UNSET, Raw

import trio_mcp.wire
from trio_mcp.wire import (
    completion,
    content,
    elicitation,
    lifecycle,
    logging,
    mrtr,
    prompts,
    resources,
    roots,
    sampling,
    subscriptions,
    tools,
)
from trio_mcp.wire.base import CacheableResult, Params, Result, Wire

PREFIX = "io.modelcontextprotocol/"
RESULT = "_meta resultType"
CACHED = f"{RESULT} ttlMs cacheScope"
INPUT = "_meta inputResponses requestState"

# Field names as schema/<revision>/schema.ts has them, all revisions together; `!` marks what must be there. Left out:
# the experimental tasks of 2025-11-25 (Tool.execution, ServerCapabilities.tasks, `task` of parameters), and `_meta`
# where nothing here reads or writes one.
FIELDS: dict[type[Wire], str] = {
    Params: "",
    Result: RESULT,
    CacheableResult: CACHED,
    lifecycle.Implementation: "name! version! title description icons websiteUrl",
    lifecycle.ClientCapabilities: "experimental roots sampling elicitation tasks extensions",
    lifecycle.ServerCapabilities: "experimental logging completions prompts resources tools extensions",
    lifecycle.RequestMeta: f"progressToken {PREFIX}protocolVersion {PREFIX}clientInfo {PREFIX}clientCapabilities "
    f"{PREFIX}logLevel traceparent tracestate baggage",
    lifecycle.RequestParams: "_meta",
    lifecycle.PaginatedParams: "_meta cursor",
    lifecycle.InitializeParams: "_meta protocolVersion! capabilities! clientInfo!",
    lifecycle.InitializeResult: f"{RESULT} protocolVersion! capabilities! serverInfo! instructions",
    lifecycle.DiscoverResult: f"{CACHED} supportedVersions! capabilities! instructions",
    lifecycle.CancelledParams: "requestId reason",
    lifecycle.ProgressParams: "progressToken! progress! total message",
    content.Icon: "src! mimeType sizes theme",
    content.Annotations: "audience priority lastModified",
    content.TextContent: "type! text! annotations _meta",
    content.ImageContent: "type! data! mimeType! annotations _meta",
    content.AudioContent: "type! data! mimeType! annotations _meta",
    content.ResourceContents: "uri! mimeType text blob _meta",
    content.EmbeddedResource: "type! resource! annotations _meta",
    content.ResourceLink: "type! uri! name! title description mimeType size icons annotations _meta",
    content.ToolUseContent: "type! id! name! input! _meta",
    content.ToolResultContent: "type! toolUseId! content! structuredContent isError _meta",
    tools.ToolAnnotations: "title readOnlyHint destructiveHint idempotentHint openWorldHint",
    tools.Tool: "name! inputSchema! title description outputSchema annotations icons _meta",
    tools.ListToolsResult: f"{CACHED} tools! nextCursor",
    tools.CallToolParams: f"{INPUT} name! arguments",
    tools.CallToolResult: f"{RESULT} content! structuredContent isError",
    resources.Resource: "uri! name! title description mimeType annotations size icons _meta",
    resources.ResourceTemplate: "uriTemplate! name! title description mimeType annotations icons _meta",
    resources.ListResourcesResult: f"{CACHED} resources! nextCursor",
    resources.ListResourceTemplatesResult: f"{CACHED} resourceTemplates! nextCursor",
    resources.ReadResourceParams: f"{INPUT} uri!",
    resources.ReadResourceResult: f"{CACHED} contents!",
    resources.SubscribeParams: "_meta uri!",
    resources.ResourceUpdatedParams: "uri! _meta",
    prompts.PromptArgument: "name! title description required",
    prompts.Prompt: "name! title description arguments icons _meta",
    prompts.PromptMessage: "role! content!",
    prompts.ListPromptsResult: f"{CACHED} prompts! nextCursor",
    prompts.GetPromptParams: f"{INPUT} name! arguments",
    prompts.GetPromptResult: f"{RESULT} messages! description",
    completion.Reference: "type! name uri",
    completion.CompletionArgument: "name! value!",
    completion.CompletionContext: "arguments",
    completion.CompleteParams: "_meta ref! argument! context",
    completion.Completion: "values! total hasMore",
    completion.CompleteResult: f"{RESULT} completion!",
    elicitation.ElicitParams: "message! mode requestedSchema url elicitationId",
    elicitation.ElicitResult: "action! content",
    elicitation.ElicitationCompleteParams: "elicitationId!",
    sampling.SamplingMessage: "role! content! _meta",
    sampling.ModelHint: "name",
    sampling.ModelPreferences: "hints costPriority speedPriority intelligencePriority",
    sampling.ToolChoice: "mode",
    sampling.CreateMessageParams: "messages! maxTokens! modelPreferences systemPrompt includeContext temperature "
    "stopSequences metadata tools toolChoice",
    sampling.CreateMessageResult: "role! content! model! stopReason _meta",
    roots.Root: "uri! name _meta",
    roots.ListRootsResult: "roots!",
    logging.SetLevelParams: "_meta level!",
    logging.LogMessageParams: "level! data! logger",
    mrtr.InputRequest: "method! params",
    mrtr.InputRequiredResult: f"{RESULT} inputRequests requestState",
    mrtr.InputParams: INPUT,
    subscriptions.SubscriptionFilter: "toolsListChanged promptsListChanged resourcesListChanged resourceSubscriptions",
    subscriptions.ListenParams: "_meta notifications!",
    subscriptions.AcknowledgedParams: "notifications! _meta",
    subscriptions.ListenResult: RESULT,
}


def wire_structs() -> set[type[Wire]]:
    """Every struct that the wire package defines."""
    found: set[type[Wire]] = set()
    for module in pkgutil.iter_modules(trio_mcp.wire.__path__, "trio_mcp.wire."):
        members = vars(importlib.import_module(module.name)).values()
        found |= {member for member in members if inspect.isclass(member) and issubclass(member, Wire)}
    return found - {Wire}


def test_the_table_names_every_struct():
    assert wire_structs() == set(FIELDS)


@pytest.mark.parametrize(("struct", "names"), FIELDS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_struct_has_the_fields_of_the_schema_under_its_names(struct, names):
    fields = {field.encode_name + "!" * field.required for field in msgspec.structs.fields(struct)}
    if struct.__struct_config__.tag is not None:
        fields.add(f"{struct.__struct_config__.tag_field}!")
    assert fields == set(names.split())


TEXT = {"type": "text", "text": "hi"}
IMAGE = {"type": "image", "data": "AA==", "mimeType": "image/png"}
AUDIO = {"type": "audio", "data": "AA==", "mimeType": "audio/wav"}
FULL = {"annotations": {"audience": ["user", "assistant"], "priority": 0.5, "lastModified": "2025-01-12T15:00:58Z"}}
EMBEDDED = {"type": "resource", "resource": {"uri": "a:b", "mimeType": "text/plain", "text": ""}, "_meta": {}}
LINK = {"type": "resource_link", "uri": "a:b", "name": "b", "size": 0, "icons": [{"src": "data:,", "theme": "dark"}]}
META = {f"{PREFIX}protocolVersion": "2026-07-28", f"{PREFIX}clientCapabilities": {"sampling": {"tools": {}}}}
CLIENT = {"name": "c", "version": "1", "title": "C", "description": "d", "icons": [], "websiteUrl": "https://c"}
SCHEMA = {"type": "object", "properties": {"x": {"type": ["string", "null"], "default": None}}}

# What stands on the wire, in full and at its shortest.
EXAMPLES: list[tuple[type[Wire], dict[str, Any]]] = [
    (
        lifecycle.InitializeParams,
        {"protocolVersion": "2025-11-25", "capabilities": {"roots": {"listChanged": True}}, "clientInfo": CLIENT},
    ),
    (
        lifecycle.InitializeResult,
        {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {"listChanged": True}, "logging": {}},
            "serverInfo": {"name": "s", "version": ""},
            "instructions": "",
        },
    ),
    (
        lifecycle.DiscoverResult,
        {
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": {},
            "ttlMs": 0,
            "cacheScope": "public",
            "_meta": {f"{PREFIX}serverInfo": {"name": "s", "version": "1"}},
        },
    ),
    (lifecycle.RequestParams, {}),
    (lifecycle.RequestParams, {"_meta": {}}),
    (lifecycle.RequestParams, {"_meta": {"progressToken": 0}}),
    (
        lifecycle.RequestParams,
        {
            "_meta": {
                **META,
                "progressToken": "",
                f"{PREFIX}clientInfo": CLIENT,
                f"{PREFIX}logLevel": "info",
                "traceparent": "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
                "tracestate": "a=b",
                "baggage": "c=d",
            }
        },
    ),
    (lifecycle.PaginatedParams, {"cursor": ""}),
    (lifecycle.CancelledParams, {"requestId": 0, "reason": ""}),
    (lifecycle.ProgressParams, {"progressToken": "t", "progress": 0.0}),
    (lifecycle.ProgressParams, {"progressToken": 1, "progress": 0.5, "total": 1.0, "message": ""}),
    (tools.Tool, {"name": "t", "inputSchema": {"type": "object"}}),
    (
        tools.ListToolsResult,
        {
            "tools": [
                {
                    "name": "t",
                    "title": "T",
                    "description": "",
                    "inputSchema": SCHEMA,
                    "outputSchema": {"type": "array"},
                    "annotations": {"title": "T", "readOnlyHint": False, "openWorldHint": True},
                    "icons": [{"src": "https://x", "mimeType": "image/png", "sizes": ["48x48"]}],
                    "_meta": {"com.example/a": None},
                }
            ],
            "nextCursor": "",
        },
    ),
    (tools.CallToolParams, {"name": "t", "arguments": {"a": None}, "requestState": "", "inputResponses": {"k": {}}}),
    (tools.CallToolResult, {"content": []}),
    (
        tools.CallToolResult,
        {"content": [TEXT, IMAGE | FULL, AUDIO, EMBEDDED, LINK], "structuredContent": None, "isError": True},
    ),
    (resources.ListResourcesResult, {"resources": [{"uri": "a:b", "name": "b", "size": 0, **FULL}]}),
    (resources.ListResourceTemplatesResult, {"resourceTemplates": [{"uriTemplate": "a:{b}", "name": "b", **FULL}]}),
    (resources.ReadResourceParams, {"uri": "a:b", "requestState": "s"}),
    (resources.ReadResourceResult, {"contents": [{"uri": "a:b", "text": ""}, {"uri": "a:c", "blob": ""}]}),
    (resources.SubscribeParams, {"uri": "a:b"}),
    (resources.ResourceUpdatedParams, {"uri": "a:b", "_meta": {f"{PREFIX}subscriptionId": 1}}),
    (
        prompts.ListPromptsResult,
        {"prompts": [{"name": "p", "arguments": [{"name": "a", "title": "A", "required": True}]}]},
    ),
    (prompts.GetPromptParams, {"name": "p", "arguments": {"a": "1"}}),
    (prompts.GetPromptResult, {"messages": [{"role": "assistant", "content": EMBEDDED}], "description": "d"}),
    (
        completion.CompleteParams,
        {
            "ref": {"type": "ref/prompt", "name": "p"},
            "argument": {"name": "a", "value": ""},
            "context": {"arguments": {"b": "c"}},
        },
    ),
    (
        completion.CompleteParams,
        {"ref": {"type": "ref/resource", "uri": "a:{b}"}, "argument": {"name": "b", "value": "x"}},
    ),
    (completion.CompleteResult, {"completion": {"values": [], "total": 0, "hasMore": False}}),
    (elicitation.ElicitParams, {"message": "m", "requestedSchema": SCHEMA}),
    (elicitation.ElicitParams, {"message": "m", "mode": "url", "url": "https://x", "elicitationId": "e"}),
    (elicitation.ElicitResult, {"action": "accept", "content": {"a": 1, "b": True, "c": ["x"]}}),
    (elicitation.ElicitResult, {"action": "cancel"}),
    (elicitation.ElicitationCompleteParams, {"elicitationId": "e"}),
    (
        sampling.CreateMessageParams,
        {
            "messages": [
                {"role": "user", "content": TEXT},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "1", "name": "t", "input": {}}],
                },
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "toolUseId": "1", "content": [TEXT], "structuredContent": []}],
                },
            ],
            "maxTokens": 1,
            "modelPreferences": {"hints": [{"name": "x"}, {}], "costPriority": 0.0},
            "includeContext": "none",
            "temperature": 0.0,
            "stopSequences": [],
            "tools": [{"name": "t", "inputSchema": {"type": "object"}}],
            "toolChoice": {"mode": "required"},
        },
    ),
    (sampling.CreateMessageResult, {"role": "assistant", "content": IMAGE, "model": "m", "stopReason": "endTurn"}),
    (roots.ListRootsResult, {"roots": [{"uri": "file:///a", "name": "", "_meta": {}}, {"uri": "file:///b"}]}),
    (logging.SetLevelParams, {"level": "emergency"}),
    (logging.LogMessageParams, {"level": "debug", "data": None, "logger": "l"}),
    (
        mrtr.InputRequiredResult,
        {
            "resultType": "input_required",
            "inputRequests": {"a": {"method": "roots/list"}, "b": {"method": "elicitation/create", "params": {}}},
            "requestState": "s",
        },
    ),
    (subscriptions.ListenParams, {"notifications": {}, "_meta": META}),
    (
        subscriptions.AcknowledgedParams,
        {"notifications": {"toolsListChanged": True, "resourceSubscriptions": ["a:b"]}, "_meta": {}},
    ),
    (subscriptions.ListenResult, {"resultType": "complete", "_meta": {f"{PREFIX}subscriptionId": "s"}}),
]


@pytest.mark.parametrize(("struct", "value"), EXAMPLES)
def test_what_is_read_is_written_as_it_was(struct, value):
    data = msgspec.json.encode(value)
    assert msgspec.json.decode(msgspec.json.encode(msgspec.json.decode(data, type=struct))) == value


@pytest.mark.parametrize(("struct", "value"), EXAMPLES)
def test_fields_of_a_later_revision_do_not_break_the_reader(struct, value):
    data = msgspec.json.encode({**value, "fromTheFuture": {"x": [None]}})
    assert msgspec.json.decode(data, type=struct) == msgspec.json.decode(msgspec.json.encode(value), type=struct)


@pytest.mark.parametrize("struct", list(FIELDS), ids=lambda struct: getattr(struct, "__name__", ""))
def test_what_is_absent_is_left_out_and_never_null(struct):
    required = {field.name: None for field in msgspec.structs.fields(struct) if field.required}
    written = msgspec.json.decode(msgspec.json.encode(struct(**required)))
    names = {field.encode_name for field in msgspec.structs.fields(struct) if field.required}
    tag = {struct.__struct_config__.tag_field} if struct.__struct_config__.tag is not None else set()
    assert set(written) == names | tag


@pytest.mark.parametrize(
    ("block", "type"),
    [
        (content.TextContent("x"), "text"),
        (content.ImageContent("", "image/png"), "image"),
        (content.AudioContent("", "audio/wav"), "audio"),
        (content.EmbeddedResource(content.ResourceContents(uri="a:b")), "resource"),
        (content.ResourceLink("a:b", "b"), "resource_link"),
    ],
)
def test_a_content_block_is_known_by_its_type(block, type):
    data = msgspec.json.encode(block)
    assert msgspec.json.decode(data)["type"] == type
    assert msgspec.json.decode(data, type=content.ContentBlock) == block


@pytest.mark.parametrize(
    "block", [{}, {"text": "x"}, {"type": "video"}, {"type": None, "text": "x"}, {"type": "text"}, "text", None]
)
def test_a_block_of_no_known_type_is_refused(block):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(block), type=content.ContentBlock)


def test_structured_content_that_is_null_differs_from_none_at_all():
    assert b"structuredContent" not in msgspec.json.encode(tools.CallToolResult(content=[]))
    assert b'"structuredContent":null' in msgspec.json.encode(tools.CallToolResult(content=[], structured_content=None))
    assert msgspec.json.decode(b'{"content":[]}', type=tools.CallToolResult).structured_content is UNSET


def test_an_empty_capability_is_written_and_read_as_one():
    capabilities = lifecycle.ClientCapabilities(sampling={})
    assert msgspec.json.encode(capabilities) == b'{"sampling":{}}'
    assert msgspec.json.decode(b'{"sampling":{}}', type=lifecycle.ClientCapabilities) == capabilities


def test_arguments_stay_bytes_until_the_tool_reads_them():
    params = msgspec.json.decode(b'{"name":"t","arguments": {"a":  1e400} }', type=tools.CallToolParams)
    assert bytes(params.arguments) == b'{"a":  1e400}'
    assert bytes(msgspec.json.decode(b'{"name":"t"}', type=tools.CallToolParams).arguments) == b"{}"
    assert isinstance(params.arguments, Raw)


def test_the_severities_ascend_as_rfc_5424_has_them():
    order = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
    assert sorted(logging.SEVERITY, key=logging.SEVERITY.__getitem__) == order
    assert len(set(logging.SEVERITY.values())) == 8


def test_the_text_of_a_sampled_message_joins_its_text_blocks():
    blocks: list[content.SamplingContent] = [
        content.TextContent("a"),
        content.ImageContent("", "x/y"),
        content.TextContent("b"),
    ]
    message = sampling.CreateMessageResult(role="assistant", content=blocks, model="m")
    assert message.text == "a\nb"
    message = sampling.CreateMessageResult(role="assistant", content=content.TextContent("c"), model="m")
    assert message.text == "c"
