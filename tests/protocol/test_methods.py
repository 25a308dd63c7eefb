"""The table of methods is the schemas' own: each name, which way it goes, and in which revisions."""

import msgspec
import pytest
from msgspec import Raw

from trio_mcp.protocol.errors import INVALID_PARAMS, PARSE_ERROR, McpError
from trio_mcp.protocol.methods import METHODS, Direction, find_request
from trio_mcp.protocol.revisions import REVISIONS

# By hand from schema/<revision>/schema.ts (the unions ClientRequest, ClientNotification, ServerRequest and
# ServerNotification); one column a revision, oldest first: S is received by the server, C by the client, B by both.
# Not here are the experimental tasks of 2025-11-25: tasks/get, tasks/result, tasks/list, tasks/cancel,
# notifications/tasks/status. Sampling, roots and elicitation of 2026-07-28 are no messages but parts of a result.
REQUESTS: dict[str, str] = {
    "initialize": "SSSS.",
    "ping": "BBBB.",
    "server/discover": "....S",
    "tools/list": "SSSSS",
    "tools/call": "SSSSS",
    "resources/list": "SSSSS",
    "resources/templates/list": "SSSSS",
    "resources/read": "SSSSS",
    "resources/subscribe": "SSSS.",
    "resources/unsubscribe": "SSSS.",
    "prompts/list": "SSSSS",
    "prompts/get": "SSSSS",
    "completion/complete": "SSSSS",
    "logging/setLevel": "SSSS.",
    "subscriptions/listen": "....S",
    "sampling/createMessage": "CCCC.",
    "roots/list": "CCCC.",
    "elicitation/create": "..CC.",
}
NOTIFICATIONS: dict[str, str] = {
    "notifications/initialized": "SSSS.",
    "notifications/cancelled": "BBBBB",
    "notifications/progress": "BBBBC",
    "notifications/roots/list_changed": "SSSS.",
    "notifications/message": "CCCCC",
    "notifications/tools/list_changed": "CCCCC",
    "notifications/prompts/list_changed": "CCCCC",
    "notifications/resources/list_changed": "CCCCC",
    "notifications/resources/updated": "CCCCC",
    "notifications/elicitation/complete": "...C.",
    "notifications/subscriptions/acknowledged": "....C",
}
RECEIVER = {"S": Direction.TO_SERVER, "C": Direction.TO_CLIENT, "B": Direction.BOTH}
ROWS = [(name, row, "notifications/" in name) for name, row in (REQUESTS | NOTIFICATIONS).items()]


def test_the_table_has_every_method_of_the_schemas_and_no_other():
    assert METHODS.keys() == REQUESTS.keys() | NOTIFICATIONS.keys()
    assert all(name == method.name for name, method in METHODS.items())


@pytest.mark.parametrize(("name", "row", "notification"), ROWS)
def test_a_method_is_in_the_revisions_that_have_it_and_goes_the_way_it_goes_there(name, row, notification):
    method = METHODS[name]
    assert method.notification is notification
    assert [method.within(revision) for revision in REVISIONS.values()] == [cell != "." for cell in row]
    assert method.direction is RECEIVER[row.strip(".")[0]]


@pytest.mark.parametrize(("name", "row", "notification"), ROWS)
def test_only_a_request_of_this_revision_is_found_and_only_by_its_receiver(name, row, notification):
    for revision, cell in zip(REVISIONS.values(), row, strict=True):
        for letter in "SC":
            found = find_request(name, revision, RECEIVER[letter])
            expected = METHODS[name] if cell in (letter, "B") and not notification else None
            assert found is expected


@pytest.mark.parametrize("name", ["", "Tools/list", "tools/list ", "tools", "notifications/unknown", "rpc.discover"])
def test_a_name_is_taken_as_it_stands(name):
    assert find_request(name, REVISIONS["2026-07-28"], Direction.TO_SERVER) is None


def test_three_methods_are_named_by_a_parameter_and_may_ask_for_input():
    assert {name: row.named_by for name, row in METHODS.items() if row.named_by} == {
        "tools/call": "name",
        "prompts/get": "name",
        "resources/read": "uri",
    }
    assert {name for name, row in METHODS.items() if row.input_required} == {
        "tools/call",
        "prompts/get",
        "resources/read",
    }


def test_caching_hints_go_with_discovery_the_four_lists_and_reading():
    assert {name for name, row in METHODS.items() if row.cacheable} == {
        "server/discover",
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "prompts/list",
    }


# The parameters without which a method cannot be read, each with a value.
REQUIRED: dict[str, dict[str, object]] = {
    "initialize": {"protocolVersion": "x", "capabilities": {}, "clientInfo": {"name": "", "version": ""}},
    "tools/call": {"name": ""},
    "resources/read": {"uri": ""},
    "resources/subscribe": {"uri": ""},
    "resources/unsubscribe": {"uri": ""},
    "prompts/get": {"name": ""},
    "completion/complete": {"ref": {"type": "ref/prompt", "name": ""}, "argument": {"name": "", "value": ""}},
    "logging/setLevel": {"level": "info"},
    "subscriptions/listen": {"notifications": {}},
    "notifications/progress": {"progressToken": 1, "progress": 0},
    "notifications/message": {"level": "info", "data": None},
    "notifications/resources/updated": {"uri": ""},
    "notifications/elicitation/complete": {"elicitationId": ""},
    "notifications/subscriptions/acknowledged": {"notifications": {}},
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_reads_parameters_with_no_more_than_is_required(name):
    METHODS[name].read(Raw(msgspec.json.encode(REQUIRED.get(name, {}))))


@pytest.mark.parametrize(("name", "missing"), [(name, key) for name, keys in REQUIRED.items() for key in keys])
def test_a_parameter_that_is_missing_is_named(name, missing):
    params = {key: value for key, value in REQUIRED[name].items() if key != missing}
    with pytest.raises(McpError, match=f"Invalid params for {name}: .*`{missing}`") as caught:
        METHODS[name].read(Raw(msgspec.json.encode(params)))
    assert caught.value.code == INVALID_PARAMS


@pytest.mark.parametrize(
    ("name", "params", "place"),
    [
        ("tools/call", '{"name":5}', "$.name"),
        ("tools/call", '{"name":"x","_meta":[]}', "$._meta"),
        ("tools/call", '{"name":"x","_meta":{"progressToken":1.5}}', "$._meta.progressToken"),
        ("tools/call", '{"name":"x","_meta":{"progressToken":true}}', "$._meta.progressToken"),
        ("tools/list", '{"cursor":5}', "$.cursor"),
        ("logging/setLevel", '{"level":"verbose"}', "$.level"),
        ("logging/setLevel", '{"level":"INFO"}', "$.level"),
        ("completion/complete", '{"ref":{"type":"ref/tool"},"argument":{}}', "$.ref.type"),
        ("notifications/progress", '{"progressToken":1,"progress":"1"}', "$.progress"),
        ("notifications/progress", '{"progressToken":1,"progress":1e999}', "$.progress"),
        ("notifications/progress", f'{{"progressToken":{"9" * 5000},"progress":1}}', "$.progressToken"),
        ("subscriptions/listen", '{"notifications":{"resourceSubscriptions":"x"}}', "resourceSubscriptions"),
        ("initialize", '{"protocolVersion":1,"capabilities":{},"clientInfo":{}}', "$.protocolVersion"),
        ("initialize", '{"protocolVersion":"x","capabilities":[],"clientInfo":{}}', "$.capabilities"),
    ],
)
def test_a_wrong_parameter_is_refused_with_its_place(name, params, place):
    with pytest.raises(McpError) as caught:
        METHODS[name].read(Raw(params.encode()))
    assert caught.value.code == INVALID_PARAMS
    assert place in caught.value.message


@pytest.mark.parametrize("text", [b'{"name":"\\ud800"}', b'{"name":"\xff"}', b'{"name":', b'{"x":' + b"[" * 9999])
def test_text_that_is_no_json_is_a_parse_error(text):
    with pytest.raises(McpError) as caught:
        METHODS["tools/call"].read(Raw(text))
    assert caught.value.code == PARSE_ERROR


def test_unknown_parameters_are_ignored():
    params = METHODS["tools/list"].read(Raw(b'{"cursor":"c","limit":5,"_meta":{"com.example/x":1}}'))
    assert params.cursor == "c"
