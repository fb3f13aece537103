"""A customer sees their own orders through a signed link, and nobody sees anything through any other."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pandas as pd
import pytest
from itsdangerous import TimestampSigner, URLSafeSerializer, URLSafeTimedSerializer
from pydantic import SecretStr
from starlette.testclient import TestClient

from classic_cars.errors import SettingsError, StoreDamaged
from classic_cars.serving.embedding import server
from classic_cars.serving.embedding.links import SALT, Refused, customer_of, link
from classic_cars.serving.html import day, money
from classic_cars.settings import Settings
from classic_cars.tables.run_tags import ACCEPT_SHRINK
from classic_cars_tests.command_line import PROGRAM, classic_cars
from classic_cars_tests.landed import RATED, drop, jsonl, rating
from classic_cars_tests.platform import ask, change, order_system_frames, run

KEY, OLD = "k" * 40, "o" * 40
WEEK = timedelta(days=7)
SHA = {"key_derivation": "hmac", "digest_method": hashlib.sha256}


def settings_of(home: Path, *keys: str, **others: Any) -> Settings:
    return Settings(home=home, embed_key=SecretStr(" ".join(keys or (KEY,))), **others)


def token_of(settings: Settings, customer: int, lifetime: timedelta = WEEK, now: datetime | None = None) -> str:
    return link(settings, customer, lifetime, now).rpartition("/")[2]


def client(settings: Settings) -> TestClient:
    return TestClient(server.application(settings), raise_server_exceptions=False)


@pytest.fixture(scope="module")
def settings(published_home: Path) -> Settings:
    """Of a home that is only read."""
    return settings_of(published_home)


@pytest.fixture(scope="module")
def frames(settings: Settings) -> dict[str, pd.DataFrame]:
    return order_system_frames(settings.order_system_url)


@pytest.fixture(scope="module")
def busy(frames: dict[str, pd.DataFrame]) -> int:
    """The customer with most orders among those who have a cancelled one."""
    orders = frames["orders"]
    cancelling = orders[orders.status == "Cancelled"].customerNumber
    return int(orders[orders.customerNumber.isin(cancelling)].customerNumber.value_counts().index[0])


# What is shown -------------------------------------------------------------------------------------------


def test_a_customer_sees_each_order_of_theirs_to_the_cent_and_none_of_others(
    settings: Settings, frames: dict[str, pd.DataFrame], busy: int
) -> None:
    answer = client(settings).get(f"/embed/{token_of(settings, busy)}")
    assert answer.status_code == 200
    text = unescape(answer.text)
    orders = frames["orders"].merge(frames["orderdetails"], on="orderNumber")
    orders["amount"] = [q * p for q, p in zip(orders.quantityOrdered, orders.priceEach, strict=True)]
    own, others = orders[orders.customerNumber == busy], orders[orders.customerNumber != busy]
    shown = {int(each) for each in re.findall(r"Order (\d+) ", text)}
    assert shown == set(own.orderNumber)
    assert not shown & set(others.orderNumber)
    for _, lines in own.groupby("orderNumber"):
        assert money(sum(lines.amount, Decimal(0))) in text
        assert f"Ordered {day(pd.Timestamp(lines.orderDate.iloc[0]).date())}" in text
        for line in lines.itertuples():
            assert money(line.priceEach) in text
    counted = own[own.status != "Cancelled"]
    assert f'<dd class="value">{money(sum(counted.amount, Decimal(0)))}</dd>' in text
    assert f'<dt>Orders</dt><dd class="value">{own.orderNumber.nunique()}</dd>' in text
    shipped = counted[counted.shippedDate.notna()].orderNumber.nunique()
    assert f'<dt>Shipped</dt><dd class="value">{shipped}</dd>' in text


@pytest.mark.exhaustive
def test_an_order_that_was_cancelled_after_it_was_sent_is_cancelled_and_not_shipped(published: Settings) -> None:
    change(
        published.order_system_url,
        "DELETE FROM orderdetails WHERE orderNumber NOT IN (SELECT min(orderNumber) FROM orders WHERE shippedDate > 0)",
        "DELETE FROM orders WHERE orderNumber NOT IN (SELECT orderNumber FROM orderdetails)",
        "UPDATE orders SET status = 'Cancelled'",
    )
    assert run(published, tags={ACCEPT_SHRINK: "source/orders,source/orderdetails"}).success
    ((customer,),) = ask(published, "SELECT DISTINCT customerNumber FROM warehouse.fact_orders")
    text = client(settings_of(published.home)).get(f"/embed/{token_of(settings_of(published.home), customer)}").text
    for name, count in (("Orders", 1), ("Shipped", 0), ("Not shipped yet", 0)):
        assert f'<dt>{name}</dt><dd class="value">{count}</dd>' in text
    assert 'chip stopped">Cancelled<' in text
    assert "chip late" not in text


def test_ratings_are_those_of_the_customer(published: Settings, frames: dict[str, pd.DataFrame], busy: int) -> None:
    products = frames["products"].sort_values("productCode").head(4)
    codes, names = list(products.productCode), list(products.productName)
    other = int(frames["customers"].customerNumber[frames["customers"].customerNumber != busy].min())
    given = [
        rating(busy, codes[0], 2),
        rating(busy, codes[1], 5),
        rating(other, codes[2], 1),
        rating(other, codes[3], 3),
    ]
    drop(published, "ratings.jsonl", jsonl(*given))
    assert run(published, select=RATED).success
    settings = settings_of(published.home)
    text = unescape(client(settings).get(f"/embed/{token_of(settings, busy)}").text)
    _, _, ratings = text.partition("<h2>Ratings</h2>")
    assert sorted(re.findall(r"<li><span>(.*?)</span>.*?(\d) of 5 stars", ratings, re.DOTALL)) == sorted(
        [(names[0], "2"), (names[1], "5")]
    )


def test_what_is_no_business_of_a_customer_is_not_on_the_page(settings: Settings, busy: int) -> None:
    ((own,),) = ask(settings, f"SELECT customerName FROM warehouse.dim_customers WHERE customerNumber = {busy}")
    text = unescape(client(settings).get(f"/embed/{token_of(settings, busy)}").text).replace(own, "")
    query = "SELECT customerName, contactLastName, phone, addressLine1 FROM warehouse.dim_customers"
    for row in ask(settings, query):
        assert not [each for each in row if each and len(each) > 4 and each in text]
    comments = ask(settings, f"SELECT DISTINCT comments FROM warehouse.fact_orders WHERE customerNumber = {busy}")
    assert not any(each and each in text for (each,) in comments)
    (total,) = ask(settings, "SELECT sum(orderAmount) FROM warehouse.fact_orders")
    assert f"{total[0]:,.2f}" not in text


def test_the_page_needs_nothing_from_anywhere_and_says_how_old_it_is(settings: Settings, busy: int) -> None:
    answer = client(settings).get(f"/embed/{token_of(settings, busy)}")
    assert not re.search(r"https?:|<script|<link|<img|<iframe|\burl\(|@import|\bon\w+=|style=", answer.text)
    assert re.search(r"As of .* UTC, .* ago\. Release \d+", answer.text)
    assert answer.headers["content-security-policy"] == (
        f"default-src 'none'; style-src {server.style_source()}; base-uri 'none'; form-action 'none'; sandbox; "
        "frame-ancestors 'self'"
    )
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style is not None
    assert server.style_source() == f"'sha256-{base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()}'"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in answer.headers


def test_the_sites_of_the_settings_may_frame_it(published_home: Path, busy: int) -> None:
    framed = settings_of(published_home, embed_ancestors="'self' https://shop.example.com")
    answer = client(framed).get(f"/embed/{token_of(framed, busy)}")
    assert answer.headers["content-security-policy"].endswith("frame-ancestors 'self' https://shop.example.com")


def test_a_customer_without_orders_is_told_so(settings: Settings, frames: dict[str, pd.DataFrame]) -> None:
    idle = set(frames["customers"].customerNumber) - set(frames["orders"].customerNumber)
    answer = client(settings).get(f"/embed/{token_of(settings, min(idle))}")
    assert answer.status_code == 200
    assert "No orders yet" in answer.text


def test_names_are_text_and_no_markup(published: Settings, monkeypatch: pytest.MonkeyPatch, busy: int) -> None:
    found = server.customer

    def hostile(tables: Any, number: int) -> Any:
        shown = found(tables, number)
        object.__setattr__(shown, "name", "<script>alert(1)</script>\"'&")
        return shown

    monkeypatch.setattr(server, "customer", hostile)
    settings = settings_of(published.home)
    text = client(settings).get(f"/embed/{token_of(settings, busy)}").text
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text


# What is refused -----------------------------------------------------------------------------------------


def signed(payload: Any, *, key: str = KEY, salt: str = SALT, **options: Any) -> str:
    found = URLSafeSerializer(key, salt=salt, signer_kwargs={**SHA, **options}).dumps(payload)
    return found if isinstance(found, str) else found.decode()


def jwt(algorithm: str, key: str) -> str:
    """A JSON Web Token that claims the algorithm, signed with the key where it is one of HMAC's."""
    parts = [{"alg": algorithm, "typ": "JWT"}, {"customer": 103, "until": 4_000_000_000}]
    body = ".".join(base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in parts)
    mac = hmac.new(key.encode(), body.encode(), hashlib.sha256).digest() if key else b""
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def other_spelling(token: str) -> str:
    """The same signature in Base64 with other unused bits."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + letters[letters.index(token[-1]) ^ 1]


def payload_of(customer: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps({"customer": customer, "until": 4_000_000_000}).encode()).decode()


def mutated(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda token: f"/embed/{change(token)}"


FUTURE = {"customer": 103, "until": 4_000_000_000}
#: From a good link's token to a path that must show nothing.
FORGED: dict[str, Callable[[str], str]] = {
    "no signature": mutated(lambda t: t.partition(".")[0]),
    "empty signature": mutated(lambda t: t.partition(".")[0] + "."),
    "only a signature": mutated(lambda t: "." + t.partition(".")[2]),
    "first letter changed": mutated(lambda t: ("A" if t[0] != "A" else "B") + t[1:]),
    "last letter of the payload changed": mutated(lambda t: t.replace(".", "A.")),
    "a letter of the signature changed": mutated(lambda t: t[:-5] + ("A" if t[-5] != "A" else "B") + t[-4:]),
    "signature spelt otherwise": mutated(other_spelling),
    "signature padded": mutated(lambda t: t + "="),
    "signature longer": mutated(lambda t: t + "A"),
    "signature shorter": mutated(lambda t: t[:-1]),
    "signature twice": mutated(lambda t: t + "." + t.partition(".")[2]),
    "upper case": mutated(str.upper),
    "backwards": mutated(lambda t: t[::-1]),
    "token twice": mutated(lambda t: t + t),
    "another customer's payload with this signature": mutated(lambda t: payload_of(112) + "." + t.partition(".")[2]),
    "a later expiry with this signature": mutated(lambda t: payload_of(103) + "." + t.partition(".")[2]),
    "white space": mutated(lambda t: t + "%20"),
    "a line break": mutated(lambda t: t + "%0a"),
    "a null byte": mutated(lambda t: t + "%00"),
    "half of it unicode": mutated(lambda t: "é" * 20 + t[20:]),
    "full-width digits": mutated(lambda t: t.replace(".", "．")),
    "emoji": mutated(lambda _: "🚗" * 30),
    "bad utf-8": mutated(lambda t: "%ff%fe" + t),
    "another key": mutated(lambda _: signed(FUTURE, key="x" * 40)),
    "an empty key": mutated(lambda _: signed(FUTURE, key="")),
    "another salt": mutated(lambda _: signed(FUTURE, salt="classic_cars.export.1")),
    "the library's own salt": mutated(lambda _: signed(FUTURE, salt="itsdangerous")),
    "no salt": mutated(lambda _: signed(FUTURE, salt="")),
    "sha1": mutated(lambda _: signed(FUTURE, digest_method=hashlib.sha1)),
    "sha512": mutated(lambda _: signed(FUTURE, digest_method=hashlib.sha512)),
    "another key derivation": mutated(lambda _: signed(FUTURE, key_derivation="django-concat")),
    "no key derivation": mutated(lambda _: signed(FUTURE, key_derivation="none")),
    "a timed signature": mutated(lambda _: str(URLSafeTimedSerializer(KEY, SALT, signer_kwargs=SHA).dumps(FUTURE))),
    "a signed text": mutated(lambda _: TimestampSigner(KEY, SALT).sign(b"103").decode()),
    "alg none": mutated(lambda _: jwt("none", "")),
    "alg None": mutated(lambda _: jwt("None", "")),
    "alg HS256 with the key": mutated(lambda _: jwt("HS256", KEY)),
    "alg RS256 with the key": mutated(lambda _: jwt("RS256", KEY)),
    "a number": mutated(lambda _: "103"),
    "a huge token": mutated(lambda t: "A" * 60_000 + t),
    "a huge signature": mutated(lambda t: t + "A" * 60_000),
    "a compression bomb": mutated(lambda _: signed("A" * 5_000_000)),
    "sql": mutated(lambda _: "103' OR '1'='1"),
    "sql with a comment": mutated(lambda _: "103;%20DROP%20TABLE%20orders--"),
    "sql after the token": mutated(lambda t: t + "'%20UNION%20SELECT%20*%20FROM%20warehouse.dim_customers--"),
    "markup": mutated(lambda _: "<svg%20onload=alert(1)>"),
    "a template": mutated(lambda _: "{{7*7}}"),
    "a format": mutated(lambda _: "%25s%25s%25n"),
    "null": mutated(lambda _: "null"),
}
ELSEWHERE: dict[str, Callable[[str], str]] = {
    "the root": lambda _: "/",
    "no token": lambda _: "/embed",
    "an empty token": lambda _: "/embed/",
    "a slash after it": lambda t: f"/embed/{t}/",
    "another slash": lambda t: f"/embed//{t}",
    "two slashes first": lambda t: f"//embed/{t}",
    "more path": lambda t: f"/embed/{t}/orders",
    "up and down": lambda t: f"/embed/x/%2e%2e/{t}",
    "out of it": lambda _: "/embed/%2e%2e/%2e%2e/etc/passwd",
    "a slash in disguise": lambda t: f"/embed/{t}%2f..%2f103",
    "a backslash": lambda t: f"/embed\\{t}",
    "another case": lambda t: f"/EMBED/{t}",
    "another customer in the query": lambda t: f"/embed/{t}?customer=112",
    "sql in the query": lambda t: f"/embed/{t}?customer=103%27%20OR%201=1--",
    "a customer by number": lambda _: "/customers/103",
    "the settings": lambda _: "/.env",
    "the documentation": lambda _: "/docs",
    "a static file": lambda _: "/static/page.css",
    "a robot's file": lambda _: "/robots.txt",
}
METHODS = ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "BREW"]
HEADERS = {"X-Original-URL": "/embed/x", "X-HTTP-Method-Override": "GET", "X-Customer": "103", "Cookie": "customer=103"}


def is_refused(answer: Any, neutral: str, caplog: pytest.LogCaptureFixture, status: int, *secrets: str) -> None:
    assert answer.status_code == status
    assert answer.text == neutral
    assert answer.headers["cache-control"] == "no-store"
    assert "frame-ancestors" in answer.headers["content-security-policy"]
    said = [record.getMessage() for record in caplog.records if record.name == server.log.name]
    assert len(said) == 1
    assert said[0].startswith("a request was refused: ")
    assert not any(secret in caplog.text for secret in secrets)


@pytest.fixture(scope="module")
def neutral(settings: Settings) -> str:
    return client(settings).get("/nothing").text


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(server.log, "disabled", False)  # Dagster's migrations disable all loggers that there are
    caplog.set_level(logging.DEBUG, server.log.name)
    return caplog


@pytest.mark.parametrize("how", FORGED)
def test_a_link_that_was_not_handed_out_shows_nothing(
    settings: Settings, neutral: str, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    good = token_of(settings, 103)
    path = FORGED[how](good)
    caplog.clear()
    is_refused(client(settings).get(path), neutral, caplog, 403, path.removeprefix("/embed/"), good, KEY)


@pytest.mark.parametrize("how", ELSEWHERE)
def test_there_is_no_other_page(
    settings: Settings, neutral: str, caplog: pytest.LogCaptureFixture, busy: int, how: str
) -> None:
    good = token_of(settings, busy)
    caplog.clear()
    asked = client(settings)
    # As it is: clients tidy paths up.
    url = asked.base_url.copy_with(raw_path=ELSEWHERE[how](good).encode())
    answer = asked.get(url, headers=HEADERS)
    is_refused(answer, neutral, caplog, 404, good)


@pytest.mark.parametrize("method", METHODS)
def test_pages_are_only_read(
    settings: Settings, neutral: str, caplog: pytest.LogCaptureFixture, busy: int, method: str
) -> None:
    good = token_of(settings, busy)
    caplog.clear()
    is_refused(client(settings).request(method, f"/embed/{good}", headers=HEADERS), neutral, caplog, 404, good)


@pytest.mark.parametrize("ago", [WEEK, WEEK + timedelta(seconds=1), timedelta(days=400)])
def test_an_expired_link_shows_nothing(
    settings: Settings, neutral: str, caplog: pytest.LogCaptureFixture, busy: int, ago: timedelta
) -> None:
    old = token_of(settings, busy, WEEK, datetime.now(UTC) - ago)
    caplog.clear()
    is_refused(client(settings).get(f"/embed/{old}"), neutral, caplog, 403, old)
    assert "expired" in caplog.text


def test_a_link_works_to_its_last_second_and_not_longer(settings: Settings) -> None:
    made = datetime(2026, 1, 1, tzinfo=UTC)
    token = token_of(settings, 103, WEEK, made)
    assert customer_of(settings, token, made + WEEK - timedelta(seconds=1)) == 103
    with pytest.raises(Refused):
        customer_of(settings, token, made + WEEK)


@pytest.mark.parametrize("number", [999_999, 2**31 - 1])
def test_a_customer_who_is_not_in_the_release_gets_the_same_page(
    settings: Settings, neutral: str, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    is_refused(client(settings).get(f"/embed/{token_of(settings, number)}"), neutral, caplog, 404, str(number))


@pytest.mark.parametrize(
    "payload",
    [
        *(FUTURE | {"customer": each} for each in ("103 OR 1=1", None, 0, 2**31, 2**62, 2**70)),
        *([103], "103", {"customer": 103}, 7),
    ],
)
def test_a_payload_of_another_form_is_no_link_even_when_it_is_signed(
    settings: Settings, neutral: str, caplog: pytest.LogCaptureFixture, payload: Any
) -> None:
    is_refused(client(settings).get(f"/embed/{signed(payload)}"), neutral, caplog, 403)


# Keys ----------------------------------------------------------------------------------------------------


def test_keys_are_rotated_without_breaking_links(published_home: Path) -> None:
    before, during, after = (settings_of(published_home, *keys) for keys in ((OLD,), (KEY, OLD), (KEY,)))
    old, new = token_of(before, 103), token_of(during, 103)
    assert customer_of(during, old) == customer_of(during, new) == customer_of(after, new) == 103
    for settings, token in ((before, new), (after, old)):
        with pytest.raises(Refused):
            customer_of(settings, token)


def test_without_a_key_there_are_no_links(published_home: Path) -> None:
    keyless = Settings(home=published_home)
    with pytest.raises(SettingsError, match="CLASSIC_CARS_EMBED_KEY is not set"):
        link(keyless, 103, WEEK)
    done = classic_cars(published_home, "embed", "serve")
    assert done.returncode == 1
    assert "CLASSIC_CARS_EMBED_KEY is not set" in done.stderr


@pytest.mark.parametrize(
    ("customer", "lifetime"),
    [
        *((0, WEEK), (-1, WEEK), (103, timedelta()), (103, -WEEK), (103, timedelta(days=91)), (2**31, WEEK)),
        *(("103", WEEK), (True, WEEK)),
    ],
)
def test_no_link_for_nobody_and_none_for_ever(settings: Settings, customer: Any, lifetime: timedelta) -> None:
    with pytest.raises(ValueError, match="a lifetime of at most 90 days"):
        link(settings, customer, lifetime)


# When there is nothing to show ---------------------------------------------------------------------------


def test_before_the_first_release_one_is_asked_to_come_back(tmp_path: Path) -> None:
    answer = client(settings_of(tmp_path)).get(f"/embed/{token_of(settings_of(tmp_path), 103)}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "reload the page in a minute" in answer.text


@pytest.mark.parametrize("error", [StoreDamaged("warehouse/fact_orders: damaged"), RuntimeError("Ann Smith, 103")])
def test_a_broken_store_is_no_stack_trace(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def broken(*_: Any) -> None:
        raise error

    monkeypatch.setattr(server, "customer", broken)
    answer = client(settings).get(f"/embed/{token_of(settings, 103)}")
    assert answer.status_code == 503
    assert "damaged" not in answer.text
    assert "Ann Smith" not in answer.text + caplog.text


def test_a_number_that_no_customer_can_have_is_named_with_those_they_can(published_home: Path) -> None:
    done = classic_cars(published_home, "embed", "--customer", str(2**31), CLASSIC_CARS_EMBED_KEY=KEY)
    assert (done.returncode, "2147483648 is not in the range 1<=x<=2147483647" in done.stderr) == (2, True)


# The command line, and a real server ---------------------------------------------------------------------


def test_the_command_prints_a_link_and_the_server_answers_it(published_home: Path, busy: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {"CLASSIC_CARS_EMBED_KEY": KEY, "CLASSIC_CARS_EMBED_URL": f"http://127.0.0.1:{port}"}
    done = classic_cars(published_home, "embed", "--customer", str(busy), "--days", "1", **environment)
    assert done.returncode == 0, done.stderr
    address = done.stdout.strip()
    assert address.startswith(f"http://127.0.0.1:{port}/embed/")
    unknown = classic_cars(published_home, "embed", "--customer", "999999", **environment)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    process = subprocess.Popen(
        [PROGRAM, "embed", "serve", "--port", str(port)],
        env={**os.environ, "CLASSIC_CARS_HOME": str(published_home), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        answer = _asked(address)
        assert answer.status_code == 200
        assert f"Customer {busy}" in answer.text
        assert "server" not in answer.headers
        assert httpx2.get(address[:-1] + "~").status_code == 403
        assert httpx2.get(f"http://127.0.0.1:{port}/embed/{'A' * 60_000}").status_code in (400, 403, 431)
    finally:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[0]
    assert "a request was refused: not signed by this platform" in said
    assert address.rpartition("/")[2] not in said
    assert str(busy) not in said.replace(str(port), "")


def _asked(address: str) -> httpx2.Response:
    deadline = time.monotonic() + 120
    while True:
        try:
            return httpx2.get(address, timeout=60)
        except httpx2.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.3)
