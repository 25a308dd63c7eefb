"""Fetching an issuer's keys: once for many, again when needed and no more often, and bounded when it fails."""

import math
import ssl
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.auth.issuer import Issuer, claims, ec_key, rsa_key, signed, token
from trio_mcp.auth import AccessToken, JWTVerifier, VerifierUnavailableError


def long_token(key: Any = None, **options: Any) -> str:
    """A token that outlives the tests' hours."""
    return signed(claims(exp=1e12), key, **options)


async def unavailable(verifier: JWTVerifier, text: str) -> float:
    """The seconds after which one may try again."""
    with pytest.raises(VerifierUnavailableError) as caught:
        await verifier.verify(text)
    return caught.value.retry_after


async def test_nothing_is_fetched_before_the_first_token(autojump_clock):
    issuer = Issuer()
    issuer.verifier()
    await trio.sleep(1000)
    assert issuer.asked == []


async def test_many_at_once_await_one_fetch(autojump_clock):
    issuer = Issuer()
    issuer.takes = 3
    verifier = issuer.verifier()
    found: list[Any] = []

    async def ask() -> None:
        found.append(await verifier.verify(token()))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)
    assert len(issuer.asked) == 1
    assert [access.subject for access in found] == ["alice"] * 50
    assert trio.current_time() == 3


async def test_keys_are_kept_for_their_time_and_then_fetched_again(autojump_clock):
    issuer = Issuer()
    verifier = issuer.verifier(jwks_ttl=600)
    for at in (0, 300, 599, 601, 1200, 1202):
        await trio.sleep_until(at)
        assert await verifier.verify(long_token()) is not None
    assert issuer.asked == [0, 601, 1202]


async def test_a_new_key_is_found_at_its_first_token(autojump_clock):
    issuer = Issuer()
    verifier = issuer.verifier(jwks_cooldown=30)
    assert await verifier.verify(long_token()) is not None
    await trio.sleep(31)
    issuer.keys = [rsa_key("rsa-2")]
    assert await verifier.verify(long_token(rsa_key("rsa-2"))) is not None
    assert await verifier.verify(long_token()) is None  # taken back by its issuer
    assert issuer.asked == [0, 31]


async def test_unknown_keys_fetch_no_more_often_than_the_cooldown_and_are_401(autojump_clock):
    issuer = Issuer()
    verifier = issuer.verifier(jwks_cooldown=30)
    for number in range(100):
        assert await verifier.verify(long_token(head={"kid": f"unknown {number}"})) is None
        await trio.sleep(1)
    assert issuer.asked == [0, 30, 60, 90]


async def test_a_failing_issuer_is_503_and_asked_every_few_seconds(autojump_clock):
    issuer = Issuer()
    issuer.status = 500
    verifier = issuer.verifier()
    pauses = []
    for _ in range(20):
        pauses.append(await unavailable(verifier, long_token()))
        await trio.sleep(1)
    assert issuer.asked == [0, 5, 10, 15]
    assert pauses[:6] == [5, 4, 3, 2, 1, 5]
    issuer.status = 200
    assert await verifier.verify(long_token()) is not None


async def test_a_hanging_issuer_is_given_up_and_all_who_wait_are_told(autojump_clock):
    issuer = Issuer()
    issuer.takes = math.inf
    verifier = issuer.verifier(timeout=4)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(unavailable, verifier, long_token())
    assert trio.current_time() == 4
    assert len(issuer.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"{}", b'{"keys": 1}', b'{"keys": {"a": 1}}', b"\xff", b"[" * 5000),
        b'{"keys": [' + b"{}," * 100 + b"{}]}",
        b'{"keys": [' + b" " * 600_000 + b"]}",
    ],
    ids=range(11),
)
async def test_an_answer_that_is_no_key_set_or_too_large_is_a_failure(body: bytes, autojump_clock):
    issuer = Issuer()
    issuer.body = body
    await unavailable(issuer.verifier(), long_token())


@pytest.mark.parametrize("status", [204, 301, 302, 307, 403, 404, 429, 503])
async def test_any_status_but_200_is_a_failure_and_no_redirect_is_followed(status: int, autojump_clock):
    issuer = Issuer()
    issuer.status = status
    issuer.headers = {"location": "https://evil.example/keys"}
    await unavailable(issuer.verifier(), long_token())
    assert len(issuer.asked) == 1


async def test_an_answer_that_is_compressed_unasked_is_a_failure(autojump_clock):
    issuer = Issuer()
    issuer.headers = {"content-encoding": "gzip"}
    await unavailable(issuer.verifier(), long_token())


@pytest.mark.parametrize(
    "error",
    [
        httpx2.ConnectError("no"),
        httpx2.ReadTimeout("no"),
        httpx2.RemoteProtocolError("no"),
        OSError("no"),
        ssl.SSLError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_any_failure_of_the_network_is_503(error: Exception, autojump_clock):
    issuer = Issuer()
    issuer.error = error
    await unavailable(issuer.verifier(), long_token())


async def test_keys_that_nobody_can_use_are_left_out_and_the_others_serve(autojump_clock):
    issuer = Issuer()
    issuer.extra = [{}, {"kty": "magic"}, {"kty": "RSA"}, {"kty": "EC", "crv": "P-256"}, {"kty": 7}]
    issuer.extra += ["key", None, 1, {"kty": "RSA", "n": 1, "e": []}, {"kty": "AKP", "pub": "x"}]  # type: ignore[list-item]
    assert await issuer.verifier().verify(long_token()) is not None


async def test_known_keys_outlive_a_failure_for_a_while_and_nobody_waits_for_it(autojump_clock):
    issuer = Issuer()
    verifier = issuer.verifier(jwks_ttl=600, jwks_stale=3600, timeout=4)
    await verifier.verify(long_token())
    issuer.takes = math.inf
    await trio.sleep_until(700)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(verifier.verify, long_token())  # this one finds out
        await wait_all_tasks_blocked()
        with trio.fail_after(0.1):
            assert await verifier.verify(long_token()) is not None
    assert trio.current_time() == 704
    with trio.fail_after(0.1):
        assert await verifier.verify(long_token()) is not None
    await unavailable(verifier, long_token(ec_key(), alg="ES256"))  # an unknown one: nobody can say
    await trio.sleep_until(3601)
    await unavailable(verifier, long_token())


async def test_an_unknown_key_just_after_a_failure_asks_nobody(autojump_clock):
    issuer = Issuer()
    verifier = issuer.verifier(jwks_ttl=10)
    await verifier.verify(long_token())
    issuer.status = 500
    await trio.sleep(31)
    await verifier.verify(long_token())
    asked = len(issuer.asked)
    assert await unavailable(verifier, long_token(head={"kid": "unknown"})) == 5
    assert len(issuer.asked) == asked


async def test_when_who_fetches_is_cancelled_the_next_in_line_fetches(autojump_clock):
    issuer = Issuer()
    issuer.takes = 2
    verifier = issuer.verifier()
    found: list[AccessToken | None] = []

    async def ask() -> None:
        found.append(await verifier.verify(token()))

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1):
            async with trio.open_nursery() as cancelled_nursery:
                cancelled_nursery.start_soon(ask)
                await wait_all_tasks_blocked()
                nursery.start_soon(ask)
                nursery.start_soon(ask)
    assert [access is not None for access in found] == [True, True]
    assert issuer.asked == [0, 1]
