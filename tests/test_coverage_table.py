"""docs/coverage.md: every row names tests that are there, so that one which is renamed or removed is missed."""

import ast
import re
from functools import cache
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/coverage.md"
DOCUMENTS = ("FastMCP SSE Server", "FastMCP HTTP Server with SSE Transport", "SSE Transport")


@attrs.frozen
class Row:
    """One thing that a document shows."""

    document: str
    part: str
    shown: str
    here: str
    tests: tuple[str, ...]


def rows(text: str) -> list[Row]:
    """The rows of a page, without heads and rules."""
    found = []
    document = part = ""
    for line in text.splitlines():
        if line.startswith("## "):
            document = line[3:]
        elif line.startswith("### "):
            part = line[4:]
        elif line.startswith("|") and not line.startswith(("|---", "| shown ")):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            assert len(cells) == 3, line
            found.append(Row(document, part, cells[0], cells[1], tuple(re.findall(r"`([^`]+)`", cells[2]))))
    return found


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of a file's tests; none where there is no such file. One that is always skipped is no test."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    functions = [
        node
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    ]
    return frozenset(
        function.name
        for function in functions
        if not any(
            ast.unparse(decorator).startswith(("pytest.mark.skip(", "pytest.mark.xfail"))
            for decorator in function.decorator_list
        )
    )


def missing(named: tuple[str, ...]) -> list[str]:
    """Those of the named tests that are not there."""
    return [name for name in named if name.partition("::")[2] not in names_in(name.partition("::")[0])]


ROWS = rows(PAGE.read_text(encoding="utf-8"))


def test_there_are_rows_for_each_of_the_three_documents():
    found = {document: sum(row.document == document for row in ROWS) for document in DOCUMENTS}
    assert all(count > 30 for count in found.values()), found
    assert {row.document for row in ROWS} == set(DOCUMENTS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.document}: {row.shown}")
def test_every_row_says_what_it_is_here_and_names_tests_that_are_there(row: Row):
    assert row.here
    assert row.tests
    assert missing(row.tests) == []


def test_a_row_is_named_once():
    assert len({(row.document, row.part, row.shown) for row in ROWS}) == len(ROWS)


def test_a_test_that_is_not_there_is_missed():
    here = "tests/test_coverage_table.py::test_a_row_is_named_once"
    away = ("tests/test_coverage_table.py::test_that_was_renamed", "tests/no_such_file.py::test_it", "no test")
    assert missing((here, *away)) == list(away)
