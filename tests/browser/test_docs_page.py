"""The docs page in a real browser: what it lists, calls, shows and refuses, and that it keeps to itself.

Playwright's sync API runs its own loop, so these tests are plain functions and the server is a process.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.browser.chromium import HERE, PATIENCE, browser, serving

TARGET = HERE / "page_server.py"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as launched:
        yield launched


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with serving(TARGET, "--tool-timeout", "60") as address:
        yield address


@pytest.fixture
def visit(chromium: Any, origin: str) -> Iterator[Open]:
    """Open the page; at the end nothing was logged as an error, and nothing was asked of another origin."""
    contexts: list[Any] = []
    faults: list[str] = []
    expected: list[str] = []

    def opened(
        path: str | None = "/docs", *, server: str = origin, width: int = 1280, height: int = 860, **options: Any
    ) -> Any:
        tolerated = options.pop("tolerate", None)
        if tolerated:
            expected.append(tolerated)
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        context.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error('CSP ' + e.violatedDirective))"
        )
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: check(request.url, server))
        if path is not None:
            page.goto(server + path)
        return page

    def check(url: str, server: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "data" and f"{parts.scheme}://{parts.netloc}" != server:
            faults.append(f"a request to {url}")

    yield opened
    for context in contexts:
        context.close()
    assert [fault for fault in faults if not any(one in fault for one in expected)] == []


def run(page: Any, **values: str) -> Any:
    """Fill in the form and run it; the card of the call."""
    for name, value in values.items():
        page.get_by_label(name, exact=True).fill(value)
    page.get_by_role("button", name="Run", exact=True).click()
    return page.locator(".call")


def finished(page: Any, state: str = "done") -> str:
    """Wait for the end of a call; the text of its card."""
    page.locator(".call header .badge", has_text=re.compile(f"^{state}$")).wait_for()
    return str(page.locator(".call").inner_text())


# What it lists


def test_everything_is_listed_with_its_schema(visit: Open):
    page = visit()
    page.locator(".item").first.wait_for()
    names = page.locator(".item .name").all_inner_texts()
    assert {"echo", "slow", "note://ünï cödé", "log://{name}{?since}", "review"} <= set(names)
    assert page.locator("h1").inner_text() == "page under test"
    assert page.locator(".lead").all_inner_texts() == ["First paragraph.", "Second paragraph."]
    page.locator(".item", has_text="echo").click()
    page.get_by_text("Input schema").click()
    assert '"message"' in page.locator("details[open] .json").inner_text()


def test_the_filter_finds_by_name_and_description_from_the_keyboard(visit: Open):
    page = visit()
    page.locator(".item").first.wait_for()
    page.keyboard.press("/")
    page.keyboard.type("report each")
    assert page.locator(".item:visible").count() == 1
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="slow", level=1).wait_for()
    assert page.evaluate("document.activeElement.tagName") == "H1"
    page.locator("#filter").fill("no such thing")
    assert "Nothing matches" in page.locator("#nothing").inner_text()


def test_a_tool_that_is_registered_later_appears_by_itself(visit: Open):
    page = visit("/docs#tool/grow")
    run(page)
    page.locator(".item", has_text="grown").wait_for()
    assert "grew" in finished(page)


# What it calls


def test_echo_is_called_and_answered(visit: Open):
    page = visit("/docs#tool/echo")
    run(page, message="Grüße, 世界")
    assert "Grüße, 世界" in finished(page)


def test_each_kind_of_argument_has_its_control(visit: Open):
    page = visit("/docs#tool/every_kind")
    form = page.get_by_role("form", name="Arguments")
    form.get_by_label("text", exact=True).fill("hello")
    form.get_by_label("count", exact=True).fill("3")
    form.get_by_label("sure", exact=True).check()
    form.get_by_label("colour", exact=True).select_option("red")
    form.get_by_role("button", name="Add an item").click()
    form.get_by_label("latitude").first.fill("38.7")
    form.get_by_label("anything").fill('{"deep": [1, null]}')
    page.get_by_role("button", name="Run", exact=True).click()
    finished(page)
    got = json.loads(page.locator(".answer .json").first.inner_text())
    assert got == {
        "text": "hello",
        "count": 3,
        "ratio": 0.5,
        "sure": True,
        "colour": "red",
        "spots": [[38.7, None]],
        "spot": None,
        "anything": {"deep": [1, None]},
    }


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("text", "", "required"),
        ("text", "x", "At least 2"),
        ("count", "10", "At most 9"),
        ("count", "1.5", "whole"),
        ("ratio", "much", "no number"),
        ("anything", "{oops", "not JSON"),
        ("anything", "[1]", "object"),
    ],
)
def test_what_does_not_fit_is_said_beside_its_control_and_not_sent(name: str, value: str, says: str, visit: Open):
    page = visit("/docs#tool/every_kind")
    posted: list[str] = []
    page.get_by_label("text", exact=True).fill("fine")
    page.get_by_label("count", exact=True).fill("1")
    page.get_by_label(name, exact=True).fill(value)
    page.on(
        "request",
        lambda request: posted.append(request.url) if request.post_data and "tools/call" in request.post_data else None,
    )
    page.get_by_role("button", name="Run", exact=True).click()
    control = page.get_by_label(name, exact=True)
    assert control.get_attribute("aria-invalid") == "true"
    described = control.get_attribute("aria-describedby").split()[-1]
    assert says in page.locator(f"#{described}").inner_text()
    assert page.evaluate("(id) => document.activeElement.getAttribute('aria-describedby').endsWith(id)", described)
    assert posted == []


def test_arguments_can_be_written_as_json_and_go_back_into_the_form(visit: Open):
    page = visit("/docs#tool/every_kind")
    page.get_by_label("text", exact=True).fill("from the form")
    page.get_by_label("count", exact=True).fill("2")
    page.get_by_role("button", name="Edit as JSON").click()
    editor = page.get_by_label("Arguments as JSON")
    assert json.loads(editor.input_value())["text"] == "from the form"
    editor.fill('{"text": "from JSON", "count": 4, "spots": [{"latitude": 1}]}')
    page.get_by_role("button", name="Edit as a form").click()
    assert page.get_by_label("text", exact=True).input_value() == "from JSON"
    page.get_by_role("button", name="Run", exact=True).click()
    finished(page)
    assert json.loads(page.locator(".answer .json").first.inner_text())["spots"] == [[1, None]]


def test_what_the_server_refuses_is_shown_next_to_the_form(visit: Open):
    page = visit("/docs#tool/strict")
    run(page, region="here")
    assert "word" in page.get_by_role("alert").inner_text()
    assert "isError" in finished(page, "failed")
    run(page, word="w", region="hêre")  # mirrored into a header, in base64
    assert "passed" in finished(page)
    assert not page.get_by_role("alert").is_visible()


def test_a_tool_that_fails_says_so(visit: Open):
    page = visit("/docs#tool/fail")
    run(page)
    assert "it went wrong" in finished(page, "failed")


def test_what_comes_back_is_shown_as_text_and_never_as_markup(visit: Open):
    page = visit("/docs#tool/hostile")
    run(page)
    assert "<script>alert(2)</script>" in finished(page)
    assert page.locator(".answer img, .answer script").count() == 0


def test_resources_templates_and_prompts_are_read(visit: Open):
    page = visit()
    page.locator(".item", has_text="note://").click()
    page.get_by_role("button", name="Read", exact=True).click()
    assert "the note" in finished(page)
    page.locator(".item", has_text="log://").click()
    page.get_by_label("name", exact=True).fill("a c")
    page.get_by_label("since", exact=True).fill("now")
    page.get_by_role("button", name="Read", exact=True).click()
    assert "a c since now" in finished(page)
    page.locator(".item", has_text="review").click()
    code = page.get_by_label("code", exact=True)
    code.fill("al")
    page.locator(".detail datalist option[value=alpha]").wait_for(state="attached")
    code.fill("x = 1")
    page.get_by_role("button", name="Get", exact=True).click()
    assert "Review x = 1" in finished(page)


# While it runs


def test_progress_and_log_messages_appear_while_the_call_runs(visit: Open):
    page = visit("/docs#tool/slow")
    card = run(page, steps="6")
    card.get_by_text("step 1", exact=False).first.wait_for()
    assert card.locator("header .badge").inner_text() == "running"
    assert card.locator("progress").get_attribute("value") is not None
    text = finished(page)
    assert "all steps" in text
    assert [f"at step {n}" in text for n in range(6)] == [True] * 6
    times = [float(one.removeprefix("+")) for one in page.locator(".log time").all_inner_texts()]
    assert times == sorted(times)
    assert times[-1] > 1.5


def test_cancelling_closes_the_connection_and_the_tool_runs_its_finally(visit: Open):
    page = visit("/docs#tool/how_it_ended")
    run(page)
    finished(page)
    before = page.locator(".answer").inner_text().count("slow")
    page.goto(page.url.partition("#")[0] + "#tool/slow")
    run(page, steps="1000").get_by_text("step 0", exact=False).first.wait_for()
    page.get_by_role("button", name="Cancel").click()
    assert "that is the cancellation" in finished(page, "cancelled")
    page.goto(page.url.partition("#")[0] + "#tool/how_it_ended")
    run(page)
    finished(page)
    assert page.locator(".answer").inner_text().count("slow") > before


def test_what_a_call_says_comes_into_view_below_a_long_form(visit: Open):
    page = visit("/docs#tool/every_kind", height=500)
    page.get_by_label("count", exact=True).fill("1")
    run(page, text="a long form")
    finished(page)
    page.locator(".answer").wait_for()
    page.wait_for_timeout(700)  # a smooth scroll has no event of its end that all browsers send
    box = page.locator(".answer h3").first.bounding_box()
    assert 56 < box["y"] < 500


def test_the_keyboard_alone_runs_and_cancels(visit: Open):
    page = visit("/docs#tool/slow")
    page.get_by_label("steps").focus()
    page.keyboard.type("1000")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator(".call").get_by_text("step 0", exact=False).first.wait_for()
    assert page.evaluate("document.activeElement.textContent") == "Cancel"
    page.keyboard.press("Enter")
    finished(page, "cancelled")
    assert page.evaluate("document.activeElement.textContent") == "Run"


def test_a_question_is_a_form_and_its_answer_goes_on_with_the_call(visit: Open):
    page = visit("/docs#tool/ask")
    run(page)
    question = page.locator(".question")
    question.get_by_text("Who are you?").wait_for()
    question.get_by_label("name").fill("A")
    question.get_by_role("button", name="Accept").click()
    assert "At least 2" in question.inner_text()
    question.get_by_label("name").fill("Ada")
    question.get_by_role("button", name="Accept").click()
    question.get_by_text("Sure, Ada?").wait_for()
    question.get_by_role("button", name="Decline").click()
    assert "Ada decline None" in finished(page)


def test_a_question_can_be_given_up(visit: Open):
    page = visit("/docs#tool/ask")
    run(page)
    page.locator(".question").wait_for()
    page.get_by_role("button", name="Cancel").click()
    finished(page, "cancelled")
    assert page.locator(".question").count() == 0


# The tree


def test_the_tree_shows_a_running_call_with_its_deadline_and_empties(visit: Open):
    page = visit("/docs#tool/slow")
    run(page, steps="6")
    row = page.locator(".live [data-call]")
    row.get_by_text("slow", exact=True).wait_for()
    left = row.get_by_text(re.compile(r"^4\d s left$"))
    left.wait_for()
    finished(page)
    row.wait_for(state="detached")
    assert "Nothing runs" in page.locator(".live").inner_text()


def test_the_tree_shows_sessions_of_other_clients_by_the_beginning_of_their_id(visit: Open, origin: str):
    page = visit()
    page.locator("#live-state", has_text="live").wait_for()
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "somebody", "version": "7"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    answer = page.request.post(f"{origin}/mcp", data=message, headers={"accept": "application/json, text/event-stream"})
    session_id = answer.headers["mcp-session-id"]
    row = page.locator(".live [data-session]", has_text="somebody 7")
    row.wait_for()
    assert f"{session_id[:8]}…" in row.inner_text()
    assert session_id not in page.content()
    page.request.delete(f"{origin}/mcp", headers={"mcp-session-id": session_id})
    row.wait_for(state="detached")


def test_every_task_can_be_looked_at(visit: Open):
    page = visit()
    page.get_by_text("Every task, as trio has it").click()
    page.locator(".task", has_text="hurry replies").wait_for()


# How it looks


@pytest.mark.parametrize(
    "path", ["/docs", "/docs#tool/every_kind", "/docs#resource/note%3A%2F%2F%C3%BCn%C3%AF%20c%C3%B6d%C3%A9"]
)
def test_a_phone_scrolls_in_one_direction_only(path: str, visit: Open):
    page = visit(path, width=390, height=844)
    page.locator("#groups:not([aria-busy])").wait_for(state="attached")
    for view in ("Browse", "Call", "Live"):
        page.get_by_role("button", name=view).click()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.evaluate("[...document.querySelectorAll('.top .button')].every((one) => one.offsetWidth >= 38)")


def test_dark_and_light_follow_the_system_and_the_button(visit: Open):
    page = visit(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(ground)
    assert dark != light
    page.get_by_role("button", name="Theme: system").click()
    page.get_by_role("button", name="Theme: light").click()
    page.get_by_role("button", name="Theme: dark").wait_for()
    assert page.evaluate(ground) == dark
    page.reload()
    assert page.evaluate(ground) == dark


CONTRASTS = """
() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (c) => c / 255 <= .04045 ? c / 255 / 12.92 : ((c / 255 + .055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => [r, g, b].map(linear).reduce((sum, c, n) => sum + c * [.2126, .7152, .0722][n], 0);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = numbers(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest(":disabled, .skip")) continue;
    const both = [luminance(numbers(getComputedStyle(element).color)), luminance(ground(element))];
    const [a, b] = both.sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) poor.push(element.textContent.trim().slice(0, 40));
  }
  return poor;
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(scheme: str, visit: Open):
    page = visit("/docs#tool/slow", color_scheme=scheme)
    run(page, steps="2")
    finished(page)
    page.goto(page.url.partition("#")[0] + "#tool/fail")
    run(page)
    finished(page, "failed")
    assert page.evaluate(CONTRASTS) == []


NAMELESS = """
() => [...document.querySelectorAll("button, input, select, textarea, progress, [role=log]")]
  .filter((one) => !one.labels?.length && !one.textContent.trim())
  .filter((one) => !one.hasAttribute("aria-label") && !one.hasAttribute("aria-labelledby"))
  .map((one) => one.outerHTML)
"""
DOUBLED = """
() => [...document.querySelectorAll("[id]")].map((one) => one.id).filter((id, n, all) => all.indexOf(id) !== n)
"""


def test_every_control_has_a_name_for_those_who_cannot_see_it(visit: Open):
    page = visit("/docs#tool/every_kind")
    page.get_by_role("button", name="Add an item").click()
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate(DOUBLED) == []


# The same call elsewhere


def copied(page: Any, button: str) -> str:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name=button).click()
    page.get_by_role("button", name="Copied").wait_for()
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_the_copied_curl_command_makes_the_call(visit: Open):
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    page = visit("/docs#tool/echo")
    page.get_by_label("message").fill('it\'s a "test" of $HOME — ü')
    command = copied(page, "Copy as curl")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20, check=True)
    assert json.loads(done.stdout)["result"]["content"][0]["text"] == 'it\'s a "test" of $HOME — ü'


def test_the_copied_python_program_makes_the_call(visit: Open):
    page = visit("/docs#tool/echo")
    page.get_by_label("message").fill('it\'s a "test" of \\n')
    program = copied(page, "Copy as Python")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=40, check=True
    )
    assert "of \\\\n" in done.stdout


# Other servers


def guard(route: Any) -> None:
    if route.request.headers.get("authorization") == "Bearer right":
        route.continue_()
    else:
        headers = {"www-authenticate": "Bearer"}
        route.fulfill(status=401, headers=headers, content_type="application/json", body='{"error": "invalid_token"}')


def test_behind_a_token_the_page_says_so_takes_one_and_forgets_it_on_reload(visit: Open, origin: str):
    page = visit(None, tolerate="401")
    page.route("**/mcp", guard)
    page.route("**/introspection/events*", guard)
    page.goto(f"{origin}/docs")
    page.get_by_role("dialog").wait_for()
    assert "401" in page.locator("main").inner_text()
    page.locator("#token-input").fill("wrong")
    page.keyboard.press("Enter")
    page.locator("main").get_by_text("not accepted").wait_for()
    page.locator("#token-input").fill("right")
    page.keyboard.press("Enter")
    page.locator(".item", has_text="echo").click()
    run(page, message="with a token")
    assert "with a token" in finished(page)
    page.locator("#live-state", has_text="live").wait_for()
    assert "$MCP_TOKEN" in copied(page, "Copy as curl")
    assert page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])").find("right") < 0
    page.reload()
    page.get_by_role("dialog").wait_for()


def test_a_server_without_anything_teaches_how_to_begin(visit: Open, tmp_path: Any):
    (tmp_path / "nothing.py").write_text("from trio_mcp import Server\nmcp = Server('nothing')\n")
    with serving(tmp_path / "nothing.py", "--no-introspection") as server:
        page = visit(server=server)
        page.get_by_text("No tools yet").wait_for()
        assert "@mcp.tool" in page.locator("#groups").inner_text()
        assert "switched off" in page.locator(".live").inner_text()


def test_a_hundred_tools_with_long_names_stay_within_their_column(visit: Open, tmp_path: Any):
    (tmp_path / "many.py").write_text(
        "from trio_mcp import Server\n"
        "mcp = Server('n' * 120)\n"
        "def f(x: int) -> int: return x\n"
        "for n in range(120): mcp.add_tool(f, name=f'{\"tool_\" * 20}{n:03}', description='words ' * 60)\n"
    )
    with serving(tmp_path / "many.py") as server:
        for width in (1280, 900, 390):
            page = visit(server=server, width=width)
            page.locator(".item").first.wait_for()
            assert page.locator(".item").count() == 120
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert (
                page.evaluate("[document.querySelector('.browse')].map((one) => one.scrollWidth - one.clientWidth)[0]")
                <= 0
            )
            page.locator("#filter").fill("007")
            assert page.locator(".item:visible").count() == 1
