"""The text of docker-compose.yml; the tests of the pair check the running containers."""

import re
from pathlib import Path

import pytest
import yaml

from translation_server.config.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
NGINX = (ROOT / "deploy" / "nginx" / "nginx.conf").read_text()

EACH = pytest.mark.parametrize("service", SERVICES.values(), ids=list(SERVICES))


def test_every_setting_reaches_the_servers_container_and_nothing_else_does():
    besides = {"PGPASSWORD"}  # for the database of the profile `scale`
    assert set(SERVICES["server"]["environment"]) == {name.upper() for name in Settings.model_fields} | besides


@EACH
def test_a_service_gets_only_the_settings_that_it_uses(service):
    assert not {"env_file", "secrets", "configs"} & set(service)
    secret = {"API_PASSWORD", "API_TOKEN", "PGPASSWORD", "POSTGRES_PASSWORD", "METRICS_TOKEN"}
    allowed = {
        "server": {"API_PASSWORD", "PGPASSWORD", "METRICS_TOKEN"},
        "client": {"API_PASSWORD", "API_TOKEN"},
        "postgres": {"POSTGRES_PASSWORD"},
        "nginx": set(),
        "prometheus": {"API_PASSWORD", "METRICS_TOKEN"},
        "grafana": set(),
    }
    name = next(name for name, found in SERVICES.items() if found is service)
    assert set(service["environment"]) & secret == allowed[name]


@EACH
def test_a_service_has_bounded_memory_processes_and_logs(service):
    assert re.fullmatch(r"\d+[mg]|\$\{SERVER_MEMORY:-1g\}", service["mem_limit"])
    assert 0 < service["pids_limit"] <= 1000
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])
    assert service["tmpfs"]
    assert all(re.fullmatch(r"/[\w/]+:size=\d+m", mount) for mount in service["tmpfs"])


def test_in_the_profile_scale_the_servers_trust_only_nginx():
    [(network, nginx)] = SERVICES["nginx"]["networks"].items()
    believed = SERVICES["server"]["environment"]["FORWARDED_ALLOW_IPS"]
    assert believed == f"${{FORWARDED_ALLOW_IPS:-${{SCALE_PORTS:+{nginx['ipv4_address']}}}}}"
    [subnet] = COMPOSE["networks"][network]["ipam"]["config"]
    others = f"{nginx['ipv4_address'].removesuffix('.2')}.128/25"
    assert subnet["ip_range"] == others, "the address of nginx is for no other container"
    assert re.findall(r"X-Forwarded-For (\S+);", NGINX) == ["$remote_addr"]
