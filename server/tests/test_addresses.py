"""The addresses of clients, directly and behind proxies."""

import httpx
import pytest

from translation_server.api.addresses import Proxies, parse_address
from translation_server.config.settings import Settings


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1:4711 ", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:c000:201]:80", "192.0.2.1"),
        ("unknown", None),
        ("_hidden", None),
        ("", None),
        ("192.0.2.1:port", None),
        ("192.0.2.1:", None),
        ("192.0.2", None),
        ("192.0.2.01", None),
        ("[2001:db8::1", None),
        ("[2001:db8::1]80", None),
        ("[2001:db8::1]:x", None),
        ("1" * 200_000, None),
        ("fe80::1%" + "e" * 200_000, None),
    ],
)
def test_addresses_are_parsed_with_or_without_a_port(text, address):
    found = parse_address(text)
    assert (found and str(found)) == address


@pytest.mark.parametrize(
    ("peer", "chain", "client"),
    [
        ("10.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["198.51.100.7, 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["198.51.100.7, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        ("10.0.0.1", ["198.51.100.7", "192.0.2.1", "10.0.0.2"], "192.0.2.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["::ffff:192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["192.0.2.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.1, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["garbage" * 30_000], "10.0.0.1"),
        ("10.0.0.1", ["x," * 30_000 + "192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["192.0.2.1" + ", 10.0.0.2" * 10_000], "10.0.0.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("192.0.2.9", ["192.0.2.1"], "192.0.2.9"),
        ("a host", ["192.0.2.1"], "a host"),
    ],
)
def test_the_last_address_that_is_no_proxy_is_the_client(peer, chain, client):
    headers = [(b"x-forwarded-for", value.encode()) for value in chain]
    scope = {"client": (peer, 1), "headers": headers, "scheme": "http"}
    Proxies("10.0.0.0/8, 2001:db8:ffff::/48").apply_forwarded(scope)
    assert scope["client"][0] == client


@pytest.mark.parametrize(
    ("peer", "forwarded", "scheme"),
    [("10.0.0.1", b"https", "https"), ("10.0.0.1", b"gopher", "http"), ("192.0.2.1", b"https", "http")],
)
def test_the_scheme_of_a_trusted_proxy_counts(peer, forwarded, scheme):
    scope = {"client": (peer, 1), "headers": [(b"x-forwarded-proto", forwarded)], "scheme": "http"}
    Proxies("10.0.0.1").apply_forwarded(scope)
    assert scope["scheme"] == scheme
    Proxies("10.0.0.1").apply_forwarded({"client": None, "headers": []})


@pytest.mark.parametrize("networks", ["*", "0.0.0.0/0", "10.0.0.0/8, ::/0", "10.0.0.0/8, *", "nginx", "", "10.0.0.1/8"])
def test_trusting_all_addresses_is_refused(networks):
    with pytest.raises(ValueError, match="forwarded_allow_ips"):
        Settings(_env_file=None, auth="off", forwarded_allow_ips=networks)


@pytest.mark.parametrize("trusted", [None, "127.0.0.1"])
def test_forwarded_headers_do_not_evade_the_limit(start, trusted):
    api = start(forwarded_allow_ips=trusted)
    job_id = api.post("/start").json()["job_id"]
    claims = [f"203.0.113.{number}, 192.0.2.1" for number in range(11)]
    codes = [api.get("/jobs", auth=("admin", "x"), headers={"X-Forwarded-For": claim}).status_code for claim in claims]
    assert codes == [401] * 10 + [429]
    elsewhere = api.get(f"/status/{job_id}", headers={"X-Forwarded-For": "192.0.2.2"})
    assert elsewhere.status_code == (429 if trusted is None else 200)
    with httpx.Client(base_url=api.base_url, auth=api.auth) as same:
        assert same.get(f"/status/{job_id}", headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 429
