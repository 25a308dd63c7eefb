"""The trace as text: byte for byte, within its columns, and harmless whatever is in it."""

import math
from typing import Any

import pytest

from tests.testing.sample_trace import SampleTrace, Script, large, sample
from trio_mcp.testing.text import as_text, clock, duration

SAMPLE = """\
test_a_call_outlives_its_connection
seed 41
Again: python -m pytest 'tests/http/test_resume.py::test_a_call_outlives_its_connection' --simulation-seed=41

Time is virtual. + starts  - ends  > sends  < receives  x cancels  @ deadline  = link  * fault  ~ out of order  # note

 0:00.000  test                      + test_a_call_outlives_its_connection
           server                      + serve http
           client 1                    + client 1
           server                        + run host
           server                        + accept 10.0.0.9:8000
           simulation                ~ batch 3: 'accept 10.0.0.9:8000' ran before 'run host'
           client 1                      = client 1 #1: opened
           client 1                      > POST /mcp initialize  [312 B on client 1 #1]
 0:00.012  connection 10.0.0.1:5001        + serve connection 10.0.0.1:5001
           connection 10.0.0.1:5001          < POST /mcp initialize  [on client 1 #1, 12 ms]
           session ab12cd34                + run session ab12cd34
           connection 10.0.0.1:5001          > 200 initialize  [540 B on client 1 #1]
 0:00.025  client 1                      < 200 initialize  [on client 1 #1, 13 ms]
           client 1                      > POST /mcp tools/call echo 2  [96 B on client 1 #1]
           client 1                      > POST /mcp tools/call slow 3  [118 B on client 1 #1]
 0:00.037  connection 10.0.0.1:5001          < POST /mcp tools/call echo 2  [on client 1 #1, 12 ms]
           session ab12cd34                  + call tools/call echo 2
           connection 10.0.0.1:5001          < POST /mcp tools/call slow 3  [on client 1 #1, 12 ms]
           session ab12cd34                  - call tools/call echo 2  [done, at once, 1 step]
           connection 10.0.0.1:5001          > 200 tools/call echo 2  [88 B on client 1 #1]
           session ab12cd34                  + call tools/call slow 3
           session ab12cd34                    + count up to 3
           session ab12cd34                    + watch the budget
 0:00.050  client 1                      < 200 tools/call echo 2  [on client 1 #1, 13 ms]
           client 1                      # the first answer is there
 0:00.550  connection 10.0.0.1:5001          > event 7-1: progress 1/3  [64 B on client 1 #1]
           simulation                * the network resets client 1 #1
           connection 10.0.0.1:5001          = client 1 #1: reset by network
           connection 10.0.0.1:5001          x event 7-1: progress 1/3  [lost on client 1 #1]
 0:00.562  connection 10.0.0.1:5001          x the client disconnected  [explicit, by accept 10.0.0.9:8000]: serve
                                               connection 10.0.0.1:5001
           connection 10.0.0.1:5001        - serve connection 10.0.0.1:5001  [cancelled, after 550 ms, 6 steps]
           client 1                      # the connection is gone; waiting a little before coming back
           ---- +30 s ------------
 0:30.562  client 1                      = client 1 #2: opened
           client 1                      > GET /mcp Last-Event-ID: 7-0  [140 B on client 1 #2]
 0:30.574  connection 10.0.0.1:5002        + serve connection 10.0.0.1:5002
           connection 10.0.0.1:5002          < GET /mcp Last-Event-ID: 7-0  [on client 1 #2, 12 ms]
           simulation                ~ batch 19: 'serve connection 10.0.0.1:5002' ran before 'run session ab12cd34'
           ---- +14.4 s ------------
 0:45.000  session ab12cd34                    - count up to 3  [done, after 45 s, 2 steps]
           session ab12cd34                    x the work is done  [explicit, by call tools/call slow 3]: watch the
                                                 budget
           session ab12cd34                    - watch the budget  [cancelled, after 45 s, 2 steps]
           session ab12cd34                  - call tools/call slow 3  [done, after 45 s, 3 steps]
           connection 10.0.0.1:5002          > event 7-2: result of 3  [132 B on client 1 #2]
           connection 10.0.0.1:5002          > event 7-2: result of 3  [132 B on client 1 #2]
 0:45.012  client 1                      < event 7-2: result of 3  [on client 1 #2, 12 ms]
 0:45.016  client 1                      < event 7-2: result of 3  [on client 1 #2, 16 ms]
           ---- +15 s ------------
 1:00.000  client 1                      = client 1 #2: closed by client
           client 1                    - client 1  [done, after 1 min, 8 steps]
           connection 10.0.0.1:5002        - serve connection 10.0.0.1:5002  [done, after 29.4 s, 3 steps]
           ---- +25 min ------------
26:00.000  session ab12cd34                  x the session was idle  [deadline]: run session ab12cd34
           session ab12cd34                - run session ab12cd34  [cancelled, after 26 min, 2 steps]
           test                        !! AssertionError: the answer came twice
                                          assert [3, 3] == [3]
                                       | Traceback (most recent call last):
                                       |   File "tests/http/test_resume.py", line 88, in
                                       | test_a_call_outlives_its_connection
                                       |     assert [answer.id for answer in answers] == [3]
                                       | AssertionError: the answer came twice
                                       | assert [3, 3] == [3]
           test                        x a child of its nursery failed  [nursery, by
                                         test_a_call_outlives_its_connection]: serve http, run host, accept
                                         10.0.0.9:8000
           server                        - run host  [cancelled, after 26 min, 2 steps]
           server                        - accept 10.0.0.9:8000  [cancelled, after 26 min, 4 steps]
           server                      - serve http  [cancelled, after 26 min, 2 steps]
           test                      - test_a_call_outlives_its_connection  [failed: AssertionError: the answer came
                                       twice, after 26 min, 3 steps]

Failed, seed 41: 170 events of 12 tasks in 26 min of virtual time.
Again: python -m pytest 'tests/http/test_resume.py::test_a_call_outlives_its_connection' --simulation-seed=41
"""


def told(*events: dict[str, Any], verbose: bool = False) -> list[str]:
    """What is said of these events, without their times, columns, and what stands before and after them."""
    trace = SampleTrace("title", None, "command", [{"at": 0.0, "task": None, **event} for event in events])
    lines = as_text(trace, verbose=verbose).split("\n")
    return [" ".join(line[len("0:00.000") :].split()) for line in lines[lines.index("") + 3 : -4]]


def test_the_sample_is_told_byte_for_byte():
    assert as_text(sample()) == SAMPLE


def test_the_same_trace_gives_the_same_text():
    assert as_text(large(4000)) == as_text(large(4000))


def test_no_line_is_wider_than_the_terminal():
    for trace in (sample(), large(4000)):
        lines = as_text(trace, verbose=True).splitlines()
        assert max(len(line) for line in lines if not line.startswith("Again: ")) <= 120


def test_steps_are_told_only_where_they_are_wanted():
    few, all_of_it = as_text(sample()), as_text(sample(), verbose=True)
    assert "waits until 2:00.000 at most" not in few
    assert "test_a_call_outlives_its_connection waits until 2:00.000 at most" in all_of_it
    assert "count up to 3 is woken by call tools/call slow 3" in all_of_it
    assert "the clock jumps to 0:30.562" in all_of_it


def test_a_trace_without_a_seed_or_an_event_is_told():
    assert as_text(SampleTrace("empty", None, "again", [])).startswith("empty\nAgain: again\n")


def test_a_run_without_a_failure_has_passed():
    trace = sample()
    trace.events = [event for event in trace.events if event["kind"] != "failure"]
    assert "\nPassed, seed 41: " in as_text(trace)


def test_what_a_terminal_would_obey_is_written_out():
    hostile = "\x1b[2J\u202eevil\x00\ud800\r"
    text = as_text(SampleTrace(hostile, 1, hostile, [{"kind": "note", "at": 0.0, "task": None, "text": hostile}]))
    assert all(one.isprintable() or one == "\n" for one in text)
    assert "# \\x1b[2J\\u202eevil\\x00\\ud800\\r" in text


def test_no_text_can_pass_for_another_line():
    lines = told({"kind": "note", "lane": "client 1", "text": "one\n0:00.000  server  + forged"})
    assert lines == ["client 1 # one", "0:00.000 server + forged"]
    trace = SampleTrace("t", 1, "c", [{"kind": "note", "at": 0.0, "task": None, "text": "one\n0:00.000  forged"}])
    [forged] = [line for line in as_text(trace).split("\n") if "forged" in line]
    assert forged.startswith(" " * 12)


def test_what_is_not_known_is_told_as_it_is():
    assert told({"kind": "weather", "rain": True}) == ['simulation ? weather {"rain": true}']
    assert told({"kind": "arrive", "id": 9}) == ["simulation < something arrives"]
    assert told({"kind": "exit", "task": 9, "how": "done"}) == ["simulation - task 9 [done]"]
    assert told({"kind": "sleep", "task": 9, "deadline": math.inf}, verbose=True) == ["simulation . task 9 waits"]


def sleeper(then: str) -> list[str]:
    """What is said of a task that sleeps under a deadline, and then does this."""
    say = Script()
    task = say.task("nap", "server")
    say.run(task)
    say.sleep(2.0)
    say.until(2.0)
    say.add("cancel", tasks=[task], reason="its deadline has passed", source="deadline", by=None)
    say.run(task)
    match then:
        case "sleep":
            say.sleep(4.0)
        case "note":
            say.add("note", text="awake", lane="server")
            say.sleep(4.0)
        case _:
            say.exit(then)
    return [line for line in told(*say.events) if "deadline" in line]


def test_a_deadline_that_only_ends_a_sleep_is_no_cancellation():
    assert sleeper("sleep") == []
    assert sleeper("note") == ["server @ its deadline has passed: nap"]
    assert sleeper("done") == ["server @ its deadline has passed: nap"]


def test_a_deadline_by_which_a_task_ends_is_a_cancellation():
    assert sleeper("cancelled") == ["server x its deadline has passed [deadline]: nap"]


def test_a_cancellation_of_many_names_a_few():
    tasks = [{"kind": "task", "task": n, "name": f"task {n}", "parent": None, "lane": "server"} for n in range(9)]
    [*_, line] = told(*tasks, {"kind": "cancel", "tasks": list(range(9)), "reason": "", "source": "nursery", "by": 0})
    names = "task 0, task 1, task 2, task 3, task 4, 4 more"
    assert line == f"server x no reason given [nursery, by task 0]: {names}"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 us"),
        (0.0000125, "12.5 us"),
        (0.012, "12 ms"),
        (0.9999, "1 s"),
        (14.4, "14.4 s"),
        (59.99, "1 min"),
        (90, "1 min 30 s"),
        (1500, "25 min"),
        (7500, "2 h 5 min"),
        (180_000, "2 d 2 h"),
        (math.inf, "for ever"),
    ],
)
def test_a_span_is_told_in_the_units_that_say_it_best(seconds: float, said: str):
    assert duration(seconds) == said


@pytest.mark.parametrize(("at", "said"), [(0, "0:00.000"), (59.9996, "1:00.000"), (3725.5, "1:02:05.500")])
def test_a_moment_is_told_to_the_millisecond(at: float, said: str):
    assert clock(at) == said
