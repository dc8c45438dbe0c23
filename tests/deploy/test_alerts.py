"""The alerts ask for metrics that there are, and each one is tested and explained; `make test-alerts` runs them."""

import re

import pytest
import yaml

from tests.deploy.samples import DEPLOY, documents

OPERATIONS = (DEPLOY.parent / "docs" / "operations.md").read_text()
METRICS = set(re.findall(r"`(authz_\w+)`", (DEPLOY.parent / "docs" / "metrics.md").read_text()))
RULES = [rule for (file,) in [documents(DEPLOY / "prometheus" / "alerts.yaml")] for group in file["groups"] for rule in group["rules"]]
TESTS = [test for file in sorted((DEPLOY / "prometheus").glob("*_test.yaml")) for test in yaml.safe_load(file.read_text())["tests"]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_can_fire(rule):
    """It asks for metrics that the server has, and one test at least shows it firing."""
    asked = {name.removesuffix("_bucket") for name in re.findall(r"authz_\w+", rule["expr"])}
    fired = {case["alertname"] for test in TESTS for case in test["alert_rule_test"] if case.get("exp_alerts")}

    assert asked
    assert asked <= METRICS
    assert rule["alert"] in fired


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_is_explained(rule):
    """docs/operations.md says how grave it is, what it means and what to do; the alert itself says so in two sentences."""
    assert f"| `{rule['alert']}` | {rule['labels']['severity']} |" in OPERATIONS
    assert rule["annotations"].keys() == {"summary", "description"}


def test_nothing_else_is_explained():
    """The table of alerts names no alert that is gone."""
    assert set(re.findall(r"^\| `(Authz\w+)`", OPERATIONS, re.MULTILINE)) == {rule["alert"] for rule in RULES}
