"""Write the pages that are made from code: `python docs/generate.py` (`make docs`)."""

import json
from pathlib import Path

import click
from prometheus_client import Metric

from authz_server.cli import main
from authz_server.core.decisions import Allow
from authz_server.core.responses import BUILT_IN
from authz_server.observe.metrics import Metrics
from authz_server.observe.samples import CertificateSample, KeySetSample, RevocationsSample, VerdictsSample
from authz_server.observe.totals import SupervisorMetrics

MADE = "<!-- Made by `make docs`; change the code instead. -->"
LABELS = {
    "api": "name of an api; empty when none was found",
    "decision": "`allow`, `deny`, or `unavailable` for whatever is answered with a 5xx; of verdicts, which repeat no 5xx: `allow` or `deny`",
    "files": "`configuration` or `certificate`",
    "operation": "`read` or `write`",
    "outcome": "of key sets: see [keys.md](keys.md#metrics); of looks at the list of revocations: `ok` or `failed`",
    "protocol": "what a client spoke: `http1`, `tls` to a port without it, `plaintext` to a port with TLS",
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
        f"| `{reason.label}` | {response.status} | `{json.loads(response.body)['message']}` | `{dict(response.headers)['x-amzn-errortype']}` "
        f"| {reason.value.explanation} |"
        for reason, response in BUILT_IN.items()
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
    measured.show_watches(lambda: {"": 0})
    measured.show_wrong_protocols(lambda: {"": 0})
    return measured


def _labels(family: Metric) -> list[str]:
    """List the labels of a metric, but for `le`, which belongs to every histogram.

    Raises:
        ValueError: for a metric that has no value yet.
    """
    if not family.samples:
        raise ValueError(f"{family.name} has no value: let it have one in _measured()")
    return list(dict.fromkeys(label for sample in family.samples for label in sample.labels if label != "le"))


SEE = {  # where more is said about a flag of `serve`
    "--tls-cert": "operations.md#tls",
    "--tls-client-ca": "operations.md#tls",
    "--tls-allow-san": "operations.md#tls",
    "--socket-mode": "operations.md#unix-sockets",
    "--transport": "operations.md#transports",
    "--pin-cpu": "operations.md#transports",
    "--max-checks-in-progress": "operations.md#overload",
    "--workers": "operations.md#workers",
    "--decision-log": "decision-log.md",
    "--cache-mib": "operations.md#repeated-decisions",
    "--state-dir": "keys.md#the-state-directory",
    "--revocations": "revocation.md",
    "--revocations-max-age": "revocation.md#redis-or-valkey",
}


def flags() -> str:
    """Write a table of flags for each command."""
    page = [
        "# Flags",
        MADE,
        "What can come from the environment has a variable. A flag that may be given more than once takes its values from there separated by spaces.",
        "Exit status: 0 fine, 1 the configuration or the start failed, or workers had to be killed, 2 usage.",
    ]
    for name, command in main.commands.items():
        usage = " ".join(command.collect_usage_pieces(click.Context(command)))
        page += ["", f"## {name}", "", f"    authz-server {name} {usage}", "", " ".join(str(command.help).split()), ""]
        shown = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
        page += ["| flag | variable | default | |", "| --- | --- | --- | --- |", *map(_flag, shown)] if shown else []
    return "\n".join([*page, ""])


def _flag(option: click.Option) -> str:
    """Write the row of a flag, with the hint that `--help` gives about its value."""
    context = click.Context(main)
    hint = "" if option.is_flag else " " + option.make_metavar(context).replace("|", "\\|")
    names = ", ".join(f"`{name}{hint}`" for name in (*option.opts, *option.secondary_opts))
    default = str(option.get_help_extra(context).get("default", "required" if option.required else ""))
    more = SEE.get(option.opts[0])
    about = str(option.help).replace("|", "\\|") + (f" [More]({more})." if more else "")
    return f"| {names} | {f'`{option.envvar}`' if option.envvar else ''} | {default and (default if default == 'required' else f'`{default}`')} | {about} |"


PAGES = {"reasons.md": reasons, "metrics.md": metrics, "flags.md": flags}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (Path(__file__).parent / page).write_text(write())
