"""Unusable arguments are refused at once, by name."""

import pytest

from translation_client import AsyncClient, Client

LOGIN = {"username": "admin", "password": "secretpassword"}

BAD_ARGUMENTS = [
    *[("base_url", {"base_url": url}) for url in ("", "127.0.0.1:8000", "ftp://a", "http://", "http://a?b", 7)],
    *[("base_url", {"base_url": url}) for url in ("http://a:b", "http://a/#b")],
    ("username", {"username": "a"}),
    ("username", {"password": "b"}),
    ("username", {"username": "a:b", "password": "c"}),
    ("username", {"username": "\udcff", "password": "b"}),
    ("password", {"username": "a", "password": "\udcff"}),
    *[("timeout", {"timeout": seconds}) for seconds in (-1, float("nan"), float("inf"), "5")],
    ("initial_delay", {"initial_delay": 0}),
    ("max_delay", {"initial_delay": 2, "max_delay": 1}),
    ("backoff_factor", {"backoff_factor": 0.5}),
    ("max_retries", {"max_retries": -1}),
    ("request_timeout", {"request_timeout": 0}),
    ("long_poll", {"long_poll": -1}),
    ("poll_cost", {"poll_cost": 0}),
    ("kind", {"kind": "\ud800"}),
]


@pytest.mark.parametrize(("name", "options"), BAD_ARGUMENTS)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_bad_argument_is_named_at_once(kind, name, options):
    with pytest.raises(ValueError, match=rf"^{name} "):
        kind(**options)


def test_bad_arguments_of_methods_are_named_at_once():
    with Client(**LOGIN) as client:
        for job_id in ("", "..", "x" * 1001, "\ud800", "a\nb", "\x1b[2J", None):
            for method in (client.status, client.wait, client.cancel, client.watch):
                with pytest.raises(ValueError, match=r"^job_id "):
                    method(job_id)
        fields = [("source_language", 7), ("target_language", "\ud800"), ("video_length", float("nan"))]
        fields += [
            ("simulate", value) for value in ("x", [1], {"delay": float("nan")}, {"message": "\ud800"}, {"a": {1}})
        ]
        for name, value in fields + [("idempotency_key", key) for key in ("a b", 'a"b', "")]:
            for submit in (client.start, client.run):
                with pytest.raises(ValueError, match=rf"^{name} "):
                    submit(**{name: value})
        with pytest.raises(ValueError, match=r"^timeout "):
            client.watch("j1", timeout=-1)
        with pytest.raises(ValueError, match=r"^kind "):
            client.wait("j1", kind="\ud800")
        for many in (client.wait_all, client.as_completed):
            with pytest.raises(ValueError, match=r"^ids "):
                many("j1")
            with pytest.raises(ValueError, match=r"^job_id "):
                many(["j1", ""])


@pytest.mark.parametrize("url", ["http://admin:secretpassword@127.0.0.1", "http://admin:secretpassword@127.0.0.1:port"])
def test_credentials_in_the_address_are_refused_and_not_shown(url):
    with pytest.raises(ValueError, match=r"^base_url ") as raised:
        Client(url)
    assert "secretpassword" not in str(raised.value)
    assert raised.value.__cause__ is raised.value.__context__ is None
