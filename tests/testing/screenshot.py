"""Draw the picture in docs/testing.md anew: `python -m tests.testing.screenshot`."""

import tempfile
from pathlib import Path

from tests.browser.chromium import ROOT, browser
from tests.testing.test_tutorial import PAGE, Folder, tutorial

TEST = "test_a_seat_is_sold_once"
#: On the map of the whole run, a little behind the mark of what ran out of order.
THERE = {"x": 585, "y": 20}


def main() -> None:
    """Follow the tutorial to where a seat is sold twice, and take the picture of that run around what went wrong."""
    with tempfile.TemporaryDirectory() as folder, browser() as chromium:
        reader = Folder(Path(folder))
        for block in tutorial(PAGE):
            if block.language == "console" and TEST in block.text:
                break
            reader.follow(block)
        reader.run(f"pytest -q test_booking.py::{TEST} --trio-mcp-seed=3 --trio-mcp-trace=trace.html")
        page = chromium.new_page(viewport={"width": 1280, "height": 850})
        page.goto((Path(folder) / "trace.html").as_uri())
        page.get_by_role("button", name="Show where").wait_for()
        page.locator("#map").click(position=THERE)
        page.evaluate("document.querySelector('#scroller').scrollTop = 0")
        page.mouse.move(0, 0)
        page.screenshot(path=ROOT / "docs" / "testing-trace.png", animations="disabled")


if __name__ == "__main__":
    main()
