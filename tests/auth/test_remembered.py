"""Answers used again: for how long, for how many, and how often the same token is asked about at once."""

import math
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.auth.issuer import EPOCH, now
from trio_mcp.auth import AccessToken, VerifierUnavailableError
from trio_mcp.auth import remembered as module
from trio_mcp.auth.remembered import Remembered


@attrs.define
class Verifier:
    """Counts what it is asked."""

    answer: Any = attrs.field(factory=lambda: AccessToken("alice"))
    takes: float = 0
    asked: list[str] = attrs.field(factory=list)
    cache_ttl: float = 60

    async def verify(self, token: str) -> AccessToken | None:
        self.asked.append(token)
        await trio.sleep(self.takes)
        if isinstance(self.answer, Exception):
            raise self.answer
        found: AccessToken | None = self.answer
        return found


async def test_an_answer_is_used_again_for_its_time(autojump_clock):
    verifier = Verifier()
    remembered = Remembered(verifier, now)
    assert remembered.recall(b"t") is None
    first = await remembered.verify(b"t", "t")
    assert first is not None
    assert (first.access_token, first.until) == (AccessToken("alice"), math.inf)
    await trio.sleep(59)
    assert remembered.recall(b"t") is first
    assert await remembered.verify(b"t", "t") is first
    await trio.sleep(1)
    assert remembered.recall(b"t") is None
    await remembered.verify(b"t", "t")
    assert verifier.asked == ["t", "t"]


async def test_never_beyond_the_tokens_end(autojump_clock):
    verifier = Verifier(AccessToken("alice", expires_at=EPOCH + 10))
    remembered = Remembered(verifier, now)
    found = await remembered.verify(b"t", "t")
    assert found is not None
    assert found.until == 10
    await trio.sleep(9.9)
    assert remembered.recall(b"t") is not None
    await trio.sleep(0.2)
    assert remembered.recall(b"t") is None
    assert await remembered.verify(b"t", "t") is None  # a verifier that says yes for too long


async def test_a_token_that_expired_while_the_machine_slept_is_forgotten(autojump_clock):
    asleep = 0.0
    remembered = Remembered(Verifier(AccessToken("alice", expires_at=EPOCH + 30)), lambda: now() + asleep)
    await remembered.verify(b"t", "t")
    assert remembered.recall(b"t") is not None
    asleep = 3600  # trio's clock stood still
    assert remembered.recall(b"t") is None


async def test_a_wall_clock_that_is_set_back_prolongs_nothing(autojump_clock):
    remembered = Remembered(Verifier(AccessToken("alice", expires_at=EPOCH + 10)), lambda: EPOCH)
    await remembered.verify(b"t", "t")
    await trio.sleep(10)
    assert remembered.recall(b"t") is None


async def test_without_a_time_nothing_is_remembered(autojump_clock):
    verifier = Verifier(cache_ttl=0)
    remembered = Remembered(verifier, now)
    await remembered.verify(b"t", "t")
    await remembered.verify(b"t", "t")
    assert (len(verifier.asked), len(remembered)) == (2, 0)


@pytest.mark.parametrize("answer", [None, VerifierUnavailableError("down")])
async def test_neither_refusals_nor_failures_are_remembered(answer: Any, autojump_clock):
    verifier = Verifier(answer)
    remembered = Remembered(verifier, now)
    for _ in range(3):
        try:
            assert await remembered.verify(b"t", "t") is None
        except VerifierUnavailableError:
            assert answer is not None
    assert (len(verifier.asked), len(remembered)) == (3, 0)
    verifier.answer = AccessToken("alice")
    assert await remembered.verify(b"t", "t") is not None
    assert not remembered._asking


async def test_the_same_token_is_asked_about_once_however_many_wait(autojump_clock):
    verifier = Verifier(takes=5)
    remembered = Remembered(verifier, now)
    async with trio.open_nursery() as nursery:
        for token in ("a", "b", "a", "a", "b"):
            nursery.start_soon(remembered.verify, token.encode(), token)
    assert sorted(verifier.asked) == ["a", "b"]
    assert trio.current_time() == 5
    assert not remembered._asking


async def test_one_that_gives_up_takes_nobody_along(autojump_clock):
    verifier = Verifier(takes=5)
    remembered = Remembered(verifier, now)
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1):
            async with trio.open_nursery() as cancelled_nursery:
                cancelled_nursery.start_soon(remembered.verify, b"t", "t")
                await wait_all_tasks_blocked()
                nursery.start_soon(remembered.verify, b"t", "t")
    assert remembered.recall(b"t") is not None
    assert verifier.asked == ["t", "t"]
    assert not remembered._asking


async def test_so_many_are_kept_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch, autojump_clock):
    monkeypatch.setattr(module, "BOUND", 3)
    remembered = Remembered(Verifier(), now)
    for token in "abcde":
        await remembered.verify(token.encode(), token)
    assert len(remembered) == 3
    assert [token for token in "abcde" if remembered.recall(token.encode())] == ["c", "d", "e"]
