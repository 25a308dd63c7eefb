"""Rate limits: how many, for whom, what the refusal says, and that memory stays bounded. Time is virtual."""

import pytest
import trio
import trio.lowlevel

from tests.ops.edge import echoed, edge
from trio_mcp import Settings
from trio_mcp.ops.rate_limit import Limiter, RateLimit, by_address, by_principal
from trio_mcp.settings import parse_rate


async def test_a_burst_is_served_and_then_one_at_a_time(autojump_clock):
    async with edge(rate_limit="10/minute") as web:
        assert [(await echoed(web)).status for _ in range(11)] == [200] * 10 + [429]
        await trio.sleep(6)
        assert [(await echoed(web)).status for _ in range(2)] == [200, 429]
        await trio.sleep(600)
        assert [(await echoed(web)).status for _ in range(11)] == [200] * 10 + [429]


async def test_the_refusal_says_when_to_come_back(autojump_clock):
    async with edge(rate_limit="2/10s") as web:
        for _ in range(2):
            await echoed(web)
        fetch = await echoed(web)
        assert fetch.status == 429
        assert fetch.headers["retry-after"] == "5"
        assert fetch.headers["ratelimit"] == '"default";r=0;t=5'
        assert fetch.headers["ratelimit-policy"] == '"default";q=2;w=10'
        assert "2 in 10 s; wait 5 s" in fetch.error["message"]
        await trio.sleep(4.9)
        assert (await echoed(web)).status == 429
        await trio.sleep(0.1)
        assert (await echoed(web)).status == 200


@pytest.mark.parametrize("lane", [True, False], ids=["our lane", "another server"])
async def test_every_answer_says_what_is_left(lane: bool, autojump_clock):
    async with edge(lane=lane, rate_limit="3/minute") as web:
        assert [(await echoed(web)).headers["ratelimit"] for _ in range(3)] == [
            '"default";r=2;t=0',
            '"default";r=1;t=0',
            '"default";r=0;t=20',
        ]


async def test_a_refused_request_costs_nothing(autojump_clock):
    async with edge(rate_limit="1/10s") as web:
        await echoed(web)
        for _ in range(50):
            assert (await echoed(web)).status == 429
        await trio.sleep(10)
        assert (await echoed(web)).status == 200


async def test_clients_do_not_share_a_bucket(autojump_clock):
    async with edge(rate_limit="1/minute") as web:
        assert (await echoed(web, "10.0.0.1")).status == 200
        assert (await echoed(web, "10.0.0.2")).status == 200
        assert (await echoed(web, "10.0.0.1")).status == 429


async def test_the_addresses_of_one_ipv6_network_share_one(autojump_clock):
    async with edge(rate_limit="1/minute") as web:
        assert (await echoed(web, "2001:db8:1:2::1")).status == 200
        assert (await echoed(web, "2001:db8:1:2:ffff::9")).status == 429
        assert (await echoed(web, "2001:db8:1:3::1")).status == 200
        assert (await echoed(web, "::ffff:10.0.0.1")).status == 200
        assert (await echoed(web, "10.0.0.1")).status == 429


async def test_health_is_never_limited(autojump_clock):
    async with edge(rate_limit="1/day") as web:
        for _ in range(3):
            assert (await web.fetch("GET", path="/health")).status == 200


async def test_a_page_can_read_the_refusal(autojump_clock):
    async with edge(rate_limit="1/day") as web:
        page = "http://localhost:5173"
        assert (await echoed(web, origin=page)).headers["access-control-allow-origin"] == page
        fetch = await echoed(web, origin=page)
        assert (fetch.status, fetch.headers["access-control-allow-origin"]) == (429, page)


def test_a_principal_counts_whatever_its_address():
    assert by_principal({"principal": "ada", "client": ("10.0.0.1", 1)}) == "ada"
    assert by_principal({"client": ("10.0.0.1", 1)}) == by_address({"client": ("10.0.0.1", 2)}) == "10.0.0.1"


def test_a_unix_socket_has_no_address_and_no_limit():
    assert by_address({"client": None}) is None
    assert by_address({"client": ("not an address", 0)}) == "not an address"


async def test_only_failures_count_where_tokens_are_guessed(autojump_clock):
    answers = iter([401, 200, 401, 401])
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": next(answers), "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        if message["type"] == "http.response.start":
            sent.append(message["status"])

    limit = RateLimit(app, Settings(), "2/minute", failures_only=True)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": ("10.0.0.1", 1)}
    for _ in range(4):
        await limit(scope, trio.sleep_forever, send)
    assert sent == [401, 200, 401, 429]


async def test_memory_is_bounded_and_idle_clients_are_forgotten_first(autojump_clock):
    limiter = Limiter(2, 10, max_clients=100)
    for number in range(1000):
        assert limiter.take(f"client {number}").allowed
    assert len(limiter) == 100
    await trio.sleep(5)
    limiter.take("one more")
    assert len(limiter) == 1


async def test_a_client_that_keeps_asking_stays_known(autojump_clock):
    limiter = Limiter(3, 30, max_clients=2)
    limiter.take("a")
    limiter.take("b")
    limiter.take("a")
    limiter.take("c")  # forgets b, which asked longest ago
    assert [limiter.look(key).remaining for key in "abc"] == [1, 3, 2]


@pytest.mark.parametrize(
    ("text", "count", "seconds"),
    [
        ("10/minute", 10, 60),
        ("10/MIN", 10, 60),
        ("1/s", 1, 1),
        ("100 / 2 hours", 100, 7200),
        ("5/10s", 5, 10),
        ("1/day", 1, 86400),
    ],
)
def test_rates_are_read(text: str, count: int, seconds: float):
    assert parse_rate(text) == (count, seconds)


@pytest.mark.parametrize(
    "text", ["", "10", "10/", "/minute", "0/minute", "10/0s", "-1/minute", "ten/minute", "10/fortnight"]
)
def test_what_is_no_rate_is_refused_with_an_example(text: str):
    with pytest.raises(ValueError, match="write 10/minute"):
        Settings(rate_limit=text)
