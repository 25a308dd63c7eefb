"""Which forms the restricted schema allows, and which values fit them."""

import pytest

from tests.elicitation_samples import accept, faults_of, form_of
from trio_mcp.elicitation import Form


def read(asked, value):
    return form_of(field=asked).read(accept({"field": value})).content["field"]


@pytest.mark.parametrize(
    ("asked", "value", "expected"),
    [
        ({"type": "string"}, "", ""),
        ({"type": "string", "minLength": 2, "maxLength": 2}, "éé", "éé"),
        ({"type": "string", "pattern": "^[A-Z]"}, "Ab", "Ab"),
        ({"type": "string", "pattern": "b"}, "abc", "abc"),
        ({"type": "integer"}, 5, 5),
        ({"type": "integer"}, 5.0, 5),
        ({"type": "integer", "minimum": 5, "maximum": 5}, 5, 5),
        ({"type": "number"}, 5, 5),
        ({"type": "number"}, 5.5, 5.5),
        ({"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 2}, 1.5, 1.5),
        ({"type": "boolean"}, False, False),
        ({"type": "string", "enum": ["a", "b"]}, "b", "b"),
        ({"type": "string", "enum": ["a", "b"], "enumNames": ["A", "B"]}, "a", "a"),
        ({"type": "string", "oneOf": [{"const": "a", "title": "A"}]}, "a", "a"),
        ({"type": "array", "items": {"type": "string", "enum": ["a", "b"]}}, ["b", "a"], ["b", "a"]),
        ({"type": "array", "items": {"anyOf": [{"const": "a", "title": "A"}]}}, ["a"], ["a"]),
        ({"type": "array", "items": {"type": "string", "enum": ["a"]}}, [], []),
        ({"type": "string", "format": "email"}, "octo.cat+1@mail.github.com", None),
        ({"type": "string", "format": "email"}, "me@localhost", None),
        ({"type": "string", "format": "uri"}, "https://a.b/c?d=e#f", None),
        ({"type": "string", "format": "uri"}, "urn:isbn:0451450523", None),
        ({"type": "string", "format": "date"}, "2024-02-29", None),
        ({"type": "string", "format": "date-time"}, "2024-02-29T23:59:59Z", None),
        ({"type": "string", "format": "date-time"}, "2024-02-29t23:59:59.123456789+05:30", None),
        ({"type": "string", "format": "phone"}, "anything", None),
    ],
)
def test_a_value_that_fits_passes(asked, value, expected):
    found = read(asked, value)
    assert found == (value if expected is None else expected)
    assert type(found) is type(value if expected is None else expected)


@pytest.mark.parametrize(
    ("asked", "value", "message"),
    [
        ({"type": "string"}, True, "expected a string, got a boolean"),
        ({"type": "string"}, ["a"], "expected a string, got an array"),
        ({"type": "string"}, {}, "expected a string, got an object"),
        ({"type": "string", "minLength": 2}, "é", "must have a length ≥ 2"),
        ({"type": "string", "pattern": "^[A-Z]"}, "ab", "must match the pattern '^[A-Z]'"),
        ({"type": "integer"}, "5", "expected an integer, got a string"),
        ({"type": "integer"}, 5.5, "expected an integer, got a number"),
        ({"type": "integer"}, True, "expected an integer, got a boolean"),
        ({"type": "integer"}, float("inf"), "expected an integer, got a number"),
        ({"type": "integer", "maximum": 4}, 5, "must be ≤ 4"),
        ({"type": "number"}, "5", "expected a number, got a string"),
        ({"type": "number"}, False, "expected a number, got a boolean"),
        ({"type": "number"}, float("nan"), "expected a number, got a number"),
        ({"type": "number", "exclusiveMinimum": 1}, 1, "must be > 1"),
        ({"type": "number", "exclusiveMaximum": 1}, 1, "must be < 1"),
        ({"type": "boolean"}, 1, "expected true or false, got an integer"),
        ({"type": "boolean"}, "true", "expected true or false, got a string"),
        ({"type": "string", "enum": ["a", "b"]}, "c", "must be one of 'a', 'b'"),
        ({"type": "string", "enum": ["a", "b"], "enumNames": ["A", "B"]}, "A", "must be one of 'a', 'b'"),
        ({"type": "string", "oneOf": [{"const": "a", "title": "A"}]}, "A", "must be one of 'a'"),
        ({"type": "array", "items": {"type": "string", "enum": ["a"]}}, "a", "expected an array, got a string"),
        ({"type": "array", "items": {"type": "string", "enum": ["a"]}, "minItems": 1}, [], "must have 1 items or more"),
        ({"type": "string", "format": "email"}, "octocat", "expected a valid email"),
        ({"type": "string", "format": "email"}, "a@b@c", "expected a valid email"),
        ({"type": "string", "format": "email"}, "a b@c.d", "expected a valid email"),
        ({"type": "string", "format": "email"}, "a@b..c", "expected a valid email"),
        ({"type": "string", "format": "email"}, "a@" + "b" * 400, "expected a valid email"),
        ({"type": "string", "format": "uri"}, "/relative", "expected a valid uri"),
        ({"type": "string", "format": "uri"}, "http://a b", "expected a valid uri"),
        ({"type": "string", "format": "date"}, "2023-02-29", "expected a valid date"),
        ({"type": "string", "format": "date"}, "20240229", "expected a valid date"),
        ({"type": "string", "format": "date"}, "2024-W01-1", "expected a valid date"),
        ({"type": "string", "format": "date"}, "2024-02-29\n", "expected a valid date"),
        ({"type": "string", "format": "date-time"}, "2024-02-29", "expected a valid date-time"),
        ({"type": "string", "format": "date-time"}, "2024-02-29T23:59:59", "expected a valid date-time"),
        ({"type": "string", "format": "date-time"}, "2024-02-30T23:59:59Z", "expected a valid date-time"),
        ({"type": "string", "format": "date-time"}, "2024-02-29T25:00:00Z", "expected a valid date-time"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(asked, value, message):
    path = "$.content.field"
    assert faults_of(form_of(field=asked), accept({"field": value})) == [(path, message)]


def test_many_options_are_not_all_recited():
    options = [f"option-{n}" for n in range(100)]
    ((_, message),) = faults_of(form_of(a={"type": "string", "enum": options}), accept({"a": "x"}))
    assert "'option-29', …" in message
    assert "option-30" not in message


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({}, "an elicitation schema is an object"),
        ({"type": "object"}, "an elicitation schema is an object"),
        ({"type": "string", "properties": {}}, "an elicitation schema is an object"),
        ({"type": "object", "properties": []}, "an elicitation schema is an object"),
        ({"type": "object", "properties": {}, "required": ["a"]}, "required names 'a'"),
        ({"type": "object", "properties": {}, "required": "a"}, "required is a list"),
    ],
)
def test_a_schema_that_is_no_object_is_refused(schema, words):
    with pytest.raises(ValueError, match=words):
        Form.of(schema)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"type": "object", "properties": {}}, "only for flat fields: .*'object'"),
        ({"$ref": "#/$defs/A"}, "only for flat fields"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "only for flat fields"),
        ({"type": ["string", "null"]}, "leave a field that may be empty out of required"),
        ({"enum": ["a"]}, "only for flat fields"),
        ("string", "only for flat fields"),
        ({"type": "array"}, "a choice of several"),
        ({"type": "array", "items": {"type": "string"}}, "a choice of several"),
        ({"type": "array", "items": {"type": "object"}}, "a choice of several"),
        ({"type": "array", "items": {"enum": [1]}}, "options are one string or more"),
        ({"type": "string", "enum": []}, "options are one string or more"),
        ({"type": "string", "enum": "abc"}, "enum is a list of strings"),
        ({"type": "string", "oneOf": ["a"]}, "oneOf is a list of options"),
        ({"type": "string", "oneOf": [{"title": "A"}]}, "oneOf is a list of options"),
        ({"type": "array", "items": {"anyOf": {"const": "a"}}}, "anyOf is a list of options"),
        ({"type": "string", "pattern": "("}, "no regular expression"),
        ({"type": "string", "pattern": 3}, "no regular expression"),
        ({"type": "string", "minLength": "3"}, "minLength is a number, not '3'"),
        ({"type": "integer", "minimum": True}, "minimum is a number, not True"),
        ({"type": "array", "minItems": None, "items": {"enum": ["a"]}}, "minItems is a number"),
        ({"type": "string", "default": 3}, "its default does not fit: expected a string"),
        ({"type": "string", "enum": ["a"], "default": "b"}, "its default does not fit: must be one of 'a'"),
        ({"type": "integer", "maximum": 3, "default": 4}, "its default does not fit: must be ≤ 3"),
    ],
)
def test_a_field_that_no_form_can_show_is_refused_by_name(asked, words):
    with pytest.raises(ValueError, match=f"field 'field': .*{words}"):
        form_of(field=asked)
