"""What is told of a failing run in a terminal: deviations in words, and the part of the trace that matters."""

from tests.testing.sample_trace import large, sample
from trio_mcp.testing import Conditions, as_text
from trio_mcp.testing.telling import deviations_in_words, excerpt, network_in_words


def test_a_run_without_deviations_is_told_in_one_line():
    assert deviations_in_words({}, None, []) == ["first in, first out everywhere"]


def test_the_order_is_told_as_the_trace_tells_it():
    told = deviations_in_words({("order", 130): 1}, None, ["batch 2: 'a' ran before 'b'"])
    assert told == ["first in, first out everywhere except:", "  batch 2: 'a' ran before 'b'"]


def test_what_the_network_did_is_told_in_its_own_units():
    given = {
        ("client 1 #1 up", 2): 15,
        ("client 1 #1 down", 0): 3,
        ("client 1 #1 up pieces", 4): 7,
        ("client 1 #2 down stalls", 1): 1,
        ("client 1 #2 up resets", 0): 1,
    }
    conditions = Conditions(latency=(0.05, 0.2), stalls=0.1, stall=7, resets=0.1)
    assert deviations_in_words(given, conditions, [])[1:] == [
        "  client 1 #1 up: piece 3 takes 200 ms",
        "  client 1 #1 down: piece 1 takes 80 ms",
        "  client 1 #1 up: what is sent as number 5 arrives in two pieces",
        "  client 1 #2 down: stalls for 7 s before piece 2",
        "  client 1 #2 up: is reset at piece 1",
    ]


def test_a_network_is_told_by_what_is_not_perfect_about_it():
    assert network_in_words(Conditions()) == ""
    assert network_in_words(Conditions(latency=(0, 1), buffer=10)) == "latency (0, 1), buffer 10"


def test_a_short_trace_is_shown_to_its_failure_and_what_is_left_out_is_counted():
    whole, shown = as_text(sample()).splitlines(), excerpt(sample()).splitlines()
    assert any(" !! " in line for line in shown)
    left_out = sum(int(line.split()[1]) for line in shown if line.startswith("…"))
    kept = [line for line in shown if not line.startswith("…")]
    heading = next(number for number, line in enumerate(whole) if line.startswith("Time is virtual"))
    assert len(kept) + left_out == len(whole) - heading
    assert set(kept) <= set(whole)


def test_a_long_trace_keeps_its_first_surprise_and_its_failure():
    shown = excerpt(large(), most=40).splitlines()
    assert len(shown) <= 40 + 5
    assert any(" !! " in line for line in shown)
    first = next(line for line in as_text(large()).splitlines()[6:] if any(mark in line for mark in (" ~ ", " * ")))
    assert first in shown
