"""What was found, told three ways: a table for a terminal, Markdown to keep, JSON for programs.

It owns the layout. Text of the server comes in already printable; here it is kept from being Markdown.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import attrs

from trio_mcp.check.findings import Outcome
from trio_mcp.check.registry import CHECKS, Check, Level
from trio_mcp.check.runner import Column, Row, Section
from trio_mcp.version import __version__

#: How an outcome looks in a narrow column, and its colour.
MARKS: Final[dict[Outcome, tuple[str, str]]] = {
    Outcome.PASSED: ("ok", "green"),
    Outcome.FAILED: ("FAIL", "red"),
    Outcome.WARNING: ("warn", "yellow"),
    Outcome.NOT_OFFERED: ("-", "bright_black"),
    Outcome.SKIPPED: ("skip", "bright_black"),
}
_MARKDOWN: Final = re.compile(r"([\\`*_\[\]{}#~|<>!&$])")
_WIDTH: Final = 12


@attrs.frozen
class Report:
    """One run.

    Attributes:
        url: what was checked, as it was typed.
        day: when, for people.
    """

    url: str
    day: str
    sections: list[Section]

    def rows(self) -> Iterator[Row]:
        """Every row there is."""
        for section in self.sections:
            for column in section.columns:
                yield from column.rows

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many rows have each outcome."""
        found = Counter(row.outcome for row in self.rows())
        return {outcome: found[outcome] for outcome in Outcome}

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.counts[Outcome.FAILED]

    @property
    def summary(self) -> str:
        """The counts in a line."""
        counts = {outcome: f"{count} {outcome.value}" for outcome, count in self.counts.items()}
        warnings = self.counts[Outcome.WARNING]
        counts[Outcome.WARNING] = f"{warnings} warning{'' if warnings == 1 else 's'}"
        return ", ".join(counts.values())

    @property
    def verdict(self) -> str:
        """The end of it, in a word or two."""
        if not self.passed:
            return "FAILED"
        return "passed with warnings" if self.counts[Outcome.WARNING] else "passed"


def _matrix(section: Section) -> list[tuple[Check, list[Row | None]]]:
    """A line for each check, a cell for each revision that is offered, in the order of the checks."""
    lines: dict[str, tuple[Check, list[Row | None]]] = {}
    columns = section.offered
    for number, column in enumerate(columns):
        for row in column.rows:
            _, cells = lines.setdefault(row.check.id, (row.check, [None] * len(columns)))
            cells[number] = row
    order = {check.id: number for number, check in enumerate(CHECKS)}
    return sorted(lines.values(), key=lambda line: (line[0].last, order.get(line[0].id, -1)))


def _told(section: Section, outcomes: set[Outcome]) -> Iterator[tuple[Row, list[Column]]]:
    """Rows of these outcomes; those that say the same in several revisions once, with the revisions."""
    found: dict[tuple[str, ...], tuple[Row, list[Column]]] = {}
    for column in section.offered:
        for row in column.rows:
            if row.outcome in outcomes:
                key: tuple[str, ...] = (row.check.id, row.outcome.value, row.note)
                if row.check.level is Level.INFO:  # measured in each, even where it comes to the same
                    key = (*key, column.revision.version)
                found.setdefault(key, (row, []))[1].append(column)
    yield from found.values()


def _revisions(columns: list[Column]) -> str:
    return ", ".join(column.revision.version for column in columns)


# For a terminal


@attrs.frozen
class Span:
    """Text and its colour, or None."""

    text: str
    colour: str | None = None


def table(report: Report) -> Iterator[list[Span]]:
    """The lines for a terminal, in pieces with a colour each."""
    for section in report.sections:
        yield from _section_lines(section)
    colour = MARKS[Outcome.PASSED if report.passed else Outcome.FAILED][1]
    yield [Span(report.summary)]
    yield [Span(f"{report.url}: "), Span(report.verdict, colour)]


def _section_lines(section: Section) -> Iterator[list[Span]]:
    columns = section.offered
    if not columns:
        reasons = dict.fromkeys(column.not_offered for column in section.columns)
        yield [Span(f"{section.title}  {section.path}  not offered: {'; '.join(reasons)}")]
        yield []
        return
    server = next((column.server for column in columns if column.server), "")
    yield [Span(f"{section.title}  {section.path}  {server}".rstrip())]
    for column in section.columns:
        if column.not_offered:
            yield [Span(f"  {column.revision.version} is not offered: {column.not_offered}")]
    matrix = _matrix(section)
    width = max((len(check.id) for check, _ in matrix), default=0) + 2
    head = "".join(column.revision.version.ljust(_WIDTH) for column in columns)
    yield [Span(f"  {'':{width}}{head}".rstrip())]
    for check, cells in matrix:
        *spans, last = [Span(f"  {check.id:{width}}"), *(_cell(row) for row in cells)]
        yield [*spans, attrs.evolve(last, text=last.text.rstrip())]
    for row, told in _told(section, {Outcome.PASSED}):
        if row.check.level is Level.INFO:
            yield [Span(f"  {row.check.id} ({_revisions(told)}): {row.note}")]
    for row, told in _told(section, {Outcome.FAILED, Outcome.WARNING}):
        mark, colour = MARKS[row.outcome]
        yield [
            Span(f"  {mark} ", colour),
            Span(f"{row.check.id} ({_revisions(told)}): {row.check.title}: {row.note}"),
        ]
        yield [Span(f"       {row.check.level.value}, {row.check.cite(told[0].revision)}")]
    yield []


def _cell(row: Row | None) -> Span:
    if row is None:
        return Span("".ljust(_WIDTH))
    mark, colour = MARKS[row.outcome]
    return Span(mark.ljust(_WIDTH), colour)


# Markdown


def markdown(report: Report) -> str:
    """The report as a document."""
    lines = [
        "# MCP compliance report",
        "",
        f"- Server: {plain(report.url)}",
        f"- Checked: {report.day}, by trio-mcp {__version__}",
        f"- Result: **{report.verdict}** ({report.summary})",
        "",
        "MUST: a failure. SHOULD: a warning. What is not offered need not be. Sections are those of the specification"
        " in the column's revision, or in the first that has one (docs/: of the trio_mcp documentation).",
        "",
    ]
    for section in report.sections:
        lines += [f"## {section.title}", "", *_section_markdown(section)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _section_markdown(section: Section) -> Iterator[str]:
    columns = section.offered
    if columns:
        server = next((column.server for column in columns if column.server), "")
        yield f"`{section.path}`" + (f", {plain(server)}" if server else "")
        yield ""
    for column in section.columns:
        if column.not_offered:
            yield f"- {column.revision.version} is not offered: {plain(column.not_offered)}"
    if any(column.not_offered for column in section.columns):
        yield ""
    if not columns:
        return
    versions = " | ".join(column.revision.version for column in columns)
    yield f"| check | what | section | level | {versions} |"
    yield "|---|---|---|---|" + "---|" * len(columns)
    for check, cells in _matrix(section):
        outcomes = " | ".join(_outcome(row) for row in cells)
        cited = dict.fromkeys(
            check.cite(column.revision) for column, row in zip(columns, cells, strict=True) if row is not None
        )
        yield f"| `{check.id}` | {plain(check.title)} | {plain('; '.join(cited))} | {check.level.value} | {outcomes} |"
    yield ""
    for title, wanted in _LISTS.items():
        found = [
            f"- `{row.check.id}` ({_revisions(told)}): {plain(row.note)}"
            for row, told in _told(section, wanted)
            if row.note
        ]
        if found:
            yield from (f"### {title}", "", *found, "")


_LISTS: Final = {
    "Failures": {Outcome.FAILED},
    "Warnings": {Outcome.WARNING},
    "Not offered or skipped": {Outcome.NOT_OFFERED, Outcome.SKIPPED},
    "Seen": {Outcome.PASSED},
}


def _outcome(row: Row | None) -> str:
    if row is None:
        return ""
    return f"**{row.outcome.value}**" if row.outcome is Outcome.FAILED else row.outcome.value


def plain(text: str) -> str:
    """Text that Markdown takes for nothing else."""
    return _MARKDOWN.sub(r"\\\1", text)


# JSON


def as_json(report: Report) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "url": report.url,
        "checker": f"trio-mcp {__version__}",
        "verdict": report.verdict,
        "summary": {outcome.value: count for outcome, count in report.counts.items()},
        "transports": [
            {
                "name": section.transport,
                "path": section.path,
                "revisions": [
                    {
                        "version": column.revision.version,
                        "offered": not column.not_offered,
                        **({"why": column.not_offered} if column.not_offered else {}),
                        "server": column.server,
                        "checks": [_row_json(row, column) for row in column.rows],
                    }
                    for column in section.columns
                ],
            }
            for section in report.sections
        ],
    }


def _row_json(row: Row, column: Column) -> dict[str, str]:
    check = row.check
    level = "INFO" if check.level is Level.INFO else check.level.value
    return {
        "id": check.id,
        "title": check.title,
        "section": check.cite(column.revision),
        "level": level,
        "outcome": row.outcome.value,
        "note": row.note,
    }
