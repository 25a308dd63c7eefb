"""Python values as content blocks, resource contents, prompt messages and JSON values."""

import datetime
import ipaddress
import uuid
from base64 import b64decode, b64encode
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

from trio_mcp.returns import (
    UNSTRUCTURED,
    AssistantMessage,
    Audio,
    File,
    Image,
    ToolResult,
    UserMessage,
    prompt_messages,
    resource_contents,
    to_builtins,
    to_content,
)
from trio_mcp.wire.base import UNSET
from trio_mcp.wire.content import (
    Annotations,
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


# to_content


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


# to_builtins


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


# Image and Audio


@pytest.mark.parametrize(
    ("data", "mime_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a....", "image/gif"),
        (b"GIF87a....", "image/gif"),
        (b"RIFF\x0a\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"BM....", "image/bmp"),
        (b"\x00\x00\x00\x20ftypavif", "image/avif"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b"\xef\xbb\xbf\n<?xml version='1.0'?>\n<!-- a -->\n<svg/>", "image/svg+xml"),
    ],
)
def test_the_first_bytes_of_an_image_show_its_type(data, mime_type):
    content = Image(data).to_content()
    assert content.mime_type == mime_type
    assert b64decode(content.data) == data


@pytest.mark.parametrize(
    ("data", "mime_type"),
    [
        (WAV, "audio/wav"),
        (b"ID3\x04", "audio/mpeg"),
        (b"\xff\xfb\x90", "audio/mpeg"),
        (b"OggS\x00", "audio/ogg"),
        (b"fLaC\x00", "audio/flac"),
        (b"\x00\x00\x00\x20ftypM4A ", "audio/mp4"),
        (b"\xff\xf1\x50", "audio/aac"),
    ],
)
def test_the_first_bytes_of_audio_show_its_type(data, mime_type):
    content = Audio(data).to_content()
    assert content.mime_type == mime_type
    assert b64decode(content.data) == data


@pytest.mark.parametrize(
    ("helper", "format", "mime_type"),
    [
        (Image, "png", "image/png"),
        (Image, "JPG", "image/jpeg"),
        (Image, ".jpeg", "image/jpeg"),
        (Image, "svg", "image/svg+xml"),
        (Image, "webp", "image/webp"),
        (Image, "jxl", "image/jxl"),
        (Image, "image/x-own", "image/x-own"),
        (Audio, "wav", "audio/wav"),
        (Audio, "mp3", "audio/mpeg"),
        (Audio, "ogg", "audio/ogg"),
        (Audio, "flac", "audio/flac"),
        (Audio, "m4a", "audio/mp4"),
    ],
)
def test_a_format_gives_the_type_whatever_the_bytes_show(helper, format, mime_type):
    assert helper(PNG, format=format).to_content().mime_type == mime_type


def test_a_path_is_read_when_it_is_converted_and_its_suffix_gives_the_type(tmp_path):
    path = tmp_path / "speech.MP3"
    audio = Audio(path=path)
    path.write_bytes(b"sound")
    assert audio.to_content() == AudioContent(b64encode(b"sound").decode(), "audio/mpeg")
    unnamed = tmp_path / "picture"
    unnamed.write_bytes(PNG)
    assert Image(path=str(unnamed)).to_content().mime_type == "image/png"
    with pytest.raises(FileNotFoundError):
        Image(path=tmp_path / "absent.png").to_content()


def test_an_explicit_mime_type_and_annotations_are_kept():
    annotations = Annotations(audience=["user"])
    content = Image(PNG, format="gif", mime_type="image/x-mine", annotations=annotations).to_content()
    assert content == ImageContent(b64encode(PNG).decode(), "image/x-mine", annotations)


@pytest.mark.parametrize("helper", [Image, Audio])
def test_media_whose_type_cannot_be_told_ask_for_a_format(helper):
    with pytest.raises(ValueError, match="pass format="):
        helper(b"????").to_content()
    with pytest.raises(ValueError, match="pass format="):
        helper(b"").to_content()


@pytest.mark.parametrize("helper", [Image, Audio, File])
def test_helpers_take_exactly_one_of_data_and_path(helper):
    with pytest.raises(TypeError, match="either data or path"):
        helper()
    with pytest.raises(TypeError, match="either data or path"):
        helper(PNG, path="a.png")


def test_a_path_or_base64_given_as_data_is_refused_with_what_to_do():
    with pytest.raises(TypeError, match=r"data is bytes, not str; for a file pass path=, and decode base64 first"):
        Image("plot.png")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="for a file pass path="):
        File(Path("a.txt"))  # type: ignore[arg-type]


def test_helpers_do_not_print_their_data():
    assert repr(Image(PNG)) == "Image(<16 bytes>)"
    assert repr(Audio(path="a.wav")) == "Audio(path='a.wav')"
    assert repr(File("abc", name="n")) == "File(<3>, name='n')"
    assert repr(File(path="abc")) == "File(path='abc', name=None)"


# File


@pytest.mark.parametrize(
    ("file", "uri", "mime_type", "text"),
    [
        (File("a,b", name="t.csv"), "attachment:///t.csv", "text/csv", "a,b"),
        (File("hello"), "attachment:///file.txt", "text/plain", "hello"),
        (File(b"{}", format="json"), "attachment:///file.json", "application/json", "{}"),
        (File(b"<a/>", mime_type="application/atom+xml"), None, "application/atom+xml", "<a/>"),
        (File(b"a: 1", format="yml"), "attachment:///file.yml", "application/yaml", "a: 1"),
        (File("x", name="my notes.md"), "attachment:///my%20notes.md", "text/markdown", "x"),
        (File("x", uri="note://1"), "note://1", "text/plain", "x"),
        (File(b"x", mime_type="Text/HTML; charset=utf-8"), None, "Text/HTML; charset=utf-8", "x"),
    ],
)
def test_a_text_file_travels_as_text(file, uri, mime_type, text):
    resource = file.to_content().resource
    assert (resource.mime_type, resource.text, resource.blob) == (mime_type, text, UNSET)
    assert uri in (None, resource.uri)


@pytest.mark.parametrize(
    ("file", "uri", "mime_type"),
    [
        (File(b"\x00\xff", format="pdf"), "attachment:///file.pdf", "application/pdf"),
        (File(b"\x00\xff"), "attachment:///file.bin", "application/octet-stream"),
        (File(b"\x00\xff", name="a.zip"), "attachment:///a.zip", "application/zip"),
        (File(b"\x00\xff", name="a.txt"), "attachment:///a.txt", "text/plain"),
        (File(b"\x00\xff", format="own"), "attachment:///file.own", "application/own"),
        (File(b"\x00\xff", format="a/b"), "attachment:///file.bin", "a/b"),
        (File(b"\x00\xff", mime_type="image/png"), "attachment:///file.png", "image/png"),
        (File(b"\x00\xff", name="a/../b"), "attachment:///a%2F..%2Fb", "application/octet-stream"),
    ],
)
def test_any_other_file_travels_as_base64(file, uri, mime_type):
    resource = file.to_content().resource
    assert (resource.uri, resource.mime_type, resource.text) == (uri, mime_type, UNSET)
    assert b64decode(resource.blob) == b"\x00\xff"


def test_a_file_by_path_shows_its_name_but_not_where_it_lies(tmp_path):
    path = tmp_path / "notes.md"
    path.write_text("# hé", encoding="utf-8")
    annotations = Annotations(priority=1.0)
    block = File(path=path, annotations=annotations).to_content()
    expected = ResourceContents(uri="attachment:///notes.md", mime_type="text/markdown", text="# hé")
    assert block == EmbeddedResource(expected, annotations)


# resource_contents


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


# prompts


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
