"""A real Prometheus that reads the metrics of a running server, configured as in the profile `observe`."""

from pathlib import Path

import httpx
import pytest
import yaml

from tests.examples import CREDENTIALS
from tests.ports import free_port
from tests.processes import wait_until
from tests.promtool import prometheus
from tests.receivers import receiving

pytestmark = pytest.mark.takes(25)

TOKEN = "a-token-for-prometheus"
PROFILE = Path(__file__).parents[2] / "deploy" / "prometheus"
LOGINS = {
    "token": {"authorization": {"credentials": TOKEN}},
    "credentials": {"basic_auth": dict(zip(("username", "password"), CREDENTIALS, strict=True))},
    "wrong": {"authorization": {"credentials": "another-token"}},
}


def configuration(login, *servers):
    """Returns the configuration of the profile, for servers at these addresses, with short intervals."""
    config = yaml.safe_load((PROFILE / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(config["global"], "1s")
    config["rule_files"] = [str(PROFILE / name) for name in config["rule_files"]]
    [scraping] = config["scrape_configs"]
    del scraping["dns_sd_configs"]
    scraping |= {"static_configs": [{"targets": list(servers)}], **LOGINS[login]}
    return config


def address_of(api):
    return f"{api.base_url.host}:{api.base_url.port}"


def work(api, count, **submission):
    """Runs jobs of a client that polls each of them five times, once in vain."""
    jobs = [api.submit({"simulate": {"delay": 1}, **submission}) for _ in range(count)]
    for job_id in jobs:
        failed = api.get(f"/status/{job_id}", headers={"Simulate-Fault": '{"kind": "status", "code": 503}'})
        assert (failed.status_code, *(api.job(job_id)["status"] for _ in range(3))) == (503, *["pending"] * 3)
    api.set_clock(advance=30)
    assert {api.job(job_id)["status"] for job_id in jobs} == {"completed"}


@pytest.mark.parametrize(("login", "health"), [("token", "up"), ("credentials", "up"), ("wrong", "down")])
def test_prometheus_reads_the_metrics_only_with_the_right_login(start, tmp_path, login, health):
    api = start(metrics="on", metrics_token=TOKEN)
    server = address_of(api)
    with prometheus(tmp_path, configuration(login, server)) as running:
        wait_until(lambda: [target["health"] for target in running.targets()] == [health])
        [target] = running.targets()
        assert target["labels"] == {"instance": server, "job": "translation"}
        assert (not target["lastError"]) == (health == "up")
        wait_until(lambda: running.value("up") == (health == "up"))
        assert running.value("translation_build_info") == (1 if health == "up" else None)


def test_prometheus_records_and_alerts_by_our_rules(start, tmp_path):
    api = start(metrics="on", metrics_token=TOKEN)
    server, gone = address_of(api), f"127.0.0.1:{free_port()}"
    api.set_clock(frozen=True)
    work(api, 1)  # each series exists from the first scrape on, so that all growth is seen
    with prometheus(tmp_path, configuration("token", server, gone)) as running:
        wait_until(lambda: running.value("sum(translation_jobs_accepted_total)") == 1)
        wait_until(lambda: [running.value(f'up{{instance="{address}"}}') for address in (server, gone)] == [1, 0])
        with receiving() as receiver:
            receiver.codes = [500] * 15 + [204] * 5
            work(api, 20, webhook={"url": receiver.url, "events": ["completed"]})
            receiver.take(20)
        for number in range(10):
            guess = httpx.get(api.base_url.join("/jobs"), auth=(CREDENTIALS[0], f"wrong-{number}"))
            assert guess.status_code == 401
        expected = {
            "sum(translation_polls_total)": 5 * 21,
            "translation_lateness_seconds_count": 21,
            "translation:polls_per_job:ratio_rate5m": 5,
            "translation:webhook_failures:ratio_rate5m": 3 / 4,
        }
        wait_until(lambda: {query: running.value(query) for query in expected} == pytest.approx(expected))
        assert running.value("translation:requests:rate5m") > 0
        assert 0 < running.value("translation:lateness_seconds:p99_5m") < 10
        assert running.value("translation:store_wait_seconds:p99_5m") > 0
        alerts = {
            ("TranslationServerDown", gone): "pending",  # for a minute until it fires, and so on
            ("TranslationRequestsFail", None): "pending",
            ("TranslationWebhooksFail", None): "pending",
            ("TranslationPasswordsGuessed", None): "firing",
        }
        wait_until(lambda: alerts.items() <= running.alerts().items())
        active = {name for name, _ in running.alerts()}
        assert not active & {"TranslationClientsLearnLate", "TranslationStoreFails", "TranslationRecordsDropped"}
