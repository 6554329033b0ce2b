"""What the daemon counts, in the Prometheus text format."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The registry of one daemon.

    Counters are made with `registry=metrics.registry`; figures that already exist elsewhere (calls, free ports, the
    workers' packets) are read at the moment of the scrape by a function given to `collect`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)

    def collect(self, read: Callable[[], Iterable[Metric]]) -> None:
        """Ask `read` for its metric families at every scrape. It runs in the event loop: no waiting in it."""
        self.registry.register(_Reader(read))

    def render(self) -> bytes:
        """All metrics as text."""
        return generate_latest(self.registry)


class _Reader(Collector):
    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return self._read()
