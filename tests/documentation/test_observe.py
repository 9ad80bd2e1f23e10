"""The profile `observe`: Prometheus with its rules, and Grafana with its dashboard, around the servers."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.promtool import promtool
from translation_server.core.metrics import Metrics

ROOT = Path(__file__).parents[2]
PROMETHEUS, GRAFANA = ROOT / "deploy" / "prometheus", ROOT / "deploy" / "grafana"
RULES = [rule for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((GRAFANA / "dashboards" / "translation.json").read_text())


def test_promtool_finds_nothing_to_correct_in_the_rules():
    promtool("check", "rules", "--lint=all", "--lint-fatal", "rules.yml", folder=PROMETHEUS)


def test_the_rules_pass_their_tests():
    promtool("test", "rules", "rules_test.yml", folder=PROMETHEUS)


@pytest.mark.parametrize("token", ["", "a-token-for-prometheus"])
def test_the_configuration_that_prometheus_starts_with_is_valid(token, tmp_path):
    """Runs the start script with a program in place of Prometheus that shows the configuration."""
    stand_in = tmp_path / "prometheus"
    stand_in.write_text('#!/bin/sh\ncat "${1#--config.file=}" /tmp/secret\n')
    stand_in.chmod(0o755)
    environment = {
        "PATH": "/usr/bin:/bin",
        "PORT": "8123",
        "API_USERNAME": "an 'odd' & \\ | name",
        "API_PASSWORD": "secret # 'word'",
        "METRICS_TOKEN": token,
        "PROMETHEUS": str(stand_in),
    }
    command = ["sh", str(PROMETHEUS / "start.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    secret = token or environment["API_PASSWORD"]
    assert done.stdout.endswith(secret)
    text = done.stdout.removesuffix(secret)
    (tmp_path / "prometheus.yml").write_text(text)
    [scraping] = yaml.safe_load(text)["scrape_configs"]
    assert scraping["dns_sd_configs"][0]["port"] == 8123
    if token:
        assert scraping["authorization"] == {"credentials_file": "/tmp/secret"}  # noqa: S108 - in a container
    else:
        assert scraping["basic_auth"]["username"] == environment["API_USERNAME"]
    promtool("check", "config", "prometheus.yml", folder=tmp_path)


def test_rules_and_dashboard_use_only_what_exists():
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    served = {"translation_jobs_pending", "up"}
    for family in Metrics().families():
        suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}[family.kind]
        served |= {family.name + suffix for suffix in suffixes}
    queries = [rule["expr"] for rule in RULES]
    queries += [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    named = {name for query in queries for name in re.findall(r"\b(?:http_server|translation)[\w:]*|\bup\b", query)}
    assert named - {"translation"} <= served | recorded
    assert {name.split(":")[0] for name in recorded} == {"translation"}


def test_the_page_has_every_alert():
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert re.findall(r"^\| `(Translation\w+)` \|", page, re.MULTILINE) == [
        rule["alert"] for rule in RULES if "alert" in rule
    ]
