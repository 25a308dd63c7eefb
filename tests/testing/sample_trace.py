"""Traces for the tests of what shows them: one made by hand, as a simulation would record it, and a large one."""

import random
from typing import Any

import attrs


@attrs.define
class SampleTrace:
    """Stands for a trace: what `as_text` and `as_page` ask of one."""

    title: str
    seed: int | None
    command: str
    events: list[dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind."""
        return [event for event in self.events if event["kind"] == kind]


class Script:
    """Writes events down, and keeps the clock, the running task and the numbers for them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.now = 0.0
        self.running: int | None = None
        self._tasks = 0
        self._messages = 0

    def add(self, kind: str, **what: Any) -> dict[str, Any]:
        event = {"kind": kind, "at": self.now, "task": self.running, **what}
        self.events.append(event)
        return event

    def until(self, at: float) -> None:
        """The clock jumps."""
        self.running = None
        self.add("jump", to=at)
        self.now = at

    def task(self, name: str, lane: str, *, parent: int | None = None, nursery: int = 0) -> int:
        self._tasks += 1
        self.add("task", task=self._tasks, name=name, parent=parent, nursery=nursery, lane=lane)
        return self._tasks

    def run(self, task: int, *, by: int | None = None, woken: bool = True) -> None:
        """The task is made runnable and runs; what follows happens in its step."""
        if woken:
            self.add("wake", task=task, by=self.running if by is None else by)
        self.running = task
        self.add("run", task=task)

    def sleep(self, deadline: float | None = None) -> None:
        self.add("sleep", task=self.running, deadline=deadline)
        self.running = None

    def exit(self, how: str = "done") -> None:
        self.add("exit", task=self.running, how=how)
        self.running = None

    def send(self, link: str, ends: tuple[str, str], size: int, text: str) -> int:
        self._messages += 1
        self.add("send", id=self._messages, link=link, **{"from": ends[0], "to": ends[1]}, size=size, text=text)
        return self._messages

    def arrive(self, message: int, *, lost: bool = False) -> None:
        self.running = None
        self.add("arrive", id=message, **({"lost": True} if lost else {}))


TRACEBACK = """Traceback (most recent call last):
  File "tests/http/test_resume.py", line 88, in test_a_call_outlives_its_connection
    assert [answer.id for answer in answers] == [3]
AssertionError: the answer came twice
assert [3, 3] == [3]
"""
CONNECTION_1, CONNECTION_2 = "connection 10.0.0.1:5001", "connection 10.0.0.1:5002"
SESSION, CLIENT = "session ab12cd34", "client 1"
UP_1, DOWN_1 = (CLIENT, CONNECTION_1), (CONNECTION_1, CLIENT)
UP_2, DOWN_2 = (CLIENT, CONNECTION_2), (CONNECTION_2, CLIENT)


def sample() -> SampleTrace:
    """A call outlives its connection, its client resumes, and by a fault of the server gets the answer twice."""
    say = Script()
    tasks = _opening(say)
    _the_cut(say, tasks)
    _the_end(say, tasks)
    command = "python -m pytest 'tests/http/test_resume.py::test_a_call_outlives_its_connection' --simulation-seed=41"
    return SampleTrace("test_a_call_outlives_its_connection", 41, command, say.events)


def _opening(say: Script) -> dict[str, int]:
    """Server, client, session; two calls."""
    test = say.task("test_a_call_outlives_its_connection", "test")
    say.run(test, woken=False)
    serve = say.task("serve http", "server", parent=test, nursery=1)
    client = say.task("client 1", CLIENT, parent=test, nursery=1)
    say.sleep(120.0)
    say.run(serve, by=test)
    host = say.task("run host", "server", parent=serve, nursery=2)
    accept = say.task("accept 10.0.0.9:8000", "server", parent=serve, nursery=2)
    say.sleep()
    say.add("deviation", text="batch 3: 'accept 10.0.0.9:8000' ran before 'run host'")
    say.run(accept, by=serve)
    say.sleep()
    say.run(host, by=serve)
    say.sleep()
    say.run(client, by=test)
    say.add("link", link="client 1 #1", what="opened", lane=CLIENT)
    hello = say.send("client 1 #1", UP_1, 312, "POST /mcp initialize")
    say.sleep(10.0)
    say.until(0.012)
    say.run(accept)
    first = say.task("serve connection 10.0.0.1:5001", CONNECTION_1, parent=accept, nursery=3)
    say.sleep()
    say.arrive(hello)
    say.run(first)
    session = say.task("run session ab12cd34", SESSION, parent=host, nursery=4)
    say.sleep(30.0)
    say.run(session, by=host)
    say.sleep(1800.0)
    say.run(first, by=session)
    welcome = say.send("client 1 #1", DOWN_1, 540, "200 initialize")
    say.sleep(75.0)
    say.until(0.025)
    say.arrive(welcome)
    say.run(client)
    call = say.send("client 1 #1", UP_1, 96, "POST /mcp tools/call echo 2")
    slow = say.send("client 1 #1", UP_1, 118, "POST /mcp tools/call slow 3")
    say.sleep(60.0)
    say.until(0.037)
    say.arrive(call)
    say.run(first)
    echo = say.task("call tools/call echo 2", SESSION, parent=session, nursery=5)
    say.sleep(30.0)
    say.arrive(slow)
    say.run(echo, by=first)
    say.exit()
    say.run(first, by=echo)
    echoed = say.send("client 1 #1", DOWN_1, 88, "200 tools/call echo 2")
    slow_call = say.task("call tools/call slow 3", SESSION, parent=session, nursery=5)
    say.sleep(75.0)
    say.run(slow_call, by=first)
    work = say.task("count up to 3", SESSION, parent=slow_call, nursery=6)
    watch = say.task("watch the budget", SESSION, parent=slow_call, nursery=6)
    say.sleep()
    say.run(work, by=slow_call)
    say.sleep(45.0)
    say.run(watch, by=slow_call)
    say.sleep(50.0)
    say.until(0.05)
    say.arrive(echoed)
    say.run(client)
    say.add("note", text="the first answer is there", lane=CLIENT)
    say.sleep(60.0)
    return locals()


def _the_cut(say: Script, tasks: dict[str, int]) -> None:
    """The stream commits, its connection is reset, the session goes on, and the client comes back for the answer."""
    first, client, work = tasks["first"], tasks["client"], tasks["work"]
    say.until(0.55)
    say.run(first)
    event = say.send("client 1 #1", DOWN_1, 64, "event 7-1: progress 1/3")
    say.sleep(15.0)
    say.add("fault", text="the network resets client 1 #1")
    say.add("link", link="client 1 #1", what="reset by network", lane=CONNECTION_1)
    say.arrive(event, lost=True)
    say.until(0.562)
    say.run(first)
    say.add(
        "cancel",
        tasks=[first],
        reason="the client disconnected",
        source="explicit",
        by=tasks["accept"],
    )
    say.exit("cancelled")
    say.run(client)
    say.add("note", text="the connection is gone; waiting a little before coming back", lane=CLIENT)
    say.sleep(30.562)
    say.until(30.562)
    say.run(client)
    say.add("link", link="client 1 #2", what="opened", lane=CLIENT)
    resume = say.send("client 1 #2", UP_2, 140, "GET /mcp Last-Event-ID: 7-0")
    say.sleep(60.0)
    say.until(30.574)
    say.run(tasks["accept"])
    second = say.task("serve connection 10.0.0.1:5002", CONNECTION_2, parent=tasks["accept"], nursery=3)
    say.sleep()
    say.arrive(resume)
    say.add("deviation", text="batch 19: 'serve connection 10.0.0.1:5002' ran before 'run session ab12cd34'")
    say.run(second)
    say.sleep(45.574)
    say.until(45.0)
    say.run(work)
    say.exit()
    say.run(tasks["slow_call"], by=work)
    say.add("cancel", tasks=[tasks["watch"]], reason="the work is done", source="explicit", by=tasks["slow_call"])
    say.sleep()
    say.run(tasks["watch"], by=tasks["slow_call"])
    say.exit("cancelled")
    say.run(tasks["slow_call"], by=tasks["watch"])
    say.exit()
    say.run(second, by=tasks["slow_call"])
    tasks["answer"] = say.send("client 1 #2", DOWN_2, 132, "event 7-2: result of 3")
    tasks["again"] = say.send("client 1 #2", DOWN_2, 132, "event 7-2: result of 3")
    tasks["second"] = second
    say.sleep(60.0)
    say.until(45.012)
    say.arrive(tasks["answer"])
    say.run(client)
    say.sleep(60.0)
    say.until(45.016)
    say.arrive(tasks["again"])
    say.run(client)
    say.sleep(60.0)


def _the_end(say: Script, tasks: dict[str, int]) -> None:
    """The session idles away, and the test compares."""
    session, client, test = tasks["session"], tasks["client"], tasks["test"]
    say.until(60.0)
    say.run(client)
    say.add("link", link="client 1 #2", what="closed by client", lane=CLIENT)
    say.exit()
    say.run(tasks["second"])
    say.exit()
    say.until(1560.0)
    say.running = None
    say.add("cancel", tasks=[session], reason="the session was idle", source="deadline", by=None)
    say.run(session)
    say.exit("cancelled")
    say.run(test, by=session)
    say.add(
        "failure",
        text="AssertionError: the answer came twice\nassert [3, 3] == [3]",
        traceback=TRACEBACK,
        lane="test",
    )
    server = [tasks[name] for name in ("serve", "host", "accept")]
    say.add("cancel", tasks=server, reason="a child of its nursery failed", source="nursery", by=test)
    say.sleep()
    for number in (tasks["host"], tasks["accept"], tasks["serve"]):
        say.run(number, by=test)
        say.exit("cancelled")
    say.run(test)
    say.exit("failed: AssertionError: the answer came twice")


LONG_AND_SHORT = (0.001, 0.012, 0.012, 0.2, 0.2, 5.0, 30.0, 1500.0)


def large(count: int = 20_000, *, clients: int = 40) -> SampleTrace:
    """As many events as asked for, of up to 200 tasks, the same ones each time."""
    chance = random.Random(7)
    say = Script()
    test = say.task("test_many_clients", "test")
    serve = say.task("serve http", "server", parent=test, nursery=1)
    tasks: list[tuple[int, str]] = []
    pairs: list[tuple[str, str]] = []
    for number in range(1, clients + 1):
        lanes = (f"client {number}", f"connection 10.0.0.{number}:5001", f"session {number:04x}")
        client = say.task(f"client {number}", lanes[0], parent=test, nursery=1)
        connection = say.task(f"serve connection {number}", lanes[1], parent=serve, nursery=2)
        session = say.task(f"run session {number:04x}", lanes[2], parent=serve, nursery=3)
        call = say.task(f"call tools/call {number}", lanes[2], parent=session, nursery=3 + number)
        tasks += zip((client, connection, session, call), (*lanes, lanes[2]), strict=True)
        pairs.append((lanes[0], lanes[1]))
    flying: list[int] = []
    while len(say.events) < count - 60:
        _something(say, chance, tasks, pairs, flying)
    say.running = None
    say.add("failure", text="AssertionError: an answer is missing", traceback=TRACEBACK, lane="client 17")
    say.add("cancel", tasks=[task for task, _ in tasks[:50]], reason="a sibling failed", source="nursery", by=test)
    command = "python -m pytest tests/test_many_clients.py --simulation-seed=7"
    return SampleTrace("test_many_clients", 7, command, say.events)


def _something(
    say: Script, chance: random.Random, tasks: list[tuple[int, str]], pairs: list[tuple[str, str]], flying: list[int]
) -> None:
    roll = chance.random()
    if roll < 0.05:
        pair = pairs[chance.randrange(len(pairs))]
        ends = pair if chance.random() < 0.5 else (pair[1], pair[0])
        flying.append(say.send(f"{pair[0]} #1", ends, chance.randrange(60, 900), "POST /mcp tools/call echo"))
    elif roll < 0.10 and flying:
        say.arrive(flying.pop(chance.randrange(len(flying))), lost=chance.random() < 0.03)
    elif roll < 0.14:
        say.until(say.now + (chance.choice(LONG_AND_SHORT) if chance.random() < 0.2 else 0.003))
    elif roll < 0.145:
        say.add("deviation", text=f"batch {len(say.events)}: one ran before another")
    elif roll < 0.147:
        say.add("fault", text="the network stalls a connection")
    else:
        task, _ = tasks[min(int(chance.expovariate(0.02)), len(tasks) - 1)]
        say.run(task)
        say.sleep(say.now + 30 if chance.random() < 0.5 else None)
