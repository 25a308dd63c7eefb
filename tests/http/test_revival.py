"""Sessions that outlive their process. A crash is a copy of the file: what the process did after it is not in there."""

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.cli.commands import PATIENCE, environment
from tests.http.client import V2025_06, Session, Web, served
from tests.http.servers import small_server
from tests.http.sockets import Wire, open_session
from trio_mcp import SQLiteEventStore

pytestmark = pytest.mark.usefixtures("mock_clock")  # time is moved by hand: SQLite has a thread of its own


@asynccontextmanager
async def on(path: Path, **settings: Any) -> AsyncIterator[tuple[Web, SQLiteEventStore]]:
    """A server with its events in a file."""
    async with (
        SQLiteEventStore.open(path) as store,
        served(small_server(**settings), event_store=store) as web,
    ):
        yield web, store


async def crash(store: SQLiteEventStore, path: Path) -> Path:
    """The file as it is now."""
    await store.flush()
    copy = path.parent / f"{path.stem}-crashed.db"
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    return copy


def again(web: Web, session: Session, revision: str = "2025-11-25") -> Session:
    """The same session, for all that its client knows, on another server."""
    return Session(web, session.id, revision)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


async def test_a_client_gets_what_it_missed_and_learns_that_its_call_was_cut_off(path: Path):
    async with on(path) as (web, store):
        session = await web.initialize()
        fetch = session.call("talk", id="long", times=2, gap=0)  # two messages, then a wait
        await fetch.hears(1)
        waiting = session.call("talk", id=7, times=1, gap=10_000)
        await waiting.hears(1)
        first = waiting.events[0].id
        copy = await crash(store, path)
    async with on(copy) as (web, _):
        resumed = await again(web, session).listen(first).done()
        message, answer = resumed.messages
        assert message["params"]["data"] == "talk 0"
        assert (answer["id"], answer["error"]["code"]) == (7, 503)
        assert "restarted" in answer["error"]["message"]
        numbers = [int(event.id.partition("-")[2]) for event in [*waiting.events, *resumed.events] if event.id]
        assert numbers[-1] == max(numbers) > numbers[0] + 1_000_000
        once_more = await again(web, session).listen(resumed.events[-1].id).done()
        assert once_more.messages == []


async def test_an_answer_that_was_given_is_replayed_and_not_given_again(path: Path):
    async with on(path) as (web, store):
        session = await web.initialize()
        fetch = await session.call("talk", id=7, times=1, gap=0).done()
        copy = await crash(store, path)
    async with on(copy) as (web, _):
        resumed = await again(web, session).listen(fetch.events[0].id).done()
        assert [message.get("id") for message in resumed.messages] == [None, 7]
        assert resumed.result["content"][0]["text"] == "talked"
        assert [event.id for event in resumed.events] == [event.id for event in fetch.events[1:]]


async def test_what_was_agreed_holds(path: Path):
    async with on(path) as (web, store):
        session = await web.initialize(V2025_06, capabilities={"elicitation": {}})
        assert (await session.ask("logging/setLevel", {"level": "error"}).done()).status == 200
        assert (await session.ask("resources/subscribe", {"uri": "config://app"}).done()).status == 200
        standing = session.listen()
        await standing.answered()
        copy = await crash(store, path)
    async with on(copy) as (web, _):
        session = again(web, session, V2025_06)
        assert await session.answers()
        [revived] = web.host.sessions.values()
        assert revived.protocol.revision.version == V2025_06
        assert revived.protocol.client_info is not None
        assert revived.protocol.client_info.name == "tests"
        assert revived.log_level == "error"
        standing = session.listen()
        await standing.answered()
        await session.call("change", uri="config://app").done()
        assert (await standing.hears(1))[0]["method"] == "notifications/resources/updated"
        asking = session.call("ask", id="a")
        [question] = await asking.hears(1)
        assert question["id"] > 1_000_000, "an answer to a question of the life before cannot be taken for this one's"
        await session.respond(question["id"], {"action": "decline"})
        assert (await asking.done()).result["content"][0]["text"] == "decline None"


async def test_the_standing_stream_is_resumed_and_goes_on(path: Path):
    async with on(path) as (web, store):
        session = await web.initialize()
        standing = session.listen()
        await standing.answered()
        await session.call("change").done()
        await standing.hears(1)
        seen = standing.events[-1].id
        standing.drop()
        await session.call("change").done()
        copy = await crash(store, path)
    async with on(copy) as (web, _):
        session = again(web, session)
        resumed = session.listen(seen)
        assert len(await resumed.hears(1)) == 1
        await session.call("change").done()
        assert [message["method"] for message in await resumed.hears(2)] == ["notifications/tools/list_changed"] * 2


async def test_a_shutdown_leaves_sessions_for_the_next_process_with_their_calls_answered(path: Path):
    async with on(path, shutdown_grace=0) as (web, _):
        session = await web.initialize()
        fetch = session.call("talk", id=7, times=1, gap=10_000)
        await fetch.hears(1)
        seen = fetch.events[-1].id
        fetch.drop()
        await web.host.drain()
    async with on(path) as (web, _):
        resumed = await again(web, session).listen(seen).done()
        assert [(message["id"], message["error"]["code"]) for message in resumed.messages] == [(7, 503)]


async def test_a_session_that_its_client_ended_is_not_revived(path: Path):
    async with on(path) as (web, _):
        session = await web.initialize()
        assert (await session.delete()).status == 204
        assert (await session.ask("ping").done()).status == 404
    async with on(path) as (web, _):
        assert (await again(web, session).ask("ping").done()).status == 404


async def test_a_session_that_fell_idle_is_not_revived(path: Path, mock_clock: trio.testing.MockClock):
    async with on(path, session_idle=100) as (web, _):
        session = await web.initialize()
        mock_clock.jump(101)
        while web.host.sessions:
            await trio.lowlevel.checkpoint()
        assert (await session.ask("ping").done()).status == 404
    async with on(path) as (web, _):
        assert (await again(web, session).ask("ping").done()).status == 404


async def test_an_unknown_session_is_404(path: Path):
    async with on(path) as (web, _):
        assert (await Session(web, "unknown", "2025-11-25").ask("ping").done()).status == 404


async def test_requests_that_come_at_a_time_revive_one_session(path: Path):
    async with on(path) as (web, _):
        session = await web.initialize()
    async with on(path) as (web, _):
        session = again(web, session)
        fetches = [session.call("echo", message=str(number)) for number in range(10)]
        assert [(await fetch.done()).status for fetch in fetches] == [200] * 10
        assert (len(web.host.sessions), len(web.host.subscriptions)) == (1, 1)


async def test_a_full_server_revives_none(path: Path):
    async with on(path) as (web, _):
        session = await web.initialize()
    async with on(path, max_sessions=1) as (web, _):
        await web.initialize()
        assert (await again(web, session).ask("ping").done()).status == 503


async def test_a_stream_of_which_nothing_was_written_is_refused(path: Path):
    async with on(path) as (web, store):
        session = await web.initialize()
        copy = await crash(store, path)
        fetch = session.call("talk", times=1, gap=10_000)
        await fetch.hears(1)
        seen = fetch.events[0].id
    async with on(copy) as (web, _):
        session = again(web, session)
        refused = await session.listen(seen).done()
        assert (refused.status, "restarted" in refused.error["message"]) == (400, True)
        new = await session.call("talk", times=1, gap=0).done()
        assert str(new.events[0].id).partition("-")[0] != str(seen).partition("-")[0], "its number is not given again"


async def test_a_record_that_cannot_be_read_is_an_unknown_session(path: Path, caplog: pytest.LogCaptureFixture):
    async with on(path) as (web, store):
        session = await web.initialize()
        store.keep(session.id, b'{"version":"1900-01-01","next_stream":1,"number":1}')
    async with on(path) as (web, _):
        assert (await again(web, session).ask("ping").done()).status == 404
    assert "cannot go on" in caplog.text


async def test_sessions_of_a_store_in_memory_leave_nothing_in_it(path: Path):
    async with served(small_server()) as web:
        session = await web.initialize()
        await session.call("talk", times=1, gap=0).done()
    assert len(web.host.event_store) == 0  # type: ignore[arg-type]


# A process that is killed

SERVER = """
import trio
from trio_mcp import Context, Server

mcp = Server("killed")


@mcp.tool
async def talk(ctx: Context) -> str:
    await ctx.warning("one")
    await ctx.warning("two")
    await trio.sleep_forever()
    return "never"
"""


@asynccontextmanager
async def process(folder: Path) -> AsyncIterator[tuple[trio.Process, str]]:
    """`trio-mcp serve` with an event store, and its URL."""
    command = [sys.executable, "-m", "trio_mcp", "serve", "server.py", "--port", "0", "--event-store", "events.db"]
    child = await trio.lowlevel.open_process(
        command, cwd=str(folder), env=environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        assert child.stderr is not None
        heard = b""
        while b"Ctrl-C" not in heard:
            piece = await child.stderr.receive_some()
            assert piece, heard
            heard += piece
        yield child, "http://" + heard.decode().partition("http://")[2].partition(" ")[0]
    finally:
        child.kill()
        await child.wait()
        assert child.stderr is not None
        await child.stderr.aclose()


async def test_a_client_goes_on_after_its_server_was_killed(tmp_path: Path):
    await trio.Path(tmp_path / "server.py").write_text(SERVER)
    events: list[str] = []
    async with process(tmp_path) as (child, url):
        wire = await Wire.to(url)
        async with wire.stream:
            session = await open_session(wire)
            body = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "talk", "arguments": {}}}
            await wire.send("POST", body, mcp_session_id=session)
            await wire.head()
            text = b""
            while text.count(b"data: {") < 2:
                text += await wire.chunk()
            events = [block for block in text.decode().split("\n\n") if "data: {" in block]
            with trio.fail_after(PATIENCE):  # it is written a moment after it is sent
                while b'"two"' not in await trio.Path(tmp_path / "events.db-wal").read_bytes():
                    await trio.lowlevel.checkpoint()
            child.kill()  # SIGKILL
            await child.wait()
    [seen] = [line[4:] for line in events[0].split("\n") if line.startswith("id: ")]
    async with process(tmp_path) as (_, url):
        wire = await Wire.to(url)
        async with wire.stream:
            await wire.send("GET", mcp_session_id=session, last_event_id=seen)
            assert await wire.head() == 200
            text = await wire.body()
            assert text.count(b"data: {") == 2
            assert b'"two"' in text
            assert b'"one"' not in text
            assert b"restarted" in text
        wire = await Wire.to(url)
        async with wire.stream:
            await wire.send("POST", {"jsonrpc": "2.0", "id": 10, "method": "ping"}, mcp_session_id=session)
            assert (await wire.answer()) == {"jsonrpc": "2.0", "id": 10, "result": {}}
