"""Count requests and batches for Prometheus.

| name                             | meaning                                                      |
|----------------------------------|--------------------------------------------------------------|
| te_request_count                 | requests that came, by route                                 |
| te_request_success               | those that were answered                                     |
| te_request_failure               | those that were not, by the type of the error (`err`)        |
| te_request_duration              | seconds from the request to its answer                       |
| te_request_queue_duration        | seconds that the first text of a batch waited                |
| te_request_inference_duration    | seconds of a batch                                           |
| te_queue_size                    | texts that wait, by model                                    |
| te_batch_next_size               | texts of a batch                                             |
| te_batch_next_tokens             | tokens of a batch                                            |

Names and meanings are those of text-embeddings-inference, which counts by `method` in place of
`route`. `process_…` are the memory and time of the process.
"""

import re
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(name, meaning, labels, registry=registry)

        def histogram(name: str, meaning: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, meaning, buckets=buckets, registry=registry)

        self.count = counter("te_request_count", "Requests.", "route")
        self.success = counter("te_request_success", "Answered requests.", "route")
        self.failure = counter("te_request_failure", "Failed requests.", "route", "err")
        self._count, self._success = cache(self.count.labels), cache(self.success.labels)
        self.duration = histogram("te_request_duration", "Seconds of a request.", SECONDS)
        self.queue_duration = histogram(
            "te_request_queue_duration", "Seconds that a batch waited.", SECONDS
        )
        self.inference_duration = histogram(
            "te_request_inference_duration", "Seconds of a batch.", SECONDS
        )
        self.batch_size = histogram("te_batch_next_size", "Texts of a batch.", COUNTS)
        self.batch_tokens = histogram("te_batch_next_tokens", "Tokens of a batch.", COUNTS)
        self.queue_size = Gauge("te_queue_size", "Texts that wait.", ("model",), registry=registry)

    def of_batch(self, texts: int, tokens: int, waited: float, seconds: float) -> None:
        """Count a batch."""
        self.batch_size.observe(texts)
        self.batch_tokens.observe(tokens)
        self.queue_duration.observe(waited)
        self.inference_duration.observe(seconds)

    def of_arrival(self, route: str) -> None:
        """Count a request that has come."""
        self._count(route).inc()

    def of_request(self, route: str, failure: str | None, seconds: float) -> None:
        """Count a request that has ended."""
        if failure is None:
            self._success(route).inc()
            self.duration.observe(seconds)
        else:
            self.failure.labels(route, failure).inc()

    def text(self) -> bytes:
        """Write all numbers in Prometheus' format; a counter's name without `_total`, as there."""
        text = generate_latest(self._registry)
        text = re.sub(rb"^(# \w+ )?te_\w+_created\b.*\n", b"", text, flags=re.M)
        return re.sub(rb"^(# \w+ )?(te_\w+?)_total\b", rb"\1\2", text, flags=re.M)
