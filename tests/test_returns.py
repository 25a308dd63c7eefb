"""Python values as content blocks, resource contents, prompt messages and JSON values."""

import datetime
import ipaddress
import uuid
from base64 import b64encode
from collections import UserDict, UserList, deque, namedtuple
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, TypedDict

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_mcp.media import Audio, File, Image
from trio_mcp.returns import (
    UNSTRUCTURED,
    AssistantMessage,
    ToolResult,
    UserMessage,
    prompt_messages,
    resource_contents,
    to_builtins,
    to_content,
)
from trio_mcp.wire.base import UNSET
from trio_mcp.wire.content import (
    AudioContent,
    EmbeddedResource,
    ImageContent,
    ResourceContents,
    ResourceLink,
    TextContent,
)
from trio_mcp.wire.prompts import PromptMessage

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
WAV = b"RIFF\x26\x00\x00\x00WAVEfmt "


def text_of(value):
    (block,) = to_content(value)
    assert isinstance(block, TextContent)
    return block.text


@dataclass
class Point:
    x: int
    y: int = 0
    tags: list[str] = field(default_factory=list)


@attrs.define
class Box:
    width: int
    label: str = "é"


class Row(msgspec.Struct, rename="camel"):
    first_name: str


class Options(TypedDict):
    depth: int


class Model(pydantic.BaseModel):
    when: datetime.date
    full_name: str = pydantic.Field(serialization_alias="fullName")


class Colour(Enum):
    RED = "red"


class Word(str):
    __slots__ = ()

    def __str__(self):
        return "not this"


class Level(IntEnum):
    HIGH = 3


class Count(int):
    pass


class FakeArray:
    """What numpy arrays and scalars look like."""

    def __init__(self, value):
        self.value = value

    def tolist(self):
        return self.value


def test_none_is_no_content():
    assert to_content(None) == []


def test_a_string_is_text_as_it_stands():
    assert to_content('say "hé"\n') == [TextContent('say "hé"\n')]
    assert to_content("") == [TextContent("")]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.5, "1.5"),
        (True, "true"),
        ({"a": [1, None], "é": "ü"}, '{"a":[1,null],"é":"ü"}'),
        ([1, "two"], '[1,"two"]'),
        ([], "[]"),
        (["a"], '["a"]'),
        ({}, "{}"),
        (("a", 1), '["a",1]'),
        (Point(1), '{"x":1,"y":0,"tags":[]}'),
        ([Point(1, 2)], '[{"x":1,"y":2,"tags":[]}]'),
        (Box(2), '{"label":"é","width":2}'),
        (Row("Ann"), '{"firstName":"Ann"}'),
        (Options(depth=1), '{"depth":1}'),
        (Model(when=datetime.date(2026, 1, 31), full_name="A B"), '{"when":"2026-01-31","fullName":"A B"}'),
        ({"model": Model(when=datetime.date(2026, 1, 31), full_name="A")}, None),
        (Colour.RED, "red"),
        ([Colour.RED], '["red"]'),
        (Level.HIGH, "3"),
        (Word("plain"), "plain"),
        ([Word("inner")], '["inner"]'),
        (Count(4), "4"),
        (datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC), '"2026-01-31T12:00:00Z"'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (Decimal("1.50"), '"1.50"'),
        (PurePosixPath("/a/b"), '"/a/b"'),
        (ipaddress.ip_address("::1"), '"::1"'),
        ({3}, "[3]"),
        (deque([1]), "[1]"),
        (range(3), "[0,1,2]"),
        (UserDict(a=1), '{"a":1}'),
        (UserList([1]), "[1]"),
        (MappingProxyType({"a": 1}), '{"a":1}'),
        ({"a": 1}.keys(), '["a"]'),
        ({1: "a", uuid.UUID(int=2): "b"}, '{"1":"a","00000000-0000-0000-0000-000000000002":"b"}'),
        ({None: 0, True: 1, False: 2, 1.5: 3}, '{"null":0,"true":1,"false":2,"1.5":3}'),
        ({Colour.RED: 1, Word("k"): 2, PurePosixPath("a/b"): 3}, '{"red":1,"k":2,"a/b":3}'),
        (FakeArray([[1, 2]]), "[[1,2]]"),
        ({"mean": FakeArray(1.5)}, '{"mean":1.5}'),
        (float("nan"), "null"),
        (10**30, "1000000000000000000000000000000"),
    ],
)
def test_data_is_one_compact_json_text(value, text):
    if text is None:
        text = '{"model":{"when":"2026-01-31","fullName":"A"}}'
    assert text_of(value) == text


@pytest.mark.parametrize("value", [b"hello", bytearray(b"hello"), memoryview(b"hello")])
def test_bytes_are_a_base64_resource_even_where_they_are_text(value):
    (block,) = to_content(value)
    assert isinstance(block, EmbeddedResource)
    assert block.resource == ResourceContents(
        uri="attachment:///file.bin", mime_type="application/octet-stream", blob=b64encode(b"hello").decode()
    )


def test_content_blocks_stay_as_they_are():
    blocks = [
        TextContent("a"),
        ImageContent("aa", "image/png"),
        AudioContent("aa", "audio/wav"),
        ResourceLink(uri="a:b", name="b"),
        EmbeddedResource(ResourceContents(uri="a:b", text="")),
    ]
    assert to_content(blocks) == blocks
    for block in blocks:
        assert to_content(block) == [block]


def test_resource_contents_are_embedded():
    contents = ResourceContents(uri="a:b", text="t")
    assert to_content([contents]) == [EmbeddedResource(contents)]


def test_a_list_with_one_block_is_flattened_element_by_element():
    link = ResourceLink(uri="a:b", name="b")
    found = to_content(["text", Image(PNG), None, {"a": 1}, [link, "deep"], 7])
    assert found == [
        TextContent("text"),
        ImageContent(b64encode(PNG).decode(), "image/png"),
        TextContent('{"a":1}'),
        link,
        TextContent("deep"),
        TextContent("7"),
    ]


def test_a_tuple_and_a_nested_list_with_a_block_are_flattened_too():
    assert to_content((TextContent("a"), "b")) == [TextContent("a"), TextContent("b")]
    assert to_content([["a", [TextContent("b")]]]) == [TextContent("a"), TextContent("b")]
    Pair = namedtuple("Pair", "left right")
    assert to_content(Pair("a", TextContent("b"))) == [TextContent("a"), TextContent("b")]


def test_lone_surrogates_become_replacement_characters_so_that_json_can_carry_them():
    assert text_of("a\udcffé") == "a\ufffdé"
    assert text_of("\ud83d\ude00") == "😀"
    assert text_of({"k\udcff": ["v\ud800", ("é", 1)]}) == '{"k\ufffd":["v\ufffd",["é",1]]}'
    assert to_builtins({"k": "\udcff"}) == {"k": "\ufffd"}
    msgspec.json.encode(to_content(["\ud800", TextContent("x")]))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "builtins.object has no JSON form"),
        ({"a": 1j}, "builtins.complex has no JSON form"),
        ([ValueError("x")], "builtins.ValueError has no JSON form"),
        ((n for n in (1, 2)), "collect it into a list first"),
        (iter([1]), "collect it into a list first"),
        ({"picture": Image(PNG)}, "return it alone or in a list"),
        ({(1, 2): 3}, "a dict cannot become JSON: a tuple cannot be a key"),
        ({frozenset(): 3}, "a frozenset cannot be a key"),
        (int, "builtins.type has no JSON form"),
        (Model, "has no JSON form"),
        (FakeArray, "has no JSON form"),
        (to_content, "builtins.function has no JSON form"),
    ],
)
def test_what_json_cannot_show_is_refused_with_its_type(value, words):
    for convert in (to_content, to_builtins):
        with pytest.raises(TypeError, match="cannot become JSON") as caught:
            convert(value)
        assert words in str(caught.value)


def test_a_value_that_holds_itself_is_refused():
    loop: dict[str, Any] = {}
    loop["self"] = loop
    with pytest.raises(TypeError, match="holds itself"):
        to_content(loop)


def test_a_tool_result_gives_its_content_and_none_where_it_is_empty():
    assert to_content(ToolResult()) == []
    assert to_content(ToolResult(content=[])) == []
    assert to_content(ToolResult(["a", TextContent("b")])) == [TextContent("a"), TextContent("b")]
    result = ToolResult("x", structured=None, meta={"k": 1}, is_error=True)
    assert (result.content, result.structured, result.meta, result.is_error) == ("x", None, {"k": 1}, True)
    assert ToolResult().structured is UNSET


def test_unstructured_lists_every_type_that_is_content():
    assert {Image, Audio, File, ToolResult, TextContent, EmbeddedResource, ResourceLink} <= set(UNSTRUCTURED)


def test_to_builtins_gives_plain_json_values():
    value = {
        1: Point(1),
        "m": Model(when=datetime.date(2026, 1, 31), full_name="A"),
        "s": {2},
        "p": Path("a"),
        "t": (1,),
    }
    assert to_builtins(value) == {
        "1": {"x": 1, "y": 0, "tags": []},
        "m": {"when": "2026-01-31", "fullName": "A"},
        "s": [2],
        "p": "a",
        "t": [1],
    }
    assert to_builtins(float("inf")) is None
    assert to_builtins(None) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_json_values_stay_as_they_are(value):
    assert to_builtins(value) == value


@given(json_values | st.text(st.characters()))
def test_all_content_of_json_values_can_be_sent(value):
    assert b'"type"' in msgspec.json.encode(to_content(value)) or value is None


@pytest.mark.parametrize(
    ("value", "given", "expected"),
    [
        ("hi", None, {"mime_type": "text/plain", "text": "hi"}),
        ("<p>", "text/html", {"mime_type": "text/html", "text": "<p>"}),
        (b"\xff", None, {"mime_type": "application/octet-stream", "blob": "/w=="}),
        (b"text", None, {"mime_type": "application/octet-stream", "blob": "dGV4dA=="}),
        (b"\xff", "image/png", {"mime_type": "image/png", "blob": "/w=="}),
        (b"# h", "text/markdown", {"mime_type": "text/markdown", "text": "# h"}),
        (b"\xff", "text/markdown", {"mime_type": "text/markdown", "blob": "/w=="}),
        ({"a": 1}, None, {"mime_type": "application/json", "text": '{"a":1}'}),
        ([1, "a"], None, {"mime_type": "application/json", "text": '[1,"a"]'}),
        ([], None, {"mime_type": "application/json", "text": "[]"}),
        (Point(1), "application/x-point+json", {"mime_type": "application/x-point+json", "text": None}),
        (3, None, {"mime_type": "application/json", "text": "3"}),
        (Colour.RED, None, {"mime_type": "application/json", "text": '"red"'}),
        (Word("w"), None, {"mime_type": "text/plain", "text": "w"}),
        (TextContent("t"), None, {"mime_type": "text/plain", "text": "t"}),
        (Image(PNG), "image/gif", {"mime_type": "image/png", "blob": b64encode(PNG).decode()}),
        (AudioContent("aa", "audio/wav"), None, {"mime_type": "audio/wav", "blob": "aa"}),
        (File("x", name="a.csv"), None, {"mime_type": "text/csv", "text": "x"}),
        (File("x", name="a.csv"), "text/x", {"mime_type": "text/x", "text": "x"}),
        (File("x", mime_type="text/y"), "text/x", {"mime_type": "text/y", "text": "x"}),
    ],
)
def test_a_resource_value_is_contents_under_its_uri(value, given, expected):
    if expected.get("text", "") is None:
        expected = {**expected, "text": '{"x":1,"y":0,"tags":[]}'}
    assert resource_contents("x://y", value, given) == [ResourceContents(uri="x://y", **expected)]


def test_resource_contents_keep_their_own_uri():
    one, two = ResourceContents(uri="a:1", text="1"), ResourceContents(uri="a:2", text="2")
    assert resource_contents("x:y", one, "text/html") == [one]
    assert resource_contents("x:y", [one, EmbeddedResource(two), "three"]) == [
        one,
        two,
        ResourceContents(uri="x:y", mime_type="text/plain", text="three"),
    ]
    assert resource_contents("x:y", File("f", uri="own:1"))[0].uri == "own:1"


@pytest.mark.parametrize("value", [None, ResourceLink(uri="a:b", name="b"), ToolResult("a"), [TextContent(""), None]])
def test_a_resource_that_gives_nothing_or_a_link_is_refused(value):
    with pytest.raises(TypeError, match=r"the resource x:y gave .* raise ResourceError"):
        resource_contents("x:y", value)


def test_a_string_is_a_message_of_the_user():
    assert prompt_messages("hi") == [PromptMessage("user", TextContent("hi"))]
    assert prompt_messages(Colour.RED.value) == [PromptMessage("user", TextContent("red"))]


def test_messages_blocks_helpers_and_dicts_mix_in_a_list():
    own = PromptMessage("assistant", TextContent("own"))
    contents = ResourceContents(uri="a:b", text="t")
    found = prompt_messages(
        (
            "a",
            own,
            Image(PNG),
            TextContent("b"),
            contents,
            EmbeddedResource(contents),
            File("f", name="f.txt"),
            {"role": "assistant", "content": "c"},
            {"role": "user", "content": {"type": "text", "text": "d"}},
            {"role": "user", "content": ["e", Audio(WAV)]},
        )
    )
    assert [message.role for message in found] == [
        "user", "assistant", "user", "user", "user", "user", "user", "assistant", "user", "user", "user"
    ]  # fmt: skip
    assert found[1] is own
    assert found[2].content == Image(PNG).to_content()
    assert found[4].content == found[5].content == EmbeddedResource(contents)
    assert found[6].content == File("f", name="f.txt").to_content()
    texts = [message.content.text for message in found if isinstance(message.content, TextContent)]
    assert texts == ["a", "own", "b", "c", "d", "e"]
    assert found[10].content == Audio(WAV).to_content()


def test_user_and_assistant_messages_take_text_blocks_and_helpers():
    assert UserMessage("a") == PromptMessage("user", TextContent("a"))
    assert AssistantMessage(Image(PNG)) == PromptMessage("assistant", Image(PNG).to_content())
    assert AssistantMessage(TextContent("a")) == PromptMessage("assistant", TextContent("a"))


def test_an_empty_list_is_no_messages():
    assert prompt_messages([]) == []


@pytest.mark.parametrize("value", [None, 3, b"x", {"a": 1}, object(), ["a", 4], [["a"]]])
def test_what_is_no_message_is_refused_with_what_is_accepted(value):
    with pytest.raises(TypeError, match=r"return a str, a content block, .* a dict with role and content"):
        prompt_messages(value)


@pytest.mark.parametrize(
    "value",
    [
        {"role": "system", "content": "a"},
        {"role": "user"},
        {"role": "user", "content": "a", "name": "b"},
    ],
)
def test_a_dict_with_a_wrong_role_or_other_keys_is_refused(value):
    with pytest.raises(TypeError, match=r"role \('user' or 'assistant'\) and content"):
        prompt_messages(value)


def test_a_dict_that_is_no_content_block_is_refused():
    with pytest.raises(TypeError, match=r"no content block: .*Invalid value 'film'"):
        prompt_messages({"role": "user", "content": {"type": "film"}})
    with pytest.raises(TypeError, match="no content block"):
        prompt_messages({"role": "user", "content": {"type": "text"}})
