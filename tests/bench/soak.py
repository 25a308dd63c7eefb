"""The soak: thousands of connections of all manners against one server, which must be as it was afterwards.

`make soak`, or `tests/bench/soak.py --connections 5000`. It owns what "as it was" means: descriptors, tasks, sessions
and calls exactly, memory within a tenth after a warm-up. The exit code is not 0 where it is not so.
"""

import argparse
import random
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Final

import attrs
import trio

sys.path.insert(0, str(Path(__file__).absolute().parent.parent.parent))

from tests.bench import wire
from tests.bench.peers import SOAKED, Running
from tests.bench.visitors import BAD, GOOD, pay

AT_A_TIME: Final = 64
SETTLE: Final = 20.0
MORE_MEMORY: Final = 0.10


@attrs.frozen
class State:
    """What the server's process holds."""

    descriptors: int
    tasks: int
    sessions: int
    calls: int
    memory: int

    @property
    def exact(self) -> tuple[int, int, int, int]:
        """What must be the same afterwards."""
        return self.descriptors, self.tasks, self.sessions, self.calls


@attrs.frozen
class Outcome:
    """What a soak found: the state before and after, memory after every round, and everything that went wrong."""

    before: State
    after: State
    memory: list[int]
    connections: int
    seconds: float
    wrong: list[str]

    def table(self) -> str:
        """For people to read."""
        lines = [f"{self.connections} connections in {self.seconds:.0f} s", f"  {'':12} {'before':>12} {'after':>12}"]
        names = ("descriptors", "tasks", "sessions", "calls")
        lines += [f"  {name:12} {getattr(self.before, name):>12} {getattr(self.after, name):>12}" for name in names]
        before, after = self.before.memory / 2**20, self.after.memory / 2**20
        lines.append(f"  {'memory':12} {before:>9.1f} MB {after:>9.1f} MB  ({after / before - 1:+.1%})")
        rounds = " ".join(f"{memory / 2**20:.1f}" for memory in self.memory)
        lines.append(f"  memory after the warm-up and each round, MB: {rounds}")
        return "\n".join([*lines, *(f"  wrong: {line}" for line in self.wrong)])


def state_of(server: Running) -> State:
    """Ask the server, on a connection of our own, which is in the figures."""
    headers, body = wire.call(wire.PER_REQUEST, "counts", {})
    with wire.Client(server.port) as client:
        counts = client.ask(headers, body).message["result"]["structuredContent"]
        client.sock.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        health = client.read().message
    return State(counts["descriptors"], counts["tasks"], health["sessions"], health["calls"], server.rss())


async def visit(port: int, connections: int, seed: int) -> list[str]:
    """So many visitors, `AT_A_TIME` at a time, half of them good. Returns what was wrong."""
    chance = random.Random(seed)
    wrong: list[str] = []
    limit = trio.CapacityLimiter(AT_A_TIME)

    async def one(number: int) -> None:
        manner = chance.choice(GOOD if number % 2 else BAD)
        async with limit:
            if fault := await pay(port, manner, random.Random(chance.random())):
                wrong.append(fault)

    async with trio.open_nursery() as visitors_nursery:
        for number in range(connections):
            visitors_nursery.start_soon(one, number, name=f"visit {number}")
    return wrong


def soak(connections: int, *, rounds: int = 4, warm_up: int | None = None, seed: int = 1) -> Outcome:
    """Soak a server of its own.

    Args:
        connections: over all rounds, after the warm-up.
        warm_up: connections before the first look, in two rounds; None: as many as two rounds have.
    """
    began = time.monotonic()
    each = connections // rounds
    with Running(SOAKED) as server:
        wrong = []
        for half in range(2):
            wrong += trio.run(visit, server.port, each if warm_up is None else warm_up // 2, -seed - half)
            states = [_settled(server, None)]
        for round in range(rounds):
            wrong += trio.run(visit, server.port, each, seed + round + 1)
            states.append(_settled(server, states[0]))  # so that each round begins alike, and has the same peak
        said = server.said()
    before, after = states[0], states[-1]
    if after.exact != before.exact:
        wrong.append("descriptors, tasks, sessions or calls are left over")
    if after.memory > before.memory * (1 + MORE_MEMORY):
        wrong.append(f"memory grew by more than {MORE_MEMORY:.0%}")
    if "Traceback" in said:
        wrong.append(f"the server logged a failure:\n{said}")
    memory = [state.memory for state in states]
    return Outcome(before, after, memory, connections, time.monotonic() - began, wrong)


def _settled(server: Running, wanted: State | None) -> State:
    """The state once nobody is left: as wanted, or the same twice without sessions; what it is after `SETTLE` s."""
    ends, last = time.monotonic() + SETTLE, None
    while True:
        state = state_of(server)
        quiet = state.exact == (wanted.exact if wanted else last) and not state.sessions
        if quiet or time.monotonic() > ends:
            return state
        last = state.exact
        time.sleep(0.5)


def main() -> int:
    """The exit code is 0 when the server is as it was."""
    parser = argparse.ArgumentParser(prog="soak", description="thousands of connections of all manners, then a look")
    parser.add_argument("--connections", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(8192, hard)), hard))
    outcome = soak(chosen.connections, rounds=max(1, chosen.rounds), seed=chosen.seed)
    print(outcome.table())
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
