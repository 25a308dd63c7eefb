"""Matching, as `trio_mcp.uri_template` decides it."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_mcp.uri_template import MAX_URI, UriTemplate, shapes_of


def match(template, uri, **options):
    return UriTemplate(template, **options).match(uri)


@pytest.mark.parametrize(
    ("template", "uri", "expected"),
    [
        ("config://app", "config://app", {}),
        ("users://{id}/profile", "users://42/profile", {"id": "42"}),
        ("users://{id}", "users://J%C3%BCrgen%20M", {"id": "Jürgen M"}),
        ("users://{id}", "users://Jürgen", {"id": "Jürgen"}),
        ("users://{id}", "users://john@example.com", {"id": "john@example.com"}),
        ("test://template/{id}/data", "test://template/123/data", {"id": "123"}),
        ("a://{x}-{y}", "a://1-2-3", {"x": "1-2", "y": "3"}),
        ("map://{x,y}", "map://1024,768", {"x": "1024", "y": "768"}),
        ("über://{x}", "%C3%BCber://1", {"x": "1"}),
        ("f://my docs/{x}", "f://my%20docs/1", {"x": "1"}),
        ("f://x%2fy/{x}", "f://x%2Fy/1", {"x": "1"}),
        ("f://abc/{x}", "f://%61bc/1", {"x": "1"}),
        ("files://{+path}", "files://a/b/c.txt", {"path": "a/b/c.txt"}),
        ("files://{+path}", "files://a?b#c", {"path": "a?b#c"}),
        ("files://{path*}", "files://a/b/c.txt", {"path": "a/b/c.txt"}),
        ("files://{path*}", "files://a%2Fb", {"path": "a/b"}),
        ("files://{path*}/raw", "files://a/raw/raw", {"path": "a/raw"}),
        ("files://{+path}/{name}", "files://a/b/c", {"path": "a/b", "name": "c"}),
        ("git://{repo}/{path*}", "git://r/a/b", {"repo": "r", "path": "a/b"}),
        ("shelf://x{/path*}", "shelf://x/a/b", {"path": ["a", "b"]}),
        ("shelf://x{/path*}", "shelf://x", {}),
        ("shelf://x{/a,b}", "shelf://x/1/2", {"a": "1", "b": "2"}),
        ("shelf://x{/a,b}", "shelf://x/1", {"a": "1"}),
        ("f://{name}{.ext}", "f://archive.tar.gz", {"name": "archive.tar", "ext": "gz"}),
        ("f://{name}{.ext}", "f://archive", {"name": "archive"}),
        ("f://{+path}{.ext}", "f://a.b/c", {"path": "a.b/c"}),
        ("f://www{.dom*}", "f://www.example.com", {"dom": ["example", "com"]}),
        ("f://x{#part}", "f://x#intro/1", {"part": "intro/1"}),
        ("f://x{#part}", "f://x", {}),
        ("f://x{?q}{#part}", "f://x?q=1#two", {"q": "1", "part": "two"}),
        ("f://x#{part}", "f://x#two", {"part": "two"}),
        ("f://{n}{;x,y}", "f://n;y=2;x=1", {"n": "n", "x": "1", "y": "2"}),
        ("f://{n}{;x,y}", "f://n;y", {"n": "n", "y": ""}),
        ("f://{n}{;tag*}/z", "f://n;tag=a;tag=b/z", {"n": "n", "tag": ["a", "b"]}),
        ("f://{code:2}/x", "f://ab/x", {"code": "ab"}),
        ("f://{code:2}/x", "f://%C3%A9%C3%A8/x", {"code": "éè"}),
        ("f://{code:2}-{rest}", "f://ab-cd-e", {"code": "ab", "rest": "cd-e"}),
    ],
)
def test_a_uri_that_fits_gives_its_variables_decoded(template, uri, expected):
    assert match(template, uri) == expected


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("config://app", "config://app2"),
        ("config://app", "config://ap"),
        ("users://{id}", "users://"),
        ("users://{id}", "users://a/b"),
        ("users://{id}", "users://a?x=1"),
        ("users://{id}", "users://a#x"),
        ("users://{id}", "groups://a"),
        ("users://{id}/profile", "users://a/profil"),
        ("users://{id}/profile", "users://a/profile/x"),
        ("files://{path*}", "files://"),
        ("files://{path*}", "files://a?b"),
        ("shelf://x{/a}", "shelf://xa"),
        ("shelf://x{/a}", "shelf://x/"),
        ("shelf://x{/a}", "shelf://x/1/2"),
        ("map://{x,y}", "map://1024"),
        ("f://{code:2}/x", "f://abc/x"),
        ("f://{code:1}/x", "f://%C3%A9%C3%A8/x"),
        ("users://{id}", "users://%zz"),
        ("users://{id}", "users://abc%2"),
        ("users://{id}", "users://%FF%FE"),
        ("users://{id}", "users://a%00b"),
        ("users://{id}", "users://\ud800"),
        ("f://x{?q}", "f://x#q"),
        ("f://x{?q}", "f://x?q=1#y"),
        ("f://x2F{id}", "f://x%2F1"),
    ],
)
def test_a_uri_that_does_not_fit_gives_none(template, uri):
    assert match(template, uri) is None


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s://docs?q=cats&page=2", {"q": "cats", "page": "2"}),
        ("s://docs?page=2&q=cats", {"q": "cats", "page": "2"}),
        ("s://docs?page=2", {"page": "2"}),
        ("s://docs", {}),
        ("s://docs?", {}),
        ("s://docs?q=", {"q": ""}),
        ("s://docs?q", {"q": ""}),
        ("s://docs?utm=1&q=a%26b&&", {"q": "a&b"}),
        ("s://docs?q=1+1%20=2", {"q": "1+1 =2"}),
        ("s://docs?q=../../x", {"q": "../../x"}),
        ("s://docs?%71=a", {"q": "a"}),
        ("s://docs?q=a&q=b", None),
        ("s://docs?q=%00", None),
        ("s://docs?x=%FF%FF&%FF=1", None),
        ("s://doc?q=a", None),
    ],
)
def test_a_query_is_read_by_name_in_any_order_and_absent_names_are_left_out(uri, expected):
    assert match("s://docs{?q,page}", uri) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s://x?type=doc&q=cats", {"q": "cats"}),
        ("s://x?page=3&q=cats&type=doc", {"q": "cats", "page": "3"}),
        ("s://x?q=cats", None),
        ("s://x?type=img&q=cats", None),
        ("s://x?type=doc", None),
        ("s://x", None),
    ],
)
def test_a_query_written_out_in_the_template_is_required(uri, expected):
    template = UriTemplate("s://x?type=doc&q={q}{&page}")
    assert template.match(uri) == expected
    assert template.required_variables == ("q",)


def test_an_exploded_query_gives_every_value():
    assert match("s://x{?tag*}", "s://x?tag=a&tag=b") == {"tag": ["a", "b"]}
    assert match("s://x{?tag*}", "s://x?tag=a") == {"tag": ["a"]}
    assert match("s://x{?tag*}", "s://x") == {}


def test_shapes_ask_for_lists_and_dicts():
    shapes = {"path": list, "tag": list, "rest": dict, "absent": list}
    assert match("s://x/{path*}", "s://x/a/b%20c", shapes=shapes) == {"path": ["a", "b c"]}
    assert match("s://x/{path*}", "s://x/a,b%2Cc", shapes=shapes) == {"path": ["a", "b,c"]}
    assert match("s://x/{path}", "s://x/a,b%2Cc", shapes=shapes) == {"path": ["a", "b,c"]}
    assert match("s://x{?tag}", "s://x?tag=a,b&tag=c%2Cd", shapes=shapes) == {"tag": ["a", "b", "c,d"]}
    assert match("s://x{?tag,rest*}", "s://x?b=2&tag=t&a=%C3%A9", shapes=shapes) == {
        "tag": ["t"],
        "rest": {"b": "2", "a": "é"},
    }
    assert match("s://x{?rest*}", "s://x", shapes=shapes) == {}
    assert match("s://x{?rest}", "s://x?rest=a,1,b,2", shapes=shapes) == {"rest": {"a": "1", "b": "2"}}
    assert match("s://x{?rest}", "s://x?rest=a,1,b", shapes=shapes) is None
    assert match("s://x{/rest*}", "s://x/a=1/b=2", shapes=shapes) == {"rest": {"a": "1", "b": "2"}}


def test_an_exploded_path_is_a_joined_string_where_a_string_is_asked():
    assert match("s://x{/path*}", "s://x/a/b", shapes={"path": str}) == {"path": "a/b"}
    assert match("s://x{.dom*}", "s://x.a.b", shapes={"dom": str}) == {"dom": "a.b"}
    assert match("s://x{?tag*}", "s://x?tag=a", shapes={"tag": str}) == {"tag": "a"}
    assert match("s://x{?tag*}", "s://x?tag=a&tag=b", shapes={"tag": str}) is None
    assert match("s://x{?code:2}", "s://x?code=ab") == {"code": "ab"}
    assert match("s://x{?code:2}", "s://x?code=abc") is None


def test_shapes_come_from_json_schemas():
    schemas: dict[str, dict] = {
        "a": {"type": "string"},
        "b": {"type": "array", "items": {}},
        "c": {"type": "object"},
        "d": {"anyOf": [{"type": "array"}, {"type": "null"}]},
        "e": {"anyOf": [{"type": "array"}, {"type": "string"}]},
        "f": {"type": "integer"},
        "g": {},
    }
    assert shapes_of(schemas) == {"a": str, "b": list, "c": dict, "d": list, "e": str, "f": str, "g": str}


TRAVERSALS = [
    "..",
    "%2e%2e",
    "%2E.",
    "../etc/passwd",
    "a/../../b",
    "a/..",
    "a%2F..%2Fb",
    "a/%2e%2e/b",
    "a\\..\\b",
    "a%5C..%5Cb",
    "/etc/passwd",
    "%2Fetc%2Fpasswd",
    "\\\\server\\share",
    "%5Cwindows",
    "C:/windows",
    "c:secret",
    "C%3A%5Cwindows",
    "a%00.txt",
]


@pytest.mark.parametrize("value", TRAVERSALS)
@pytest.mark.parametrize("expression", ["{path}", "{+path}", "{path*}", "{+path*}", "{/path*}", "{/path}", "{;path}"])
@pytest.mark.parametrize("shape", [str, list, None])
def test_a_path_value_that_leaves_its_directory_does_not_match(expression, value, shape):
    lead = {"/": "/", ";": ";path="}.get(expression[1], "")
    template = UriTemplate(
        "files://base" + ("/" if not lead else "") + expression, shapes={"path": shape} if shape else {}
    )
    assert template.match(f"files://base{lead or '/'}{value}") is None


@pytest.mark.parametrize("value", ["a%2Fb", "a%5Cb", "%2F", "a\\b"])
def test_a_single_segment_refuses_an_encoded_separator(value):
    assert match("files://{name}", f"files://{value}") is None
    assert match("files://x{/name}", f"files://x/{value}") is None
    assert match("files://x{/name*}", f"files://x/ok/{value}") is None
    assert match("files://x{.name}", f"files://x.{value}") is None


def test_elements_of_a_list_or_dict_are_checked_one_by_one():
    shapes = {"a": list, "d": dict}
    assert match("f://{+a}", "f://x,/etc", shapes=shapes) is None
    assert match("f://{a*}", "f://x,..", shapes=shapes) is None
    assert match("f://{a*}", "f://x/C:", shapes=shapes) is None
    assert match("f://{+a}", "f://x,C:", shapes=shapes) is None
    assert match("f://{d*}", "f://x=..", shapes=shapes) is None
    assert match("f://{d*}", "f://x=/etc", shapes=shapes) is None
    assert match("f://x{/d*}", "f://x/k=..", shapes=shapes) is None


@pytest.mark.parametrize(
    "value", ["..a", "a..", "...", "a..b", ".", "v1.0..2.0", ".hidden", "ab:c", "1:2", "%252e%252e"]
)
def test_dots_and_colons_that_are_no_traversal_match(value):
    assert match("files://{name}", f"files://{value}") is not None
    assert match("files://{+name}", f"files://x/{value}/y") is not None


def test_a_value_is_decoded_once_only():
    assert match("files://{+name}", "files://%252e%252e/%252Fx") == {"name": "%2e%2e/%2Fx"}


def test_allow_traversal_lets_such_values_through():
    assert match("files://{name}", "files://a%2Fb", allow_traversal=True) == {"name": "a/b"}
    assert match("files://{+path}", "files:///etc/../x", allow_traversal=True) == {"path": "/etc/../x"}
    assert match("files://x{/path*}", "files://x/../%2Fb", allow_traversal=True) == {"path": ["..", "/b"]}
    assert match("files://x{;p}", "files://x;p=..", allow_traversal=True) == {"p": ".."}
    assert match("files://{+path}", "files://a%00", allow_traversal=True) is None


def test_fragment_and_query_values_may_look_like_paths():
    assert match("f://x{?p}", "f://x?p=%2Fetc%2F..") == {"p": "/etc/.."}
    assert match("f://x{#p}", "f://x#/a/../b") == {"p": "/a/../b"}


def test_a_uri_over_the_bound_does_not_match():
    template = UriTemplate("x://{+path}")
    fits = "x://" + "a" * (MAX_URI - 4)
    assert template.match(fits) == {"path": "a" * (MAX_URI - 4)}
    assert template.match(fits + "a") is None


@pytest.mark.parametrize(
    ("template", "unit"),
    [
        ("x://" + "-".join(f"{{v{i}}}" for i in range(12)) + "!", "-"),
        ("x://" + "/".join(f"{{+v{i}}}" for i in range(12)) + "!", "a/"),
        ("x://" + "".join(f"{{/v{i}*}}" for i in range(12)) + "!", "/a"),
        ("x://y" + "".join(f"{{.v{i}*}}" for i in range(12)) + "!", "."),
        ("x://{a:9}" + "".join(f".{{v{i}}}" for i in range(12)) + "!", "%C3%A9."),
        ("x://y{?" + ",".join(f"v{i}" for i in range(12)) + "}#!", "&v1=a,"),
        ("x://y{;" + ",".join(f"v{i}" for i in range(12)) + "}!", ";v1"),
    ],
)
def test_an_adversarial_uri_costs_linear_time(template, unit):
    # A backtracking matcher would try C(8192, 12) divisions here. What counts is lines executed: four times the URI may
    # take four times as many. Then the longest URI, which must only end: a search that counts no lines would not.
    parsed = UriTemplate(template)

    def lines_for(length):
        uri = "x://y" + unit * ((length - 5) // len(unit))
        count = 0

        def trace(frame, event, argument):
            nonlocal count
            count += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            parsed.match(uri)
        finally:
            sys.settrace(before)
        return count

    assert lines_for(2000) <= 4.5 * lines_for(500)
    assert parsed.match("x://y" + unit * ((MAX_URI - 5) // len(unit))) is None


def test_a_template_knows_its_variables_by_place():
    template = UriTemplate("x://{a}{/b*}{;c}?k={d}{&e,f*}{#g}")
    assert template.variables == ("a", "b", "c", "d", "e", "f", "g")
    assert template.path_variables == ("a", "b", "c")
    assert template.query_variables == ("d", "e", "f")
    assert template.required_variables == ("a", "d")
    assert template.template == "x://{a}{/b*}{;c}?k={d}{&e,f*}{#g}"
    assert repr(template) == "UriTemplate('x://{a}{/b*}{;c}?k={d}{&e,f*}{#g}')"


safe_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\\:\x00"), min_size=1).filter(
    lambda text: text != ".."
)


@given(safe_text, safe_text, safe_text)
def test_what_expands_matches_back(a, b, c):
    template = UriTemplate("x://{a}/{b}{?c}")
    assert template.match(template.expand(a=a, b=b, c=c)) == {"a": a, "b": b, "c": c}


@given(st.lists(safe_text, min_size=1))
def test_lists_that_expand_match_back(items):
    template = UriTemplate("x://y{/path*}", shapes={"path": list})
    assert template.match(template.expand(path=items)) == {"path": items}
    query = UriTemplate("x://y{?item*}")
    assert query.match(query.expand(item=items)) == {"item": items}


@given(st.text())
def test_no_uri_makes_matching_raise(uri):
    for template in ("{+a}", "{a}{.b}{/c*}", "x{;a*}{?b,c*}{#d}", "?a={b}"):
        UriTemplate(template).match(uri)
