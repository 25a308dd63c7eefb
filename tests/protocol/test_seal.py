"""A seal opens unaltered, in its own context and in time; else it does not, and does not say why."""

import base64
import math
import string

import pytest

from trio_mcp.protocol.seal import Sealer, SealError

SEALER = Sealer(b"k" * 32)
STATE = b'{"answers":{"elicit-1":{"action":"accept"}}}'


def seal(payload: bytes = STATE, context: bytes = b"c", expires: float = 100.0) -> str:
    return SEALER.seal(payload, context=context, expires=expires)


def opens(text: str, context: bytes = b"c", now: float = 0.0, sealer: Sealer = SEALER) -> bool:
    try:
        sealer.open(text, context=context, now=now)
    except SealError as error:
        said = str(error)
    else:
        return True
    assert said == "invalid state"
    return False


@pytest.mark.parametrize("payload", [STATE, b"{}", b"", b"\0", bytes(range(256)), b"x" * 100_000])
def test_what_was_sealed_is_what_comes_out(payload):
    assert SEALER.open(seal(payload), context=b"c", now=99.9) == payload


def test_another_process_with_the_same_secret_opens_it():
    assert opens(seal(), sealer=Sealer(b"k" * 32))


def test_another_secret_does_not():
    for secret in (b"k" * 31 + b"l", b"k" * 33, b"K" * 32):
        assert not opens(seal(), sealer=Sealer(secret))


def test_a_short_secret_is_refused():
    for secret in (b"", b"k" * 31):
        with pytest.raises(ValueError, match="at least 32 bytes"):
            Sealer(secret)


def test_a_seal_opens_before_its_time_and_not_at_it():
    assert opens(seal(expires=100.0), now=math.nextafter(100.0, 0))
    for now in (100.0, math.nextafter(100.0, math.inf), 1e9, math.inf, math.nan):
        assert not opens(seal(expires=100.0), now=now)


@pytest.mark.parametrize(
    ("expires", "now", "good"), [(math.inf, 1e300, True), (math.nan, 0, False), (-math.inf, 0, False)]
)
def test_times_without_end_are_times(expires, now, good):
    assert opens(seal(expires=expires), now=now) is good


@pytest.mark.parametrize("other", [b"", b"C", b"cc", b"c\0", b"\0c", b"d"])
def test_a_seal_opens_in_its_own_context_only(other):
    assert not opens(seal(context=b"c"), context=other)
    assert not opens(seal(context=other), context=b"c")


def test_what_moves_between_context_and_payload_is_noticed():
    assert not opens(seal(b"bc", context=b"a"), context=b"ab")
    assert not opens(seal(b"c", context=b"ab"), context=b"a")


def test_every_single_character_counts():
    text = seal(b"{}")
    alphabet = string.ascii_letters + string.digits + "-_=+/ .\n\0ä"
    for at, was in enumerate(text):
        for letter in alphabet:
            if letter != was:
                assert not opens(text[:at] + letter + text[at + 1 :])


@pytest.mark.parametrize("length", range(1, 9))
def test_nothing_can_be_cut_off_put_in_or_added(length):
    text = seal(b"x" * length)
    for at in range(len(text)):
        assert not opens(text[:at])
        assert not opens(text[at + 1 :])
        assert not opens(text[:at] + text[at + 1 :])
        assert not opens(text[:at] + text[at] + text[at:])
    for more in ("=", "==", "A", "AAAA", " ", "\n", "\0", "=A", "====", text, "ä", "."):
        assert not opens(text + more)
        assert not opens(more + text)


@pytest.mark.parametrize(
    "text",
    ["", "=", "A", "AAAA", "*", "ä", "\ud800", "\0", "A" * 43 + "=", "A" * 1000, base64.b64encode(bytes(40)).decode()],
)
def test_what_was_never_sealed_does_not_open(text):
    assert not opens(text)


def test_the_other_base64_alphabet_is_not_ours():
    text = next(text for number in range(99) if "-" in (text := seal(str(number).encode())) or "_" in text)
    assert opens(text)
    assert not opens(text.replace("-", "+").replace("_", "/"))


def test_a_seal_shows_nothing_of_what_is_in_it():
    sealed = base64.urlsafe_b64decode(seal(b"secret" * 100, context=b"principal"))
    assert b"secret" not in sealed
    assert b"principal" not in sealed
    assert len(set(sealed)) > 200


def test_the_same_state_gives_the_same_seal_and_any_other_a_wholly_different_one():
    assert seal() == seal()
    first, second = (base64.urlsafe_b64decode(seal(payload)) for payload in (b"a" * 64, b"a" * 63 + b"b"))
    assert sum(one == other for one, other in zip(first, second, strict=True)) < 20
