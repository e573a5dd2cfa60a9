"""Every metric of an Engine, for Prometheus.

The naming rule: `engine_` and what is counted or measured, then the unit (`seconds`, `bytes`) where
there is one; counters end in `_total` (https://prometheus.io/docs/practices/naming/). A label has
few values, which this code knows: routes, codes, providers, own tools, places in the tree. Whatever
else may come, a model's own inventions included, counts as `other`.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from ...actors import Kind, Snapshot, Span, Traced, Tree
from ...actors.trace import Event
from ...errors import STATUS
from ...traces.row import Losses
from ..agent.spans import ChatSpan, ToolSpan

_LONG: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_LAG: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
OTHER: Final = "other"
_TURNS: Final = frozenset({"completed", "cancelled", "interrupted"})
_TROUBLE: Final = (
    Kind.CRASH,
    Kind.RESTART,
    Kind.GAVE_UP,
    Kind.DEAD_LETTER,
    Kind.DEADLINE,
    Kind.DEADLOCK,
)


class EngineMetrics:
    """The metrics of one Engine, in a registry of their own.

    `observe` is a sink of its trace, for everything but messages. `tools` are the Engine's own;
    `losses` are those of the brain's traces and of telemetry.
    """

    def __init__(
        self,
        tools: Iterable[str],
        providers: Iterable[str],
        brain: Path,
        losses: Mapping[str, Callable[[], Losses]],
    ) -> None:
        self._tools = frozenset(tools)
        self._providers = frozenset(providers)
        self.registry = CollectorRegistry()
        self._watched = _Watched(brain, losses)
        self.registry.register(self._watched)
        ProcessCollector(registry=self.registry)
        self._http()
        self._agent()
        self._runtime()

    def _http(self) -> None:
        self._requests = self._counter("requests", "HTTP requests.", "method", "path", "status")
        self._request_seconds = self._histogram(
            "request_duration_seconds", "From a request to the end of its answer.", _LONG, "path"
        )
        self._errors = self._counter("errors", "Refused requests and failed turns.", "code")

    def _agent(self) -> None:
        self._turns = self._counter("turns", "Turns that have ended.", "outcome")
        self._turn_seconds = self._histogram("turn_duration_seconds", "One turn.", _LONG)
        self._call_seconds = self._histogram(
            "model_call_duration_seconds", "One model call, retries included.", _LONG, "provider"
        )
        self._first_token = self._histogram(
            "time_to_first_token_seconds", "From a model call to its first text.", _LONG, "provider"
        )
        self._tokens = self._counter("tokens", "Tokens, as providers count.", "provider", "kind")
        self._tool_seconds = self._histogram(
            "tool_duration_seconds", "One tool call, waits for a person included.", _LONG, "tool"
        )
        self._tool_errors = self._counter("tool_errors", "Tool calls that failed.", "tool")

    def _runtime(self) -> None:
        self._trouble = {
            kind: self._counter(f"actor_{kind.value}", f"Actors: {kind.value}.", "actor")
            for kind in _TROUBLE
        }
        self.loop_lag = self._histogram(
            "loop_lag_seconds", "How late the event loop wakes a task that is due.", _LAG
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"engine_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"engine_{name}", text, labels, registry=self.registry, buckets=buckets)

    def watch(self, tree: Tree) -> None:
        """Read the actors of this tree whenever somebody asks."""
        self._watched.tree = tree

    def expose(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that an Accept header asks for, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def count_request(
        self, method: str, route: str, status: int, seconds: float, code: str
    ) -> None:
        """Count an answered request; `route` is a path of the API, empty for any other."""
        path = route or OTHER
        self._requests.labels(method, path, str(status)).inc()
        self._request_seconds.labels(path).observe(seconds)
        if code in STATUS:
            self._errors.labels(code).inc()

    def observe(self, traced: Traced) -> None:
        """Count what the trace has seen."""
        match traced:
            case Span(payload=ChatSpan() as chat):
                self._count_call(traced, chat)
            case Span(payload=ToolSpan() as call):
                self._count_tool(traced, call)
            case Span() if traced.name.startswith("invoke_agent "):
                self._count_turn(traced)
            case Event() if traced.kind in self._trouble:
                self._trouble[traced.kind].labels(self._watched.place(traced.path)).inc()
            case _:
                pass

    def _count_turn(self, span: Span) -> None:
        outcome = "completed" if span.outcome == "ok" else span.outcome
        self._turns.labels(outcome if outcome in _TURNS else "errored").inc()
        self._turn_seconds.observe(span.ended_at - span.at)
        if span.outcome in STATUS:
            self._errors.labels(span.outcome).inc()

    def _count_call(self, span: Span, chat: ChatSpan) -> None:
        provider = chat.provider if chat.provider in self._providers else OTHER
        self._call_seconds.labels(provider).observe(span.ended_at - span.at)
        if chat.first_piece_ms is not None:
            self._first_token.labels(provider).observe(chat.first_piece_ms / 1000)
        self._tokens.labels(provider, "input").inc(chat.input_tokens)
        self._tokens.labels(provider, "output").inc(chat.output_tokens)
        self._tokens.labels(provider, "cache_hit").inc(chat.cache_hit_tokens)

    def _count_tool(self, span: Span, call: ToolSpan) -> None:
        tool = call.tool if call.tool in self._tools else OTHER
        self._tool_seconds.labels(tool).observe(span.ended_at - span.at)
        if span.outcome != "ok":
            self._tool_errors.labels(tool).inc()


class _Watched(Collector):
    """What is read, not counted: the actors now, the brain's size, what was lost."""

    def __init__(self, brain: Path, losses: Mapping[str, Callable[[], Losses]]) -> None:
        self.tree: Tree | None = None
        self._brain = brain
        self._losses = losses

    def place(self, path: str) -> str:
        """Where an actor is; children by key, which come and go, are all one place."""
        above = path.rpartition("/")[0]
        return f"{above}/*" if self.tree is not None and above in self.tree.dynamic else path

    def collect(self) -> Iterable[Metric]:
        """The families, anew each time."""
        size = GaugeMetricFamily("engine_brain_bytes", "The brain file and its log.")
        size.add_metric(
            (), sum(_size(self._brain.with_name(self._brain.name + end)) for end in _FILES)
        )
        yield size
        yield self._dropped()
        if self.tree is not None:
            yield from self._mailboxes(self.tree.snapshot())

    def _dropped(self) -> Metric:
        dropped = CounterMetricFamily(
            "engine_trace_rows_dropped", "Observations that were not kept.", labels=("to", "why")
        )
        for to, losses in self._losses.items():
            found = losses()
            dropped.add_metric((to, "overload"), found.overload)
            dropped.add_metric((to, "refused"), found.store)
        return dropped

    def _mailboxes(self, actors: Iterable[Snapshot]) -> Iterable[Metric]:
        depths, marks, handled = dict[str, int](), dict[str, int](), 0
        for one in actors:
            place = self.place(one.path)
            depths[place] = depths.get(place, 0) + one.mailbox_depth
            marks[place] = max(marks.get(place, 0), one.mailbox_high_water)
            handled += 1
        yield _gauge("engine_mailbox_depth", "Messages that wait.", depths)
        yield _gauge("engine_mailbox_high_water", "Most that ever waited.", marks)
        alive = GaugeMetricFamily("engine_actors", "Actors and supervisors.")
        alive.add_metric((), handled)
        yield alive


_FILES: Final = ("", "-wal")


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _gauge(name: str, text: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=("actor",))
    for place, value in values.items():
        family.add_metric((place,), value)
    return family
