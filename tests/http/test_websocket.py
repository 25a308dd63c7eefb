"""WebSocket, in virtual time: both eras on one connection, how it ends, and what it refuses."""

import json
import logging
import zlib
from contextlib import suppress
from typing import Any

import pytest
import trio
import wsproto.events as ws
from trio.testing import wait_all_tasks_blocked
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, RsvBits

from tests.http.client import META, SESSION_REVISIONS, V2025_03, modern, request
from tests.http.servers import Diary, small_server
from tests.http.ws_kit import House, socketed
from trio_mcp import Host
from trio_mcp.http.websocket import serve_websocket
from trio_mcp.http.websocket_stream import BoundedDeflate


def text_of(answer: Any) -> str:
    return str(answer["result"]["content"][0]["text"])


# Both eras


@pytest.mark.parametrize("revision", SESSION_REVISIONS)
async def test_a_session_lives_on_its_connection(revision: str, autojump_clock):
    async with socketed(small_server()) as house:
        socket = await house.open()
        assert (await socket.initialize(revision))["result"]["protocolVersion"] == revision
        await socket.call("echo", id="a", message="hé\n")
        assert text_of(await socket.hear()) == "hé\n"
        assert len(house.host.sessions) == 1


async def test_per_request_calls_need_no_session_and_share_the_connection_with_one(autojump_clock):
    async with socketed(small_server()) as house:
        socket = await house.open()
        await socket.begin("echo", message="modern")
        answer = await socket.hear()
        assert (text_of(answer), answer["result"]["resultType"]) == ("modern", "complete")
        assert not house.host.sessions
        await socket.initialize()
        await socket.call("wait", id=1, seconds=5)
        await socket.begin("echo", id=2, message="between")
        assert text_of(await socket.hear()) == "between"
        assert text_of(await socket.hear()) == "waited 5"


async def test_every_message_is_a_frame_of_its_own(autojump_clock):
    async with socketed(small_server()) as house:
        socket = await house.open()
        await socket.initialize()
        await socket.call("talk", times=3, gap=0)
        methods = [(await socket.hear()).get("method") for _ in range(4)]
        assert methods == ["notifications/message"] * 3 + [None]


async def test_a_batch_is_answered_as_one_where_the_revision_has_batches(autojump_clock):
    async with socketed(small_server()) as house:
        socket = await house.open()
        await socket.initialize(V2025_03)
        await socket.say([request(1, "ping"), request(2, "ping")])
        assert [answer["id"] for answer in await socket.hear()] == [1, 2]


async def test_a_tool_asks_its_client_over_the_same_connection(autojump_clock):
    async with socketed(small_server()) as house:
        socket = await house.open()
        await socket.initialize(capabilities={"elicitation": {}})
        await socket.call("ask", id="a")
        question = await socket.hear()
        assert question["method"] == "elicitation/create"
        content = {"action": "accept", "content": {"name": "Ada"}}
        await socket.say({"jsonrpc": "2.0", "id": question["id"], "result": content})
        assert text_of(await socket.hear()) == "accept Ada"


async def test_what_is_no_message_is_answered_and_closes_nothing(autojump_clock):
    async with socketed(small_server()) as house:
        socket = await house.open()
        for text, code in (("{", -32700), ('"x"', -32600), ("[" * 1000, -32700), ('{"jsonrpc":"2.0","id":1}', -32600)):
            await socket.say(text)
            assert (await socket.hear())["error"]["code"] == code, text
        await socket.begin("echo", message="still")
        assert text_of(await socket.hear()) == "still"


async def test_a_message_may_come_in_fragments_with_pings_between(autojump_clock):
    async with socketed(small_server()) as house:
        socket = await house.open()
        body = json.dumps(modern("tools/call", {"name": "echo", "arguments": {"message": "é" * 50}})[0])
        for start in range(0, len(body), 7):
            await socket.send(ws.TextMessage(data=body[start : start + 7], message_finished=False))
            await socket.send(ws.Ping(payload=b"x"))
        await socket.send(ws.TextMessage(data="", message_finished=True))
        pongs = 0
        while isinstance(event := await socket.event(), ws.Pong):
            pongs += 1
        assert pongs == -(-len(body) // 7)
        assert text_of(json.loads(event.data)) == "é" * 50


async def test_a_subscription_of_the_per_request_era_is_held_on_the_connection(autojump_clock):
    async with socketed(small_server()) as house:
        socket = await house.open()
        await socket.say(modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id="s")[0])
        assert (await socket.hear())["method"] == "notifications/subscriptions/acknowledged"
        await socket.begin("change", id=2)
        heard = [await socket.hear(), await socket.hear()]
        assert {message.get("method") for message in heard} == {"notifications/tools/list_changed", None}


# Handshakes


async def test_the_subprotocol_is_chosen_when_offered_and_none_is_fine(autojump_clock):
    async with socketed(small_server()) as house:
        assert (await house.open(subprotocols=("soap", "mcp"))).subprotocol == "mcp"
        assert (await house.open(subprotocols=())).subprotocol is None


async def test_subprotocols_in_several_headers_are_one_list(autojump_clock):
    async with socketed(small_server()) as house:
        socket = await house.open(subprotocols=("mcp",), **{"sec-websocket-protocol": "soap"})
        assert socket.subprotocol == "mcp"


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ({"subprotocols": ("soap",)}, 400, b"mcp"),
        ({"path": "/elsewhere"}, 404, b"no WebSocket"),
        ({"path": "/mcp"}, 404, b"no WebSocket"),
        ({"origin": "https://evil.example"}, 403, b"evil.example"),
        ({"origin": "null"}, 403, b"null"),
        ({"host": "evil.example"}, 421, b"evil.example"),
    ],
)
async def test_a_refused_handshake_says_why(options: Any, status: int, words: bytes, autojump_clock):
    """The origin above all: a page of any site may try to open a WebSocket to a server on this machine."""
    async with socketed(small_server()) as house:
        socket = await house.dial(**options)
        assert not await socket.shake()
        assert (socket.status, words in socket.body) == (status, True)
        await socket.ended.wait()


async def test_a_page_of_this_very_host_may_open_one(autojump_clock):
    async with socketed(small_server()) as house:
        assert await (await house.dial(origin="http://127.0.0.1:8000")).shake()


async def test_handshakes_are_503_while_the_server_drains(autojump_clock):
    async with socketed(small_server()) as house:
        house.host.draining = True
        socket = await house.dial()
        assert not await socket.shake()
        assert socket.status == 503


async def test_a_full_server_closes_with_1013(autojump_clock):
    async with socketed(small_server(max_sessions=1)) as house:
        await (await house.open()).initialize()
        closed = await (await house.open()).closed()
        assert (closed.code, "sessions" in closed.reason) == (1013, True)


# Ends


async def test_calls_are_cancelled_and_awaited_when_the_client_closes(autojump_clock):
    diary = Diary()
    async with socketed(small_server(diary)) as house:
        socket = await house.open()
        await socket.initialize()
        await socket.call("wait", id=1, seconds=1000)
        await socket.begin("wait", id=2, seconds=1000)
        await diary.reads("wait began")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await socket.send(ws.CloseConnection(code=1000))
        assert (await socket.closed()).code == 1000
        await socket.ended.wait()
        assert [entry for entry, _ in diary.entries].count("wait ended") == 2
        assert (trio.current_time(), len(house.host.sessions)) == (began, 0)


async def test_calls_are_cancelled_when_the_client_vanishes(autojump_clock):
    diary = Diary()
    async with socketed(small_server(diary)) as house:
        socket = await house.open()
        await socket.initialize()
        await socket.call("wait", seconds=1000)
        began = await diary.reads("wait began")
        await socket.leave()
        await socket.ended.wait()
        assert (await diary.reads("wait ended"), house.host.sessions) == (began, {})


async def test_one_connection_leaves_the_others_alone(autojump_clock):
    async with socketed(small_server()) as house:
        one, other = await house.open(), await house.open()
        await one.initialize()
        await other.initialize()
        await other.call("wait", seconds=5)
        await one.peer.send(b"\xff" * 100)
        assert (await one.closed()).code == 1002
        assert text_of(await other.hear()) == "waited 5"


async def drain(house: House) -> None:
    await house.host.drain()


async def test_a_drain_lets_calls_finish_and_then_closes_with_1001(autojump_clock):
    async with socketed(small_server(shutdown_grace=10)) as house, trio.open_nursery() as nursery:
        socket = await house.open()
        await socket.initialize()
        await socket.call("wait", id=1, seconds=5)
        await wait_all_tasks_blocked()
        nursery.start_soon(drain, house)
        await wait_all_tasks_blocked()
        await socket.call("echo", id=2, message="new work")
        refused, done = await socket.hear(), await socket.hear()
        assert (refused["error"]["code"], text_of(done)) == (503, "waited 5")
        closed = await socket.closed()
        assert (closed.code, closed.reason) == (1001, "the server goes away")


async def test_a_drain_cancels_what_outlives_its_grace(autojump_clock):
    async with socketed(small_server(shutdown_grace=10)) as house, trio.open_nursery() as nursery:
        socket = await house.open()
        await socket.initialize()
        await socket.call("wait", id=1, seconds=5000)
        await wait_all_tasks_blocked()
        began = trio.current_time()
        nursery.start_soon(drain, house)
        closed = await socket.closed()
        assert (closed.code, trio.current_time() - began) == (1001, 10)
        assert [message["id"] for message in socket.waiting] == [1]


async def test_an_idle_connection_closes_at_once_on_a_drain(autojump_clock):
    async with socketed(small_server()) as house, trio.open_nursery() as nursery:
        socket = await house.open()
        await socket.say(modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id="s")[0])
        await socket.hear()
        began = trio.current_time()
        nursery.start_soon(drain, house)
        assert (await socket.hear())["result"]["resultType"] == "complete"
        assert ((await socket.closed()).code, trio.current_time() - began) == (1001, 0)


async def test_answers_that_a_call_waits_for_still_come_in_during_a_drain(autojump_clock):
    async with socketed(small_server(shutdown_grace=10)) as house, trio.open_nursery() as nursery:
        socket = await house.open()
        await socket.initialize(capabilities={"elicitation": {}})
        await socket.call("ask", id="a")
        question = await socket.hear()
        nursery.start_soon(drain, house)
        await wait_all_tasks_blocked()
        await socket.say({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}})
        assert text_of(await socket.hear()) == "decline None"
        assert (await socket.closed()).code == 1001


async def test_a_client_that_does_not_answer_the_close_is_cut_off_in_bounded_time(autojump_clock):
    async with socketed(small_server()) as house, trio.open_nursery() as nursery:
        socket = await house.open()
        began = trio.current_time()
        nursery.start_soon(drain, house)
        await socket.ended.wait()
        assert trio.current_time() - began == 2


# What breaks the rules


def frame(opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
    """A short client's frame, masked with zeros."""
    assert len(payload) < 126
    return bytes([fin << 7 | rsv << 4 | opcode, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


BROKEN = {
    "a binary frame": (frame(2, b"{}"), 1003),
    "bad UTF-8": (frame(1, b'"\xff"'), 1007),
    "UTF-8 that ends too early": (frame(1, "é".encode()[:1]), 1007),
    "an unmasked frame": (b"\x81\x02{}", 1002),
    "a reserved bit": (frame(1, b"{}", rsv=4), 1002),
    "an unknown opcode": (frame(3, b"{}"), 1002),
    "a ping in fragments": (frame(9, b"", fin=False), 1002),
    "the rest of nothing": (frame(0, b"{}"), 1002),
    "a message within a message": (frame(1, b"{", fin=False) + frame(1, b"}"), 1002),
    "a close with an invalid code": (frame(8, b"\x00\x01"), 1002),
}


@pytest.mark.parametrize(("data", "code"), BROKEN.values(), ids=BROKEN.keys())
async def test_what_breaks_the_protocol_closes_with_a_code_that_says_so(data: bytes, code: int, autojump_clock):
    diary = Diary()
    async with socketed(small_server(diary)) as house:
        socket = await house.open()
        await socket.begin("wait", seconds=1000)
        await diary.reads("wait began")
        await socket.peer.send(data)
        assert (await socket.closed()).code == code
        await socket.ended.wait()
        assert "wait ended" in diary


async def test_after_the_close_nothing_is_taken_or_kept(autojump_clock):
    async with socketed(small_server()) as house:
        socket = await house.open()
        began = trio.current_time()
        await socket.peer.send(frame(2, b""))
        assert isinstance(await socket.event(), ws.CloseConnection)
        with suppress(trio.BrokenResourceError):
            while not socket.ended.is_set():
                await socket.peer.send(frame(1, b"{}") * 1000)
                await trio.sleep(0.1)
        assert trio.current_time() - began < 3


@pytest.mark.parametrize("fragments", [1, 2, 500])
async def test_a_message_that_is_too_large_closes_with_1009(fragments: int, autojump_clock):
    async with socketed(small_server(max_body=1000)) as house:
        socket = await house.open()
        whole = "é" * 501
        size = -(-len(whole) // fragments)
        pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
        for number, piece in enumerate(pieces, 1):
            await socket.send(ws.TextMessage(data=piece, message_finished=number == len(pieces)))
        closed = await socket.closed()
        assert (closed.code, closed.reason) == (1009, "a message may have 1000 bytes")


async def test_a_message_of_just_the_size_that_is_allowed_is_taken(autojump_clock):
    async with socketed(small_server(max_body=1000)) as house:
        socket = await house.open()
        await socket.say('"' + "é" * 499 + '"')
        assert (await socket.hear())["error"]["code"] == -32600


# Keepalive


async def test_a_client_that_answers_pings_stays_however_silent_it_is(autojump_clock):
    async with socketed(small_server(websocket_ping=20)) as house:
        socket = await house.open()
        await socket.begin("wait", seconds=990)
        assert text_of(await socket.hear()) == "waited 990"
        assert socket.pings == 50


async def test_a_client_that_answers_no_ping_is_cut_off_within_two_intervals(autojump_clock):
    diary = Diary()
    async with socketed(small_server(diary, websocket_ping=20)) as house:
        socket = await house.open()
        await socket.begin("wait", seconds=1000)
        began = await diary.reads("wait began")
        await trio.sleep(10)  # it answers one ping, and then is dead
        with trio.move_on_after(0):
            await socket.event()
        await socket.ended.wait()
        assert await diary.reads("wait ended") - began == 40


async def test_any_frame_is_a_sign_of_life(autojump_clock):
    async with socketed(small_server(websocket_ping=20)) as house:
        socket = await house.open()
        socket.mute = True
        for _ in range(20):
            await trio.sleep(15)
            await socket.begin("echo", message="here")
            assert text_of(await socket.hear()) == "here"
        assert socket.pings >= 10


async def test_a_client_that_stops_reading_is_cut_off_after_the_write_timeout(autojump_clock):
    diary = Diary()
    async with socketed(small_server(diary, websocket_ping=1000, write_timeout=30)) as house:
        socket = await house.open()
        await wait_all_tasks_blocked()
        socket.theirs.send_stream.send_all_hook = trio.sleep_forever  # it stalls
        began = trio.current_time()
        logs = {f"{META}logLevel": "debug"}
        await socket.say(modern("tools/call", {"name": "flood", "arguments": {"times": 100_000}}, meta=logs)[0])
        await socket.ended.wait()
        assert trio.current_time() - began == 30
        assert await diary.reads("flood ended") - began == 30


async def test_a_shutdown_does_not_wait_for_a_client_that_stops_reading(autojump_clock):
    async with socketed(small_server(write_timeout=1000, shutdown_grace=1, cleanup_timeout=3)) as house:
        socket = await house.open()
        await wait_all_tasks_blocked()
        socket.theirs.send_stream.send_all_hook = trio.sleep_forever
        await socket.begin("echo", message="x")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await house.host.drain()
        await socket.ended.wait()
        assert trio.current_time() - began <= 10


# Compression


async def test_deflation_is_taken_when_offered_and_keeps_no_window(autojump_clock):
    async with socketed(small_server()) as house:
        socket = await house.open(deflate=True)
        assert [str(each) for each in socket.extensions if each.enabled()]
        [deflate] = socket.extensions
        assert deflate.client_no_context_takeover
        assert deflate.server_no_context_takeover
        for length in (10, 10_000, 100_000):
            await socket.begin("echo", message="é" * length)
            assert text_of(await socket.hear()) == "é" * length


async def test_a_large_answer_goes_out_deflated_and_a_small_one_as_it_is(autojump_clock):
    async with socketed(small_server()) as house:
        socket = await house.open(deflate=True)
        for length, first in ((10, b"\x81"), (100_000, b"\xc1")):
            await socket.begin("echo", message="x" * length)
            while (head := await socket.peer.read())[:1] == b"\x89":  # a ping
                pass
            assert (head[:1], len(head) < 2000) == (first, True)


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


async def test_a_bomb_is_not_inflated_beyond_the_limit(autojump_clock):
    async with socketed(small_server(max_body=100_000)) as house:
        socket = await house.open(deflate=True)
        bomb = deflated(b"[" * 20_000_000)
        head = bytes([0xC1, 0xFE]) + len(bomb).to_bytes(2, "big") + b"\0\0\0\0"
        assert len(bomb) < 65536
        await socket.peer.send(head + bomb)
        closed = await socket.closed()
        assert closed.code == 1009


def test_inflation_stops_right_behind_the_limit():
    deflate = BoundedDeflate(1000)
    deflate.accept("permessage-deflate")
    frames = FrameProtocol(client=False, extensions=[deflate])
    deflate.frame_inbound_header(frames, Opcode.TEXT, RsvBits(True, False, False), 0)
    bomb = deflated(b"[" * 20_000_000)
    size, start = 0, 0
    while isinstance(piece := deflate.frame_inbound_payload_data(frames, bomb[start : start + 2]), bytes):
        size, start = size + len(piece), start + 2
    assert (piece, size <= 1000) == (CloseReason.MESSAGE_TOO_BIG, True)
    assert deflate._inflated == 1001


async def test_a_deflated_message_in_fragments_survives_pings_between_them(autojump_clock):
    """wsproto's own deflation forgets there that the message is deflated."""
    async with socketed(small_server()) as house:
        socket = await house.open(deflate=True)
        body = deflated(
            json.dumps(modern("tools/call", {"name": "echo", "arguments": {"message": "whole"}})[0]).encode()
        )
        third = len(body) // 3
        await socket.peer.send(
            frame(1, body[:third], fin=False, rsv=4)
            + frame(9, b"")
            + frame(0, body[third : 2 * third], fin=False)
            + frame(9, b"")
            + frame(0, body[2 * third :])
        )
        events = [await socket.event() for _ in range(3)]
        assert text_of(json.loads(events[2].data)) == "whole"


async def test_what_is_not_deflated_data_closes_with_1007(autojump_clock):
    async with socketed(small_server()) as house:
        socket = await house.open(deflate=True)
        await socket.peer.send(frame(1, b"\xff\xff\xff\xff", rsv=4))
        assert (await socket.closed()).code == 1007


async def test_an_offer_of_deflation_that_makes_no_sense_is_ignored(autojump_clock):
    async with socketed(small_server()) as house:
        offer = {"sec-websocket-extensions": "permessage-deflate; client_max_window_bits=x"}
        socket = await house.open(**offer)
        await socket.begin("echo", message="plain")
        assert text_of(await socket.hear()) == "plain"


# On a foreign ASGI server


async def test_a_foreign_server_that_sends_too_much_is_told_1009(autojump_clock):
    """hypercorn's own limit is 16 MiB."""
    host = Host(small_server(max_body=100))
    sent: list[Any] = []
    waiting: list[Any] = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "x" * 101}]

    async def receive() -> Any:
        await trio.lowlevel.checkpoint()
        return waiting.pop(0)

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    async with trio.open_nursery() as nursery:
        await nursery.start(host.run)
        await serve_websocket(host, {"type": "websocket", "headers": []}, receive, send)
        host.stop()
    assert [(message["type"], message.get("code")) for message in sent] == [
        ("websocket.accept", None),
        ("websocket.close", 1009),
    ]


async def test_nothing_is_logged_above_debug_for_what_clients_do(autojump_clock, caplog: pytest.LogCaptureFixture):
    async with socketed(small_server()) as house:
        for data, _ in BROKEN.values():
            socket = await house.open()
            await socket.peer.send(data)
            await socket.closed()
            await socket.ended.wait()
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []
