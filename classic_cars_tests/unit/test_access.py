"""Where pages may be served, and to whom."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
from pydantic import SecretStr

from classic_cars.errors import SettingsError
from classic_cars.serving.access import admitted, may_listen
from classic_cars.settings import Settings, load_settings

PASSWORD = "a long passphrase, über 12"


def settings(*, header: str = "", password: str = "") -> Settings:
    return Settings(home=Path("nowhere"), proxy_header=header, password=SecretStr(password))


def basic(text: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(text.encode()).decode()}"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    may_listen(host, settings())


OTHERS = ["0.0.0.0", "::", "", "192.168.1.5", "example.com", "localhost.example.com", "127.0.0.1.nip.io", "127.1"]


@pytest.mark.parametrize("host", OTHERS)
def test_elsewhere_nobody_is_served_who_is_not_asked(host: str) -> None:
    with pytest.raises(SettingsError, match=r"CLASSIC_CARS_PROXY_HEADER .* or CLASSIC_CARS_PASSWORD"):
        may_listen(host, settings())
    may_listen(host, settings(header="X-Forwarded-Email"))
    may_listen(host, settings(password=PASSWORD))


def test_the_proxy_names_who_asks() -> None:
    behind = settings(header="X-Forwarded-Email")
    assert admitted(behind, {"x-forwarded-EMAIL": "ann@example.com"})
    for headers in ({}, {"X-Forwarded-Email": ""}, {"X-Forwarded-Email": "  "}, {"X-Forwarded-User": "ann"}):
        assert not admitted(behind, headers)


def test_the_password_is_typed_or_sent() -> None:
    closed = settings(password=PASSWORD)
    assert admitted(closed, {}, PASSWORD)
    assert admitted(closed, basic(f"anybody:{PASSWORD}"))
    wrong = ["", PASSWORD[:-1], PASSWORD + "x", PASSWORD.upper(), "\udcff", "x" * 100_000]
    assert not any(admitted(closed, {}, each) for each in wrong)
    for headers in (
        {},
        basic(PASSWORD),
        basic("anybody:"),
        {"Authorization": "Basic ???"},
        {"Authorization": "Basic /w=="},
        {"Authorization": f"Bearer {PASSWORD}"},
        {"Authorization": PASSWORD},
    ):
        assert not admitted(closed, headers)


def test_both_are_needed_where_both_are_set() -> None:
    both = settings(header="X-Forwarded-Email", password=PASSWORD)
    named, proven = {"X-Forwarded-Email": "ann@example.com"}, basic(f"proxy:{PASSWORD}")
    assert admitted(both, {**named, **proven})
    assert not admitted(both, named)
    assert not admitted(both, proven)


def test_on_loopback_without_either_everybody_is_admitted() -> None:
    assert admitted(settings(), {})


WRONG = {
    "PROXY_HEADER": ["X Forwarded", "X-Email:", "X-Email\nSet-Cookie", "-x"],
    "PASSWORD": ["short", "eleven char"],
    "EMBED_KEY": ["short", f"{'k' * 32} short"],
    "EMBED_URL": [
        "reports.example.com",
        "ftp://a",
        "https://a/?x=1",
        "https://user:pw@a",
        "https://a/#b",
        "https://a b",
    ],
    "EMBED_ANCESTORS": [
        "*",
        "'none' https://a.example",
        "https://a.example; script-src *",
        "https://a,https://b",
        "a.b",
    ],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_an_error_that_shows_no_secret(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"CLASSIC_CARS_{name}", value)
    with pytest.raises(SettingsError, match=f"CLASSIC_CARS_{name}: expected ") as error:
        load_settings()
    assert name not in ("PASSWORD", "EMBED_KEY") or value not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EMBED_URL", "https://reports.example.com:8443/shop/"),
        ("EMBED_ANCESTORS", "'self'  https://*.example.com http://localhost:8080"),
        ("EMBED_ANCESTORS", "'none'"),
        ("EMBED_KEY", f"{'n' * 43}  {'o' * 32}"),
    ],
)
def test_what_is_right_is_accepted(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"CLASSIC_CARS_{name}", value)
    load_settings()
