"""One cut of one run: what can be cut, and how it is done. It refuses to choose where: `cutting` does."""

from typing import Any

from trio_mcp.testing.recipe import Cut, Kind
from trio_mcp.testing.simulation import Simulation


def connected(simulation: Simulation, client: str) -> bool:
    """Whether a client has an open connection."""
    return any(link.host == client and link.client.is_open for link in simulation.network.links)


def called(simulation: Simulation, tool: str) -> bool:
    """Whether a call of a tool runs."""
    return any(_calls(simulation, tool))


def _calls(simulation: Simulation, tool: str) -> list[Any]:
    return [
        call
        for server in simulation.servers
        for call in server.host.calls
        if getattr(call.params, "name", None) == tool and call.cancelled_at is None
    ]


def apply_cut(simulation: Simulation, cut: Cut) -> None:
    """Have a cut carried out after its step."""

    def look(step: int) -> None:
        if step == cut.step:
            simulation.was_cut = True
            simulation.fault(str(cut))
            if cut.kind == "cancel":
                _cancel(simulation, cut.subject)
            else:
                _cut(simulation, cut.subject, cut.kind)

    simulation.on_step(look)


def _cut(simulation: Simulation, client: str, kind: Kind) -> None:
    for link in simulation.network.links:
        if link.host == client and link.client.is_open:
            if kind == "close":
                link.client.close()
            elif kind == "abort":
                link.client.reset()
            else:
                link.client.freeze()


def _cancel(simulation: Simulation, tool: str) -> None:
    """Cancel as the client's own cancellation does, and tell the client that it did."""
    reason = "the simulation cancelled it"
    for server in simulation.servers:
        for call in [call for call in _calls(simulation, tool) if call.host is server.host]:
            for client in server.clients:
                if client.session_id in (None, call.session_id):
                    client.cancel_soon(call.id, reason)
            if hasattr(call, "owed"):
                call.owed = False
            else:
                call.answer_wanted = False
            call.cancel(reason)
