"""The metrics file: read back, changed under a lock of its own, replaced in one rename."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from larder.lock import hold
from larder.metrics.catalogue import METRICS, Samples
from larder.settings import Settings

# A load and a run may end at the same time; either may look at a large landing zone meanwhile.
LOCK_SECONDS = 60.0


def metrics_file(settings: Settings) -> Path:
    """Return the file; node_exporter reads `*.prom` of a folder."""
    return settings.home / "metrics" / "larder.prom"


@contextmanager
def changing(settings: Settings) -> Iterator[Samples]:
    """Give the samples of the file to be changed, and write them where nothing was raised.

    Raises:
        OSError: the folder or the file cannot be written.
        WarehouseBusyError: another command kept it for too long.
    """
    path = metrics_file(settings)
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        # whatever the umask: node_exporter is another user, and nothing here is secret
        path.parent.chmod(0o755)
    with hold(path.with_name(".lock"), "metrics", LOCK_SECONDS):
        samples = read_samples(path)
        yield samples
        _write(path, samples)


def read_samples(path: Path) -> Samples:
    """Read what was written last; nothing where there is no file, or not one of ours.

    Counters then start from zero again, which Prometheus takes for the restart that it is.
    """
    samples: Samples = {}
    try:
        families = list(text_string_to_metric_families(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return samples
    for sample in (sample for family in families for sample in family.samples):
        metric = METRICS.get(sample.name)
        if metric and set(sample.labels) == set(metric.labels):
            labels = tuple(sample.labels[label] for label in metric.labels)
            samples.setdefault(sample.name, {})[labels] = sample.value
    return samples


class _Samples(Collector):
    """Hand samples to a registry, in the order of the catalogue."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Metric]:
        for name, metric in METRICS.items():
            if not self._samples.get(name):
                continue
            family_of = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = family_of(name, metric.text, labels=metric.labels)
            for labels, value in sorted(self._samples[name].items()):
                family.add_metric(labels, value)
            yield family


def _write(path: Path, samples: Samples) -> None:
    # not prometheus_client's write_to_textfile: it neither syncs nor lets others read
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Samples(samples))
    aside = path.with_name(f".{path.name}.tmp")
    with aside.open("wb") as file:
        file.write(generate_latest(registry))
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())
    aside.replace(path)
