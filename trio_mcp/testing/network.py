"""`Network`: simulated links between clients and servers, with everything that a real network does to them.

All of it comes from one seed, in virtual time. A network without conditions is perfect: bytes are there at once. What
takes time is carried by one task, `run`; what happens to a link is told to the trace. It refuses to know what the
bytes mean.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final, Protocol

import attrs
import trio

from trio_mcp.testing.chance import Chance
from trio_mcp.testing.sockets import Direction, SimulatedSocket
from trio_mcp.testing.streams import SimulatedStream

STEPS: Final = 16
"""How finely a latency is drawn between its bounds."""
_APART: Final = 0.0001
"""Seconds between two pieces of what was sent at once."""

_fraction = attrs.validators.and_(attrs.validators.ge(0), attrs.validators.le(1))


@attrs.frozen(kw_only=True)
class Conditions:
    """What the links of a network are like. Times are virtual seconds, chances from 0 to 1 for each piece sent.

    Attributes:
        latency: the shortest and the longest time that a piece takes; pieces of one direction stay in order.
        bandwidth: bytes a second in each direction; None: any number.
        fragmentation: the chance that what is sent at once arrives in several pieces.
        stalls: the chance that a direction stops, and `stall` the seconds for which it does.
        resets: the chance that the link is reset.
        buffer: bytes that one direction holds before its sender must wait.
    """

    latency: tuple[float, float] = attrs.field(default=(0, 0))
    bandwidth: float | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.gt(0)))
    fragmentation: float = attrs.field(default=0, validator=_fraction)
    stalls: float = attrs.field(default=0, validator=_fraction)
    stall: float = attrs.field(default=5, validator=attrs.validators.ge(0))
    resets: float = attrs.field(default=0, validator=_fraction)
    buffer: int = attrs.field(default=64 * 1024, validator=attrs.validators.ge(1))

    @latency.validator
    def _check_latency(self, attribute: object, value: tuple[float, float]) -> None:
        if not 0 <= value[0] <= value[1]:
            raise ValueError(f"latency is (shortest, longest) in seconds, not {value!r}")

    @property
    def perfect(self) -> bool:
        """Whether nothing here takes time or goes wrong."""
        return self.latency[1] == 0 and self.bandwidth is None and not (self.stalls or self.resets)


class Watcher(Protocol):
    """Who is told what happens on the links; `simulation` is it."""

    def link_told(self, link: "Link", what: str, end: str) -> None:
        """Something happened to a link."""

    def link_sent(self, link: "Link", number: int, sender: str, receiver: str, data: bytes) -> None:
        """Bytes left one end."""

    def link_arrived(self, number: int, lost: bool) -> None:
        """They are there, or never will be."""

    def fault(self, text: str) -> None:
        """The network did something on purpose."""


class Link:
    """One connection between a client and a server.

    Attributes:
        name: `client 1 #2`, the client's second connection.
        client, server: the two ends.
        host: what the client's side is called, for partitions.
    """

    def __init__(self, network: "Network", host: str, name: str, number: int, server_name: str, port: int) -> None:
        self.name = name
        self.host = host
        self.server_name = server_name
        self.number = number
        self._network = network
        address, server_address = (f"10.0.0.{network.number_of(host)}", 40_000 + number), ("127.0.0.1", port)
        self.client = SimulatedSocket(host, 2 * number, address, server_address, self)
        kind = "connection" if port else "pipe"
        self.server = SimulatedSocket(f"{kind} {number}", 2 * number + 1, server_address, address, self)
        capacity = network.conditions.buffer
        self.up = Direction(f"{name} up", self.client, self.server, capacity)
        self.down = Direction(f"{name} down", self.server, self.client, capacity)
        self.client.join(self.down, self.up)
        self.server.join(self.up, self.down)

    # sockets.Carrier

    def carry(self, direction: Direction, arrive: Callable[[], None], *, apart: bool = False) -> None:
        """As the network's conditions say."""
        self._network.carry(self, direction, arrive, apart=apart)

    def split(self, direction: Direction, size: int) -> list[int]:
        """As the network's conditions say."""
        return self._network.split(direction, size)

    def told(self, what: str, end: SimulatedSocket) -> None:
        """Pass it on."""
        if self._network.watcher is not None:
            self._network.watcher.link_told(self, what, end.name)

    def sent(self, direction: Direction, data: bytes) -> int:
        """Pass it on."""
        number = next(self._network.sendings)
        if self._network.watcher is not None:
            self._network.watcher.link_sent(self, number, direction.sender.name, direction.receiver.name, data)
        return number

    def arrived(self, number: int, *, lost: bool = False) -> None:
        """Pass it on."""
        if self._network.watcher is not None:
            self._network.watcher.link_arrived(number, lost)


class Listener:
    """Where a server takes connections in; the other half of `Network.dial`."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.port = port
        self.closed = False
        self._waiting: list[SimulatedSocket] = []
        self._arrived = trio.lowlevel.ParkingLot()

    def getsockname(self) -> tuple[str, int]:
        """Its address."""
        return ("127.0.0.1", self.port)

    def put(self, end: SimulatedSocket) -> None:
        """A connection has come."""
        self._waiting.append(end)
        self._arrived.unpark()

    async def accept(self) -> SimulatedSocket:
        """The next connection. Cancellation: none was taken."""
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            await self._arrived.park()
        return self._waiting.pop(0)

    def close(self) -> None:
        """Take no more; what nobody accepted is reset."""
        self.closed = True
        for end in self._waiting:
            end.reset()
        self._waiting.clear()


class Network:
    """Links between any number of clients and servers.

    Args:
        seed: what all that happens on it comes from.
        conditions: what its links are like; they may be changed while it runs, for pieces that are sent from then on.
        chance: draw from this instead of `seed`.

    Attributes:
        links: all there have been, in the order they were opened.
        watcher: told of everything; None: nobody.
    """

    def __init__(self, seed: int = 0, conditions: Conditions | None = None, *, chance: Chance | None = None) -> None:
        self.conditions = conditions or Conditions()
        self.links: list[Link] = []
        self.watcher: Watcher | None = None
        self.sendings = count(1)
        self._chance = chance or Chance(seed)
        self._listeners: dict[str, Listener] = {}
        self._hosts: dict[str, int] = {}
        self._machines: dict[str, str] = {}
        self._dialled: dict[str, int] = {}
        self._heap: list[tuple[float, int, Direction, Callable[[], None]]] = []
        self._order = count()
        self._news = trio.lowlevel.ParkingLot()
        self._parted: set[frozenset[str]] = set()
        self._held: list[tuple[Link, Direction, Callable[[], None]]] = []
        self._healed = trio.lowlevel.ParkingLot()
        self._running = False

    # Who is there

    def number_of(self, host: str) -> int:
        """A number for each machine, for its address."""
        return self._hosts.setdefault(host, len(self._hosts) + 2)

    def listen(self, server: str, port: int = 8000, *, machine: str | None = None) -> Listener:
        """Let a server take connections in; `machine`: where it stands, for partitions; None: on one of its name."""
        if server in self._listeners and not self._listeners[server].closed:
            raise OSError(98, f"{server} listens already on this network: give one of the two another name=")
        listener = self._listeners[server] = Listener(server, port)
        self._machines[server] = machine or server
        return listener

    async def dial(self, host: str, server: str) -> SimulatedStream:
        """A connection from one machine to a server. Waits for its latency, and for a partition to heal.

        Cancellation: there is none, and the server has not heard of it.

        Raises:
            OSError: nobody listens there.
        """
        await trio.lowlevel.checkpoint()
        while self._apart(host, server):
            await self._healed.park()
        listener = self._listeners.get(server)
        if listener is None or listener.closed:
            raise ConnectionRefusedError(111, f"nobody listens at {server}")
        self._dialled[host] = number = self._dialled.get(host, 0) + 1
        name = f"{host} #{number}"
        if self.conditions.latency[1]:
            await trio.sleep(2 * self._latency(f"{name} dial"))
            if listener.closed:
                raise ConnectionRefusedError(111, f"nobody listens at {server} any more")
        link = Link(self, host, name, len(self.links) + 1, server, listener.port)
        self.links.append(link)
        link.told("opened", link.client)
        listener.put(link.server)
        return SimulatedStream(link.client)

    # What takes time

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry what is in flight, until cancelled. Needed where something takes time; `simulation` starts it."""
        self._running = True
        task_status.started()
        try:
            while True:
                now = trio.current_time()
                while self._heap and self._heap[0][0] <= now:
                    _, _, _, arrive = heapq.heappop(self._heap)
                    arrive()
                due = self._heap[0][0] if self._heap else float("inf")
                with trio.move_on_at(due):
                    await self._news.park()
        finally:
            self._running = False

    async def ensure_running(self, nursery: trio.Nursery) -> None:
        """Have it carried by a task of `nursery`, unless it is already or nothing on it ever takes time."""
        if not self._running:
            await nursery.start(self.run, name="carry the network")

    def _latency(self, name: str) -> float:
        shortest, longest = self.conditions.latency
        return shortest + (longest - shortest) * self._chance.draws(name).pick(STEPS) / (STEPS - 1)

    def carry(self, link: Link, direction: Direction, arrive: Callable[[], None], *, apart: bool = False) -> None:
        """Let `arrive` be called when a piece is there; `apart` from the one before it, however fast the network is."""
        if self._apart(link.host, link.server_name):
            self._held.append((link, direction, arrive))
            return
        conditions = self.conditions
        if conditions.perfect and not apart and not direction.due > trio.current_time():
            arrive()
            return
        now = trio.current_time()
        due = now + self._latency(direction.name)
        if conditions.stalls and self._chance.draws(f"{direction.name} stalls").happens(conditions.stalls):
            due += conditions.stall
            self._fault(f"{direction.name} stalls for {conditions.stall:g} s")
        due = max(due, direction.due) + _APART * apart
        if conditions.bandwidth is not None and direction.flying and direction.flying[-1][0] is not None:
            due += len(direction.flying[-1][0]) / conditions.bandwidth
        direction.due = due
        if conditions.resets and self._chance.draws(f"{direction.name} resets").happens(conditions.resets):
            self.reset(link)
            return
        if not self._running:
            raise RuntimeError("this network takes time, and nobody carries: start network.run in a nursery")
        heapq.heappush(self._heap, (due, next(self._order), direction, arrive))
        self._news.unpark_all()

    def split(self, direction: Direction, size: int) -> list[int]:
        """The sizes of the segments that so many bytes travel in."""
        if not self.conditions.fragmentation or size < 2:
            return [size]
        cut = self._chance.draws(f"{direction.name} pieces").pick(min(size, 64), self.conditions.fragmentation)
        if not cut:
            return [size]
        at = max(1, size * cut // 64) if size > 64 else cut
        return [at, size - at] if at < size else [size]

    # Faults, on purpose

    def _fault(self, text: str) -> None:
        if self.watcher is not None:
            self.watcher.fault(text)

    def reset(self, link: Link) -> None:
        """Let a link break: both ends find out."""
        self._fault(f"{link.name} is reset by the network")
        for end in (link.client, link.server):
            end.break_off()

    def partition(self, one: str | Iterable[str], other: str | Iterable[str]) -> None:
        """Let nothing pass between the machines of two sides; nobody is told. What is sent waits for `heal`."""
        for here in _names(one):
            for there in _names(other):
                self._parted.add(frozenset((here, there)))
        self._fault(f"a partition between {', '.join(_names(one))} and {', '.join(_names(other))}")

    def heal(self) -> None:
        """End all partitions: what waited goes on its way."""
        self._parted.clear()
        self._fault("the partitions heal")
        held, self._held = self._held, []
        for link, direction, arrive in held:
            self.carry(link, direction, arrive)
        self._healed.unpark_all()

    @contextmanager
    def partitioned(self, one: str | Iterable[str], other: str | Iterable[str]) -> Iterator[None]:
        """A partition for the time of the block."""
        self.partition(one, other)
        try:
            yield
        finally:
            self.heal()

    def _apart(self, one: str, other: str) -> bool:
        return bool(self._parted) and frozenset((one, self._machines.get(other, other))) in self._parted


def _names(side: str | Iterable[str]) -> tuple[str, ...]:
    return (side,) if isinstance(side, str) else tuple(side)
