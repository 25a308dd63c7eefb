"""The guarantees, each one sentence with the scenarios that prove it; and how many schedules and cuts that takes."""

from typing import NamedTuple

from tests.simulation.scenarios import Case, cases


class Guarantee(NamedTuple):
    """One sentence, and the scenarios (by the first word of their names) that prove it; `cancelled`: also by cancelling
    this tool's calls everywhere."""

    sentence: str
    scenarios: tuple[str, ...]
    cancelled: tuple[tuple[str, str], ...] = ()


GUARANTEES: tuple[Guarantee, ...] = (
    Guarantee(
        "Wherever a connection is closed, reset or falls silent, every request is answered once or not at all, every"
        " `finally` runs, and the server comes to rest by itself: no task, session, stream or object stays.",
        ("call_with_progress", "many_calls"),
    ),
    Guarantee(
        "Wherever a call is cancelled by its client, its `finally` runs to the end, nothing is answered, and its"
        " siblings go on.",
        (),
        (("call_with_progress", "count"), ("many_calls", "wait"), ("elicitation", "who")),
    ),
    Guarantee(
        "Progress arrives complete and in order, rises, and never comes after the result.",
        ("call_with_progress", "flood"),
    ),
    Guarantee(
        "Without a session a call ends with its client, at once; with one it goes on, and its result waits.",
        ("client_that_leaves",),
    ),
    Guarantee(
        "A stream that was lost, or closed on purpose to be polled, is resumed without a gap and with no event twice.",
        ("resumed_stream", "polled_stream"),
    ),
    Guarantee(
        "A question to the user is asked once and answered once, in both eras, or ends with its client.",
        ("elicitation",),
    ),
    Guarantee(
        "A subscription hears each change that was asked for, and ends with its client: no listener stays.",
        ("subscription",),
    ),
    Guarantee(
        "A message goes to exactly one stream of its own session; two clients on one session each get their own"
        " answers.",
        ("two_clients", "two_on_one_session"),
    ),
    Guarantee("A session is its principal's alone: for anybody else there is none.", ("strangers",)),
    Guarantee(
        "A client that does not read costs bounded memory, keeps nobody else waiting, and loses nothing if it comes"
        " back in time.",
        ("flood",),
    ),
    Guarantee("A network that is parted for a while loses nothing.", ("partition",)),
    Guarantee(
        "A shutdown is bounded in every phase, whatever clients do meanwhile: streams end, calls have their grace, the"
        " rest is cancelled and awaited, the lifespan is left.",
        ("shutdown",),
    ),
)


def cases_of(guarantee: Guarantee) -> list[Case]:
    """The cases that prove a guarantee."""
    return [case for case in cases() if case.name.split()[0] in guarantee.scenarios]


def cancellations_of(guarantee: Guarantee) -> list[tuple[Case, str]]:
    """Cases whose calls of a tool are cancelled."""
    wanted = dict(guarantee.cancelled)
    return [(case, wanted[case.name.split()[0]]) for case in cases() if case.name.split()[0] in wanted]
