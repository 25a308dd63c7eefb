"""`python -m tests.testing.bugs`: hunt all bugs, prove what is mended, print the table.

`--write` puts the table and the traces into the page.
"""

import argparse
import re
import time
from collections.abc import Iterable
from pathlib import Path

from tests.testing.bugs.gallery import BUGS
from tests.testing.bugs.page import Found, shown, table

PAGE = Path(__file__).parents[3] / "docs" / "bugs.md"


def hunt() -> list[Found]:
    found = []
    for bug in BUGS:
        began = time.perf_counter()
        failure = bug.find()
        found.append(Found(bug=bug, failure=failure, seconds=time.perf_counter() - began))
        print(f"{bug.name}: found in run {failure.runs}; mended: {bug.prove()}", flush=True)
    return found


def written(page: str, found: Iterable[Found]) -> str:
    """The page with everything between its markers made anew."""
    parts = {"table": table(found)}
    parts |= {one.bug.name: f"```text\n{shown(one)}\n```" for one in found}

    def fill(marked: re.Match[str]) -> str:
        return f"{marked[1]}\n{parts[marked[2]]}\n{marked[3]}"

    return re.sub(r"(<!-- (?!end -->)([^>]+?) -->)\n.*?(<!-- end -->)", fill, page, flags=re.DOTALL)


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.testing.bugs", description=__doc__)
    options.add_argument("--write", action="store_true", help=f"into docs/{PAGE.name}")
    write = options.parse_args().write
    found = hunt()
    print(table(found))
    if write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")


if __name__ == "__main__":
    main()
