"""The server's settings: where they are read from, and the message about each unusable one."""

import re
from pathlib import Path

import pytest

from translation_server.app import check, create_app
from translation_server.config.settings import Settings, SettingsError, load_settings
from translation_server.core.scenarios import SCENARIOS
from translation_server.storage import StoreError

REQUIRED = {"API_USERNAME": "admin", "API_PASSWORD": "secretpassword"}


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Sets variables in an environment without settings, in an empty folder."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)

    def set_all(**settings):
        for name, value in settings.items():
            monkeypatch.setenv(name, value)

    return set_all


def refusal():
    with pytest.raises(SettingsError) as refused:
        load_settings()
    return str(refused.value)


@pytest.mark.usefixtures("environment")
def test_env_file_of_the_seeds_is_read_with_its_comments():
    Path(".env").write_text(
        "# Basic Authentication Credentials\nAPI_USERNAME=admin\nAPI_PASSWORD=secretpassword\n\n"
        "MIN_DELAY=3               # Minimum delay (in seconds)\nMAX_DELAY=7               # Maximum delay\n"
        "ERROR_PROBABILITY=0.3     # Probability (between 0 and 1)\nSOMETHING_ELSE=1\n"
    )
    settings = load_settings()
    assert settings.credentials == ("admin", "secretpassword")
    assert (settings.min_delay, settings.max_delay, settings.error_probability) == (3, 7, 0.3)


def test_environment_wins_over_the_env_file(environment):
    Path(".env").write_text("API_USERNAME=admin\nAPI_PASSWORD=secretpassword\nMAX_DELAY=20\nSEED=file\n")
    environment(MAX_DELAY="30", SEED="")
    settings = load_settings()
    assert (settings.max_delay, settings.seed) == (30, "file")


def test_every_example_may_be_in_the_environment(environment):
    text = (Path(__file__).parents[2] / ".env.example").read_text()
    examples = dict(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=(\S+)", text, re.MULTILINE))
    assert len(examples) > 30
    environment(**REQUIRED | examples)
    load_settings()


@pytest.mark.parametrize(("text", "seconds"), [("1s", (1,)), ("1s,2m", (1, 120)), ("90s, 1h", (90, 3600))])
def test_times_of_retries_are_separated_by_commas(environment, text, seconds):
    environment(**REQUIRED, WEBHOOK_RETRIES=text)
    assert load_settings().webhook_retries == seconds


def test_empty_value_is_the_default(environment):
    environment(**REQUIRED, MIN_DELAY="", LOG_FILE="")
    assert (load_settings().min_delay, load_settings().log_file) == (3, None)


def test_choices_are_read_in_either_case(environment):
    environment(**REQUIRED, LOG_LEVEL="DEBUG", LOG_FORMAT="Json")
    assert (load_settings().log_level, load_settings().log_format) == ("debug", "json")


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 604_800), ("7D", 604_800), ("0.5h", 1800), ("30m", 1800), ("90s", 90), ("forever", None)]
)
def test_durations_have_units(environment, text, seconds):
    environment(**REQUIRED, RETENTION=text)
    assert load_settings().retention == seconds


DELAY_TIME = "a number of seconds from 0 to 1000000000"
NAMES = "* or names without a port, such as api.example or *.api.example, separated by commas"
ORIGINS = "origins such as https://app.example or http://localhost:3000, separated by commas"
DELAYS = "fixed(s), uniform(min, max), lognormal(median, sigma) or exponential(mean), in seconds, or empirical(file)"
PASSWORD = "API_PASSWORD: must be UTF-8 text without control characters, of 1024 bytes at most"
LOCAL = "without credentials, use 127.0.0.1 or ::1"

MUST_BE = [
    ("MIN_DELAY", ["soon", "-1"], DELAY_TIME),
    ("MAX_DELAY", ["nan", "inf"], DELAY_TIME),
    ("PER_VIDEO_SECOND", ["-1"], "a number of seconds from 0 to 1000000"),
    ("DELAY", ["5", "fixed(-1)", "fixed(1, 2)", "fixed", "uniform(2, 1)", "normal(1, 2)", "lognormal(1, nan)"], DELAYS),
    ("DELAY", ["empirical()", "empirical(1, "], DELAYS),
    ("ERROR_PROBABILITY", ["2", "nan"], "a number from 0 to 1"),
    ("POLL_COST", ["0", "inf"], "a number of seconds from 0.000001 to 1000000"),
    ("FILE_TTL", ["7", "0s", "forever"], "a time like 1h, 30m or 90s"),
    ("RETENTION", ["7", "0s", "-1d", "1w", "9999999d", "never"], "a time like 7d, 12h, 30m or 90s, or forever"),
    ("ALLOWED_HOSTS", ["a.example:80", "a.example,"], NAMES),
    ("TRUSTED_ORIGINS", ["*", "http://a.example/"], ORIGINS),
    ("CORS_ORIGINS", ["**", "*,", "http://a.example/"], f"* or {ORIGINS}"),
    ("FORWARDED_ALLOW_IPS", ["*"], "addresses and networks, separated by commas, not *"),
    ("PORT", ["70000", "8000.5"], "a whole number from 0 to 65535"),
    ("WORKERS", ["0"], "a whole number from 1 to 256"),
    ("MAX_CONNECTIONS_PER_ADDRESS", ["0"], "a whole number from 1 to 1000000"),
    ("REQUEST_LOG", ["-1"], "a whole number from 0 to 1000000"),
    ("HINTS", ["honestly"], "honest, exact or none"),
    ("SANDBOX", ["maybe"], "on or off"),
    ("AUTH", ["perhaps"], "on or off"),
    ("SCENARIO", ["monday"], f"{', '.join(list(SCENARIOS)[:-1])} or lossy-webhooks"),
    ("SEED", ["x" * 1001], "text of 1000 characters at most"),
    ("LOG_LEVEL", ["loud"], "debug, info, warning or error"),
    ("LOG_FORMAT", ["xml"], "text or json"),
    ("API_USERNAME", ["a:b"], "a name without colon or control characters"),
]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *[({name: text}, f"{name}={text}: must be {form}") for name, texts, form in MUST_BE for text in texts],
        ({"MIN_DELAY": "9"}, "MIN_DELAY=9: must not be more than MAX_DELAY, which is 7"),
        ({"AUTH": "off", "HOST": "192.0.2.1"}, f"AUTH=off: must be on while HOST=192.0.2.1: {LOCAL}"),
        ({"AUTH": "off", "HOST": "example.com"}, f"AUTH=off: must be on while HOST=example.com: {LOCAL}"),
        *[({"API_PASSWORD": password}, PASSWORD) for password in ("a\nb", "\udcff", "x" * 1025)],
        ({"API_PASSWORD": ""}, "API_PASSWORD is missing: set it in .env or in the environment"),
        ({"API_USERNAME": ""}, "API_USERNAME is missing: set it in .env or in the environment"),
    ],
)
def test_unusable_setting_is_refused_in_one_line(environment, settings, message):
    environment(**REQUIRED | settings)
    assert refusal() == message


def test_each_unusable_setting_has_a_line(environment):
    environment(**REQUIRED, PORT="x", WORKERS="y")
    assert [line.split("=")[0] for line in refusal().splitlines()] == ["PORT", "WORKERS"]


def test_password_is_read_from_its_file(environment, tmp_path):
    (tmp_path / "password").write_text("from a file \n")
    environment(API_USERNAME="admin", API_PASSWORD_FILE=str(tmp_path / "password"))
    assert load_settings().credentials == ("admin", "from a file ")
    environment(API_PASSWORD="from the environment")
    assert refusal() == "API_PASSWORD and API_PASSWORD_FILE are both set: set one of them"


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_unreadable_password_file_is_refused(environment, tmp_path, content):
    if content is not None:
        (tmp_path / "password").write_bytes(content)
    environment(API_USERNAME="admin", API_PASSWORD_FILE=str(tmp_path / "password"))
    assert refusal().startswith(f"API_PASSWORD_FILE={tmp_path}/password: must be a readable file of UTF-8 text")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_auth_off_is_accepted_on_loopback(environment, host):
    environment(AUTH="off", HOST=host)
    assert load_settings().auth == "off"


@pytest.mark.parametrize("use", [check, create_app])
@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("memory:", SettingsError, "WORKERS=2: must be 1 with DATABASE_URL=memory:, which only one process can use"),
        ("mysql://ann:secret@host/jobs", StoreError, "the database URL 'mysql://host/jobs' is not supported: use "),
    ],
)
def test_store_that_processes_cannot_share_is_refused_for_several(environment, use, url, error, message):
    environment(**REQUIRED, DATABASE_URL=url, WORKERS="2")
    with pytest.raises(error) as refused:
        use(load_settings())
    assert str(refused.value).startswith(message)


def test_users_file_replaces_name_and_password(environment):
    environment(USERS_FILE="users", API_PASSWORD_FILE="nowhere")
    assert load_settings().users_file == Path("users")


@pytest.mark.usefixtures("environment")
def test_env_file_that_is_not_utf8_is_refused():
    Path(".env").write_bytes(b"API_USERNAME=\xff\xfe")
    assert refusal().startswith(".env must be UTF-8 text")


def test_password_is_not_in_the_repr(environment):
    environment(**REQUIRED)
    assert "secretpassword" not in repr(load_settings())


def test_settings_are_frozen(environment):
    environment(**REQUIRED)
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1
