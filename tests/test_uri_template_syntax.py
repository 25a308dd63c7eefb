"""RFC 6570 expansion as the RFC's own examples have it, and what is no template."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_mcp.uri_template import UriTemplate, UriTemplateError

RFC_VALUES = {
    "count": ["one", "two", "three"],
    "dom": ["example", "com"],
    "dub": "me/too",
    "hello": "Hello World!",
    "half": "50%",
    "var": "value",
    "who": "fred",
    "base": "http://example.com/home/",
    "path": "/foo/bar",
    "list": ["red", "green", "blue"],
    "keys": {"semi": ";", "dot": ".", "comma": ","},
    "v": "6",
    "x": "1024",
    "y": "768",
    "empty": "",
    "empty_keys": {},
    "undef": None,
}


def expand(template, values=RFC_VALUES):
    parsed = UriTemplate(template)
    return parsed.expand(**{name: value for name, value in values.items() if name in parsed.variables})


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        # Level 1 to 3, and the sections of 3.2
        ("{var}", "value"),
        ("{hello}", "Hello%20World%21"),
        ("{half}", "50%25"),
        ("O{empty}X", "OX"),
        ("O{undef}X", "OX"),
        ("{x,y}", "1024,768"),
        ("{x,hello,y}", "1024,Hello%20World%21,768"),
        ("?{x,empty}", None),
        ("{var:3}", "val"),
        ("{var:30}", "value"),
        ("{list}", "red,green,blue"),
        ("{list*}", "red,green,blue"),
        ("{keys}", "semi,%3B,dot,.,comma,%2C"),
        ("{keys*}", "semi=%3B,dot=.,comma=%2C"),
        ("{+var}", "value"),
        ("{+hello}", "Hello%20World!"),
        ("{+half}", "50%25"),
        ("{base}index", "http%3A%2F%2Fexample.com%2Fhome%2Findex"),
        ("{+base}index", "http://example.com/home/index"),
        ("{+path}/here", "/foo/bar/here"),
        ("up{+path}-{var}/here", "up/foo/bar-value/here"),
        ("{+path:6}/here", "/foo/b/here"),
        ("{+list*}", "red,green,blue"),
        ("{+keys}", "semi,;,dot,.,comma,,"),
        ("{+keys*}", "semi=;,dot=.,comma=,"),
        ("X{#var}", "X#value"),
        ("X{#hello}", "X#Hello%20World!"),
        ("foo{#empty}", "foo#"),
        ("foo{#undef}", "foo"),
        ("{#x,hello,y}", "#1024,Hello%20World!,768"),
        ("{#path,x}/here", "#/foo/bar,1024/here"),
        ("{#keys*}", "#semi=;,dot=.,comma=,"),
        ("{.who}", ".fred"),
        ("www{.dom*}", "www.example.com"),
        ("X{.var:3}", "X.val"),
        ("X{.list}", "X.red,green,blue"),
        ("X{.empty_keys*}", "X"),
        ("X{.keys*}", "X.semi=%3B.dot=..comma=%2C"),
        ("{/var}", "/value"),
        ("{/var,x}/here", "/value/1024/here"),
        ("{/var,empty}", "/value/"),
        ("{/var,undef}", "/value"),
        ("{/list*}", "/red/green/blue"),
        ("{/keys*}", "/semi=%3B/dot=./comma=%2C"),
        ("{;who}", ";who=fred"),
        ("{;empty}", ";empty"),
        ("{;v,empty,who}", ";v=6;empty;who=fred"),
        ("{;x,y,undef}", ";x=1024;y=768"),
        ("{;hello:5}", ";hello=Hello"),
        ("{;list}", ";list=red,green,blue"),
        ("{;list*}", ";list=red;list=green;list=blue"),
        ("{;keys*}", ";semi=%3B;dot=.;comma=%2C"),
        ("{?x,y,empty}", "?x=1024&y=768&empty="),
        ("{?var:3}", "?var=val"),
        ("{?list*}", "?list=red&list=green&list=blue"),
        ("{?keys}", "?keys=semi,%3B,dot,.,comma,%2C"),
        ("{?keys*}", "?semi=%3B&dot=.&comma=%2C"),
        ("?fixed=yes{&x}", "?fixed=yes&x=1024"),
        ("?fixed=yes{&x,undef,empty}", "?fixed=yes&x=1024&empty="),
    ],
)
def test_expansion_gives_what_rfc_6570_shows(template, expected):
    if expected is None:
        with pytest.raises(UriTemplateError):
            UriTemplate(template)
    else:
        assert expand(template) == expected


@pytest.mark.parametrize(
    ("template", "position", "words"),
    [
        ("x://{id", 4, "without its other half"),
        ("x://id}", 6, "without its other half"),
        ("x://{a{b}}", 4, "do not nest"),
        ("x://{}", 4, "names no variable"),
        ("x://{+}", 4, "{+id}"),
        ("x://{a,}", 4, "no variable name"),
        ("x://{a-b}", 4, "'a-b'"),
        ("x://{=a}", 5, "reserved"),
        ("x://{id:int}", 4, "{id*}"),
        ("x://{id:0}", 4, "1 to 9999"),
        ("x://{id:10000}", 4, "1 to 9999"),
        ("x://{id:3*}", 4, "1 to 9999"),
        ("x://{id}/{id}", 9, "stands twice"),
        ("x://{a}{b}", 7, "nothing between"),
        ("x://{a}{+b}", 7, "nothing between"),
        ("x://%zz", 4, "%25"),
        ("x://%FF", 0, "UTF-8"),
        ("x://{a}{&b}", 7, "write {?…}"),
        ("x://y?z=1{?b}", 9, "write {&…}"),
        ("x://y{?a}{?b}", 9, "write {&…}"),
        ("x://y{?a}{/b}", 9, "belongs to the path"),
        ("x://y{#a}{?b}", 9, "before the #"),
        ("x://y{#a}{#b}", 9, "second fragment"),
        ("x://y?{a}", 6, "pairs"),
        ("x://y?a={a}-{b}", 8, "pairs"),
        ("x://y?a={a,b}", 8, "pairs"),
    ],
)
def test_a_wrong_template_is_refused_with_its_position_and_what_to_do(template, position, words):
    with pytest.raises(UriTemplateError) as caught:
        UriTemplate(template)
    assert f"position {position}: " in str(caught.value)
    assert words in str(caught.value)
    assert repr(template) in str(caught.value)


def test_expanding_an_unknown_name_names_those_that_exist():
    with pytest.raises(TypeError, match=r"no variable 'ident'; it has id, page"):
        UriTemplate("x://{id}{?page}").expand(ident=1)


def test_expanding_a_list_at_a_prefix_is_refused():
    with pytest.raises(UriTemplateError, match="start of a string, not of a list"):
        UriTemplate("x://{id:3}").expand(id=["a"])


def test_expanding_numbers_and_booleans_writes_them_as_json_does():
    assert UriTemplate("x://{a}{?b,c}").expand(a=1, b=True, c=1.5) == "x://1?b=true&c=1.5"


def test_a_reserved_expansion_keeps_escapes_that_are_there():
    assert UriTemplate("{+x}").expand(x="a%20b%zz c") == "a%20b%25zz%20c"


@given(st.text(alphabet="{}+#./;?&,*:abc0%=x"))
def test_no_template_raises_anything_but_its_own_error(template):
    try:
        parsed = UriTemplate(template)
    except UriTemplateError:
        return
    parsed.match("x://a/b?c=d")
    assert parsed.match(template) is None or not parsed.variables or "{" not in template
