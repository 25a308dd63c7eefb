"""Custom routes as authors write them: what registers, what does not and why, and the pair by itself."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.http.servers import small_server
from trio_mcp import HttpRequest, HttpResponse, RegistrationError, Server, Settings
from trio_mcp.http.app import McpApp
from trio_mcp.routes import MAX_QUERY, OPERATIONAL_PATHS, TRANSPORT_PATHS, MalformedRequestError, Query, to_response
from trio_mcp.runtime.host import Host
from trio_mcp.serve import http_app


def plain() -> str:
    return "plain"


def of(server: Server, path: str) -> tuple[list[str], tuple[str, ...]] | None:
    """The methods of a path, and what stands for its names."""
    found = server.routes.find(path)
    return None if found is None else (sorted(found[0]), found[1])


# Paths


def test_a_function_stays_what_it_is():
    server = Server("s")
    assert server.route("/plain")(plain) is plain
    assert of(server, "/plain") == (["GET", "HEAD"], ())
    assert of(server, "/other") is None


def test_names_stand_for_one_segment_each():
    server = Server("s")

    @server.route("/a/{x}/b/{y}")
    def named(x: str, y: str) -> str:
        return x + y

    assert of(server, "/a/1/b/2") == (["GET", "HEAD"], ("1", "2"))
    assert [of(server, path) for path in ("/a/1/b", "/a/1/b/", "/a//b/2", "/a/1/c/2", "/a/1/b/2/3")] == [None] * 5


def test_a_literal_path_wins_and_then_the_first_that_fits():
    server = Server("s")
    server.add_route("/x/{name}", plain)
    server.add_route("/{kind}/y", plain)
    server.add_route("/x/y", plain, methods=["POST"])
    assert of(server, "/x/y") == (["POST"], ())
    assert of(server, "/x/z") == (["GET", "HEAD"], ("z",))
    assert of(server, "/z/y") == (["GET", "HEAD"], ("z",))


def test_methods_of_one_path_may_be_several_functions():
    server = Server("s")
    server.add_route("/x/{a}", plain)
    server.add_route("/x/{b}", plain, methods=["post", "DELETE"])
    assert of(server, "/x/1") == (["DELETE", "GET", "HEAD", "POST"], ("1",))
    assert len(server.routes) == 2


def test_a_slash_at_the_end_says_nothing():
    server = Server("s")
    assert server.add_route("/x/", plain).path == "/x"
    assert server.add_route("/", plain).path == "/"
    assert of(server, "/") == (["GET", "HEAD"], ())


def test_a_registration_is_a_change():
    server = Server("s")
    told: list[str] = []
    server.observe(lambda kind, uri: told.append(kind))
    server.add_route("/x", plain)
    assert (server.changes, told) == (1, [])  # but none that clients of MCP hear of


# What is refused


@pytest.mark.parametrize("path", ["/mcp", "/mcp/", *OPERATIONAL_PATHS, *TRANSPORT_PATHS])
@pytest.mark.parametrize("methods", [["GET"], ["POST"]])
def test_the_servers_own_paths_are_reserved(path: str, methods: list[str]):
    with pytest.raises(RegistrationError, match=r"plain\(\): the path .* is the server's own"):
        Server("s").add_route(path, plain, methods=methods)


@pytest.mark.parametrize("below", ["", "/mcp"])
def test_metadata_of_resources_is_reserved_with_all_below(below: str):
    with pytest.raises(RegistrationError, match="the server's own"):
        Server("s").add_route(f"/.well-known/oauth-protected-resource{below}", plain)
    Server("s").add_route("/.well-known/security.txt", plain)


def test_operational_paths_are_free_where_there_are_no_operational_routes():
    server = Server("s", settings=Settings(operational_routes=False, path="/here"))
    server.add_route("/health", plain)
    server.add_route("/mcp", plain)
    with pytest.raises(RegistrationError):
        server.add_route("/here", plain)
    with pytest.raises(RegistrationError):
        server.add_route("/sse", plain)


def test_a_route_in_the_place_of_the_endpoint_is_found_when_it_is_served():
    server = Server("s")
    server.add_route("/here", plain)
    McpApp(Host(server), path="/there")
    with pytest.raises(RegistrationError, match="'/here' is served by the server itself"):
        http_app(Host(server), path="/here")


def test_a_path_and_method_that_are_taken_are_refused_or_as_the_server_says():
    def other() -> str:
        return "other"

    functions: dict[str, Callable[..., Any]] = {}
    for on_duplicate in ("replace", "ignore"):
        server = Server("s", on_duplicate=on_duplicate)
        server.add_route("/x/{a}", plain)
        server.add_route("/x/{b}", other)
        functions[on_duplicate] = server.routes.find("/x/1")[0]["GET"].function  # type: ignore[index]  # it is there
    assert functions == {"replace": other, "ignore": plain}
    server = Server("s")
    server.add_route("/x/{a}", plain)
    with pytest.raises(RegistrationError, match=r"there is a route GET '/x/\{b\}' already"):
        server.add_route("/x/{b}", other)
    with pytest.raises(RegistrationError, match="HEAD"):
        server.add_route("/x/{a}", other, methods=["HEAD"])


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("x", "from the slash on"),
        (None, "from the slash on"),
        ("//x", "an empty or dotted segment"),
        ("/x//y", "an empty or dotted segment"),
        ("/x/../y", "an empty or dotted segment"),
        ("/x?y=1", "a query or a space"),
        ("/x y", "a query or a space"),
        ("/x{a}", "must be a whole segment"),
        ("/{a}{b}", "must be a whole segment"),
        ("/{}", "must be a whole segment"),
        ("/{1}", "must be a whole segment"),
        ("/{a}/{a}", "a name of its own"),
    ],
)
def test_a_path_that_cannot_be_served_is_refused(path: Any, why: str):
    with pytest.raises(RegistrationError, match=why):
        Server("s").add_route(path, plain)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"methods": "GET"}, r'methods are a list: methods=\["GET"\]'),
        ({"methods": []}, "methods are a list"),
        ({"methods": ["FETCH"]}, "unknown method 'FETCH': there are GET"),
        ({"timeout": 0}, "timeout is a number of seconds above 0"),
        ({"tags": []}, "unknown option tags: there are methods, timeout, thread"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], why: str):
    with pytest.raises(RegistrationError, match=why):
        Server("s").add_route("/x", plain, **options)


def test_a_signature_that_nothing_fills_is_refused():
    def needs(x: str, y: str) -> str:
        return x + y

    async def generates(x: str) -> Any:
        yield x

    def odd(x: Callable[[], int]) -> str:
        return ""

    server = Server("s")
    with pytest.raises(RegistrationError, match=r"needs\(\): parameter 'y': it is neither in the path '/\{x\}' nor"):
        server.add_route("/{x}", needs)
    with pytest.raises(RegistrationError, match="is a generator"):
        server.add_route("/{x}", generates)
    with pytest.raises(RegistrationError, match="parameter 'x'"):
        server.add_route("/{x}", odd)
    assert len(server.routes) == 0


# The pair


async def test_a_request_gives_its_body_as_bytes_and_as_json():
    request = HttpRequest(method="POST", path="/x", body=b'{"a": [1]}')
    assert await request.body() == b'{"a": [1]}'
    assert await request.json() == {"a": [1]}
    for body in (b"", b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(MalformedRequestError, match="the body is not JSON"):
            await HttpRequest(method="POST", path="/x", body=body).json()


def test_a_query_may_give_a_name_more_than_once():
    query = Query("a=1&b=%C3%A9+x&a=2&empty=")
    assert (query["a"], query.all("a"), query["b"], query["empty"]) == ("1", ["1", "2"], "é x", "")
    assert (list(query), len(query), query.get("c"), query.all("c")) == (["a", "b", "empty"], 3, None, [])
    assert "é" in repr(query)


def test_a_query_is_bounded():
    Query("&".join(["a=1"] * MAX_QUERY))
    with pytest.raises(MalformedRequestError, match="more than"):
        Query("&".join(["a=1"] * (MAX_QUERY + 1)))


class Point(msgspec.Struct):
    x: int


@pytest.mark.parametrize(
    ("value", "status", "body", "content_type"),
    [
        ("é", 200, "é".encode(), "text/plain; charset=utf-8"),
        (b"\x00", 200, b"\x00", "application/octet-stream"),
        ({"a": 1}, 200, b'{"a":1}', "application/json"),
        ([1, 2], 200, b"[1,2]", "application/json"),
        (Point(3), 200, b'{"x":3}', "application/json"),
        (None, 204, b"", None),
        (HttpResponse(), 200, b"", None),
        (HttpResponse("x", 404, content_type="text/html"), 404, b"x", "text/html"),
        (HttpResponse({"a": 1}, status=201), 201, b'{"a":1}', "application/json"),
        (HttpResponse(status=304), 304, b"", None),
    ],
)
def test_what_is_returned_becomes_a_response(value: Any, status: int, body: bytes, content_type: str | None):
    response = to_response(value)
    assert (response.status, *response.encoded()) == (status, body, content_type)


@pytest.mark.parametrize(
    "arguments",
    [
        {"status": 199},
        {"status": 600},
        {"status": "200"},
        {"body": "x", "status": 204},
        {"body": "x", "status": 304},
        {"headers": {"x": "a\r\nset-cookie: b"}},
        {"headers": {"x": "a\nb"}},
        {"headers": {"x": "\u20ac"}},
        {"headers": {"a b": "c"}},
        {"headers": {"a:": "c"}},
        {"headers": {"Content-Length": "3"}},
        {"headers": {"transfer-encoding": "chunked"}},
        {"content_type": "text/plain\r\nx: y"},
    ],
)
def test_a_response_that_cannot_be_sent_is_refused_where_it_is_made(arguments: dict[str, Any]):
    with pytest.raises(ValueError, match=r"status|header"):
        HttpResponse(**arguments)


def test_headers_are_a_mapping_or_pairs():
    assert HttpResponse(headers={"X-A": "1"}).headers == (("x-a", "1"),)
    pairs = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
    assert HttpResponse(headers=pairs).headers == (("set-cookie", "a=1"), ("set-cookie", "b=2"))


def test_a_server_without_routes_finds_none():
    assert small_server().routes.find("/health") is None
