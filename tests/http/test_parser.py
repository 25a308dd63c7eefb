"""The parser of HTTP/1.1 requests: what it reads, what it refuses, and that fragments make no difference."""

import itertools
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_mcp.http.parser import Request, RequestParser

HOST = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST /p HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
UPLOAD = POST + b"Content-Length: 3\r\n\r\nabc"
WEBSOCKET = (
    GET + b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
SIZES = (1, 7, 1_000_000)
"""Bytes of one fragment."""


def parse(data: bytes, size: int = 1_000_000, *, max_head: int = 4000, max_headers: int = 20) -> RequestParser:
    """A parser that was fed in fragments of one size."""
    parser = RequestParser(max_head=max_head, max_headers=max_headers)
    for start in range(0, len(data), size):
        parser.feed(data[start : start + size])
    return parser


def outcome(parser: RequestParser) -> tuple[Any, ...]:
    """All that an observer can tell, whatever the fragments were."""
    requests = [
        (r.method, r.target, r.version, r.headers, b"".join(r.body), r.complete, r.keep_alive, r.expects_continue)
        for r in parser.requests
    ]
    return requests, parser.refusal and parser.refusal.status, parser.begun


def only(parser: RequestParser) -> Request:
    assert parser.refusal is None, parser.refusal
    (request,) = parser.requests
    return request


# What is read


@pytest.mark.parametrize("size", SIZES)
def test_a_request_is_read_whole(size: int):
    head = b"POST /mcp?x=%20y HTTP/1.1\r\nHOST: a:80\r\nX-Empty:\r\nX: caf\xc3\xa9 \t\r\nContent-Length: 3\r\n\r\n"
    request = only(parse(head + b"a\r\n", size))
    assert (request.method, request.target, request.version) == ("POST", b"/mcp?x=%20y", "1.1")
    headers = [(name, value.rstrip(b" \t")) for name, value in request.headers]
    assert headers == [(b"host", b"a:80"), (b"x-empty", b""), (b"x", b"caf\xc3\xa9"), (b"content-length", b"3")]
    assert b"".join(request.body) == b"a\r\n"
    assert request.complete
    assert request.keep_alive


@pytest.mark.parametrize("size", SIZES)
def test_a_chunked_body_is_read_without_its_framing_and_its_trailers(size: int):
    body = b"1;name=value\r\na\r\nA\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\n"
    request = only(parse(CHUNKED + body, size))
    assert (b"".join(request.body), request.complete) == (b"a0123456789", True)
    assert [name for name, _ in request.headers] == [b"host", b"transfer-encoding"]


@pytest.mark.parametrize("size", SIZES)
def test_pipelined_requests_come_in_order(size: int):
    parser = parse(UPLOAD + GET + b"\r\n" + CHUNKED + b"1\r\na\r\n0\r\n\r\n" + POST, size)
    assert [(r.method, b"".join(r.body), r.complete) for r in parser.requests] == [
        ("POST", b"abc", True),
        ("GET", b"", True),
        ("POST", b"a", True),
    ]
    assert parser.refusal is None
    assert parser.begun


def test_empty_lines_in_front_of_a_request_are_nothing():
    assert not parse(b"\r\n\r\n").begun
    assert only(parse(b"\r\n\r\n" + GET + b"\r\n", 1)).method == "GET"


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (GET, True),
        (GET + b"Connection: close\r\n", False),
        (GET + b"Connection: x, Close\r\n", False),
        (b"GET / HTTP/1.0\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n", True),
    ],
)
def test_the_client_says_whether_the_connection_goes_on(head: bytes, keep_alive: bool):
    assert only(parse(head + b"\r\n")).keep_alive is keep_alive


def test_http_1_0_needs_no_host():
    assert only(parse(b"GET / HTTP/1.0\r\n\r\n")).version == "1.0"


@pytest.mark.parametrize("form", [b"/a?b#c", b"*", b"http://b:80/x?y"])
def test_the_target_stays_as_it_came(form: bytes):
    assert only(parse(b"GET " + form + b" HTTP/1.1\r\n" + HOST + b"\r\n", 1)).target == form


@pytest.mark.parametrize(
    ("version", "value", "expects"), [(b"1.1", b"100-Continue \t", True), (b"1.0", b"100-continue", False)]
)
def test_a_client_may_wait_for_100_in_http_1_1(version: bytes, value: bytes, expects: bool):
    head = b"POST / HTTP/" + version + b"\r\n" + HOST + b"Content-Length: 1\r\nExpect: " + value + b"\r\n\r\n"
    assert only(parse(head)).expects_continue is expects


# What is refused

FRAMING: dict[str, tuple[int, bytes]] = {
    "two lengths": (400, POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
    "one length twice": (400, POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    "a list of lengths": (400, POST + b"Content-Length: 3, 3\r\n\r\nabc"),
    "an empty length": (400, POST + b"Content-Length:\r\n\r\nabc"),
    "a length with a sign": (400, POST + b"Content-Length: +3\r\n\r\nabc"),
    "a negative length": (400, POST + b"Content-Length: -3\r\n\r\nabc"),
    "a length in hex": (400, POST + b"Content-Length: 0x3\r\n\r\nabc"),
    "a length with an underscore": (400, POST + b"Content-Length: 1_0\r\n\r\nabc"),
    "a length with a space in it": (400, POST + b"Content-Length: 1 0\r\n\r\nabc"),
    "a length beyond 64 bits": (400, POST + b"Content-Length: 18446744073709551617\r\n\r\nabc"),
    "a length, then chunked": (400, POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "chunked, then a length": (400, POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
    "chunked twice": (400, POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "chunked, then something": (400, POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    "chunked, then nothing": (400, POST + b"Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n"),
    "chunked behind a control character": (400, POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    "chunked in HTTP/1.0": (400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "another coding": (501, POST + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n"),
    "another coding in front": (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "identity in front": (
        501,
        POST + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "nothing in front of chunked": (501, POST + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    "nearly chunked": (501, POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "chunked in quotes": (501, POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n'),
    "chunked with a parameter": (501, POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
}
LINES: dict[str, tuple[int, bytes]] = {
    "bare LF everywhere": (400, b"GET / HTTP/1.1\nHost: a\n\n"),
    "bare LF after a header": (400, GET + b"X: 1\nY: 2\r\n\r\n"),
    "bare LF at the end of the head": (400, GET + b"X: 1\r\n\n"),
    "bare CR in a value": (400, GET + b"X: a\rb\r\n\r\n"),
    "NUL in a value": (400, GET + b"X: a\x00b\r\n\r\n"),
    "obs-fold": (400, GET + b"X: 1\r\n 2\r\n\r\n"),
    "obs-fold before the first header": (400, b"GET / HTTP/1.1\r\n X: 1\r\n" + HOST + b"\r\n"),
    "a space before the colon": (400, POST + b"Content-Length : 3\r\n\r\nabc"),
    "a tab before the colon": (400, POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
    "a header without a colon": (400, GET + b"X\r\n\r\n"),
    "a header without a name": (400, GET + b": x\r\n\r\n"),
    "a name with a space": (400, GET + b"X Y: x\r\n\r\n"),
    "a name that is not ASCII": (400, GET + b"X\xff: x\r\n\r\n"),
    "a target with a space": (400, b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a target with NUL": (400, b"GET /a\x00 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a target that is not ASCII": (400, b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a target that is no path": (400, b"GET mcp HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a space behind the version": (400, b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n"),
    "no protocol's name": (400, b"GET / http/1.1\r\n" + HOST + b"\r\n"),
    "an unknown method": (501, b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a method in lower case": (501, b"get / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a response": (501, b"HTTP/1.1 200 OK\r\n\r\n"),
    "TLS": (501, b"\x16\x03\x01\x02\x00\x01"),
    "CONNECT": (405, b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "an expectation that nobody knows": (417, POST + b"Expect: 100-continue, x\r\nContent-Length: 1\r\n\r\n"),
    "more after the last request": (400, GET + b"Connection: close\r\n\r\n" + GET + b"\r\n"),
}
VERSIONS: dict[str, tuple[int, bytes]] = {
    "HTTP/0.9": (505, b"GET /\r\n"),
    "HTTP/1.2": (400, b"GET / HTTP/1.2\r\n" + HOST + b"\r\n"),
    "HTTP/1.10": (400, b"GET / HTTP/1.10\r\n" + HOST + b"\r\n"),
    "HTTP/2.0": (505, b"GET / HTTP/2.0\r\n" + HOST + b"\r\n"),
    "RTSP/1.0": (400, b"GET / RTSP/1.0\r\n" + HOST + b"\r\n"),
    "RTSP/1.1": (400, b"OPTIONS / RTSP/1.1\r\n" + HOST + b"\r\n"),
    "ICE/1.0": (400, b"SOURCE / ICE/1.0\r\n" + HOST + b"\r\n"),
    "RTSP behind empty lines": (400, b"\r\n\r\nGET / RTSP/1.1\r\n" + HOST + b"\r\n"),
    "RTSP behind a target that looks like HTTP": (400, b"GET HTTP/1.1 RTSP/1.1\r\n" + HOST + b"\r\n"),
    "two spaces before the version": (400, b"GET /  HTTP/1.1\r\n" + HOST + b"\r\n"),
    "two spaces before the target": (400, b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "HTTP/3.0": (400, b"GET / HTTP/3.0\r\n" + HOST + b"\r\n"),
}
HOSTS: dict[str, tuple[int, bytes]] = {
    "no Host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": (400, GET + b"Host: b\r\n\r\n"),
    "one Host twice": (400, GET + HOST + b"\r\n"),
    "two Hosts in HTTP/1.0": (400, b"GET / HTTP/1.0\r\n" + HOST + HOST + b"\r\n"),
}
CHUNKS: dict[str, tuple[int, bytes]] = {
    "no size": (400, b"\r\na\r\n0\r\n\r\n"),
    "a size that is no number": (400, b"g\r\n"),
    "a size with 0x": (400, b"0x1\r\na\r\n0\r\n\r\n"),
    "a size with a sign": (400, b"+1\r\na\r\n0\r\n\r\n"),
    "a space before the size": (400, b" 1\r\na\r\n0\r\n\r\n"),
    "a space behind the size": (400, b"1 \r\na\r\n0\r\n\r\n"),
    "a size beyond 64 bits": (400, b"10000000000000000\r\n"),
    "bare LF behind the size": (400, b"1\na\r\n0\r\n\r\n"),
    "bare CR behind the size": (400, b"1\ra\r\n0\r\n\r\n"),
    "bare LF in an extension": (400, b"1;a\nb\r\na\r\n0\r\n\r\n"),
    "bare CR in an extension": (400, b"1;a\rb\r\na\r\n0\r\n\r\n"),
    "an empty extension": (400, b"1;\r\na\r\n0\r\n\r\n"),
    "more data than the size": (400, b"1\r\nab\r\n0\r\n\r\n"),
    "bare LF behind the data": (400, b"1\r\na\n0\r\n\r\n"),
    "bare LF behind the last chunk": (400, b"0\n\n"),
    "a bad trailer": (400, b"0\r\nX : 1\r\n\r\n"),
    "a length for a trailer": (400, b"0\r\nContent-Length: 1\r\n\r\n"),
    "a folded trailer": (400, b"0\r\nX: 1\r\n 2\r\n\r\n"),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("status", "data"),
    [
        pytest.param(*case, id=name)
        for table in (FRAMING, LINES, VERSIONS, HOSTS, {k: (s, CHUNKED + d) for k, (s, d) in CHUNKS.items()})
        for name, case in table.items()
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_and_nothing_after_it_is_read(status: int, data: bytes, size: int):
    parser = parse(data + b"\r\n\r\n" + GET + b"\r\n", size)
    assert parser.refusal is not None
    assert parser.refusal.status == status
    assert parser.refusal.reason
    assert len(parser.requests) <= 1, "what follows was taken for a request"
    assert b"GET" not in b"".join(body for request in parser.requests for body in request.body)
    before = outcome(parser)
    parser.feed(GET + b"\r\n")
    assert outcome(parser) == before


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", [*sorted(VERSIONS.keys() - {"HTTP/0.9"}), *HOSTS, "chunked in HTTP/1.0"])
def test_a_refused_head_is_refused_without_a_look_at_what_follows(name: str, size: int):
    status, data = {**VERSIONS, **HOSTS, **FRAMING}[name]
    parser = parse(data, size)
    assert parser.refusal is not None
    assert (parser.refusal.status, len(parser.requests)) == (status, 0)


def test_nothing_is_kept_of_what_was_read():
    body = b"b" * 50_000
    data = POST + b"Content-Length: 100000\r\n\r\n" + body
    parser, references = RequestParser(max_head=4000, max_headers=20), sys.getrefcount(data)
    parser.feed(data)
    assert sys.getrefcount(data) == references
    parser.feed(body)
    assert only(parser).complete


def test_requests_before_a_refused_one_are_served():
    parser = parse(UPLOAD + b"\x00")
    assert [r.complete for r in parser.requests] == [True]
    assert parser.refusal is not None


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("before", [GET + b"\r\n", UPLOAD, CHUNKED + b"1\r\na\r\n0\r\n\r\n"])
def test_another_protocol_behind_a_good_request_is_refused(before: bytes, size: int):
    parser = parse(before + b"GET / RTSP/1.1\r\n" + HOST + b"\r\n", size)
    assert [r.complete for r in parser.requests] == [True]
    assert parser.refusal is not None
    assert (parser.refusal.status, parser.refusal.reason) == (400, "the first line is not HTTP's")


# Limits


def sized_head(size: int) -> bytes:
    """A head of the size that counts: the target, and each line of headers with its separators."""
    head = GET + b"X: \r\n\r\n"
    counted = len(head) - len(b"GET  HTTP/1.1\r\n\r\n")
    return head.replace(b"X: ", b"X: " + b"x" * (size - counted))


@pytest.mark.parametrize("size", SIZES)
def test_a_head_may_have_just_as_many_bytes_as_the_limit_says(size: int):
    assert parse(sized_head(500), size, max_head=500).refusal is None
    parser = parse(sized_head(501) + GET + b"\r\n", size, max_head=500)
    assert parser.refusal is not None
    assert (parser.refusal.status, len(parser.requests)) == (431, 0)


@pytest.mark.parametrize("size", [1, 64, 1001])
@pytest.mark.parametrize(
    ("begin", "filling"),
    [(b"GET /", b"x"), (GET + b"X: ", b"x"), (GET + b"X", b"x"), (GET + b"X:", b" ")],
    ids=["target", "value", "name", "padding"],
)
def test_a_head_that_never_ends_is_refused_after_twice_the_limit(begin: bytes, filling: bytes, size: int):
    parser = parse(begin, max_head=500)
    for _ in range(1000 // size + 1):
        assert parser.refusal is None
        parser.feed(filling * size)
    assert parser.refusal is not None
    assert parser.refusal.status == 431


@pytest.mark.parametrize("size", SIZES)
def test_the_head_of_a_request_may_be_followed_by_any_amount_of_body(size: int):
    """Also where the head came in two pieces, the second with much of the body."""
    body = b"b" * 5000
    head = POST + b"Content-Length: 5000\r\n\r\n"
    for cut in (1, 10, len(head) - 1, len(head)):
        parser = RequestParser(max_head=500, max_headers=20)
        parser.feed(head[:cut])
        for start in range(0, len(body), size):
            parser.feed((head[cut:] if start == 0 else b"") + body[start : start + size])
        assert b"".join(only(parser).body) == body


@pytest.mark.parametrize("size", SIZES)
def test_a_head_may_have_just_as_many_lines_as_the_limit_says(size: int):
    assert parse(GET + b"X: 1\r\n" * 4 + b"\r\n", size, max_headers=5).refusal is None
    parser = parse(GET + b"X: 1\r\n" * 5 + b"\r\n", size, max_headers=5)
    assert parser.refusal is not None
    assert (parser.refusal.status, len(parser.requests)) == (431, 0)


def test_lines_are_counted_before_the_head_is_whole():
    parser = parse(GET + b"a:\r\n" * 7, max_headers=5)
    assert parser.refusal is not None
    assert parser.refusal.status == 431


def test_each_of_many_pipelined_heads_has_the_limits_for_itself():
    parser = parse(sized_head(400) * 5, max_head=500, max_headers=2)
    assert (len(parser.requests), parser.refusal) == (5, None)


@pytest.mark.parametrize(
    "begin", [b"0\r\nX: ", b"0\r\nX", b"1;x="], ids=["a trailer's value", "a trailer's name", "an extension"]
)
@pytest.mark.parametrize("size", [1, 100])
def test_what_in_a_body_is_not_its_content_has_an_end(begin: bytes, size: int):
    parser = parse(CHUNKED + begin + b"x" * 3000, size, max_head=500)
    assert parser.refusal is not None
    assert parser.refusal.status == 431


def test_the_head_does_not_count_as_what_is_not_content():
    head = CHUNKED.replace(HOST, HOST + b"X: " + b"x" * 400 + b"\r\n")
    parser = parse(head, max_head=500)
    parser.feed(b"1;x=" + b"x" * 300)
    parser.feed(b"\r\na\r\n0\r\n\r\n")
    assert only(parser).complete


def test_a_head_behind_a_declined_upgrade_has_its_limit():
    parser = parse(GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + sized_head(501), max_head=500)
    assert (len(parser.requests), parser.refusal and parser.refusal.status) == (1, 431)


def test_trailers_without_end_are_refused():
    assert parse(CHUNKED + b"0\r\n" + b"X: 1\r\n" * 1000, 60, max_head=500).refusal is not None


def test_a_body_in_thousands_of_tiny_chunks_is_read():
    parser = RequestParser(max_head=500, max_headers=20)
    parser.feed(CHUNKED)
    for _ in range(2000):
        for piece in (b"1;x=1\r\n", b"a", b"\r\n"):
            parser.feed(piece)
            parser.requests[0].body.clear()  # as whoever reads the body does
    parser.feed(b"0\r\n\r\n")
    assert only(parser).complete


# Upgrades


@pytest.mark.parametrize("size", SIZES)
def test_a_websocket_handshake_is_handed_on_with_what_came_after_it(size: int):
    parser = parse(WEBSOCKET + b"\x81\x85frame", size)
    assert parser.upgrade is not None
    assert (len(parser.requests), parser.refusal) == (0, None)
    head, _, rest = parser.upgrade.partition(b"\r\n\r\n")
    assert head.lower() == WEBSOCKET[:-4].lower()
    assert b"\x81\x85frame".startswith(rest)
    assert rest or size == 1


@pytest.mark.parametrize("size", SIZES)
def test_a_handshake_behind_other_requests_is_handed_on_alone(size: int):
    parser = parse(UPLOAD + UPLOAD + WEBSOCKET, size)
    assert [r.method for r in parser.requests] == ["POST", "POST"]
    assert parser.upgrade is not None
    assert parser.upgrade.lower() == WEBSOCKET.lower()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", b""),
        (b"Sec-WebSocket-Version: 13\r\n", b""),
        (b"websocket", b"h2c"),
        (b", Upgrade", b""),
        (b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
def test_a_handshake_that_cannot_succeed_is_an_ordinary_request(right: bytes, wrong: bytes):
    parser = parse(WEBSOCKET.replace(right, wrong))
    assert parser.upgrade is None
    assert only(parser).method == "GET"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("wanted", [b"h2c", b"websocket", b"TLS/1.0, foo"])
def test_any_other_upgrade_is_ignored_and_the_body_is_still_read(wanted: bytes, size: int):
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + wanted + b"\r\nHTTP2-Settings: AAMAAABkAAQAAP\r\n"
    parser = parse(UPLOAD + POST + offer + b"Content-Length: 3\r\n\r\nxyz" + GET + offer + b"\r\n" + UPLOAD, size)
    assert (parser.refusal, parser.upgrade) == (None, None)
    assert [(r.method, b"".join(r.body)) for r in parser.requests] == [
        ("POST", b"abc"),
        ("POST", b"xyz"),
        ("GET", b""),
        ("POST", b"abc"),
    ]
    assert all(r.complete and r.keep_alive for r in parser.requests)


def test_thousands_of_pipelined_upgrades_are_read_like_any_others():
    head = GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert len(parse(head * 1500).requests) == 1500


# Anything at all

PIECES = [
    *(GET, POST, CHUNKED, UPLOAD, WEBSOCKET, HOST, b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"\x00", b"\xff", b":"),
    *(
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Connection: upgrade\r\n",
    ),
    *(
        b"Upgrade: h2c\r\n",
        b"Upgrade: websocket\r\n",
        b"Expect: 100-continue\r\n",
        b"0\r\n\r\n",
        b"3\r\nabc\r\n",
        b"abc",
    ),
    *(
        b"3;x=y\r\n",
        b"X: y\r\n",
        b"GET / HTTP/1.0\r\n",
        b"GET http://b/ HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ),
    *(b"CONNECT a:1 HTTP/1.1\r\n", b"HEAD / HTTP/1.1\r\n", b"OPTIONS * HTTP/1.1\r\n"),
]
WHOLE = [
    *(GET + b"\r\n", UPLOAD, CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", b"\r\n" + GET + b"\r\n", WEBSOCKET),
    *(GET + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
    POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
    POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
]
STREAMS = st.one_of(
    st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=6)), max_size=12),
    st.lists(st.one_of(st.sampled_from(WHOLE), st.sampled_from(WHOLE), st.sampled_from(PIECES)), max_size=6),
).map(b"".join)


@settings(max_examples=300)
@given(STREAMS, st.lists(st.integers(0, 2000), max_size=30))
def test_the_same_bytes_in_other_fragments_are_the_same_requests_and_the_same_refusal(data: bytes, cuts: list[int]):
    whole = parse(data)
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    fragments = [data[begin:end] for begin, end in itertools.pairwise(places)]
    for pieces in (fragments, [bytes([byte]) for byte in data]):
        parser = RequestParser(max_head=4000, max_headers=20)
        for piece in pieces:
            parser.feed(piece)
        assert outcome(parser) == outcome(whole)
        assert (parser.upgrade is None) == (whole.upgrade is None)
        if whole.upgrade is not None:
            assert whole.upgrade.startswith(parser.upgrade or b"-")


@given(st.binary(max_size=400), st.integers(1, 50))
def test_no_bytes_make_the_parser_raise(data: bytes, size: int):
    for prefix in (b"", GET, CHUNKED, UPLOAD + WEBSOCKET[:-2]):
        parse(prefix + data, size, max_head=200, max_headers=5)
