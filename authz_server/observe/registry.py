"""The registry of metrics, and the text that scrapers get."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Registry(CollectorRegistry):
    """A registry without `_created` series: they double the series of each counter, and Prometheus' text format has no use for them."""

    def collect(self) -> Iterator[Metric]:
        """Yield every family, without the times at which its series began."""
        for family in super().collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
