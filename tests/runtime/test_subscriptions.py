"""Changes reach those who asked for them, of either era, once each, and the end of the server is told in time."""

import json

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.runtime.kit import Json, enveloped, hosted, next_frames, notification, opened, request, serving, visiting
from trio_mcp import Context, Server
from trio_mcp.runtime.dispatch import answer
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.per_request import PerRequestCall
from trio_mcp.runtime.subscriptions import CHANGED, Subscriptions
from trio_mcp.wire.base import SUBSCRIPTION_ID_KEY

ALL = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"


def listen(id: int | str, **wanted: object) -> Json:
    return enveloped(request(id, "subscriptions/listen", {"notifications": wanted}))


def begun(host: Host, nursery: trio.Nursery, message: Json) -> PerRequestCall:
    call = opened(host, message)
    host.call_began(call)
    nursery.start_soon(call.run, answer)
    return call


def change_everything(server: Server) -> None:
    server.add_tool(change_everything_once, name="fresh")
    server.add_prompt(change_everything_once, name="fresh")
    server.add_resource("fresh://it", change_everything_once)


def change_everything_once() -> str:
    return ""


class Listener:
    """One that writes down what it hears."""

    def __init__(self, hub: Subscriptions, *, leaves: bool = False) -> None:
        self.heard_of: list[str] = []
        self._hub = hub
        self._leaves = leaves

    def heard(self, kind: str, uri: str | None) -> None:
        self.heard_of.append(f"{kind} {uri}")
        if self._leaves:
            self._hub.remove(self)

    def farewell(self) -> None:
        self.heard_of.append("farewell")
        self._hub.remove(self)


def test_listeners_may_come_and_go_while_they_are_told():
    hub = Subscriptions()
    first, second = Listener(hub, leaves=True), Listener(hub)
    hub.add(first)
    hub.add(second)
    hub.add(second)
    hub.publish("tools")
    hub.publish("resource", "a://b")
    hub.farewell()
    hub.publish("tools")
    hub.remove(first)
    assert first.heard_of == ["tools None"]
    assert second.heard_of == ["tools None", "resource a://b", "farewell"]
    assert len(hub) == 0


# The per-request era


@pytest.mark.parametrize("id", [7, "7", 0, "", 2**60])
async def test_a_subscription_is_acknowledged_first_and_all_of_it_bears_the_requests_id(id, autojump_clock):
    server = serving()
    async with hosted(server) as host, trio.open_nursery() as nursery:
        call = begun(host, nursery, listen(id, **ALL))
        await wait_all_tasks_blocked()
        change_everything(server)
        host.subscriptions.farewell()
        await wait_all_tasks_blocked()
        acknowledged, *changes, response = [json.loads(frame.data) for frame in call.outlet.take()]
        assert acknowledged["method"] == ACKNOWLEDGED
        assert acknowledged["params"]["notifications"] == ALL
        assert [change["method"] for change in changes] == [CHANGED[kind] for kind in ("tools", "prompts", "resources")]
        assert response["id"] == id
        assert response["result"]["resultType"] == "complete"
        for frame in (acknowledged["params"], *(change["params"] for change in changes), response["result"]):
            tag = frame["_meta"][SUBSCRIPTION_ID_KEY]
            assert (type(tag), tag) == (type(id), id)
        assert call.outlet.closed
        assert len(host.subscriptions) == 0


@pytest.mark.parametrize("wanted", [{}, {"toolsListChanged": False}, {"toolsListChanged": True}])
async def test_only_what_was_asked_for_is_told(wanted, autojump_clock):
    server = serving()
    async with hosted(server) as host, trio.open_nursery() as nursery:
        call = begun(host, nursery, listen(1, **wanted))
        await wait_all_tasks_blocked()
        change_everything(server)
        host.publish("resource", "a://b")
        acknowledged, *changes = await next_frames(call.outlet)
        honoured = acknowledged["params"]["notifications"]
        assert {key for key, on in honoured.items() if on} == {key for key, on in wanted.items() if on}
        assert [change["method"] for change in changes] == [CHANGED["tools"]] * bool(wanted.get("toolsListChanged"))
        nursery.cancel_scope.cancel()


async def test_only_the_resources_that_were_asked_for_are_told_of(autojump_clock):
    async with hosted(serving()) as host, trio.open_nursery() as nursery:
        call = begun(host, nursery, listen(1, resourceSubscriptions=["a://b", "a://c"]))
        await wait_all_tasks_blocked()
        for uri in ("a://b", "a://B", "a://d", "a://b/", "a://c", "a://b"):
            host.publish("resource", uri)
        host.publish("resources")
        acknowledged, *changes = await next_frames(call.outlet)
        assert acknowledged["params"]["notifications"]["resourceSubscriptions"] == ["a://b", "a://c"]
        assert [change["params"]["uri"] for change in changes] == ["a://b", "a://c"]
        host.publish("resource", "a://b")
        [change] = await next_frames(call.outlet)
        assert change["params"]["uri"] == "a://b"
        nursery.cancel_scope.cancel()


async def test_a_listener_that_does_not_read_costs_no_more_than_one_frame_of_each_kind(autojump_clock):
    server = serving()
    async with hosted(server) as host, trio.open_nursery() as nursery:
        call = begun(host, nursery, listen(1, **ALL, resourceSubscriptions=["a://b"]))
        with call.outlet.reader():
            await wait_all_tasks_blocked()
            for _ in range(1000):
                for kind in ("tools", "prompts", "resources"):
                    host.publish(kind)
                host.publish("resource", "a://b")
            assert len(call.outlet) == 1 + 4
        nursery.cancel_scope.cancel()


async def test_a_cancelled_subscription_listens_no_more(autojump_clock):
    async with hosted(serving()) as host, trio.open_nursery() as nursery:
        call = begun(host, nursery, listen(1, **ALL))
        await wait_all_tasks_blocked()
        assert len(host.subscriptions) == 1
        call.cancel("the client is gone")
        await wait_all_tasks_blocked()
        assert len(host.subscriptions) == 0
        assert [json.loads(frame.data)["method"] for frame in call.outlet.take()] == [ACKNOWLEDGED]


@pytest.mark.parametrize("told", ["by the hub", "by name", "by the drain"])
async def test_a_subscription_that_has_only_been_asked_for_is_ended_gracefully_too(told, autojump_clock):
    async with hosted(serving()) as host, trio.open_nursery() as nursery:
        call = begun(host, nursery, listen(1, **ALL))
        if told == "by the hub":
            await wait_all_tasks_blocked()
            host.subscriptions.farewell()
        elif told == "by name":
            call.farewell()
        else:
            began = trio.current_time()
            await host.drain()
            assert trio.current_time() == began
        await wait_all_tasks_blocked()
        acknowledged, response = [json.loads(frame.data) for frame in call.outlet.take()]
        assert acknowledged["method"] == ACKNOWLEDGED
        assert "result" in response


# The session era


async def test_every_session_hears_of_lists_on_its_standing_stream(autojump_clock):
    server = serving()
    async with hosted(server) as host:
        visitors = [await visiting(host) for _ in range(2)]
        change_everything(server)
        server.remove_tool("fresh")
        for visitor in visitors:
            changes = await next_frames(visitor.session.standing)
            assert changes == [
                {"jsonrpc": "2.0", "method": CHANGED[kind]} for kind in ("tools", "prompts", "resources")
            ]


async def test_a_session_hears_of_nothing_before_the_handshake(autojump_clock):
    server = serving()
    async with hosted(server) as host:
        visitor = await visiting(host, initialized=False)
        change_everything(server)
        assert not visitor.session.standing.take()


async def test_only_those_who_subscribed_hear_of_a_resource(autojump_clock):
    async with hosted(serving()) as host:
        subscriber, other = await visiting(host), await visiting(host)
        subscriber.post(request(1, "resources/subscribe", {"uri": "a://b"}))
        host.publish("resource", "a://b")
        host.publish("resource", "a://c")
        host.publish("resource", "a://b")
        assert await next_frames(subscriber.session.standing) == [
            notification("notifications/resources/updated", {"uri": "a://b"})
        ]
        subscriber.post(request(2, "resources/unsubscribe", {"uri": "a://b"}))
        host.publish("resource", "a://b")
        assert not subscriber.session.standing.take()
        assert not other.session.standing.take()


async def test_a_session_that_nobody_reads_stays_bounded(autojump_clock):
    server = serving(stream_buffer=8, replay_events=16)
    async with hosted(server) as host:
        visitor = await visiting(host)
        for number in range(100):
            visitor.post(request(number, "resources/subscribe", {"uri": f"a://{number}"}))
        for number in range(100):
            host.publish("resource", f"a://{number}")
        assert len(visitor.session.standing) == 8


async def test_a_session_that_ended_hears_no_more(autojump_clock):
    async with hosted(serving()) as host:
        visitor = await visiting(host)
        await host.end_session(visitor.session, "the client ended it")
        assert len(host.subscriptions) == 0
        host.publish("tools")
        assert not visitor.session.standing.take()


# Both


async def test_a_tool_tells_listeners_of_both_eras(autojump_clock):
    server = serving()

    @server.tool
    async def touch(ctx: Context) -> None:
        ctx.notify_tools_changed()
        ctx.notify_resource_updated("a://b")

    async with hosted(server) as host, trio.open_nursery() as nursery:
        visitor = await visiting(host)
        visitor.post(request(1, "resources/subscribe", {"uri": "a://b"}))
        call = begun(host, nursery, listen(1, toolsListChanged=True, resourceSubscriptions=["a://b"]))
        await wait_all_tasks_blocked()
        visitor.call(2, "touch")
        await wait_all_tasks_blocked()
        expected = [CHANGED["tools"], CHANGED["resource"]]
        assert [change["method"] for change in await next_frames(visitor.session.standing)] == expected
        assert [change["method"] for change in await next_frames(call.outlet)] == [ACKNOWLEDGED, *expected]
        nursery.cancel_scope.cancel()
