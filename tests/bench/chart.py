"""A bar chart of the results as SVG, written by hand: no script, no font of its own, readable on light and dark.

It owns the looks. It refuses to choose figures: a panel shows what its row says.
"""

from html import escape
from typing import Final

from tests.bench.peers import LABELS, OURS
from tests.bench.report import number
from tests.bench.rows import ROWS, Results, median

_WIDTH, _COLUMNS, _GAP = 920, 2, 40
_LINE, _HEAD, _FOOT = 22, 30, 22
_LABEL, _VALUE = 172, 84
_PANEL: Final = (_WIDTH - _GAP * (_COLUMNS - 1)) // _COLUMNS
_STYLE: Final = """
text{font:12px system-ui,sans-serif;fill:#1f2328}
.title{font-weight:600;font-size:13px}
.hint,.value{fill:#59636e}
.hint{font-size:11px}
.bar{fill:#8c959f}
.ours{fill:#1f7a4d}
.mine{font-weight:600}
@media (prefers-color-scheme:dark){
text{fill:#f0f6fc}.hint,.value{fill:#9198a1}.bar{fill:#656c76}.ours{fill:#3fb950}
}
"""
PANELS: Final = (
    "call-session",
    "call-per-request",
    "one-session",
    "one-per-request",
    "plain-session",
    "list-session",
    "progress-session",
    "progress-per-request",
    "standing",
    "start",
    "import",
    "cancel",
)


def chart(results: Results) -> str:
    """The whole picture."""
    names = [name for name in PANELS if results.get(name)]
    rows = [names[at : at + _COLUMNS] for at in range(0, len(names), _COLUMNS)]
    parts, top = [], 8
    for row in rows:
        for index, name in enumerate(row):
            parts.append(_panel(results, name, index * (_PANEL + _GAP), top))
        top += max(_height(results, name) for name in row)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" width="{_WIDTH}" height="{top}"'
    title = "<title>trio_mcp beside other MCP servers</title>"
    return f'{head} role="img">{title}<style>{_STYLE}</style>\n{"".join(parts)}</svg>\n'


def _height(results: Results, name: str) -> int:
    return _HEAD + _LINE * len(_bars(results, name)) + _FOOT


def _bars(results: Results, name: str) -> list[tuple[str, float]]:
    column = ROWS[name].drawn or ROWS[name].columns[0]
    values = ((peer, median(results, name, peer, column.key)) for peer in ROWS[name].peers)
    return [(peer, value) for peer, value in values if value is not None]


def _panel(results: Results, name: str, left: int, top: int) -> str:
    row, bars = ROWS[name], _bars(results, name)
    column = row.drawn or row.columns[0]
    longest = max((value for _, value in bars), default=0) or 1
    hint = f"{column.heading}, {'less' if row.less else 'more'} is better"
    parts = [
        f'<g transform="translate({left} {top})">\n',
        f'<text class="title" y="12">{escape(row.title)}</text>',
        f'<text class="hint" y="26">{escape(hint)}</text>\n',
    ]
    for index, (peer, value) in enumerate(bars):
        y = _HEAD + 4 + index * _LINE
        width = max(1.0, max(0.0, value) / longest * (_PANEL - _LABEL - _VALUE))
        ours = peer == OURS
        shown = number(value, column.digits)
        parts.append(
            f'<text class="{"mine" if ours else ""}" x="{_LABEL - 8}" y="{y + 12}" text-anchor="end">'
            f"{escape(LABELS[peer])}</text>"
            f'<rect class="{"ours" if ours else "bar"}" x="{_LABEL}" y="{y}" width="{width:.1f}" height="16" rx="2"/>'
            f'<text class="{"mine" if ours else "value"}" x="{_LABEL + width + 6:.1f}" y="{y + 12}">{shown}</text>\n'
        )
    return "".join([*parts, "</g>\n"])
