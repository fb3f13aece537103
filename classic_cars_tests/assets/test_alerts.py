"""Incidents of real runs, notified once to a real mail server and a real webhook, and once more when they are over."""

from __future__ import annotations

import json
import logging
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster_shared.error import SerializableErrorInfo
from pydantic import SecretStr

from classic_cars.assets import ALL_TABLES
from classic_cars.automation import order_system_sensor
from classic_cars.automation.alerts import observe as seeing
from classic_cars.automation.alerts import sensor
from classic_cars.automation.alerts.deliver import (
    ATTEMPT_SECONDS,
    GIVE_UP_SECONDS,
    TICK_SECONDS,
    Notification,
    addresses,
    deliver,
    send_with_apprise,
    unreadable,
)
from classic_cars.automation.alerts.incidents import Incident, Links, Message, Observation, begun, news
from classic_cars.automation.alerts.observe import observe, unfinished
from classic_cars.automation.alerts.sensor import AlertState, sender, tick
from classic_cars.automation.changes import OrderSystemPollState
from classic_cars.automation.report import Report, gathered
from classic_cars.definitions import build_defs
from classic_cars.errors import SettingsError, SourceError, SourceUnreachable
from classic_cars.instance import open_instance
from classic_cars.serving.completeness import Balance, MonthBalance, Tally
from classic_cars.serving.incident import incident_report
from classic_cars.serving.status import Outcome, TableStatus
from classic_cars.settings import Settings
from classic_cars.sources.order_system import open_order_system
from classic_cars.stores import open_store
from classic_cars.tables.live_agreement import CHECK
from classic_cars_shop import api as simulator
from classic_cars_tests.command_line import classic_cars
from classic_cars_tests.platform import SALES, change, order_system_frames, run
from classic_cars_tests.receivers import Webhook, mail_server, webhook

NOW = 1_700_000_000.0
LINKS = Links("http://dagster.example", "https://example.com/operations.md", "production")
BROKEN = Incident(
    "check:a/b/keys", "check", "a/b: check keys failed", NOW - 600, "ERROR", ("team:x",), "run1", {"rows": 7}
)


BAD_LINES = "check:staging/orderdetails/quarantine"


# Pure --------------------------------------------------------------------------------------------------


def test_an_incident_is_told_once_while_it_lasts_and_once_when_it_is_over() -> None:
    still_open, messages = news({}, Observation([BROKEN]), NOW, LINKS)
    assert [each.title for each in messages] == ["[Classic Cars production] ERROR: a/b: check keys failed"]
    for _ in range(3):
        still_open, messages = news(still_open, Observation([replace(BROKEN, run_id="a retry")]), NOW + 60, LINKS)
        assert messages == []
    still_open, messages = news(still_open, Observation([]), NOW + 120, LINKS)
    assert still_open == {}
    assert [each.title for each in messages] == [
        "[Classic Cars production] RESOLVED after 12 minutes: a/b: check keys failed"
    ]
    assert messages[0].body.startswith("Resolved, nothing is left to do: a/b: check keys failed\nLasted from ")
    assert messages[0].level == "success"


def test_a_warning_that_becomes_an_error_is_told_again() -> None:
    warning, error = replace(BROKEN, severity="WARN"), replace(BROKEN, since=NOW, run_id="run2")
    still_open, _ = news({}, Observation([warning]), NOW - 600, LINKS)
    still_open, messages = news(still_open, Observation([error]), NOW, LINKS)
    assert [(each.title, each.level) for each in messages] == [
        ("[Classic Cars production] ERROR: a/b: check keys failed", "failure")
    ]
    assert still_open == {BROKEN.key: replace(error, since=BROKEN.since)}
    for each in (error, warning, error, warning):
        still_open, messages = news(still_open, Observation([each]), NOW + 60, LINKS)
        assert messages == []


def test_what_is_being_tried_again_is_neither_over_nor_new() -> None:
    still_open, messages = news({BROKEN.key: BROKEN}, Observation([], frozenset({BROKEN.key})), NOW, LINKS)
    assert (list(still_open), messages) == ([BROKEN.key], [])
    assert news({}, Observation([], frozenset({BROKEN.key})), NOW, LINKS) == ({}, [])


def test_a_message_says_what_since_when_how_many_whose_and_where() -> None:
    _, (message,) = news({}, Observation([BROKEN]), NOW, LINKS)
    assert message.body.splitlines() == [
        "a/b: check keys failed",
        "rows: 7",
        "Since: 2023-11-14 22:03:20 UTC (10 minutes)",
        "Owner: team:x",
        "Run: http://dagster.example/runs/run1",
        "Timeline: classic-cars incident run1",
        "What to do: https://example.com/operations.md#a-check-failed",
    ]


def test_addresses_are_separated_by_spaces_or_commas() -> None:
    assert list(addresses("json://a/x,y  mailto://b?to=c,d@e, slack://f").values()) == [
        "json://a/x,y",
        "mailto://b?to=c,d@e",
        "slack://f",
    ]
    assert unreadable("json://127.0.0.1/x nonsense://secret") == ["nonsense://..."]


# Delivery ----------------------------------------------------------------------------------------------


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as opened:
        yield opened


def settings_for(tmp_path: Path, *urls: str) -> Settings:
    return Settings(home=tmp_path / "home", alert_urls=SecretStr(" ".join(urls)))


def test_a_mail_and_a_webhook_arrive(tmp_path: Path, hook: Webhook) -> None:
    with mail_server() as mailbox:
        desk, said = tick(AlertState(), Observation([BROKEN]), settings_for(tmp_path, mailbox.url, hook.url), NOW)
        assert said == "1 incident open, 2 messages delivered, 0 to be tried again"
        ((subject, text),) = mailbox.mails
    assert subject == "[Classic Cars development] ERROR: a/b: check keys failed"
    assert "rows: 7" in text
    assert hook.titles == [subject]
    assert hook.posted[0]["type"] == "failure"
    assert desk.outbox == ()


def test_a_mail_has_lines_and_links_as_text_and_as_html(tmp_path: Path) -> None:
    settings = settings_for(tmp_path).model_copy(update={"runbook_url": "https://example.com/operations.md"})
    with mail_server() as mailbox:
        tick(
            AlertState(),
            Observation([replace(BROKEN, details="1 < 2 & 3")]),
            settings.model_copy(update={"alert_urls": SecretStr(mailbox.url)}),
            NOW,
        )
        ((_, text),), (page,) = mailbox.mails, mailbox.html
    lines = ["a/b: check keys failed", "1 < 2 & 3", "rows: 7", "Owner: team:x", "Run: http://127.0.0.1:3000/runs/run1"]
    assert set(lines) <= {line.strip() for line in text.splitlines()}
    assert "1 &lt; 2 &amp; 3<br/>" in page
    assert '<a href="http://127.0.0.1:3000/runs/run1">http://127.0.0.1:3000/runs/run1</a><br/>' in page
    assert '<a href="https://example.com/operations.md#a-check-failed">' in page


def test_a_webhook_gets_the_severity(tmp_path: Path, hook: Webhook) -> None:
    settings = settings_for(tmp_path, hook.url)
    warning = replace(BROKEN, key="other", severity="WARN")
    state, _ = tick(AlertState(), Observation([BROKEN, warning]), settings, NOW)
    tick(state, Observation([warning]), settings, NOW + 60)
    assert [each["type"] for each in hook.posted] == ["failure", "warning", "success"]
    assert all("<br/>" not in each["message"] and "\n" in each["message"] for each in hook.posted)


def test_the_level_of_a_message_that_waited_is_not_lost() -> None:
    waiting = AlertState(outbox=(Notification("a", "t", "b", NOW, level="failure"),))
    assert AlertState.load(waiting.dump()) == waiting


def test_doctor_proves_every_address_and_shows_no_password(tmp_path: Path, hook: Webhook) -> None:
    def told(*urls: str) -> tuple[int, list[str]]:
        done = classic_cars(tmp_path, "doctor", "--send-test-alert", CLASSIC_CARS_ALERT_URLS=" ".join(urls))
        assert "s3cret" not in done.stdout + done.stderr
        return done.returncode, [line.split(";")[0] for line in done.stdout.splitlines()]

    with mail_server() as mailbox, webhook() as down:
        down.answer = 401
        assert told(mailbox.url, down.url, hook.url, "nonsense://s3cret") == (
            1,
            [
                "ok      mailto://... (1 of 4): accepted the test alert",
                "problem json://... (2 of 4): did not accept the test alert",
                "ok      json://... (3 of 4): accepted the test alert",
                "problem nonsense://... (4 of 4): did not accept the test alert",
            ],
        )
        assert [subject for subject, _ in mailbox.mails] == ["[Classic Cars development] test alert"]
    assert hook.titles == ["[Classic Cars development] test alert"]
    assert told(hook.url) == (0, ["ok      json://... (1 of 1): accepted the test alert"])
    assert told() == (1, ["problem alerts: nobody is notified"])


def test_a_server_that_is_down_gets_its_message_later_and_others_get_it_once(
    tmp_path: Path, hook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    with webhook() as down:
        down.answer = 503
        settings = settings_for(tmp_path, hook.url, down.url)
        with caplog.at_level(logging.DEBUG):
            desk, said = tick(AlertState(), Observation([BROKEN]), settings, NOW)
            assert said == "1 incident open, 1 message delivered, 1 to be tried again"
            desk = AlertState.load(desk.dump())
            desk, _ = tick(desk, Observation([BROKEN]), settings, NOW + 5)
            assert down.attempts == 1  # not due yet
            desk, _ = tick(desk, Observation([BROKEN]), settings, NOW + 31)
            assert down.attempts == 2
            down.answer = 200
            desk, _ = tick(desk, Observation([BROKEN]), settings, NOW + 120)
        assert (down.titles, hook.titles) == (hook.titles, ["[Classic Cars development] ERROR: a/b: check keys failed"])
        assert desk.outbox == ()
    assert "json://..." in caplog.text
    assert "s3cret" not in caplog.text + desk.dump()


def test_an_address_that_was_mended_or_came_later_is_told_what_is_open(tmp_path: Path, hook: Webhook) -> None:
    nobody, wrong = settings_for(tmp_path), settings_for(tmp_path, "json://nobody:wrong@127.0.0.1:1")
    other = replace(BROKEN, key="check:c/d/keys", what="c/d: check keys failed")
    desk, _ = tick(AlertState(), Observation([BROKEN]), nobody, NOW)
    desk, said = tick(AlertState.load(desk.dump()), Observation([BROKEN]), wrong, NOW + 10, lambda *_: False)
    assert said.endswith("0 messages delivered, 1 to be tried again")
    desk, _ = tick(
        AlertState.load(desk.dump()), Observation([BROKEN, other]), settings_for(tmp_path, hook.url), NOW + 20
    )
    assert sorted(hook.titles) == [
        f"[Classic Cars development] ERROR: {each}: check keys failed" for each in ("a/b", "c/d")
    ]
    desk, _ = tick(desk, Observation([BROKEN, other]), settings_for(tmp_path, hook.url), NOW + 30)
    assert len(hook.titles) == 2
    # Of a cursor of before nobody knows whom it told.
    before = {key: each for key, each in json.loads(desk.dump()).items() if key != "told"}
    tick(AlertState.load(json.dumps(before)), Observation([BROKEN, other]), settings_for(tmp_path, hook.url), NOW + 40)
    assert len(hook.titles) == 2


def test_a_message_that_nobody_takes_is_given_up_after_a_day(caplog: pytest.LogCaptureFixture) -> None:
    (address,) = addresses("json://nobody")
    letter = Notification(address, "title", "body", NOW)
    assert deliver([letter], "json://nobody", NOW + GIVE_UP_SECONDS + 1, lambda *_: False) == ([], 0)
    assert "given up" in caplog.text


def test_what_is_to_be_tried_again_waits_but_not_for_a_time_that_a_wrong_clock_had_shown():
    (address,) = addresses("json://one")
    for wait, delivered in ((900.0, 0), (86_400.0, 1)):
        waiting = Notification(address, "t", "b", NOW, attempts=1, not_before=NOW + wait)
        assert deliver([waiting], "json://one", NOW, lambda *_: True)[1] == delivered


def test_an_address_that_does_not_come_to_an_end_keeps_no_other_one_from_its_message(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("classic_cars.automation.alerts.deliver.ATTEMPT_SECONDS", 0.2)
    urls, over, got = "json://slow json://good", threading.Event(), []

    def send(url: str, message: Message) -> bool:
        if url == "json://slow":
            over.wait(30)
        got.append(url)
        return True

    assert TICK_SECONDS + ATTEMPT_SECONDS <= 45  # beside what is looked at first: Dagster ends a tick after 60
    started = time.monotonic()
    outbox = [Notification(each, "t", "b", NOW) for each in addresses(urls)]
    left, delivered = deliver(outbox, urls, NOW, send)
    assert time.monotonic() - started < 10
    assert ([each.attempts for each in left], delivered, got) == ([1], 1, ["json://good"])
    over.set()


def test_a_library_that_raises_breaks_nothing_and_shows_no_password(caplog: pytest.LogCaptureFixture) -> None:
    def breaks(url: str, _message: Message) -> bool:
        raise OSError(f"no answer of {url}")

    url = "json://somebody:s3cret@nobody"
    (address,) = addresses(url)
    left, delivered = deliver([Notification(address, "t", "b", NOW)], url, NOW, breaks)
    assert (len(left), delivered) == (1, 0)
    assert "alert to json://...: OSError" in caplog.text
    assert "s3cret" not in caplog.text


def test_without_addresses_incidents_are_still_followed(tmp_path: Path) -> None:
    desk, said = tick(AlertState(), Observation([BROKEN]), Settings(home=tmp_path), NOW)
    assert said == "1 incident open; CLASSIC_CARS_ALERT_URLS is not set: nobody is notified"
    assert list(desk.incidents) == [BROKEN.key]


def test_a_report_is_sent(tmp_path: Path, hook: Webhook) -> None:
    sender(settings_for(tmp_path, hook.url))("morning report: all is well", "- 26 tables", "info", None)
    assert hook.posted[0]["title"] == "[Classic Cars development] morning report: all is well"


def test_a_report_takes_its_file_along_as_mail_and_as_webhook(tmp_path: Path, hook: Webhook) -> None:
    page = tmp_path / "2005-05.html"
    page.write_text("<h1>Sales in May 2005</h1>")
    with mail_server() as mailbox:
        sender(settings_for(tmp_path, f"{mailbox.url} {hook.url}"))("morning report", "- 26 tables", "info", page)
    assert mailbox.attachments == [("2005-05.html", "<h1>Sales in May 2005</h1>")]
    (posted,) = hook.posted
    assert b64decode(posted["attachments"][0]["base64"]) == page.read_bytes()


def test_a_report_whose_file_nobody_takes_is_sent_without_it(
    tmp_path: Path, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses_files(url: str, message: Message) -> bool:
        return not message.attachment and send_with_apprise(url, message)

    monkeypatch.setattr(sensor, "send_with_apprise", refuses_files)
    page = tmp_path / "2005-05.html"
    page.write_text("page")
    for attachment in (page, tmp_path / "gone.html"):
        sender(settings_for(tmp_path, hook.url))("morning report", "- 26 tables", "info", attachment)
    assert [each["message"] for each in hook.posted] == 2 * ["- 26 tables"]


# The morning report ------------------------------------------------------------------------------------

WELL = TableStatus("a/b", 7, None, {"keys": Outcome.PASSED})
BALANCED = Balance("order lines", (MonthBalance("2004-01", published=Tally(3), source=Tally(3)),))
LACKING = Balance("payments", (MonthBalance("2004-01", published=Tally(2), source=Tally(3)),))


MORNING = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)


def report(**facts: Any) -> Report:
    """A report of a morning when all is well, but for these facts."""
    well: dict[str, Any] = {
        **{"now": MORNING, "trouble": None, "proven": MORNING - timedelta(hours=3)},
        **{"latest_day": date(2026, 3, 1), "orders": 1, "booked": Decimal(7), "months": []},
        **{"tables": [WELL], "quarantined": {}, "balances": [BALANCED]},
    }
    return Report(**(well | facts))


@pytest.mark.parametrize(
    ("facts", "title", "line"),
    [
        ({}, "all is well", "- 0 rows in quarantine"),
        ({}, "all is well", "- Order system: can be read now\n- Last proven equal to the live order system: "),
        (
            {},
            "all is well",
            "live order system: 2026-03-02 04:00 UTC, 3 hours ago\n- Newest sale: 2026-03-01, 31 hours ago; ",
        ),
        (
            {"trouble": SourceUnreachable("nobody answers at shop:5432")},
            "order system: unreachable",
            "- ORDER SYSTEM unreachable: nobody answers at shop:5432",
        ),
        (
            {"proven": None},
            "not proven equal to the order system",
            "- NEVER PROVEN equal to the live order system: `agrees_with_order_system` of warehouse/fact",
        ),
        ({"proven": MORNING - timedelta(days=3)}, "not proven equal to the order system for 3 days", "UTC, 3 days ago"),
        (
            {"latest_day": date(2024, 10, 1)},
            "all is well",
            "- Newest sale: 2024-10-01, 517 days ago; 1 order that day, 7.00",
        ),
        (
            {"ahead": 2, "last_day": date(2099, 5, 1)},
            "all is well",
            "31 hours ago; 1 order that day, 7.00 booked\n- 2 orders are dated ahead, up to 2099-05-01",
        ),
        ({"ahead": 1, "last_day": date(2099, 5, 1), "latest_day": None}, "all is well", "- 1 order is dated ahead, up"),
        ({"quarantined": {"orders": 1}}, "1 row quarantined", "- 1 row in quarantine: orders 1"),
        (
            {"quarantined": {"orders": 1, "payments": 1_200}},
            "1,201 rows quarantined",
            "- 1,201 rows in quarantine: orders 1, payments 1,200",
        ),
        ({"balances": [BALANCED, LACKING]}, "payments not balanced", f"- {LACKING.line()}"),
        ({"contradictions": ["1 but 2"]}, "tables contradict each other", "- CONTRADICTION 1 but 2"),
        (
            {"tables": [replace(WELL, failure="held by a shell (PID 7)")]},
            "1 table could not be made",
            "- FAILED a/b: the latest attempt",
        ),
        ({"tables": [replace(WELL, rows=None)]}, "1 table never published", "- never published: a/b"),
        (
            {"tables": [replace(WELL, checks={"keys": Outcome.WARNING, "schema": Outcome.PASSED})]},
            "1 warning",
            "- 1 table, 1 of 2 checks passed\n- WARNING a/b: keys",
        ),
        (
            {
                "tables": [replace(WELL, checks={"keys": Outcome.FAILED, "schema": Outcome.WARNING})],
                "quarantined": {"b": 2},
            },
            "1 check failed, 2 rows quarantined, 1 warning",
            "- 1 table, 0 of 2 checks passed\n- FAILED a/b: keys\n- WARNING a/b: schema",
        ),
    ],
)
def test_the_title_of_a_report_says_what_is_wrong(facts: dict[str, Any], title: str, line: str) -> None:
    made = report(**facts)
    assert made.title == f"morning report: {title}"
    assert line in made.text
    assert (made.level == "success") is (title == "all is well")


# What is seen in real runs -----------------------------------------------------------------------------


@pytest.fixture
def instance(shop_settings: Settings) -> Iterator[dg.DagsterInstance]:
    with open_instance(shop_settings) as opened:
        yield opened


@pytest.fixture
def shop_settings(published: Settings) -> Settings:
    """A shop and its published tables, of which Dagster knows nothing yet."""
    return published


def seen(settings: Settings, instance: dg.DagsterInstance) -> Observation:
    repository: Any = build_defs(settings).get_repository_def()
    specs = [spec for each in repository.assets_defs_by_key.values() for spec in each.specs]
    return observe(instance, specs, repository.asset_graph.asset_check_keys, ["maintenance"], time.time())


def test_a_failed_check_is_seen_as_itself_told_without_personal_data_and_over_when_mended(
    shop_settings: Settings, instance: dg.DagsterInstance
) -> None:
    # What one answer is made of, and nothing else.
    read = ("orders", "orderdetails", "customers")
    made = [f"{layer}/{name}" for layer in ("source", "staging") for name in read]
    made += [f"warehouse/{name}" for name in ("dim_customers", "dim_locations", "fact_orders")]
    made += ["analytics/monthly_sales_by_customer", "analytics/sales_by_country"]
    run(shop_settings, instance=instance, select=made)
    assert seen(shop_settings, instance).incidents == []
    url = shop_settings.order_system_url
    change(url, "UPDATE orderdetails SET quantityOrdered = -quantityOrdered WHERE orderNumber % 5 = 0")
    broken = run(shop_settings, instance=instance, select=made)
    assert not broken.success
    found = seen(shop_settings, instance)
    assert [each.key for each in found.incidents] == ["check:staging/orderdetails/quarantine"]
    (incident,) = found.incidents
    assert incident.numbers["rows quarantined"] > 0
    assert incident.owners == ("team:data-engineering",)
    assert incident.run_id == broken.result.run_id

    told = incident_report(instance, broken.result.run_id[:8])
    assert told.first is not None
    assert "staging/orderdetails: check quarantine" in told.first.what
    how = {each.table: each.how for each in told.affected}
    assert how["staging/orderdetails"] == "failed"
    assert how["warehouse/fact_orders"] == how["analytics/sales_by_country"] == "not made"
    assert "warehouse/dim_customers" not in how
    assert all(each.materialized and each.rows is not None for each in told.affected)

    change(url, "UPDATE orderdetails SET quantityOrdered = abs(quantityOrdered)")
    run(shop_settings, instance=instance, select=made)
    assert seen(shop_settings, instance).incidents == []


@pytest.mark.exhaustive
def test_what_passed_for_another_month_ends_no_incident(shop_settings: Settings, instance: dg.DagsterInstance) -> None:
    made, key = [f"{layer}/{name}" for layer in ("source", "staging") for name in ("orders", "orderdetails")], BAD_LINES
    assert run(shop_settings, instance=instance, select=made).success
    change(
        shop_settings.order_system_url,
        "UPDATE orderdetails SET quantityOrdered = -quantityOrdered WHERE orderNumber IN "
        "(SELECT orderNumber FROM orders WHERE orderDate LIKE '2003-03%')",
    )
    assert not run(shop_settings, instance=instance, select=made, months=("2003-03", "2003-03")).success
    assert [each.key for each in seen(shop_settings, instance).incidents] == [key]
    assert run(shop_settings, instance=instance, select=made, months=("2003-05", "2003-05")).success
    assert seen(shop_settings, instance).incidents == []
    graph = build_defs(shop_settings).get_repository_def().asset_graph
    assert unfinished(instance, graph, [key, "stale:staging/orders", "sensor:alerts"]) == {key}
    change(shop_settings.order_system_url, "UPDATE orderdetails SET quantityOrdered = abs(quantityOrdered)")
    assert run(shop_settings, instance=instance, select=made, months=("2003-03", "2003-03")).success
    assert unfinished(instance, graph, [key]) == set()


def reported(settings: Settings, instance: dg.DagsterInstance, now: datetime | None = None) -> Report:
    store = open_store(settings, read_only=True)
    try:
        order_system = open_order_system(settings.order_system_url)
        contracts = [each.contract for each in ALL_TABLES]
        return gathered(store, contracts, instance, order_system, now or datetime.now(UTC))
    finally:
        store.release()


def prove(instance: dg.DagsterInstance, *, passed: bool = True) -> None:
    """The nightly reconciliation, with this result."""
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            check_name=CHECK.name,
            asset_key=CHECK.asset_key,
            passed=passed,
            metadata={},
            severity=dg.AssetCheckSeverity.ERROR,
        )
    )


@pytest.mark.exhaustive
def test_a_report_says_what_is_quarantined_and_what_contradicts_itself(
    shop_settings: Settings, instance: dg.DagsterInstance
) -> None:
    url = shop_settings.order_system_url
    run(shop_settings, instance=instance, select=SALES)
    lines = order_system_frames(url)["orderdetails"]
    booked = sum(lines["quantityOrdered"] * lines["priceEach"])
    well = reported(shop_settings, instance)
    assert well.title == "morning report: not proven equal to the order system"
    prove(instance)
    shop = Path(shop_settings.order_system_url.removeprefix("sqlite:///"))
    shop.rename(shop.with_suffix(".away"))
    away = reported(shop_settings, instance)
    assert (away.title, away.level) == ("morning report: order system: not there", "failure")
    shop.with_suffix(".away").rename(shop)
    well = reported(shop_settings, instance)
    assert (well.title, well.level) == ("morning report: all is well", "success")
    assert f"- Newest sale: {max(order_system_frames(url)['orders']['orderDate'])}, " in well.text
    assert f"- order lines: {len(lines):,} published, {booked:,.2f}; quarantined 0, 0.00; source" in well.text

    bad = lines.iloc[0]
    change(
        url,
        "UPDATE orderdetails SET quantityOrdered = -1 "
        f"WHERE orderNumber = {bad.orderNumber} AND productCode = '{bad.productCode}'",
    )
    run(shop_settings, instance=instance, select=SALES)
    quarantined = reported(shop_settings, instance)
    kept = booked - bad["quantityOrdered"] * bad["priceEach"]
    assert quarantined.title.startswith("morning report: 1 row quarantined")
    balance = f"{len(lines) - 1:,} published, {kept:,.2f}; quarantined 1, {-bad['priceEach']:,.2f} (in 2003"
    assert f"- order lines: {balance}" in quarantined.text
    assert "- 1 row in quarantine: orderdetails 1" in quarantined.text

    change(url, "UPDATE orderdetails SET quantityOrdered = quantityOrdered + 3")
    made = ["source/orderdetails", "staging/orderdetails", "warehouse/fact_orders"]
    assert run(shop_settings, instance=instance, select=made).success
    contradicting = reported(shop_settings, instance)
    assert "tables contradict each other" in contradicting.title
    assert f"bookedAmount {kept:,.2f}" in contradicting.text
    assert "- CONTRADICTION " in contradicting.text


def test_orders_dated_ahead_do_not_hide_how_old_the_sales_are(
    shop_settings: Settings, instance: dg.DagsterInstance
) -> None:
    days = order_system_frames(shop_settings.order_system_url)["orders"]["orderDate"].astype(str)
    newest = max(day for day in days if day < "2003-05")
    told = reported(shop_settings, instance, datetime(2003, 4, 30, 7, tzinfo=UTC))
    assert f"- Newest sale: {newest}, " in told.text
    assert f"- {sum(days > '2003-04-30')} orders are dated ahead, up to {max(days)}" in told.text
    assert [f"{month:%Y-%m}" for month, _ in told.months] == ["2003-04", "2003-03"]


@pytest.mark.exhaustive
def test_a_report_fails_the_night_that_the_order_system_differed(
    shop_settings: Settings, instance: dg.DagsterInstance
) -> None:
    """The nightly reconciliation belongs to no run of the tables, and is in the report all the same."""
    run(shop_settings, instance=instance)
    prove(instance)
    prove(instance, passed=False)
    assert reported(shop_settings, instance).title == "morning report: 1 check failed"


def test_a_warning_in_a_run_that_succeeded_is_seen(shop_settings: Settings, instance: dg.DagsterInstance) -> None:
    change(shop_settings.order_system_url, "ALTER TABLE offices ADD COLUMN colour TEXT")
    assert run(shop_settings, instance=instance, select=["source/offices"]).success
    (incident,) = seen(shop_settings, instance).incidents
    assert (incident.key, incident.severity) == ("check:source/offices/schema", "WARN")


def test_an_order_system_that_is_gone_is_one_incident_however_often_it_is_tried(
    shop_settings: Settings, instance: dg.DagsterInstance
) -> None:
    read = ["source/customers", "source/orders"]
    run(shop_settings, instance=instance, select=read)
    shop = Path(shop_settings.order_system_url.removeprefix("sqlite:///"))
    shop.rename(shop.with_suffix(".gone"))
    keys = set()
    for _ in range(2):
        assert not run(shop_settings, instance=instance, select=read).success
        (incident,) = seen(shop_settings, instance).incidents
        assert incident.what == "run failed: 2 tables (source/customers, source/orders)"
        keys.add(incident.key)
    assert len(keys) == 1
    shop.with_suffix(".gone").rename(shop)
    run(shop_settings, instance=instance, select=read)
    assert seen(shop_settings, instance).incidents == []


def test_a_run_whose_process_died_is_seen(shop_settings: Settings, instance: dg.DagsterInstance) -> None:
    run(shop_settings, instance=instance, select=["source/offices"])
    defs = build_defs(shop_settings)
    dead = instance.create_run_for_job(
        defs.resolve_job_def("full_refresh"), asset_selection=frozenset({dg.AssetKey(["source", "offices"])})
    )
    instance.report_run_failed(dead)
    found = seen(shop_settings, instance)
    assert [each.what for each in found.incidents] == ["run failed: source/offices"]
    # What is tried again is not over, in whatever state that run is, and also while it is told to stop.
    told, _ = news({}, found, NOW, LINKS)
    again = instance.create_run_for_job(
        defs.resolve_job_def("full_refresh"), asset_selection=frozenset({dg.AssetKey(["source", "offices"])})
    )
    for report in (None, instance.report_run_canceling):
        if report is not None:
            report(again)
        assert news(told, seen(shop_settings, instance), NOW, LINKS)[1] == []


def test_a_sensor_that_keeps_failing_is_seen_and_over_when_it_works(
    shop_settings: Settings, instance: dg.DagsterInstance
) -> None:
    state = InstigatorState(
        RemoteInstigatorOrigin(
            RemoteRepositoryOrigin(InProcessCodeLocationOrigin(LoadableTargetOrigin(python_file="x")), "repository"),
            "landed_files",
        ),
        InstigatorType.SENSOR,
        InstigatorStatus.RUNNING,
        SensorInstigatorData(),
    )
    instance.add_instigator_state(state)

    def ticked(status: TickStatus, moment: float) -> None:
        error = SerializableErrorInfo("a password: s3cret", [], "Error") if status == TickStatus.FAILURE else None
        instance.create_tick(
            TickData(
                state.instigator_origin_id,
                state.instigator_name,
                InstigatorType.SENSOR,
                status,
                moment,
                error=error,
                selector_id=state.selector_id,
            )
        )

    for index in range(2):
        ticked(TickStatus.FAILURE, NOW + index)
    assert seeing.failing_ticks(instance) == []
    ticked(TickStatus.FAILURE, NOW + 2)
    (incident,) = seeing.failing_ticks(instance)
    assert (incident.key, incident.since) == ("sensor:landed_files", NOW)
    assert "s3cret" not in str(incident.dump())
    ticked(TickStatus.SKIPPED, NOW + 3)
    assert seen(shop_settings, instance).incidents == []


def test_an_outage_is_named_in_the_tick_and_the_notification(tmp_path: Path) -> None:
    shop = tmp_path / "shop.sqlite"
    simulator.create(f"sqlite:///{shop}", scale=0.02, seed=3)
    order_system = open_order_system(f"sqlite:///{shop}")

    def polled(watch: OrderSystemPollState) -> tuple[OrderSystemPollState, str, list[Incident]]:
        with dg.DagsterInstance.ephemeral() as instance:
            done = order_system_sensor.tick(replace(watch, not_before=0.0), order_system, instance)
        state = SimpleNamespace(
            instigator_name="order_system_changes", instigator_data=SimpleNamespace(cursor=done.watch.dump())
        )
        later = time.time() + 60
        there: Any = SimpleNamespace(all_instigator_state=lambda: [state])
        return done.watch, done.reason, seeing.sensors_that_cannot_work(there, later)

    watch, _, incidents = polled(OrderSystemPollState())
    assert incidents == []
    simulator.break_shop(f"sqlite:///{shop}", "outage")
    watch, reason, (incident,) = polled(watch)
    assert incident.what == "order system: not there"
    with pytest.raises(SourceError) as doctor:
        order_system.probe()
    for text in (reason, incident.details):
        assert str(doctor.value) in text
    assert begun(incident, NOW, LINKS).body.splitlines()[-1] == (
        "What to do: https://example.com/operations.md#the-order-system-or-the-landing-zone-cannot-be-read"
    )
    simulator.mend_shop(f"sqlite:///{shop}")
    watch, reason, incidents = polled(watch)
    assert incidents == []
    assert "not there" not in reason


@pytest.mark.parametrize("cursor", ["not json", None, "[]", "{}"])
def test_a_cursor_that_says_nothing_is_no_trouble(cursor: str | None) -> None:
    assert seeing._trouble(cursor) == (0.0, "", "")


def test_a_run_that_is_not_there_is_named(instance: dg.DagsterInstance) -> None:
    with pytest.raises(SettingsError, match="run abc: Dagster's history has no such run"):
        incident_report(instance, "abc")
