"""Images, sound and files: their MIME type, and what of them travels."""

from base64 import b64decode, b64encode
from pathlib import Path

import pytest

from trio_mcp.media import Audio, File, Image
from trio_mcp.wire.base import UNSET
from trio_mcp.wire.content import (
    Annotations,
    AudioContent,
    EmbeddedResource,
    ImageContent,
    ResourceContents,
)

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
WAV = b"RIFF\x26\x00\x00\x00WAVEfmt "


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
