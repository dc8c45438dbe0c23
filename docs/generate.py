"""Write the pages that are made from code: `python docs/generate.py` (`make docs`)."""

from pathlib import Path

from prometheus_client import Metric

from authz_server.core.decisions import Allow, Reason
from authz_server.observe.metrics import CertificateSample, KeySetSample, Metrics, RevocationsSample, VerdictsSample
from authz_server.observe.totals import SupervisorMetrics

MADE = "<!-- Made by `make docs`; change the code instead. -->"
LABELS = {
    "api": "name of an api; empty when none was found",
    "decision": "`allow`, `deny`, or `unavailable` for whatever is answered with a 5xx; of verdicts, which repeat no 5xx: `allow` or `deny`",
    "operation": "`read` or `write`",
    "outcome": "of key sets: see [keys.md](keys.md#metrics); of looks at the list of revocations: `ok` or `failed`",
    "reason": "see [reasons.md](reasons.md); empty for an allow",
    "result": "`hit` or `miss`",
    "route": "method and template; `(named by Envoy)` where `context_extensions` name the authorizer; empty when no route was found",
    "user_pool": "id of a user pool",
    "version": "of the server",
    "worker": "number of a worker, from 0; with `--workers` also of every gauge of a worker",
}


def reasons() -> str:
    """Write the table of reasons."""
    rows = [
        f"| `{reason.label}` | {reason.value.status} | `{reason.value.message}` | `{reason.value.error}` | {reason.value.explain} |"
        for reason in Reason
    ]
    head = [
        "# Reasons for a denial",
        MADE,
        "The reason stands in the [decision log](decision-log.md), with details, and in `authz_checks_total{reason=…}`. The caller sees only the status, the message and the error type.",
        "",
        "| reason | status | message | `x-amzn-errortype` | what it means |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *rows, ""])


def metrics() -> str:
    """Write the table of metrics, and that of their labels."""
    rows, used = [], set()
    for family in (*_measured().registry.collect(), *SupervisorMetrics(1).registry.collect()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = _labels(family)
        used.update(labels)
        rows.append(f"| `{name}` | {family.type} | {', '.join(f'`{label}`' for label in labels)} | {family.documentation} |")
    head = ["# Metrics", MADE, "", "| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
    labels_head = ["", "## Labels", "", "| label | values |", "| --- | --- |"]
    return "\n".join([*head, *sorted(rows), *labels_head, *(f"| `{label}` | {LABELS[label]} |" for label in sorted(used)), ""])


def _measured() -> Metrics:
    """Let one thing of each kind happen: a metric shows its labels once it has a value."""
    measured = Metrics("")
    measured.check(Allow(api="", route="", dropped=("",)), 0)
    measured.fetch("", "")
    measured.skipped_keys("", 0)
    measured.state_file("", "", "")
    measured.revocations_read("")
    measured.show_keys(lambda: [KeySetSample("", 0, 0, 0, 0, 0, 0, {"": 0})])
    measured.show_verdicts(lambda: [VerdictsSample("", 0, 0, 0)])
    measured.show_certificate(lambda: CertificateSample(expires=0, valid_from=0, reloaded_at=0, good=True))
    measured.show_revocations(lambda: RevocationsSample(0, 0, 0, known=True))
    return measured


def _labels(family: Metric) -> list[str]:
    """List the labels of a metric, but for `le`, which belongs to every histogram.

    Raises:
        ValueError: for a metric that has no value yet.
    """
    if not family.samples:
        raise ValueError(f"{family.name} has no value: let it have one in _measured()")
    return list(dict.fromkeys(label for sample in family.samples for label in sample.labels if label != "le"))


PAGES = {"reasons.md": reasons, "metrics.md": metrics}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (Path(__file__).parent / page).write_text(write())
