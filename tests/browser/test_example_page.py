"""The page of `examples/browser` in a real browser: each transport, from its own and from other origins, through cuts.

Playwright's sync API runs its own loop, so these are plain functions, the server is a process, the network a thread.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.browser.chromium import HERE, browser, serving
from tests.browser.example import (
    EXAMPLE,
    LISTENING,
    NETWORK,
    TRANSPORTS,
    Asking,
    Browsing,
    Disposed,
    Restartable,
    page_elsewhere,
)
from tests.browser.relay import relayed

FRIEND = "friend.localhost"
STRANGER = "stranger.localhost"
TOOLS = ["add", "greet", "countdown", "come_back_later", "what_ended", "learn"]
#: Transports on which a call's progress comes while it runs.
PROGRESSING = LISTENING


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as launched:
        yield launched


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Callable[[str], str]]:
    with page_elsewhere() as origin:
        yield origin


@pytest.fixture(scope="module")
def server(elsewhere: Callable[[str], str]) -> Iterator[str]:
    with serving(EXAMPLE / "server.py", "--allowed-origin", elsewhere(FRIEND), "--set", "retry=0.2") as origin:
        yield origin


@pytest.fixture
def browsing(chromium: Any) -> Iterator[Browsing]:
    with closing(Browsing(chromium)) as opened:
        yield opened


@pytest.fixture
def asking(chromium: Any, server: str) -> Iterator[Asking]:
    with closing(Asking(chromium, server)) as asked:
        yield asked


# Listing and calling, from here and from elsewhere


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("where", ["its own origin", "an allowed origin"])
def test_tools_are_listed_and_called(
    where: str, transport: str, server: str, elsewhere: Callable[[str], str], browsing: Browsing
):
    if where == "its own origin":
        tab = browsing.open(server, transport)
    else:
        tab = browsing.open(elsewhere(FRIEND), transport, server=server)
    tab.reaches("connected")
    assert tab.tools()[: len(TOOLS)] == TOOLS
    assert tab.call("add", a="5", b="-2.5") == "2.5"
    form = tab.form("greet")
    form.locator("[name=manner]").select_option("politely")
    form.locator("[name=loud]").check()
    assert tab.call("greet", name="Grüße 世界") == "GOOD DAY, GRÜSSE 世界."


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_origin_that_is_not_allowed_is_refused(
    transport: str, server: str, elsewhere: Callable[[str], str], browsing: Browsing
):
    browsing.expected = NETWORK
    tab = browsing.open(elsewhere(STRANGER), transport, server=server)
    tab.reaches("failed")
    assert tab.page.locator(".tool").count() == 0
    assert tab.messages() == []


def test_a_strange_page_runs_nothing_even_where_a_browser_asks_no_leave(
    server: str, elsewhere: Callable[[str], str], browsing: Browsing, asking: Asking
):
    browsing.expected = NETWORK
    tab = browsing.open(elsewhere(STRANGER), "message", server=server)
    tab.reaches("failed")
    learn = {"name": "learn", "arguments": {"name": "smuggled"}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": learn})
    for path in ("/message", "/mcp"):  # text/plain: a request that no preflight stands before
        tab.page.evaluate(
            "([url, body]) => fetch(url, {method: 'POST', mode: 'no-cors', body})", [f"{server}{path}", body]
        )
    own = browsing.open(server, "message")
    own.reaches("connected")
    assert "smuggled" not in own.tools()


def test_in_development_pages_of_this_machine_are_allowed_without_a_word(
    elsewhere: Callable[[str], str], browsing: Browsing
):
    with serving(EXAMPLE / "server.py") as plain:
        tab = browsing.open(elsewhere("localhost"), "http", server=plain)
        tab.reaches("connected")
        assert tab.call("add", a="1", b="1") == "2.0"


@pytest.mark.parametrize("transport", ["http", "per-request"])
def test_plain_json_replies_are_read_too(transport: str, browsing: Browsing):
    with serving(EXAMPLE / "server.py", "--set", "json_response=none") as plain:
        tab = browsing.open(plain, transport)
        tab.reaches("connected")
        assert tab.call("add", a="1", b="1") == "2.0"
        assert tab.rows("reply").count() >= 2
        assert tab.call("countdown", seconds="0.6").startswith("countdown: done")
        assert tab.rows("event").count() >= 2


def test_the_page_makes_forms_for_any_server(elsewhere: Callable[[str], str], browsing: Browsing):
    with serving(HERE / "page_server.py") as other:
        tab = browsing.open(elsewhere("localhost"), "http", server=other)
        tab.reaches("connected")
        form = tab.form("every_kind")
        form.locator("[name=colour]").select_option("red")
        form.locator("[name=sure]").check()
        form.locator("[name=anything]").fill("{oops")
        tab.begin("every_kind", text="hello", count="3")
        assert not form.locator("[name=anything]").evaluate("input => input.validity.valid")
        assert tab.page.locator(".call").count() == 0
        said = tab.call("every_kind", anything='{"deep": [1, null]}', spots='[{"latitude": 1}]')
        given = {"colour": "red", "sure": True, "anything": {"deep": [1, None]}, "spots": [[1, None]], "count": 3}
        assert given.items() <= json.loads(said).items()
        assert "it went wrong" in tab.call("fail", outcome="failed")
        assert tab.call("hostile").startswith("<img src=x")


# Live


@pytest.mark.parametrize("transport", PROGRESSING)
def test_progress_arrives_while_the_tool_works(transport: str, server: str, browsing: Browsing):
    tab = browsing.open(server, transport)
    box = tab.begin("countdown", seconds="2")
    tab.said(box, r"1\.\d s left")
    assert box.locator(".badge").inner_text() == "running"
    assert 0.4 <= float(box.locator("progress").get_attribute("value")) <= 1.9
    assert tab.ended(box) == "countdown: done after 2 s"


@pytest.mark.parametrize("transport", LISTENING)
def test_a_tool_that_the_server_learns_appears_by_itself(
    transport: str, server: str, browsing: Browsing, asking: Asking
):
    tab = browsing.open(server, transport)
    tab.form("add").locator("[name=a]").fill("7")
    name = f"new_{transport.replace('-', '_')}"
    asking.call("learn", name=name)
    assert tab.call(name) == f"I am {name}."
    assert tab.form("add").locator("[name=a]").input_value() == "7"


def test_signs_of_life_are_events_that_a_page_can_see(browsing: Browsing):
    with serving(EXAMPLE / "server.py", "--set", "sse_keepalive=0.1") as lively:
        tab = browsing.open(lively, "sse")
        tab.reaches("connected")
        tab.rows("event heartbeat").nth(1).wait_for()
        names = tab.page.locator("#log li.in .what").all_inner_texts()
        assert names[:2] == ["event endpoint", "event connected"]


# Giving up


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_cancelling_a_call_runs_the_tools_finally(transport: str, server: str, browsing: Browsing, asking: Asking):
    tab = browsing.open(server, transport)
    label = f"cancelled over {transport}"
    box = tab.begin("countdown", seconds="300", label=label)
    box.locator(".running").wait_for()
    asking.until(lambda: asking.health()["calls"] > 0)
    box.get_by_role("button", name="Cancel").click()
    tab.ended(box, "cancelled")
    asking.until(lambda: f"{label} was cancelled" in asking.call("what_ended"))
    assert tab.call("add", a="1", b="2") == "3.0"


@pytest.mark.parametrize("transport", ["per-request", "sse", "message", "websocket"])
def test_closing_the_tab_cancels_what_it_waits_for(transport: str, server: str, browsing: Browsing, asking: Asking):
    before = asking.health()
    tab = browsing.open(server, transport)
    label = f"left over {transport}"
    box = tab.begin("countdown", seconds="300", label=label)
    box.locator(".running").wait_for()
    asking.until(lambda: asking.health()["calls"] > before["calls"])
    assert asking.health()["sessions"] == before["sessions"] + (transport in ("sse", "websocket"))
    tab.page.close()
    asking.until(lambda: f"{label} was cancelled" in asking.call("what_ended"))
    asking.until(lambda: asking.health()["sessions"] == before["sessions"])


def test_leaving_the_page_ends_a_session_of_streamable_http(chromium: Any, browsing: Browsing):
    with serving(EXAMPLE / "server.py") as fresh, closing(Asking(chromium, fresh)) as asking:
        tab = browsing.open(fresh, "http")
        tab.begin("countdown", seconds="300", label="left")
        asking.until(lambda: asking.health()["sessions"] == 1 and asking.health()["calls"] > 0)
        tab.page.goto("about:blank")
        asking.until(lambda: asking.health()["sessions"] == 0)
        assert asking.call("what_ended") == ["left was cancelled"]


def test_a_session_of_notifications_goes_on_without_its_tab(server: str, browsing: Browsing, asking: Asking):
    tab = browsing.open(server, "notifications")
    box = tab.begin("countdown", seconds="1.5", label="alone")
    tab.said(box, "s left")
    tab.page.close()
    asking.until(lambda: "alone finished" in asking.call("what_ended"))


# Two tabs in one session


def test_two_tabs_of_one_session_both_hear_everything(server: str, browsing: Browsing):
    first = browsing.open(server, "notifications")
    session = first.reaches("connected")
    with first.page.expect_popup() as opened:
        first.page.locator("#second").click()
    second = browsing.watch(opened.value)
    assert second.reaches("connected") == session
    assert first.call("greet", name="First") == "Lovely to see you, First!"
    assert second.call("greet", name="Second") == "Lovely to see you, Second!"
    for tab in (first, second):
        for name in ("First", "Second"):
            answers = [message for message in tab.messages() if f"see you, {name}!" in json.dumps(message)]
            assert len(answers) == 1
            assert answers[0]["id"].rpartition("-")[0] != ""
    # As many requests in each tab, so that ids which were only counted would be the same.
    assert second.call("add", a="1", b="2") == "3.0"
    running = [
        (tab, tab.begin("countdown", seconds="1", label=name)) for tab, name in ((first, "1st"), (second, "2nd"))
    ]
    assert [tab.ended(box) for tab, box in running] == ["1st: done after 1 s", "2nd: done after 1 s"]
    second.page.close()
    assert first.call("add", a="1", b="2") == "3.0"


# Cuts


def nothing_lost_or_doubled(ids: list[str], told: list[float]) -> None:
    """Events of a session are numbered one by one, over all of its streams; progress rises with each report."""
    numbers = sorted(int(id.rpartition("-")[2]) for id in ids)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert told == sorted(set(told))
    assert len(told) >= 4


@pytest.mark.parametrize("server_notices", [True, False])
def test_an_event_source_that_was_cut_comes_back_and_misses_nothing(
    server_notices: bool, server: str, browsing: Browsing
):
    browsing.expected = NETWORK
    with relayed(server) as relay:
        tab = browsing.open(relay.origin, "notifications")
        session = tab.reaches("connected")
        name = tab.events()[0][1].removeprefix("Connected to ")
        box = tab.begin("countdown", seconds="4")
        tab.said(box, "s left")
        relay.cut(server_notices=server_notices)
        tab.reaches("reconnecting")
        tab.page.wait_for_timeout(1200)  # what is said meanwhile is what could be lost
        relay.mend()
        assert tab.reaches("connected") == session
        assert tab.ended(box) == "countdown: done after 4 s"
        assert tab.call("add", a="1", b="2") == "3.0"
        assert tab.rows("GET /notifications").count() == 1, "the browser comes back by itself"
        assert [text for _, text in tab.events() if text.startswith("Connected to")] == [f"Connected to {name}"] * 2
        told = [message["params"]["progress"] for message in tab.messages() if "method" in message]
        nothing_lost_or_doubled([id for id, text in tab.events() if text.startswith("{")], told)


@pytest.mark.parametrize("server_notices", [True, False])
def test_a_reply_of_streamable_http_that_was_cut_is_resumed(server_notices: bool, server: str, browsing: Browsing):
    browsing.expected = NETWORK
    with relayed(server) as relay:
        tab = browsing.open(relay.origin, "http")
        tab.reaches("connected")
        box = tab.begin("countdown", seconds="4")
        tab.said(box, "s left")
        relay.cut(server_notices=server_notices)
        tab.reaches("reconnecting")
        tab.page.wait_for_timeout(1200)
        relay.mend()
        assert tab.ended(box) == "countdown: done after 4 s"
        told = [message["params"]["progress"] for message in tab.messages() if "method" in message]
        nothing_lost_or_doubled([id for id, _ in tab.events()], told)
        assert tab.call("add", a="1", b="2") == "3.0"


def test_a_stream_that_the_server_ends_on_purpose_is_polled(server: str, browsing: Browsing):
    tab = browsing.open(server, "http")
    assert tab.call("come_back_later", seconds="0.5").startswith("here you are")
    [asked] = [row.get_attribute("title") for row in tab.rows("GET /mcp").locator(".id").all()]
    assert (asked, "") in tab.events()


@pytest.mark.parametrize("transport", ["per-request", "sse", "websocket"])
def test_a_cut_that_ends_the_call_is_said_and_survived(transport: str, server: str, browsing: Browsing, asking: Asking):
    browsing.expected = NETWORK
    label = f"cut over {transport}"
    with relayed(server) as relay:
        tab = browsing.open(relay.origin, transport)
        tab.reaches("connected")
        box = tab.begin("countdown", seconds="300", label=label)
        tab.said(box, "s left")
        relay.cut()
        assert "cut" in tab.ended(box, "failed") or "error" in tab.ended(box, "failed")
        asking.until(lambda: f"{label} was cancelled" in asking.call("what_ended"))
        relay.mend()
        tab.reaches("connected")
        assert tab.call("add", a="1", b="2") == "3.0"


def test_after_a_restart_of_the_server_every_page_goes_on(browsing: Browsing):
    browsing.expected = NETWORK
    server = Restartable("--shutdown-grace", "0.2")
    try:
        tabs = {transport: browsing.open(server.origin, transport) for transport in TRANSPORTS}
        for tab in tabs.values():
            tab.reaches("connected")
        boxes = {name: tabs[name].begin("countdown", seconds="300") for name in LISTENING}
        for name, box in boxes.items():
            tabs[name].said(box, "s left")
        server.stop()
        for name in LISTENING:
            tabs[name].reaches("reconnecting")
        server.start()
        for name, tab in tabs.items():
            tab.reaches("connected")
            assert tab.call("add", a="1", b="2") == "3.0", name
        for name, box in boxes.items():
            tabs[name].ended(box, "failed")
    finally:
        server.stop()


# By itself


def test_the_page_fits_a_phone_and_follows_the_colour_scheme(server: str, browsing: Browsing):
    grounds = set()
    for scheme in ("light", "dark"):
        tab = browsing.open(server, "http", viewport={"width": 360, "height": 740}, color_scheme=scheme)
        tab.call("greet", name="A" * 300)
        assert tab.page.evaluate("document.documentElement.scrollWidth") == 360
        grounds.add(tab.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_events_are_read_in_whatever_pieces_they_come(end: str, size: int, server: str, browsing: Browsing):
    lines = [": comment", "", "id: 1", "data: ü", "data:  two", "", "event: named", "retry: 20", "data", "", "id: 9"]
    tab = browsing.open(server, "message")
    events = tab.page.evaluate(
        """async ([text, size]) => {
            const { readEvents } = await import("./events.js");
            const bytes = new TextEncoder().encode(text);
            const body = new ReadableStream({
                start(controller) {
                    for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
                    controller.close();
                },
            });
            const events = [];
            for await (const { name, data, id = null, retry = null } of readEvents(body)) {
                events.push([name, data, id, retry]);
            }
            return events;
        }""",
        [end.join(lines) + end, size],
    )
    assert events == [["message", "ü\n two", "1", None], ["named", "", None, 20]]


def test_the_server_gives_away_no_other_files(server: str, chromium: Any):
    with closing(Disposed(chromium.new_context().request.get(f"{server}/server.py"))) as answer:
        assert answer.response.status == 404
