"""Docstrings in three conventions, and in none."""

import pytest

from trio_mcp.schema.docstrings import Docstring, parse

GOOGLE = """Find flights.

    Looks at every airline.

    Args:
        origin: Where to start,
            an IATA code.
        day (datetime.date, optional): The day: any hour.
        *rest: More stops.
        options (dict[str, tuple(int)]): Wishes.

            A second paragraph.

    Returns:
        list[Flight]: The cheapest first.

    Raises:
        ValueError: no such airport.
    """

NUMPY = """Find flights.

    Parameters
    ----------
    origin : str
        Where to start,
        an IATA code.
    day, hour : int, optional
        When to leave.
    bare
        Untyped.

    Returns
    -------
    list of Flight
        The cheapest first.

    Notes
    -----
    Slow.
    """

REST = """Find flights.

    :param origin: Where to start,
        an IATA code.
    :param datetime.date day: The day.
    :type origin: str
    :return: The cheapest first.
    :raises ValueError: no such airport.
    """


def test_google_sections_give_each_parameter_its_text() -> None:
    assert parse(GOOGLE).params == {
        "origin": "Where to start, an IATA code.",
        "day": "The day: any hour.",
        "rest": "More stops.",
        "options": "Wishes.\n\nA second paragraph.",
    }


def test_numpy_sections_give_each_parameter_its_text() -> None:
    assert parse(NUMPY).params == {
        "origin": "Where to start, an IATA code.",
        "day": "When to leave.",
        "hour": "When to leave.",
        "bare": "Untyped.",
    }


def test_rest_fields_give_each_parameter_its_text() -> None:
    assert parse(REST).params == {"origin": "Where to start, an IATA code.", "day": "The day."}


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, REST])
def test_what_is_returned_is_found_without_its_type(docstring: str) -> None:
    assert parse(docstring).returns == "The cheapest first."


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, REST])
def test_the_text_keeps_everything_but_the_parameters(docstring: str) -> None:
    text = parse(docstring).text
    assert text.startswith("Find flights.")
    assert "The cheapest first." in text
    assert "IATA" not in text
    assert "Args:" not in text
    assert "----------" not in text
    assert ":param" not in text
    assert ":type" not in text


def test_other_sections_stay_in_the_text() -> None:
    assert "ValueError: no such airport." in parse(GOOGLE).text
    assert parse(NUMPY).text.endswith("Notes\n-----\nSlow.")
    assert ":raises ValueError: no such airport." in parse(REST).text


def test_no_blank_lines_pile_up_where_a_section_was() -> None:
    assert parse("One.\n\nArgs:\n    x: a\n\n\nTwo.").text == "One.\n\nTwo."


@pytest.mark.parametrize("title", ["Args:", "Arguments:", "Parameters:", "Params:", "Keyword Args:", "Attributes:"])
def test_every_google_title_of_parameters_is_known(title: str) -> None:
    assert parse(f"Do.\n\n{title}\n    x: text").params == {"x": "text"}


@pytest.mark.parametrize("text", ["", "   \n ", None])
def test_nothing_gives_nothing(text: str | None) -> None:
    assert parse(text) == Docstring("", {}, None)


@pytest.mark.parametrize(
    "text",
    [
        "Just prose, with a colon: here.",
        "Args:",
        "Args:\n\nno indented block follows",
        "Do.\n\nArgs:\n    this block lists nothing",
        "Parameters\nwithout an underline",
        "Time is 10:30: sharp.\n\n:not a field",
    ],
)
def test_what_only_looks_like_a_section_stays_in_the_text(text: str) -> None:
    assert parse(text) == Docstring(text, {}, None)


def test_prose_after_a_numpy_section_is_no_parameter_text() -> None:
    parsed = parse("Do.\n\nParameters\n----------\nx : int\n    The x.\n\nThen this happens, as said.")
    assert parsed.params == {"x": "The x."}
    assert parsed.text == "Do.\n\nThen this happens, as said."


def test_a_google_return_without_a_type_is_taken_whole() -> None:
    assert parse("Do.\n\nReturns:\n    The sum of both.").returns == "The sum of both."


def test_a_docstring_that_begins_with_its_section_has_no_text() -> None:
    assert parse("\n    Args:\n        x: text\n") == Docstring("", {"x": "text"}, None)
