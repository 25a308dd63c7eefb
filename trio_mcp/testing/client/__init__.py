"""The client of the simulation kit: every revision, every transport, on streams that a simulation gives it."""

from trio_mcp.testing.client.client import Client, Transport, make_client
from trio_mcp.testing.client.pending import (
    Asked,
    ConnectionLostError,
    Listening,
    Pending,
    RefusedError,
    RequestCancelledError,
)

__all__ = [
    "Asked",
    "Client",
    "ConnectionLostError",
    "Listening",
    "Pending",
    "RefusedError",
    "RequestCancelledError",
    "Transport",
    "make_client",
]
