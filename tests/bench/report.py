"""Results as text: a table for the terminal, and the same as Markdown for docs/performance.md.

It refuses to draw (`chart`).
"""

import re
from pathlib import Path
from typing import Final

from tests.bench.peers import LABELS, OURS
from tests.bench.rows import ROWS, TARGETS, Column, Results, advantage, fractions, median

Cells = list[list[str]]
_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"
_SPACE: Final = "\u202f"


def number(value: float, digits: int) -> str:
    """A figure with its thousands apart."""
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace(",", _SPACE)  # + 0.0: no -0


def cell(results: Results, row: str, peer: str, column: Column) -> str:
    """One median, or a dash."""
    value = median(results, row, peer, column.key)
    if column.key == "cancelled":
        return "-" if value is None else ("yes" if value else "no")
    return "-" if value is None else number(value, column.digits)


def row_cells(results: Results, name: str) -> Cells:
    """One row's table, its heading first."""
    row = ROWS[name]
    compared = [column for column in row.columns if column.key in row.ratios and len(row.peers) > 1]
    headings = [column.heading for column in row.columns]
    table = [["server", *headings, *(f"ours: {column.heading}" for column in compared)]]
    for peer in row.peers:
        if peer not in results[name]:
            continue
        cells = [LABELS[peer], *(cell(results, name, peer, column) for column in row.columns)]
        for column in compared:
            ratio = None if peer == OURS else advantage(results, name, peer, column.key)
            cells.append("" if ratio is None else f"×{ratio:.2f}" if ratio < 10 else f"×{ratio:.1f}")
        table.append(cells)
    return table


def target_cells(results: Results) -> Cells:
    """Every target that this run can tell of."""
    table = [["target", "wanted", "measured", "verdict"]]
    for target in TARGETS:
        value = target.measured(results)
        if value is None:
            continue
        sign = "≤" if target.most else "≥"
        wanted = f"{sign} {target.bound:g}{target.unit}" if target.peer is None else f"{sign} ×{target.bound:g}"
        shown = f"{value:.2f}{target.unit}" if target.peer is None else f"×{value:.2f}"
        table.append([target.title, wanted, shown, target.verdict(results)])
    return table


def fraction_cells(results: Results) -> Cells:
    """How much of the bare limit is reached."""
    return [["of the bare limit", "reached"], *([title, f"{part:.0%}"] for title, part in fractions(results))]


def terminal(results: Results) -> str:
    """Everything, aligned, for people to read."""
    shown = [name for name in ROWS if results.get(name)]
    parts = [f"{ROWS[name].title}  [{name}]\n{_aligned(row_cells(results, name))}" for name in shown]
    summaries = (target_cells(results), fraction_cells(results))
    return "\n\n".join([*parts, *(_aligned(table) for table in summaries if len(table) > 1)])


def _aligned(table: Cells) -> str:
    widths = [max(len(row[index]) for row in table) for index in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(results: Results, machine: str) -> str:
    """The same for the documentation."""
    parts = [machine]
    if len(table := target_cells(results)) > 1:
        parts += ["### Targets", _pipes(table)]
    if len(table := fraction_cells(results)) > 1:
        parts += ["### The bare limit", _pipes(table)]
    parts.append("### All figures")
    for name in ROWS:
        if results.get(name):
            parts += [f"`{name}`: {ROWS[name].title}", _pipes(row_cells(results, name))]
    return "\n\n".join(parts)


def _pipes(table: Cells) -> str:
    heading, *rows = table
    rule = ["---", *("---:" for _ in heading[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heading, rule, *rows))


def write_into(page: Path, text: str) -> None:
    """Replace what stands between the marks of a page.

    Raises:
        ValueError: the page has no marks.
    """
    old = page.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(_BEGIN)}.*{re.escape(_END)}", re.DOTALL)
    if not pattern.search(old):
        raise ValueError(f"{page.name} has no {_BEGIN} … {_END}")
    new = f"{_BEGIN}\n{text}\n{_END}"
    page.write_text(pattern.sub(lambda _: new, old), encoding="utf-8")
