"""The web page as people see it: a real ``classic-cars dev``, a real browser, and nobody clicking to make anything.

With ``CLASSIC_CARS_SCREENSHOTS`` (``make screenshots``) the pictures of the documents are taken on the way.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from classic_cars.instance import open_instance
from classic_cars.settings import Settings
from classic_cars_tests.command_line import classic_cars
from classic_cars_tests.landed import drop, jsonl, rating, stars
from classic_cars_tests.platform import ask
from classic_cars_tests.receivers import webhook
from classic_cars_tests.serving import dev, is_up, wait_for

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        reason = "no Chromium is installed: apt-get install chromium"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield opened
        opened.close()


class Eyes:
    """A person in front of the browser."""

    def __init__(self, browser: Any, address: str) -> None:
        self.page = browser.new_page(viewport={"width": 1440, "height": 900})
        self.address = address

    def open(self, path: str, *expected: str) -> str:
        """The text of a page once it shows what is expected."""

        def shown() -> str:
            self.page.goto(self.address + path)
            self.page.wait_for_load_state("networkidle")
            self.page.wait_for_timeout(400)
            text = self.page.inner_text("body")
            return text if all(each in text for each in expected) else ""

        return wait_for(f"{expected} on {path}", shown)

    def away(self) -> None:
        """Nobody looks: a page that is open takes a processor from those that make the tables."""
        self.page.goto("about:blank")

    def picture(self, name: str) -> None:
        folder = os.environ.get("CLASSIC_CARS_SCREENSHOTS")
        if folder:
            self.page.screenshot(path=str(Path(folder) / f"{name}.png"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a home with a new shop, of which nothing was read."""
    home = tmp_path / "home"
    home.mkdir()
    # The documents show a shop of years; a few months are as good a day.
    months = () if "CLASSIC_CARS_SCREENSHOTS" in os.environ else ("--until", "2003-04-30")
    assert classic_cars(home, "shop", "create", *months).returncode == 0
    return Settings(home=home, source_url=SecretStr(f"sqlite:///{home / 'shop.sqlite'}"))


LINES = "SELECT count(*) FROM warehouse.fact_orders"
COUNTRIES = "SELECT sum(bookedAmount) FROM analytics.sales_by_country"


def lines_from_nothing(settings: Settings) -> int:
    """How many there are once the sensors have filled every table."""
    ((found,),) = wait_for("the first tables", lambda: ask(settings, LINES) if ask(settings, COUNTRIES) else None)
    return int(found)


def test_tables_are_shown(browser: Any, made: Settings) -> None:
    ((lines,),) = ask(made, LINES)
    with dev(made.home) as address:
        wait_for("the web page", lambda: is_up(address))
        the_tables_are_there(Eyes(browser, address), lines)


@pytest.mark.exhaustive  # begins with nothing
def test_a_day_in_front_of_the_web_page(browser: Any, settings: Settings) -> None:
    home = settings.home
    with webhook() as hook, dev(home, CLASSIC_CARS_ALERT_URLS=hook.url) as address:
        first = lines_from_nothing(settings)
        eyes = Eyes(browser, address)
        the_tables_are_there(eyes, first)
        eyes.away()

        # A day passes, and nobody clicks.
        while int(re.findall(r"([\d,]+) orders", classic_cars(home, "shop", "advance").stdout)[0]) == 0:
            pass
        # Meanwhile a partner drops a file.
        ((customer, product),) = ask(settings, "SELECT customerNumber, productCode FROM warehouse.fact_orders LIMIT 1")
        drop(settings, "partner.jsonl", jsonl(rating(customer, product, 4)))
        ((now,),) = wait_for("the new orders", lambda: [row for row in ask(settings, LINES) if row[0] > first])
        eyes.open("/runs", "tables_automation_condition_sensor")
        eyes.picture("runs")
        with open_instance(settings) as instance:
            made = instance.get_latest_materialization_event(dg.AssetKey(["source", "orders"]))
        assert made is not None
        eyes.open(f"/runs/{made.run_id}", "tables_automation_condition_sensor")
        eyes.away()

        rated = f"SELECT averageRating FROM analytics.product_ratings WHERE productCode = '{product}' AND ratings > 0"
        wait_for("the rating", lambda: stars(settings).get((customer, product)) == 4 and ask(settings, rated))
        eyes.open("/assets/landing/ratings", "Files that partners dropped")
        eyes.away()

        # A fault is planted: told, seen, and not published.
        assert classic_cars(home, "shop", "break", "negatives").returncode == 0
        wait_for("the alert", lambda: [title for title in hook.titles if "check quarantine failed" in title])
        text = eyes.open(
            "/assets/staging/orderdetails?view=checks&checkDetail=quarantine", "Failed", "rows quarantined"
        )
        assert "Above the limit" in text
        assert "limit 1.00% (CLASSIC_CARS_QUARANTINE_MAX_SHARE)" in text
        eyes.picture("failed-check")
        eyes.away()
        assert ask(settings, LINES) == [(now,)]

        # Mended, it is over, and told to be over.
        assert classic_cars(home, "shop", "mend").returncode == 0
        wait_for("the recovery", lambda: [each for each in hook.titles if "RESOLVED" in each and "quarantine" in each])
        eyes.open("/assets/staging/orderdetails?view=checks&checkDetail=quarantine", "no row had to be quarantined")
        assert len([title for title in hook.titles if "quarantine" in title]) == 2


def the_tables_are_there(eyes: Eyes, lines: int) -> None:
    eyes.open("/asset-groups", "source", "staging", "warehouse", "analytics")
    upstream = "/assets/analytics/sales_by_country?view=lineage&lineageScope=upstream&lineageDepth=5"
    for table in ("orders", "orderdetails", "fact_orders", "dim_customers", "sales_by_country"):
        assert table in eyes.open(upstream, "Graph depth")
    eyes.picture("lineage")
    eyes.open(
        "/assets/warehouse/fact_orders",
        "one row per order line",
        "Price per unit agreed for this line, in USD",
        f"{lines:,}",
        "data-engineering",
        "inputs changed",
    )
    eyes.picture("table")
    eyes.open("/assets/warehouse/fact_orders?view=events", "column lineage", "partition_row_count")
    check = "/assets/analytics/sales_by_country?view=checks&checkDetail=reconciliation"
    text = eyes.open(check, "Succeeded", "Plots", "bookedAmount by country, from source", "expected", "difference")
    assert "Show JSON" not in text
    eyes.picture("checks")
    # Of its own making it has no target: only a check that was executed by itself is about a version that was there.
    # The first nightly proof, which is asked for by itself, may have come before us.
    if "Target materialization" not in text:
        eyes.page.locator("button:has-text('Execute')").nth(1).click()
        wait_for("the check by itself", lambda: "Target materialization" in eyes.page.inner_text("body"))
    eyes.open(
        "/automation", "order_system_changes", "tables_automation_condition_sensor", "alerts", "nightly_reconciliation"
    )
    eyes.picture("automation")
