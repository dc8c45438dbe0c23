"""Write the pages that are made from code: `python docs/generate.py` (`make docs`)."""

from pathlib import Path

from authz_server.core.decisions import Reason
from authz_server.observe.metrics import CertificateSample, Metrics, RevocationsSample
from authz_server.observe.totals import SupervisorMetrics

MADE = "<!-- Made by `make docs`; change the code instead. -->"


def reasons() -> str:
    """Write the table of reasons."""
    rows = [
        f"| `{reason.label}` | {reason.value.status} | `{reason.value.message}` | `{reason.value.error}` | {reason.value.explain} |"
        for reason in Reason
    ]
    head = [
        "# Reasons for a denial",
        MADE,
        "The reason stands in the decision log and in `authz_checks_total{reason=…}`. The caller sees only the status, the message and the error type.",
        "",
        "| reason | status | message | `x-amzn-errortype` | what it means |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *rows, ""])


def metrics() -> str:
    """Write the table of metrics."""
    measured = Metrics("")
    measured.show_keys(tuple)
    measured.show_verdicts(tuple)
    measured.show_certificate(lambda: CertificateSample(expires=0, reloaded_at=0, good=True))
    measured.show_revocations(lambda: RevocationsSample(0, 0, 0, known=True))
    rows = []
    for family in (*measured.registry.collect(), *SupervisorMetrics(0).registry.collect()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append(f"| `{name}` | {family.type} | {family.documentation} |")
    return "\n".join(["# Metrics", MADE, "", "| metric | type | meaning |", "| --- | --- | --- |", *sorted(rows), ""])


PAGES = {"reasons.md": reasons, "metrics.md": metrics}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (Path(__file__).parent / page).write_text(write())
