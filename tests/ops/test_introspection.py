"""Introspection in virtual time: what is shown, to whom, when it is sent again, and what is never shown."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import groupby
from typing import Any

import pytest
import trio

from tests.cli.commands import exchanged
from tests.http.client import Web, served
from tests.http.fetch import Fetch
from tests.http.servers import Diary, small_server
from trio_mcp import Host, Server, Settings
from trio_mcp.http.app import McpApp
from trio_mcp.ops import nursery_tree
from trio_mcp.ops.introspection import EVENTS_PATH, PATH, Introspection, may_introspect
from trio_mcp.serve import http_app, serve_http

REMOTE = ("203.0.113.7", 40000)


@asynccontextmanager
async def watched(server: Server | None = None, **settings: Any) -> AsyncIterator[Web]:
    def wrap(app: Any, host: Host) -> Any:
        return McpApp(host, endpoints=Introspection(host).endpoints)

    async with served(server or small_server(**settings), wrap=wrap) as web:
        yield web


async def look(web: Web, path: str = PATH, *, tasks: bool = False) -> Any:
    fetch = await web.fetch(
        "GET", path=path, prepare=(lambda f: f.scope.update(query_string=b"tasks=1")) if tasks else _as_is
    )
    assert (fetch.status, fetch.headers["cache-control"]) == (200, "no-store")
    return fetch.json


def _as_is(fetch: Fetch) -> None:
    return None


async def test_a_call_without_a_session_is_shown_with_its_age_and_what_is_left_of_its_deadline(autojump_clock):
    async with watched(tool_timeout=30) as web:
        web.call("wait", seconds=20)
        await trio.sleep(4)
        seen = await look(web)
        [call] = seen["calls"]
        assert (call["method"], call["target"], call["state"]) == ("tools/call", "wait", "running")
        assert (call["age"], call["deadline"], call["progress"]) == (4, 26, None)
        assert (seen["server"]["calls"], seen["server"]["sessions"], seen["sessions"]) == (1, 0, [])


async def test_a_tool_of_its_own_bound_has_that_deadline_and_one_without_has_none(autojump_clock):
    server = Server("bounds")

    @server.tool(timeout=7)
    async def bound() -> None:
        await trio.sleep_forever()

    @server.tool
    async def free() -> None:
        await trio.sleep_forever()

    async with watched(server) as web:
        web.call("bound")
        web.call("free")
        await trio.sleep(2)
        seen = {call["target"]: call["deadline"] for call in (await look(web))["calls"]}
        assert seen == {"bound": 5, "free": None}


async def test_a_session_shows_its_client_its_calls_and_how_long_it_is_idle_but_never_its_whole_id(autojump_clock):
    async with watched() as web:
        session = await web.initialize()
        await trio.sleep(3)
        seen = await look(web, tasks=True)
        [shown] = seen["sessions"]
        assert (shown["age"], shown["idle"], shown["state"]) == (3, 3, "ready")
        assert (shown["client"], shown["revision"]) == ({"name": "tests", "version": "1"}, "2025-11-25")
        session.call("wait", seconds=50)
        session.listen()
        await trio.sleep(1)
        seen = await look(web, tasks=True)
        [shown] = seen["sessions"]
        assert (shown["idle"], shown["readers"]) == (None, 2)
        assert [call["target"] for call in shown["calls"]] == ["wait"]
        assert session.id[:8] in json.dumps(seen)
        assert session.id[:9] not in json.dumps(seen)


async def test_a_task_that_is_named_after_a_session_does_not_give_its_id_away(autojump_clock):
    async with watched() as web, trio.open_nursery() as nursery:
        session = await web.initialize()
        nursery.start_soon(trio.sleep_forever, name=f"write the stream of {session.id}")
        await trio.sleep(1)
        text = json.dumps(await look(web, tasks=True))
        assert f"write the stream of {session.id[:8]}" in text
        assert session.id not in text
        nursery.cancel_scope.cancel()


async def test_progress_is_what_the_client_was_told_last(autojump_clock):
    async with watched() as web:
        web.ask("tools/call", {"name": "step", "arguments": {"times": 5}}, meta={"progressToken": "p"})
        await trio.sleep(2.5)
        [call] = (await look(web))["calls"]
        assert call["progress"] == {"progress": 2, "total": 5, "message": None}


async def test_a_cancelled_call_that_still_cleans_up_is_cancelling(autojump_clock):
    async with watched() as web:
        fetch = web.call("stubborn", seconds=10)
        await trio.sleep(1)
        fetch.drop()
        await trio.sleep(1)
        assert [call["state"] for call in (await look(web))["calls"]] == ["cancelling"]
        await trio.sleep(10)
        assert (await look(web))["calls"] == []


async def test_a_listen_stream_is_shown_apart(autojump_clock):
    async with watched() as web:
        web.ask("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        await trio.sleep(1)
        seen = await look(web)
        assert (len(seen["listening"]), seen["calls"]) == (1, [])


async def test_the_tree_of_tasks_is_there_when_asked_for(autojump_clock):
    async with watched() as web:
        web.call("wait", seconds=5)
        await trio.sleep(1)
        assert "tree" not in await look(web)
        seen = await look(web, tasks=True)
        assert seen["tree"]["name"] == "<init>"
        assert "hurry replies" in json.dumps(seen["tree"])


async def test_what_is_shown_is_bounded(autojump_clock, monkeypatch):
    for name, bound in {"MAX_SESSIONS": 2, "MAX_CALLS": 3, "MAX_TASKS": 20, "MAX_CHILDREN": 4}.items():
        monkeypatch.setattr(nursery_tree, name, bound)
    async with watched() as web, trio.open_nursery() as nursery:
        for _ in range(5):
            await web.initialize()
        busy = await web.initialize()
        for _ in range(5):
            busy.call("wait", seconds=50)
        for number in range(50):
            nursery.start_soon(trio.sleep_forever, name=f"{number} " + "long " * 100)
        await trio.sleep(1)
        seen = await look(web, tasks=True)
        assert seen["left_out"] == {"sessions": 4, "calls": 2}
        assert seen["sessions"][0]["id"].startswith(busy.id[:8])
        text = json.dumps(seen["tree"])
        assert text.count('"name"') <= 20
        assert "long " * 30 not in text
        assert '"more": 4' in text
        nursery.cancel_scope.cancel()


# The stream


async def test_who_watches_gets_a_snapshot_at_once_and_another_only_when_something_changed(autojump_clock):
    async with watched() as web:
        fetch = web.open("GET", path=EVENTS_PATH)
        await trio.sleep(1)
        assert fetch.events[0].at == pytest.approx(trio.current_time() - 1)
        settled = len(fetch.events)  # the watcher's own tasks are a change, too
        await trio.sleep(10)
        assert len(fetch.events) == settled
        began = trio.current_time()
        await web.call("wait", seconds=3).done()
        await trio.sleep(1)
        counts = [(len(event.message["calls"]), event.at - began) for event in fetch.events]
        assert [count for count, _ in groupby(count for count, _ in counts)] == [0, 1, 0]
        assert 0 < next(at for count, at in counts if count) <= 0.5
        assert fetch.headers["content-type"] == "text/event-stream"


async def test_many_changes_are_sent_at_most_once_an_interval(autojump_clock):
    async with watched(introspection_interval=2) as web:
        fetch = web.open("GET", path=EVENTS_PATH)
        await trio.sleep(0.1)
        for _ in range(40):
            await web.call("wait", seconds=0.1).done()
        assert 2 <= len(fetch.events) <= 4
        gaps = [later.at - earlier.at for earlier, later in zip(fetch.events, fetch.events[1:], strict=False)]
        assert min(gaps) >= 2 - 1e-6


async def test_silence_is_filled_with_comments(autojump_clock):
    async with watched(keepalive=10) as web:
        fetch = web.open("GET", path=EVENTS_PATH)
        await trio.sleep(35)
        assert len(fetch.events) <= 2
        assert len(fetch.comments) == 3


async def test_while_nobody_watches_nothing_is_looked_at_or_kept(autojump_clock, monkeypatch):
    looks = 0

    def counted(host: Host, *, base: float, tree: bool) -> Any:
        nonlocal looks
        looks += 1
        return nursery_tree.take(host, base=base, tree=tree)

    monkeypatch.setattr("trio_mcp.ops.introspection.take", counted)
    async with watched() as web:
        fetches = [web.open("GET", path=EVENTS_PATH) for _ in range(10)]
        await trio.sleep(10)
        assert looks < 10 / 0.25 * 2 + 30  # ten watchers cost what one does
        for fetch in fetches:
            fetch.drop()
        await trio.sleep(1)
        looks = 0
        await web.call("wait", seconds=100).done()
        assert looks == 0
        assert not len(web.host.subscriptions)


async def test_a_drain_ends_the_stream_with_its_terminator(autojump_clock):
    async with watched() as web:
        fetch = web.open("GET", path=EVENTS_PATH)
        await trio.sleep(1)
        await web.host.drain()
        await trio.sleep(0.1)
        assert fetch.complete
        assert (await web.fetch("GET", path=EVENTS_PATH)).status == 503


async def test_head_is_answered_and_other_methods_are_not(autojump_clock):
    async with watched() as web:
        for path in (PATH, EVENTS_PATH):
            head = await web.fetch("HEAD", path=path)
            assert (head.status, head.body) == (200, b"")
            post = await web.fetch("POST", path=path)
            assert (post.status, post.headers["allow"]) == (405, "GET, HEAD")


# Who may


@pytest.mark.parametrize(
    ("scope", "settings", "may"),
    [
        ({"client": ("127.0.0.1", 1)}, {}, True),
        ({"client": ("::1", 1)}, {}, True),
        ({"client": ("127.0.0.1", 1), "principal": ""}, {}, True),
        ({"client": ("127.0.0.1", 1), "principal": "ada"}, {}, False),
        ({"client": ("127.0.0.1", 1)}, {"introspection": False}, False),
        ({"client": REMOTE}, {}, False),
        ({"client": ("unix", 0)}, {}, False),
        ({"client": None}, {}, False),
        ({}, {}, False),
    ],
)
def test_live_sessions_are_shown_to_this_machine_where_nobody_has_a_name(scope: Any, settings: Any, may: bool):
    assert may_introspect(scope, Settings(**settings)) is may


@pytest.mark.parametrize("path", [PATH, EVENTS_PATH])
async def test_others_are_refused(path: str, autojump_clock):
    async with watched() as web:
        fetch = web.open("GET", path=path, prepare=lambda f: f.scope.update(client=REMOTE))
        await trio.sleep(1)
        assert (fetch.status, fetch.complete) == (403, True)
        assert "sessions" not in json.dumps(fetch.json).replace("live sessions", "")


async def test_switched_off_there_is_no_such_path(autojump_clock):
    server = small_server(introspection=False)
    async with served(server, wrap=lambda app, host: http_app(host, loopback=True)) as web:
        assert (await web.fetch("GET", path=PATH)).status == 404
        assert (await web.fetch("GET", path=EVENTS_PATH)).status == 404


async def test_the_application_as_composed_has_both_paths(autojump_clock):
    async with served(small_server(), wrap=lambda app, host: http_app(host, loopback=True)) as web:
        assert (await look(web))["server"]["name"] == "small"
        assert (await web.fetch("GET", path=PATH, headers={"host": "evil.example"})).status == 421
        assert (await web.fetch("GET", path=PATH, headers={"origin": "https://evil.example"})).status == 403


async def test_arguments_are_not_shown(autojump_clock):
    diary = Diary()
    server = small_server(diary)

    @server.tool
    async def secret(password: str) -> None:
        await trio.sleep_forever()

    async with watched(server) as web:
        web.call("secret", password="hunter2")
        await trio.sleep(1)
        assert "hunter2" not in json.dumps(await look(web, tasks=True))


async def test_the_connections_of_a_real_server_are_counted():
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            [url] = await nursery.start(partial(serve_http, small_server(), port=0), name="serve small")
            port = int(url.partition("://")[2].partition("/")[0].rpartition(":")[2])
            async with await trio.open_tcp_stream("127.0.0.1", port):
                answer = await exchanged(port, "GET", PATH)
            assert answer.message["server"]["connections"] == 2
            nursery.cancel_scope.cancel()


async def test_the_composition_may_say_who_the_operator_is(autojump_clock):
    def wrap(app: Any, host: Host) -> Any:
        operator = Introspection(host, may=lambda scope, settings: scope.get("principal") == "operator")
        return McpApp(host, endpoints=operator.endpoints)

    async with served(small_server(), wrap=wrap) as web:
        for principal, status in (("operator", 200), ("ada", 403), ("", 403)):
            fetch = web.open("GET", path=PATH, prepare=partial(_from_afar, principal=principal))
            assert (await fetch.done()).status == status


def _from_afar(fetch: Fetch, principal: str) -> None:
    fetch.scope.update(principal=principal, client=REMOTE)
