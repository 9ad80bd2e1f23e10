"""Programs of Prometheus; Debian has them in the package prometheus.

promtool checks metrics, rules and configurations. Prometheus itself reads the metrics of running servers.
"""

import os
import shutil
import subprocess
from contextlib import closing, contextmanager

import httpx
import pytest
import yaml

from tests.patience import PATIENCE
from tests.ports import free_port
from tests.processes import wait_until


def program(name):
    """Returns the path of a program; skips the test where there is none."""
    found = shutil.which(name)
    if found is None:
        assert not os.environ.get("REQUIRE_PROMTOOL"), f"REQUIRE_PROMTOOL=1, but there is no {name}"
        pytest.skip(f"{name} is not installed (Debian: apt-get install prometheus)")
    return found


def promtool(*arguments, sent=None, folder=None):
    """Runs promtool, which must find nothing to correct."""
    command = [program("promtool"), *arguments]
    done = subprocess.run(command, input=sent, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


class Prometheus:
    """What a running Prometheus knows, by its HTTP API."""

    def __init__(self, url):
        self._client = httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False)

    def is_ready(self):
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx.ConnectError:
            return False

    def value(self, query):
        """Returns the value of an expression now; None if it has none, or several."""
        found = self._get("query", query=query)["result"]
        return float(found[0]["value"][1]) if len(found) == 1 else None

    def alerts(self):
        """Returns the states of the active alerts, by their names and the instances that they are about."""
        return {
            (alert["labels"]["alertname"], alert["labels"].get("instance")): alert["state"]
            for alert in self._get("alerts")["alerts"]
        }

    def targets(self):
        """Returns the servers that it reads, as it shows them."""
        return self._get("targets", state="active")["activeTargets"]

    def _get(self, name, **parameters):
        answer = self._client.get(f"/api/v1/{name}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def close(self):
        self._client.close()


@contextmanager
def prometheus(folder, config):
    """Runs Prometheus with a configuration, on the loopback interface; its data and its log are in the folder."""
    command, address, log = program("prometheus"), f"127.0.0.1:{free_port()}", folder / "prometheus.log"
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [command, "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
    with log.open("w") as output, closing(Prometheus(f"http://{address}")) as running:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        try:
            wait_until(lambda: process.poll() is not None or running.is_ready())
            assert process.poll() is None, log.read_text()
            yield running
        finally:
            process.terminate()
            process.wait(PATIENCE)
