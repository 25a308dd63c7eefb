"""Answers to elicitation forms: what is read out of them, and that no wrong one passes."""

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.elicitation_samples import Contact, Hex, accept, faults_of, form_of
from trio_mcp.elicitation import ElicitationFault, Elicited, Form
from trio_mcp.schema import Fault
from trio_mcp.schema.faults import MAX_FAULTS


def test_an_accepted_answer_gives_its_content():
    form = form_of(name={"type": "string"})
    assert form.read(accept({"name": "octocat"})) == Elicited("accept", {"name": "octocat"})


@pytest.mark.parametrize("wrap", [lambda text: text, msgspec.Raw, bytearray])
def test_an_answer_may_be_json_text(wrap):
    form = form_of(name={"type": "string"})
    assert form.read(wrap(b'{"action":"accept","content":{"name":"o"}}')) == Elicited("accept", {"name": "o"})


@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_declined_and_cancelled_answers_have_no_content_whatever_they_carry(action):
    form = form_of(name={"type": "string"})
    assert form.read({"action": action}) == Elicited(action)
    assert form.read({"action": action, "content": {"name": 1}}) == Elicited(action, None)
    assert Form.of(Contact).read({"action": action, "content": None}) == Elicited(action)


@pytest.mark.parametrize(
    ("answer", "path", "message"),
    [
        (b"", "$", "not valid JSON"),
        (b"{", "$", "not valid JSON"),
        (b'{"action": "\xff"}', "$", "not valid JSON"),
        (b"[" * 100_000, "$", "not valid JSON"),
        (None, "$", "not valid JSON"),
        (b"null", "$", "expected an object, got null"),
        (b"[]", "$", "expected an object, got an array"),
        (b'"accept"', "$", "expected an object, got a string"),
        ({}, "$.action", "must be one of accept, decline, cancel"),
        ({"action": "accepted"}, "$.action", "must be one of accept, decline, cancel"),
        ({"action": ["accept"]}, "$.action", "must be one of accept, decline, cancel"),
        ({"action": "accept"}, "$.content.name", "missing"),
        ({"action": "accept", "content": None}, "$.content.name", "missing"),
        ({"action": "accept", "content": []}, "$.content", "expected an object, got an array"),
        ({"action": "accept", "content": "x"}, "$.content", "expected an object, got a string"),
        ({"action": "accept", "content": {"name": None}}, "$.content.name", "expected a string, got null"),
        ({"action": "accept", "content": {"name": 12345}}, "$.content.name", "expected a string, got an integer"),
    ],
)
def test_an_answer_that_is_none_is_refused(answer, path, message):
    assert faults_of(form_of(name={"type": "string"}), answer) == [(path, message)]


def test_every_fault_of_an_answer_is_listed():
    form = form_of(
        user_name={"type": "string"},
        age={"type": "integer", "minimum": 18},
        mail={"type": "string", "format": "email", "maxLength": 5},
        colours={"type": "array", "items": {"type": "string", "enum": ["a", "b"]}, "maxItems": 2},
        sure={"type": "boolean"},
    )
    answer = accept({"user_name": 12345, "age": 3, "mail": "nobody", "colours": ["a", "c", 1]})
    assert faults_of(form, answer) == [
        ("$.content.user_name", "expected a string, got an integer"),
        ("$.content.age", "must be ≥ 18"),
        ("$.content.mail", "must have a length ≤ 5"),
        ("$.content.mail", "expected a valid email"),
        ("$.content.colours", "must have 2 items or fewer"),
        ("$.content.colours[1]", "must be one of 'a', 'b'"),
        ("$.content.colours[2]", "expected a string, got an integer"),
        ("$.content.sure", "missing"),
    ]


def test_a_hostile_answer_is_told_of_a_bounded_number_of_faults():
    colours = {"type": "array", "items": {"type": "string", "enum": ["a"]}}
    assert len(faults_of(form_of(c=colours), accept({"c": [0] * 10_000}))) == MAX_FAULTS
    closed = Form.of({"type": "object", "properties": {}, "additionalProperties": False})
    assert len(faults_of(closed, accept({str(n): 1 for n in range(10_000)}))) == MAX_FAULTS


def test_fields_that_were_not_asked_for_are_dropped_or_refused_where_the_schema_is_closed():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert Form.of(schema).read(accept({"a": "1", "b": "2"})).content == {"a": "1"}
    closed = Form.of({**schema, "additionalProperties": False})
    assert faults_of(closed, accept({"a": "1", "b": "2"})) == [("$.content.b", "unknown")]


def test_defaults_are_filled_in_and_nulls_of_optional_fields_count_as_left_out():
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "default": "John Doe"},
            "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 95.5},
            "status": {"type": "string", "enum": ["active", "idle"], "default": "active"},
            "verified": {"type": "boolean", "default": True},
            "tags": {"type": "array", "items": {"type": "string", "enum": ["a"]}, "default": ["a"]},
            "note": {"type": "string"},
        },
        "required": ["name"],
    }
    form = Form.of(schema)
    assert form.requested_schema is schema
    filled = form.read(accept({"age": None, "note": None, "verified": False})).content
    expected = {"name": "John Doe", "age": 30, "score": 95.5, "status": "active", "verified": False, "tags": ["a"]}
    assert filled == expected
    filled["tags"].append("changed")
    assert form.read(accept({})).content["tags"] == ["a"]
    assert faults_of(form, accept({"name": None})) == [("$.content.name", "expected a string, got null")]


def test_an_empty_form_asks_only_for_consent():
    for nothing in (None, type(None)):
        form = Form.of(nothing)
        assert form.requested_schema == {"type": "object", "properties": {}}
        assert form.read({"action": "accept"}) == Elicited("accept", None)
        assert form.read(accept({"a": 1})) == Elicited("accept", None)


def test_in_url_mode_only_the_action_is_read():
    assert Form.read_action(b'{"action":"accept"}') == Elicited("accept")
    assert Form.read_action({"action": "decline", "content": 3}) == Elicited("decline")
    with pytest.raises(ElicitationFault, match=r"\$.action: must be one of"):
        Form.read_action({"action": "yes"})
    with pytest.raises(ElicitationFault, match="not valid JSON"):
        Form.read_action(b"")


def test_a_fault_holds_its_path_and_message():
    fault = ElicitationFault([Fault("$.content.a", "missing"), Fault("$.content.b", "unknown")])
    assert str(fault) == "$.content.a: missing\n$.content.b: unknown"
    assert isinstance(fault, ValueError)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
FORMS = [
    Form.of(Contact),
    Form.of(str | None),
    Form.of(list[Hex]),
    Form.of(None),
    form_of(a={"type": "integer"}, b={"type": "string", "format": "date-time"}),
]
names = st.sampled_from(["value", "a", "b", *Contact.__dataclass_fields__])


@given(json_values | st.dictionaries(names, json_values), st.sampled_from(FORMS))
def test_no_content_makes_reading_raise_anything_but_its_own_fault(content, form):
    with contextlib.suppress(ElicitationFault):
        assert form.read(accept(content)).action == "accept"


@given(json_values, st.sampled_from(FORMS))
def test_no_answer_makes_reading_raise_anything_but_its_own_fault(answer, form):
    with pytest.raises(ElicitationFault):
        form.read(json.dumps(answer).encode())
