"""`GET /metrics`: what a host counted and what it holds, for Prometheus, by prometheus-client (extra `metrics`).

Nothing of prometheus-client is on the way of a call: `runtime.tally` and `ops.traffic` count in plain numbers, gauges
are looked up, and all becomes metrics when somebody asks. The registry is this host's own, so that two servers of a
process stay apart. Labels are bounded by what they count under: a client cannot make one.
"""

from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from itertools import accumulate
from typing import Any, Final

import trio

from trio_mcp.http.asgi import TEXT_TYPE, Exchange
from trio_mcp.http.custom_route import respond_not_allowed
from trio_mcp.ops.traffic import Traffic
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.runtime.tally import BOUNDS, Histogram, Row, Tally
from trio_mcp.version import __version__

PATH: Final = "/metrics"
MISSING: Final = "Not Implemented: /metrics needs the extra metrics: pip install 'trio-mcp[metrics]'\n"
#: Outcomes that are errors; that the client cancelled, or is asked for input, is none.
_ERRORS: Final = ("failed", "timeout", "error", "refused")
_BOUNDS: Final = (*(str(bound) for bound in BOUNDS), "+Inf")


def is_installed() -> bool:
    """Whether the extra is there."""
    return find_spec("prometheus_client") is not None


class Metrics:
    """Answers `/metrics`; a host that is given begins to count, unless nobody could read the counts."""

    def __init__(self, host: Host, traffic: Traffic) -> None:
        self._registry: Any = None
        if is_installed():
            if host.tally is None:
                host.tally = Tally(host.server)
            client = import_module("prometheus_client")
            self._registry = client.CollectorRegistry()
            self._registry.register(_Collector(host, host.tally, traffic))
            client.ProcessCollector(registry=self._registry)

    async def __call__(self, exchange: Exchange) -> None:
        """Answer GET and HEAD in the text format, or in OpenMetrics for who accepts it."""
        if exchange.method not in ("GET", "HEAD"):
            await respond_not_allowed(exchange, ["GET", "HEAD"])
            return
        if self._registry is None:
            await exchange.respond(501, MISSING.encode(), (TEXT_TYPE,))
            return
        body, content_type = self._shown(exchange.headers.text(b"accept") or "")
        headers = ((b"content-type", content_type.encode("ascii")), (b"cache-control", b"no-store"))
        await exchange.respond(200, body, headers)

    def _shown(self, accept: str) -> tuple[bytes, str]:
        # prometheus-client would choose by Accept, too, and fails on versions that are none.
        if "application/openmetrics-text" in accept:
            exposition = import_module("prometheus_client.openmetrics.exposition")
            return exposition.generate_latest(self._registry), exposition.CONTENT_TYPE_LATEST
        exposition = import_module("prometheus_client.exposition")
        return exposition.generate_latest(self._registry), "text/plain; version=0.0.4; charset=utf-8"


class _Collector:
    """Gives the metrics of one host when the registry asks."""

    def __init__(self, host: Host, tally: Tally, traffic: Traffic) -> None:
        self._host = host
        self._tally = tally
        self._traffic = traffic
        self._families: Any = import_module("prometheus_client.metrics_core")

    def describe(self) -> Iterable[Any]:
        """Nothing: names are checked against no other collector, and `collect` needs trio."""
        return ()

    def collect(self) -> Iterator[Any]:
        """Every family."""
        yield from self._requests()
        yield from self._gauges()
        traffic, families = self._traffic, self._families
        answers = families.CounterMetricFamily(
            "mcp_http_requests", "HTTP requests by the class of their status.", labels=["status"]
        )
        for digit, count in enumerate(traffic.statuses):
            answers.add_metric([f"{digit}xx" if digit else "none"], count)
        yield answers
        info = families.InfoMetricFamily("mcp_server", "The server.")
        named = self._host.server.info
        info.add_metric([], {"name": named.name, "version": named.version, "trio_mcp": __version__})
        yield info

    def _requests(self) -> Iterator[Any]:
        families, tally = self._families, self._tally
        labels = ["method", "tool"]
        requests = families.CounterMetricFamily(
            "mcp_requests", "Requests of the protocol, by what they came to.", labels=[*labels, "outcome"]
        )
        errors = families.CounterMetricFamily("mcp_errors", "Requests that came to an error.", labels=labels)
        cancelled = families.CounterMetricFamily("mcp_cancelled", "Requests that were cancelled.", labels=labels)
        durations = families.HistogramMetricFamily(
            "mcp_request_duration_seconds", "How long calls took, cancelled ones included.", labels=labels
        )
        for names, row in self._rows():
            for outcome, count in row.outcomes.items():
                requests.add_metric([*names, outcome], count)
            errors.add_metric(names, sum(row.outcomes.get(outcome, 0) for outcome in _ERRORS))
            cancelled.add_metric(names, row.outcomes.get("cancelled", 0))
            durations.add_metric(names, *_buckets(row.durations))
        cleanups = families.HistogramMetricFamily(
            "mcp_cleanup_seconds", "How long calls that were told to end took to do so."
        )
        cleanups.add_metric([], *_buckets(tally.cleanups))
        yield from (requests, errors, cancelled, durations, cleanups)

    def _rows(self) -> Iterator[tuple[list[str], Row]]:
        for method, row in self._tally.methods.items():
            yield [method, ""], row
        for tool, row in self._tally.tools.items():
            yield ["tools/call", tool], row

    def _gauges(self) -> Iterator[Any]:
        host, families = self._host, self._families
        outlets = set(_outlets(host))
        threads = host.server.limiter.statistics()
        yield families.CounterMetricFamily(
            "mcp_sessions_opened", "Sessions that there have been.", value=host.sessions_opened
        )
        queues = families.GaugeMetricFamily(
            "mcp_queue_depth", "What waits: messages to be written, functions for a thread.", labels=["queue"]
        )
        queues.add_metric(["messages"], sum(len(outlet) for outlet in outlets))
        queues.add_metric(["threads"], threads.tasks_waiting)
        yield queues
        gauges = {
            "sessions": ("Sessions.", len(host.sessions)),
            "calls": ("Calls in flight.", len(host.calls)),
            "streams": (
                "Streams that are being written.",
                sum(outlet.reader_scope is not None for outlet in outlets),
            ),
            "listeners": ("Who hears of changes: sessions and subscriptions.", len(host.subscriptions)),
            "active_connections": ("Requests, streams and WebSockets in hand.", self._traffic.active),
            "threads_busy": ("Threads that run a function.", threads.borrowed_tokens),
            "tasks": ("Tasks of trio in this process.", trio.lowlevel.current_statistics().tasks_living),
        }
        for name, (text, value) in gauges.items():
            yield families.GaugeMetricFamily(f"mcp_{name}", text, value=value)


def _buckets(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    counts = accumulate(histogram.counts)
    return list(zip(_BOUNDS, map(float, counts), strict=True)), histogram.total


def _outlets(host: Host) -> Iterator[Outlet]:
    """Every stream that something may be waiting in; one may come more than once."""
    for session in host.sessions.values():
        yield session.standing
        yield from session.streams.values()
    for call in host.calls:
        yield call.outlet
