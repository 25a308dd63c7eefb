"""Every example imports, can be inspected, and does what its docstring says, in both eras where they differ."""

import importlib
import json
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio
from click.testing import CliRunner
from trio.testing import MockClock

from tests.authoring.client import ERAS, SESSION, connected, text_of, unhurried
from trio_mcp import Host, Server, serve_http
from trio_mcp.cli import main

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))
CLIENTS = {"client_http", "client_sdk"}
EXERCISED = {"hello", "weather", "notes", "approval", "lifespan", "embed", *CLIENTS}
ASKING: dict[str, Any] = {"elicitation": {}}


def example(name: str) -> ModuleType:
    """The example, fresh: what it keeps in its module is as at the start."""
    return importlib.reload(importlib.import_module(f"examples.{name}"))


def test_every_example_is_exercised_here_or_by_the_conformance_suite():
    assert set(EXAMPLES) == EXERCISED | {"everything"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_says_how_to_run_it(name: str):
    text = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
    how = f"python examples/{name}.py" if name in CLIENTS | {"embed"} else f"trio-mcp serve examples/{name}.py"
    assert how in text.split('"""')[1]


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - CLIENTS))
def test_an_example_can_be_inspected(name: str):
    shown = CliRunner().invoke(main, ["inspect", "--json", str(ROOT / "examples" / f"{name}.py")])
    assert shown.exit_code == 0, shown.output
    tools = json.loads(shown.output)["tools"]
    assert tools
    assert all(tool["description"] for tool in tools)


@pytest.mark.parametrize("era", ERAS)
async def test_hello_greets(era: str):
    async with connected(example("hello").mcp, era) as client:
        assert text_of(await client.call("greet", name="Ada")) == "Hello, Ada!"


@pytest.mark.parametrize("era", ERAS)
async def test_weather_gives_structured_forecasts(era: str):
    async with connected(example("weather").mcp, era) as client:
        forecast = (await client.call("forecast", city="Lisbon", days="2"))["structuredContent"]
        assert [day["high"] for day in forecast["days"]] == [24.5, 23.5]
        unknown = await client.call("forecast", city="Atlantis")
        assert unknown["isError"]
        assert "Oslo" in text_of(unknown)


@pytest.mark.parametrize("era", ERAS)
async def test_weather_compares_cities_at_the_same_time(era: str, autojump_clock: MockClock):
    async with unhurried(example("weather").mcp, era) as client:
        began = trio.current_time()
        params = {"name": "compare", "arguments": {"cities": ["Oslo", "Lisbon", "Bergen"]}}
        result = await client.ask("tools/call", {**params, "_meta": {"progressToken": 1}})
        found = result["structuredContent"]["result"]
        assert [one["city"] for one in found] == ["Lisbon", "Oslo", "Bergen"]
        assert trio.current_time() - began == pytest.approx(0.01)
        reports = [report["progress"] for report in client.heard_of("notifications/progress")]
        assert reports == sorted(reports), "progress must rise, also where tasks of one nursery report it"
        assert reports[-1] == 3
        failed = await client.call("compare", cities=["Oslo", "Atlantis"])
        assert "Atlantis" in text_of(failed)


@pytest.mark.parametrize("era", ERAS)
async def test_notes_are_read_written_and_suggested(era: str):
    async with connected(example("notes").mcp, era) as client:
        assert "Wrote" in text_of(await client.call("write_note", name="plan", text="one two three"))
        assert (await client.call("word_count", name="plan"))["structuredContent"] == {"result": 3}
        [index] = await client.read_resource("notes://index")
        assert json.loads(index["text"]) == ["plan", "shopping", "trio"]
        [logo] = await client.read_resource("notes://logo")
        assert logo["mimeType"] == "image/svg+xml"
        prompt = await client.ask("prompts/get", {"name": "improve", "arguments": {"name": "plan"}})
        assert [message["content"]["text"] for message in prompt["messages"]][1] == "one two three"
        for ref in ({"type": "ref/prompt", "name": "improve"}, {"type": "ref/resource", "uri": "note://{name}"}):
            asked = {"ref": ref, "argument": {"name": "name", "value": "p"}}
            assert (await client.ask("completion/complete", asked))["completion"]["values"] == ["plan"]
        assert "no note nowhere" in (await client.fail("resources/read", {"uri": "note://nowhere"}))["message"]
        assert (await client.call("write_note", name="a b", text=""))["isError"]


async def test_who_subscribed_to_a_note_hears_of_it():
    async with connected(example("notes").mcp, SESSION) as client:
        await client.ask("resources/subscribe", {"uri": "note://shopping"})
        await client.call("write_note", name="shopping", text="tea")
        await client.call("write_note", name="other", text="")
        assert await client.hear("notifications/resources/updated") == [{"uri": "note://shopping"}]
        assert len(await client.hear("notifications/resources/list_changed")) == 1


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("answer", "moved"),
    [
        ({"action": "accept", "content": {"approved": True, "purpose": "rent"}}, True),
        ({"action": "accept", "content": {"approved": False}}, False),
        ({"action": "decline"}, False),
        ({"action": "cancel"}, False),
    ],
)
async def test_money_moves_only_with_approval(era: str, answer: dict, moved: bool):
    module = example("approval")
    answers = {"elicitation/create": lambda params: answer}
    async with connected(module.mcp, era, capabilities=ASKING, answers=answers) as client:
        result = await client.call("transfer", amount=10, sender="alice", recipient="bob")
        assert len(client.asked) == 1
    assert result.get("isError", False) is not moved
    assert module.balances == ({"alice": 90, "bob": 30} if moved else {"alice": 100, "bob": 20})


@pytest.mark.parametrize("era", ERAS)
async def test_nobody_is_asked_about_what_cannot_be(era: str):
    async with connected(example("approval").mcp, era, capabilities=ASKING) as client:
        for arguments in ({"amount": 1000}, {"amount": 0}, {"amount": 1, "recipient": "eve"}):
            assert (await client.call("transfer", **{"sender": "alice", "recipient": "bob", **arguments}))["isError"]
    async with connected(example("approval").mcp, era) as client:
        params = {"name": "transfer", "arguments": {"amount": 1, "sender": "alice", "recipient": "bob"}}
        assert "elicitation" in (await client.fail("tools/call", params))["message"]


@pytest.mark.parametrize("era", ERAS)
async def test_the_lifespan_counts_until_the_server_ends(era: str, autojump_clock: MockClock):
    module = example("lifespan")
    async with unhurried(module.mcp, era) as client:
        assert module.counter.running
        await trio.sleep(3.5)
        assert (await client.call("uptime"))["structuredContent"] == {"result": 3}
    assert not module.counter.running


async def test_a_lifespan_ends_with_a_cancelled_host_too():
    module = example("lifespan")
    async with trio.open_nursery() as test_nursery:
        await test_nursery.start(Host(module.mcp).run)
        assert module.counter.running
        test_nursery.cancel_scope.cancel()
    assert not module.counter.running


async def served(server: Server, nursery: trio.Nursery) -> str:
    [url] = await nursery.start(partial(serve_http, server, port=0))
    return url


async def test_embed_serves_beside_other_work_and_ends_by_itself(capsys: pytest.CaptureFixture[str]):
    call = example("client_http").call_alone
    with trio.fail_after(30):
        async with trio.open_nursery() as test_nursery:
            url = await test_nursery.start(partial(example("embed").main, port=0, seconds=0.2))
            result = await trio.to_thread.run_sync(call, url, "temperature", {})
    assert result["structuredContent"] == {"result": 20.0}
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["serving", "done"]


async def test_the_client_of_a_page_calls_in_both_eras(capsys: pytest.CaptureFixture[str]):
    client = example("client_http")
    with trio.fail_after(30):
        async with trio.open_nursery() as test_nursery:
            url = await served(example("hello").mcp, test_nursery)
            await trio.to_thread.run_sync(client.main, url, "greet", '{"name": "Ada"}')
            with pytest.raises(RuntimeError, match="-32602: Unknown tool"):
                await trio.to_thread.run_sync(client.call_in_session, url, "nothing", {})
            test_nursery.cancel_scope.cancel()
    shown = capsys.readouterr().out
    assert shown.count('"text": "Hello, Ada!"') == 2
    assert shown.count('"resultType": "complete"') == 1


# The SDK leaves generators of its HTTP library to the garbage.
@pytest.mark.filterwarnings(r"ignore:Async generator 'http(x|core)2\..* was garbage collected:ResourceWarning")
@pytest.mark.parametrize(("mode", "version"), [("legacy", "2025-11-25"), ("auto", "2026-07-28")])
async def test_the_sdk_as_a_client_approves(mode: str, version: str, capsys: pytest.CaptureFixture[str]):
    with trio.fail_after(30):
        async with trio.open_nursery() as test_nursery:
            url = await served(example("approval").mcp, test_nursery)
            await example("client_sdk").main(url, mode)
            test_nursery.cancel_scope.cancel()
    assert capsys.readouterr().out.splitlines() == [
        f"speaking {version}",
        "asked: Send 10 euros from alice to bob?",
        "answered: {'alice': 90, 'bob': 30}",
    ]
