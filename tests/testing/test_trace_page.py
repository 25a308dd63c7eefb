"""The page of a trace in a real browser: what it shows, what it tells on a click, and that it keeps to itself.

Playwright's sync API runs its own loop, so these tests are plain functions.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import PATIENCE, browser
from tests.testing.sample_trace import SampleTrace, Script, large, sample
from trio_mcp.testing.page import as_page
from trio_mcp.testing.text import Traced

Open = Callable[..., Any]
SLOW = "call tools/call slow 3"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as launched:
        yield launched


@pytest.fixture
def visit(chromium: Any, tmp_path: Path) -> Iterator[Open]:
    """Open the page of a trace; at the end nothing was logged as an error, and nothing was asked of anybody."""
    contexts: list[Any] = []
    faults: list[str] = []

    def opened(trace: Traced, *, width: int = 1280, height: int = 860, **options: Any) -> Any:
        file = tmp_path / f"{len(contexts)}.html"
        file.write_text(as_page(trace), encoding="utf-8")
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: None if request.url == file.as_uri() else faults.append(request.url))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.goto(file.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [fault for fault in faults if not fault.startswith("data:")] == []


def shown(page: Any) -> dict[str, Any]:
    """What is drawn at this moment, in numbers."""
    drawn: dict[str, Any] = page.evaluate("trace.shown()")
    return drawn


def place_of(page: Any, event: int) -> tuple[float, float]:
    """Where an event is seen, in the window."""
    place = page.evaluate(f"(() => {{ const {{x, y}} = trace.shown().place({event}); return [x, y]; }})()")
    box = page.locator("#scroller").bounding_box()
    return box["x"] + place[0], box["y"] + place[1]


def index_of(trace: SampleTrace, kind: str, **facts: Any) -> int:
    return next(i for i, e in enumerate(trace.events) if e["kind"] == kind and facts.items() <= e.items())


# What it shows


def test_lanes_and_tasks_are_named_below_their_groups(visit: Open):
    page = visit(sample())
    assert page.locator(".row.lane .name").all_inner_texts() == [
        "client 1",
        "connection 10.0.0.1:5001",
        "connection 10.0.0.1:5002",
        "session ab12cd34",
        "server",
        "test",
    ]
    assert page.locator(".row.group .name").all_inner_texts() == ["Connections"]
    names = page.locator(".row.task .name").all_inner_texts()
    assert {"run host", SLOW, "count up to 3", "watch the budget"} <= set(names)
    levels = {
        name: int(page.locator(".row.task", has_text=name).first.get_attribute("aria-level"))
        for name in ("run session", SLOW, "count up to 3")
    }
    assert list(levels.values()) == [2, 3, 4]


def test_the_failure_is_told_on_top_and_in_view_at_once(visit: Open):
    trace = sample()
    page = visit(trace)
    assert page.locator("#verdict").inner_text() == "failed"
    assert "AssertionError: the answer came twice" in page.locator("#failure-text").inner_text()
    x, y = place_of(page, index_of(trace, "failure"))
    box = page.locator("#scroller").bounding_box()
    assert box["x"] + 300 < x < box["x"] + box["width"]
    assert box["y"] < y < box["y"] + box["height"]
    page.locator("#failure summary").click()
    assert "test_resume.py" in page.locator("#failure-traceback").inner_text()


def test_a_failure_far_away_is_scrolled_to_and_found_again(visit: Open):
    trace = large()
    page = visit(trace)
    failure = index_of(trace, "failure")
    assert 300 < place_of(page, failure)[0] < 1280
    page.locator("#scroller").evaluate("one => { one.scrollLeft = 0; one.scrollTop = 0; }")
    assert place_of(page, failure)[0] > 10_000
    page.get_by_role("button", name="Show where").click()
    x, y = place_of(page, failure)
    assert 300 < x < 1280
    assert 0 < y < 860


def test_a_run_without_a_failure_says_so(visit: Open):
    trace = sample()
    trace.events = [event for event in trace.events if event["kind"] != "failure"]
    page = visit(trace)
    assert page.locator("#verdict").inner_text() == "passed"
    assert page.locator("#failure").is_hidden()


def test_all_of_it_fits_with_its_messages_cancellations_and_jumps(visit: Open):
    trace = sample()
    page = visit(trace)
    page.get_by_role("button", name="Fit").click()
    drawn = shown(page)
    assert drawn["messages"] == len(trace.of("send")) == 9
    assert drawn["lost"] == 1
    assert drawn["cancels"] == len(trace.of("cancel")) == 4
    assert drawn["jumps"] == ["+30 s", "+14.4 s", "+15 s", "+25 min"]
    assert place_of(page, 0)[0] > 300
    assert place_of(page, len(trace.events) - 1)[0] < 1280


def test_something_is_painted_where_a_task_ran(visit: Open):
    trace = sample()
    page = visit(trace)
    x, y = place_of(page, index_of(trace, "failure"))
    box = page.locator("#scroller").bounding_box()
    red, green, _ = page.evaluate(
        """([x, y]) => [...document.getElementById("plane").getContext("2d").getImageData(x, y, 1, 1).data]""",
        [x - box["x"] - 5, y - box["y"]],
    )[:3]
    assert red > 150 > green


def test_an_empty_trace_is_a_page_too(visit: Open):
    page = visit(SampleTrace("empty", None, "again", []))
    assert "0 events" in page.locator("#facts").inner_text()


# What it tells


def test_a_click_on_a_task_shows_its_events(visit: Open):
    page = visit(sample())
    page.locator(".row.task", has_text=SLOW).click()
    panel = page.get_by_role("complementary", name="Details")
    assert panel.get_by_role("heading", level=2).inner_text() == SLOW
    facts = panel.locator(".pairs").inner_text()
    assert re.search(r"parent\s+run session ab12cd34", facts)
    assert re.search(r"nursery\s+5", facts)
    events = panel.locator(".events .what").all_inner_texts()
    assert events[0] == SLOW
    assert any("the work is done" in text for text in events)
    panel.get_by_label("Every step").check()
    assert panel.locator(".events .what").count() > len(events)
    panel.get_by_role("button", name="watch the budget").click()
    assert panel.get_by_role("heading", level=2).inner_text() == "watch the budget"


def test_a_click_on_an_arrow_shows_its_message(visit: Open):
    trace = sample()
    page = visit(trace, height=1000)
    page.keyboard.press("0")
    page.mouse.click(*place_of(page, index_of(trace, "send", text="GET /mcp Last-Event-ID: 7-0")))
    about = page.locator("#panel .one")
    assert "GET /mcp Last-Event-ID: 7-0" in about.inner_text()
    assert "12 ms" in about.inner_text()
    about.get_by_role("button", name="Its arrival").click()
    assert "on client 1 #2, 12 ms" in page.locator("#panel .one p").inner_text()


def test_pointing_at_a_cancellation_tells_its_reason(visit: Open):
    trace = sample()
    page = visit(trace, height=1000)
    page.keyboard.press("0")
    page.mouse.move(*place_of(page, index_of(trace, "cancel", reason="the client disconnected")))
    page.locator("#tip", has_text="the client disconnected").wait_for()


def test_nurseries_fold_and_unfold(visit: Open):
    page = visit(sample())
    page.locator(".row.task", has_text=SLOW).locator(".twist").click()
    assert page.locator(".row", has_text="count up to 3").count() == 0
    page.locator(".row.task", has_text=SLOW).locator(".twist").click()
    assert page.locator(".row", has_text="count up to 3").count() == 1
    page.get_by_role("button", name="Collapse all").click()
    assert page.locator(".row.task").count() == 0
    assert shown(page)["rows"] == 7
    page.get_by_role("button", name="Expand all").click()
    assert page.locator(".row.task").count() == 12


def test_the_filter_leaves_what_matches(visit: Open):
    page = visit(sample())
    page.keyboard.press("/")
    page.keyboard.type("budget")
    page.locator("#found", has_text="2 tasks").wait_for()
    names = page.locator(".row.task .name").all_inner_texts()
    assert "watch the budget" in names
    assert "accept 10.0.0.9:8000" not in names
    page.keyboard.press("Enter")
    page.locator("#tip", has_text="watch the budget").wait_for()
    page.locator("#filter").fill("no such thing")
    page.get_by_text("Nothing matches.").wait_for()
    page.keyboard.press("Escape")
    assert page.locator(".row.task").count() == 12


def test_it_zooms_by_button_key_and_wheel(visit: Open):
    page = visit(sample())
    units = [shown(page)["unit"]]
    page.get_by_role("button", name="Zoom in").click()
    units.append(shown(page)["unit"])
    page.keyboard.press("+")
    units.append(shown(page)["unit"])
    page.mouse.move(700, 500)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -120)
    page.keyboard.up("Control")
    page.wait_for_function(f"trace.shown().unit > {units[-1]}")
    page.keyboard.press("0")
    assert units == sorted(set(units))
    assert shown(page)["unit"] < units[0]


def test_the_keyboard_reaches_tasks_and_events(visit: Open):
    page = visit(sample())
    page.locator("#scroller").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.locator("#tip", has_text="serve http").wait_for()
    page.keyboard.press("Enter")
    assert page.locator("#panel h2").inner_text() == "serve http"
    page.keyboard.press("Escape")
    assert page.locator("#panel").is_hidden()
    page.locator("[role=treeitem]").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "false"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert page.locator("#panel h2").inner_text() == "client 1"


def test_the_list_tells_it_in_words_with_the_breaks_of_time(visit: Open):
    trace = sample()
    page = visit(trace)
    page.get_by_role("button", name="List").click()
    texts = page.locator("#list .what").all_inner_texts()
    assert "POST /mcp tools/call slow 3  [118 B on client 1 #1]" in texts
    assert page.locator("#list .break").all_inner_texts() == ["+30 s", "+14.4 s", "+15 s", "+25 min"]
    assert page.locator("#list .bang").is_visible()
    page.get_by_label("Every step").check()
    assert page.locator("#list [data-event]").count() == len(trace.events) - len(trace.of("jump"))


# What it refuses


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)><!--<script> ]]> __TRACE__ \u202eevil"


def hostile() -> SampleTrace:
    say = Script()
    task = say.task(HOSTILE, f"client {HOSTILE}")
    say.run(task, woken=False)
    message = say.send(HOSTILE, (f"client {HOSTILE}", HOSTILE), 3, HOSTILE)
    say.add("note", text=HOSTILE, lane=HOSTILE)
    say.add("cancel", tasks=[task], reason=HOSTILE, source=HOSTILE, by=task)
    say.sleep(math.inf)
    say.arrive(message)
    say.add("fault", text=HOSTILE)
    say.add("deviation", text=HOSTILE)
    say.add(HOSTILE, **{HOSTILE: HOSTILE})
    say.add("failure", text=HOSTILE, traceback=HOSTILE, lane=HOSTILE)
    return SampleTrace(HOSTILE, 1, HOSTILE, say.events)


def test_hostile_text_stays_text(visit: Open):
    page = visit(hostile())
    visible = HOSTILE.replace("\u202e", "\\u202e")
    assert page.title() == visible
    assert page.locator("h1").inner_text() == visible
    assert page.locator("#failure-text").inner_text() == visible
    page.locator(".row.task").click()
    assert page.locator("#panel h2").inner_text() == visible
    page.get_by_role("button", name="List").click()
    assert page.locator("#list .what", has_text=visible).count() >= 6
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2


def test_the_trace_can_be_read_back_from_the_page():
    trace = sample()
    [data] = re.findall(r'<script type="application/json" id="trace">(.*?)</script>', as_page(trace), re.DOTALL)
    assert json.loads(data)["events"] == trace.events
    [data] = re.findall(r'id="trace">(.*?)</script>', as_page(hostile()), re.DOTALL)
    assert json.loads(data)["title"] == HOSTILE


def test_what_is_no_text_for_a_file_is_written_out():
    page = as_page(
        SampleTrace("half \ud800", 1, "\ud800", [{"kind": "note", "at": 0.0, "task": None, "text": "\udfff"}])
    )
    assert page.encode("utf-8")


# How it looks


def test_a_phone_reads_the_list_without_scrolling_sideways(visit: Open):
    for trace in (sample(), hostile()):
        page = visit(trace, width=390, height=800, has_touch=True)
        assert page.locator("#lanes").is_hidden()
        assert page.locator("#list .what").first.is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.locator("#list [data-event]").nth(2).click()
        assert page.locator("#panel").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_dark_differs_from_light_on_the_page_and_in_the_canvas(visit: Open):
    grounds, painted = set(), set()
    for scheme in ("light", "dark"):
        page = visit(sample(), color_scheme=scheme)
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        shown(page)
        painted.add(
            page.evaluate('String(document.getElementById("plane").getContext("2d").getImageData(400, 10, 1, 1).data)')
        )
    assert len(grounds) == len(painted) == 2


def test_twenty_thousand_events_are_drawn_within_a_frame_or_two(visit: Open):
    page = visit(large())
    for key in ("f", "0"):
        page.keyboard.press(key)
        spent = page.evaluate(
            "(() => { const began = performance.now(); for (let k = 0; k < 10; k++) trace.shown();"
            " return (performance.now() - began) / 10; })()"
        )
        # It is 2 to 10 ms; a machine that runs all tests at once may be slower by far.
        assert spent < 200
