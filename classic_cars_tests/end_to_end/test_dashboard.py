"""The dashboard as analysts see it: a real ``classic-cars dashboard``, a real browser, and numbers from elsewhere.

The shop is the real data set where there is one, and a simulated shop otherwise. ``CLASSIC_CARS_SCREENSHOTS``
(``make screenshots``) takes the pictures of the documents on the way.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from classic_cars.assets import ALL_TABLES
from classic_cars.dashboard.asking import answer, current_release
from classic_cars.dashboard.filters import Asked
from classic_cars.runs import execute
from classic_cars.serving.embedding.links import link
from classic_cars.serving.embedding.server import application
from classic_cars.serving.release_making import make_release
from classic_cars.serving.releases import opened
from classic_cars.serving.sales_report.files import report_page
from classic_cars.serving.sales_report.numbers import answers, report_of
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars_shop import api as simulator
from classic_cars_tests import order_systems
from classic_cars_tests.end_to_end.test_known_answers import COUNTRIES, PRODUCT_LINES
from classic_cars_tests.end_to_end.test_web_page import browser
from classic_cars_tests.landed import drop, jsonl, rating
from classic_cars_tests.platform import ask, expected_sales, order_system_frames
from classic_cars_tests.serving import is_up, wait_for

__all__ = ["browser"]

#: Milliseconds for anything on a slow machine.
PATIENCE = 120_000
START = "from classic_cars.cli.main import main; main()"
DONE = '[data-testid="stApp"][data-test-script-state="notRunning"] h1'
WIDE, PHONE = (1440, 900), (390, 844)
#: Where the USA are on the map, as shares of its width and height: how high depends on the legend.
USA = (0.22, (0.26, 0.29, 0.32, 0.35))
#: What is planted and has to be quarantined.
RATED_BY_NOBODY = rating(0, "nothing", 9)
PAGES = ("", "products", "countries", "time", "orders", "customers", "quality", "definitions")


@contextmanager
def dashboard(home: Path) -> Iterator[str]:
    """``classic-cars dashboard`` on a free port; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (home / "dashboard.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", START, "dashboard", "--port", str(port)],
            env={**os.environ, "CLASSIC_CARS_HOME": str(home)},
            stdout=log,
            stderr=log,
        )
    address = f"http://127.0.0.1:{port}/"
    try:
        wait_for("the dashboard", lambda: is_up(f"{address}_stcore/health"))
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture(scope="module")
def shop_home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A published shop with some ratings, and with one that cannot be counted. Not to be changed."""
    settings = Settings(home=tmp_path_factory.mktemp("dashboard"))
    try:
        simulator.load(settings.order_system_url, order_systems.real_data())
    except pytest.skip.Exception:
        simulator.create(settings.order_system_url, scale=1, seed=7, until=date(2004, 3, 31))
    sold = order_system_frames(settings.order_system_url)
    bought = sold["orderdetails"].merge(sold["orders"], on="orderNumber").head(40)
    pairs = dict.fromkeys(zip(bought["customerNumber"], bought["productCode"], strict=True))
    rows = [rating(int(who), what, 1 + number % 5) for number, (who, what) in enumerate(pairs)]
    drop(settings, "ratings.jsonl", jsonl(*rows, RATED_BY_NOBODY))
    report = execute(settings)
    assert report.succeeded, report
    return settings


@pytest.fixture(scope="module")
def address(shop_home: Settings) -> Iterator[str]:
    with dashboard(shop_home.home) as found:
        yield found


class Analyst:
    """Somebody in front of the browser, who sees no request leave the machine."""

    def __init__(self, browser: Any, address: str, size: tuple[int, int] = WIDE, scheme: str = "light") -> None:
        width, height = size
        self.page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.page.set_default_timeout(PATIENCE)
        self.address, self.requests = address, []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))

    def open(self, path: str = "") -> Analyst:
        self.page.goto(self.address + path)
        return self.settle()

    def settle(self) -> Analyst:
        """Wait until the page is made, and nothing of it is from before."""
        self.page.wait_for_timeout(250)
        self.page.wait_for_selector(DONE)
        self.page.wait_for_function("() => !document.querySelector('[data-stale=true]')")
        return self

    def headline(self, measure: str) -> Decimal:
        shown = self.page.get_attribute(f'[data-measure="{measure}"] .cc-value', "data-exact")
        return Decimal(shown.replace(",", "").replace("−", "-").replace("%", ""))

    def table(self, panel: str) -> list[list[str]]:
        """The rows of a table that a panel shows."""
        rows = self.page.query_selector_all(f".st-key-panel-{panel} tbody tr")
        return [[cell.inner_text().strip() for cell in row.query_selector_all("th, td")] for row in rows]

    def download(self, panel: str, kind: str) -> bytes:
        with self.page.expect_download() as found:
            self.page.click(f".st-key-{kind}-{panel} button")
        return Path(found.value.path()).read_bytes()

    def rows(self, panel: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.download(panel, "csv").decode())))

    def choose(self, label: str, option: str) -> Analyst:
        """In a filter beside the page."""
        box = self.page.get_by_role("combobox", name=label).first
        box.click()
        box.fill(option)
        self.page.get_by_role("option", name=option, exact=True).first.click()
        self.page.keyboard.press("Escape")
        return self.settle()


@pytest.fixture
def analyst(browser: Any, address: str) -> Iterator[Analyst]:
    found = Analyst(browser, address)
    yield found
    outside = [each for each in found.requests if not _is_here(each, address)]
    found.page.close()
    assert outside == []


def _is_here(url: str, address: str) -> bool:
    here = address.removeprefix("http://")
    return url.startswith(("data:", "blob:", f"http://{here}", f"ws://{here}"))


@pytest.fixture(scope="module")
def frames(shop_home: Settings) -> dict[str, pd.DataFrame]:
    return order_system_frames(shop_home.order_system_url)


def total(sales: dict[str, dict[str, Any]], measure: str) -> Any:
    return sum(each[measure] for each in sales.values())


# Known answers -------------------------------------------------------------------------------------------


def test_the_known_answers_of_the_real_data_are_on_the_page(analyst: Analyst, real_data: Path):
    analyst.open("?period=all+time&measure=Booked+amount")
    assert analyst.headline("bookedAmount") == Decimal("9604190.61")
    assert analyst.headline("orders") == 326
    assert analyst.headline("units") == 105516
    shown = {row[0]: row[1].replace(",", "") for row in analyst.table("lines-table")}
    assert shown == PRODUCT_LINES
    countries = {row["country"]: row["bookedAmount"] for row in analyst.rows("world")}
    assert {name: countries[name] for name in COUNTRIES} == COUNTRIES
    assert "2,996 · 9,604,190.61" in analyst.page.inner_text(".cc-trust")


def test_all_of_it_equals_an_independent_calculation(analyst: Analyst, frames: dict[str, pd.DataFrame]):
    analyst.open("?period=all+time")
    expected = expected_sales(frames, "productLine")
    for measure in ("netSales", "bookedAmount", "grossProfit", "units"):
        assert analyst.headline(measure) == total(expected, measure)
    by_line = {row["productLine"]: Decimal(row["netSales"]) for row in analyst.rows("lines")}
    assert by_line == {name: each["netSales"] for name, each in expected.items()}
    trust = analyst.page.inner_text(".cc-trust")
    assert "Difference 0.00" in " ".join(trust.split())
    assert f"{len(frames['orderdetails']):,} ·" in trust


# Filters, addresses, downloads ---------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_each_filter_changes_what_it_should_and_the_address_holds_all(
    analyst: Analyst, frames: dict[str, pd.DataFrame], browser: Any
):
    year = "2004" if max(frames["orders"]["orderDate"]) > date(2004, 6, 1) else "2003"
    chosen = {**frames, "orders": frames["orders"][frames["orders"]["orderDate"].map(lambda day: str(day)[:4] == year)]}
    analyst.open().choose("Period", year)
    assert analyst.headline("bookedAmount") == total(expected_sales(chosen, "country"), "bookedAmount")

    chosen["customers"] = chosen["customers"][chosen["customers"]["country"].str.strip() == "France"]
    analyst.choose("Country", "France")
    assert analyst.headline("bookedAmount") == total(expected_sales(chosen, "country"), "bookedAmount")

    chosen["products"] = chosen["products"][chosen["products"]["productLine"] == "Classic Cars"]
    analyst.choose("Product line", "Classic Cars")
    assert analyst.headline("bookedAmount") == total(expected_sales(chosen, "country"), "bookedAmount")

    chosen["orders"] = chosen["orders"][chosen["orders"]["status"] == "Shipped"]
    analyst.choose("Status", "Shipped")
    expected = expected_sales(chosen, "productLine")
    assert expected, "the filters leave something"
    assert analyst.headline("bookedAmount") == total(expected, "bookedAmount")
    assert analyst.headline("orders") == total(expected, "orders")

    analyst.choose("Measure", "Units")
    assert {row["productLine"]: int(row["units"]) for row in analyst.rows("lines") if int(row["units"])} == {
        name: each["units"] for name, each in expected.items()
    }

    # Whoever is sent the address sees the same, and so does who comes back from another page.
    colleague = Analyst(browser, analyst.address).open(analyst.page.url.removeprefix(analyst.address))
    for measure in ("bookedAmount", "units", "orders", "margin"):
        assert colleague.headline(measure) == analyst.headline(measure)
    colleague.page.get_by_role("link", name="Products", exact=True).first.click()
    colleague.page.wait_for_selector("h1:has-text('Products')")
    assert colleague.settle().headline("grossProfit") == total(expected, "grossProfit")
    colleague.page.close()


@pytest.mark.exhaustive
def test_each_measure_has_the_filters_that_it_can_have(analyst: Analyst, frames: dict[str, pd.DataFrame]):
    planes = {**frames, "products": frames["products"][frames["products"]["productLine"] == "Planes"]}
    expected = expected_sales(planes, "productLine")["Planes"]
    analyst.open("customers?period=all+time&productLine=Planes")
    assert analyst.headline("netSales") == expected["netSales"]
    assert analyst.headline("orders") == expected["orders"]
    assert analyst.headline("payments") == sum(Decimal(str(each)) for each in frames["payments"]["amount"])
    notes = [each for each in analyst.page.locator(".cc-note").all_inner_texts() if each.startswith("Not filtered")]
    assert notes == ["Not filtered by product line: Payments."]

    shipped = {**frames, "orders": frames["orders"][frames["orders"]["status"] == "Shipped"]}
    sold = expected_sales(shipped, "productCode")
    analyst.open("products?period=all+time&status=Shipped")
    rated = analyst.rows("ratings")
    assert sum(int(row["ratings"]) for row in rated) > 0
    assert {row["product"]: Decimal(row["netSales"]) for row in rated} == {
        row["product"]: sold[row["product"]]["netSales"] if row["product"] in sold else 0 for row in rated
    }


def test_a_file_has_what_the_page_has(analyst: Analyst):
    analyst.open("?period=all+time")
    page = [[cell.replace(",", "") for cell in row] for row in analyst.table("lines-table")]
    rows = analyst.rows("lines-table")
    assert [[each["productLine"], each["netSales"], each["grossProfit"]] for each in rows] == [row[:3] for row in page]
    assert [f"{Decimal(each['margin']):.1%}" for each in rows] == [row[3] for row in page]
    sheet = pd.read_excel(io.BytesIO(analyst.download("lines-table", "xlsx"))) if _reads_excel() else None
    if sheet is not None:
        assert [str(each) for each in sheet["productLine"]] == [row[0] for row in page]
    assert analyst.download("lines-table", "xlsx")[:2] == b"PK"


def _reads_excel() -> bool:
    try:
        import openpyxl  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.mark.exhaustive
def test_what_is_seen_leads_down_to_a_customer_and_to_what_a_number_means(
    analyst: Analyst, frames: dict[str, pd.DataFrame], shop_home: Settings
):
    analyst.open("countries?period=all+time&into=France")
    in_france = {row[0] for row in analyst.table("customers-in")}
    there = frames["customers"][frames["customers"]["country"].str.strip() == "France"]
    ordered = set(frames["orders"]["customerNumber"])
    assert in_france == {str(each) for each in there["customerNumber"] if each in ordered}

    analyst.page.click(".st-key-panel-customers-in tbody th a >> nth=0")
    analyst.page.wait_for_selector(".st-key-panel-customer-lines")
    analyst.settle()
    number = int(analyst.page.url.split("customer=")[1].split("&")[0])
    its = {**frames, "orders": frames["orders"][frames["orders"]["customerNumber"] == number]}
    shown = {row["productLine"]: Decimal(row["netSales"]) for row in analyst.rows("customer-lines")}
    assert shown == {name: each["netSales"] for name, each in expected_sales(its, "productLine").items()}

    cohorts = ask(shop_home, "SELECT customers, netSales FROM analytics.customer_cohorts ORDER BY cohort, quarter")
    found = [(int(row["customers"]), Decimal(row["netSales"])) for row in analyst.rows("cohorts")]
    assert found == cohorts

    analyst.page.click('[data-measure="margin"] a >> nth=0')
    analyst.page.wait_for_selector(".cc-wanted")
    assert "grossProfit divided by costedSales" in analyst.page.inner_text(".cc-wanted")
    assert "period=all+time" in analyst.page.url


@pytest.mark.exhaustive
def test_a_click_on_the_map_looks_into_the_country(analyst: Analyst):
    analyst.open("countries?period=all+time")
    drawn = analyst.page.wait_for_selector(".st-key-panel-map canvas, .st-key-panel-map svg.marks")
    analyst.page.wait_for_timeout(1500)
    box = drawn.bounding_box()
    for share in USA[1]:
        analyst.page.mouse.click(box["x"] + box["width"] * USA[0], box["y"] + box["height"] * share)
        analyst.page.wait_for_timeout(1500)
        if "into=USA" in analyst.page.url:
            break
    analyst.page.wait_for_selector("h2:has-text('USA')", timeout=20_000)


@pytest.mark.exhaustive
def test_best_and_worst_products(analyst: Analyst, frames: dict[str, pd.DataFrame]):
    products = expected_sales(frames, "productCode")
    ranked = sorted(products, key=lambda code: products[code]["netSales"])
    analyst.open("products?period=all+time&top=3")
    assert [row[0] for row in analyst.table("best")] == ranked[:-4:-1]
    assert [row[0] for row in analyst.table("worst")] == ranked[:3]


# Data quality --------------------------------------------------------------------------------------------


def test_data_quality_has_every_table_with_its_checks_and_leads_into_dagster(analyst: Analyst, shop_home: Settings):
    analyst.open("quality")
    shown = {row[0]: row for row in analyst.table("tables")}
    with_rows = dict(ask(shop_home, "SELECT 'warehouse/fact_orders', count(*) FROM warehouse.fact_orders"))
    assert len(shown) == len(ALL_TABLES)
    assert shown["warehouse/fact_orders"][-1] == f"{with_rows['warehouse/fact_orders']:,}"
    assert all("passed" in row[1] or "warning" in row[1] for row in shown.values())
    link = analyst.page.get_attribute(".st-key-panel-tables tbody a:text-is('source/orderdetails')", "href")
    assert link == "http://127.0.0.1:3000/assets/source/orderdetails?view=checks"
    results = analyst.rows("checks")
    assert {"schema", "columns", "reconciliation", "completeness"} <= {row["check"] for row in results}
    assert {row["outcome"] for row in results} <= {"passed", "warning", "failed"}
    assert [row[0] for row in analyst.table("releases")][-1] == "1"
    (kept_out,) = (row for row in analyst.table("quarantine") if row[2] != "0")
    assert kept_out[0] == "staging/ratings"
    assert "productRating is not between 1 and 5" in kept_out[1]
    assert kept_out[2:6] == ["1", "–", "–", "kept out"]
    assert sum(int(row["rows"]) for row in analyst.rows("quarantine")) == 1


def test_the_page_answers_while_a_run_has_the_store(browser: Any, address: str, shop_home: Settings):
    code = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    arguments = [sys.executable, "-c", code, str(shop_home.store_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        found = Analyst(browser, address).open("?period=2003")
        assert found.headline("netSales") > 0
        found.page.close()
        holder.communicate("")


def test_a_release_that_took_the_number_of_another_is_another(shop_home: Settings, tmp_path: Path):
    home = shop_home.model_copy(update={"home": tmp_path})
    shutil.copytree(shop_home.home / "store", tmp_path / "store")
    asked = Asked(("units",), ("vendor",))
    before = current_release(home)
    assert before is not None
    assert answer(home, before, asked).num_rows > 1

    shutil.rmtree(tmp_path / "store" / "releases")
    with duckdb.connect(home.store_path) as store:
        store.execute("UPDATE warehouse.dim_products SET productVendor = 'Somebody else'")
    contracts = [each.contract for each in ALL_TABLES]
    after = make_release(open_store(home), contracts, "another run").release
    assert after is not None
    assert after.number == before.number
    assert answer(home, after, asked)["vendor"].to_pylist() == ["Somebody else"]


@pytest.mark.exhaustive
def test_on_a_phone_the_proof_is_two_lines_until_it_is_opened(browser: Any, address: str):
    found = Analyst(browser, address, PHONE).open()
    bar = found.page.locator(".cc-trust")
    assert bar.bounding_box()["height"] < 90
    assert "Difference" not in bar.inner_text()
    found.page.locator(".cc-short > summary").focus()
    found.page.keyboard.press("Enter")
    assert "Order lines compared" in bar.inner_text()
    found.page.close()


# For everybody -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "scheme", "pages"),
    [
        pytest.param(WIDE, "light", ("products", "time"), id="wide"),
        pytest.param(PHONE, "dark", ("", "quality"), id="phone"),
        pytest.param(WIDE, "light", PAGES, marks=pytest.mark.exhaustive),
        pytest.param(WIDE, "dark", PAGES, marks=pytest.mark.exhaustive),
        pytest.param(PHONE, "dark", PAGES, marks=pytest.mark.exhaustive),
        pytest.param(PHONE, "light", PAGES, marks=pytest.mark.exhaustive),
    ],
)
def test_nothing_keeps_people_from_using_a_page(
    browser: Any, address: str, size: tuple[int, int], scheme: str, pages: tuple[str, ...]
):
    analyst, found = Analyst(browser, address, size, scheme), {}
    for page in pages:
        analyst.open(page)
        analyst.page.wait_for_timeout(500)
        found[page] = _faults(analyst.page)
        _picture(analyst, page, size, scheme)
    analyst.page.close()
    assert {page: faults for page, faults in found.items() if faults} == {}


def _faults(page: Any) -> list[Any]:
    """What axe-core calls serious or critical, and a page that must be moved sideways."""
    from axe_playwright_python.sync_playwright import Axe

    serious = [
        (fault["id"], [node["html"][:200] for node in fault["nodes"]][:3])
        for fault in Axe().run(page).response["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
    wider = page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
    return [*serious, *([("wider than the screen", wider)] if wider > 0 else [])]


@pytest.fixture(scope="module")
def files(shop_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The pages that are no part of the dashboard, as files: a month's report, and what customers are sent."""
    folder = tmp_path_factory.mktemp("pages")
    settings = shop_home.model_copy(update={"embed_key": SecretStr("k" * 40)})
    client = TestClient(application(settings))
    with opened(settings) as found:
        assert found is not None
        numbers = answers(found[1], date.today())
        report = report_page(report_of(numbers.months[-1], numbers), found[0], None)
    texts = {"report": report, "refused": client.get("/embed/nobody").text}
    ((customer,),) = ask(shop_home, "SELECT min(customerNumber) FROM warehouse.fact_ratings")
    texts["customer"] = client.get(link(settings, customer, timedelta(days=1)).removeprefix(settings.embed_url)).text
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, "utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in texts}


@pytest.mark.parametrize(
    ("size", "scheme"),
    [
        (WIDE, "light"),
        (PHONE, "dark"),
        pytest.param(WIDE, "dark", marks=pytest.mark.exhaustive),
        pytest.param(PHONE, "light", marks=pytest.mark.exhaustive),
    ],
)
def test_nothing_keeps_people_from_a_report_or_a_customers_page(
    browser: Any, files: dict[str, str], size: tuple[int, int], scheme: str
):
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    found = {}
    for name, address in files.items():
        page.goto(address)
        page.evaluate("() => document.querySelectorAll('details').forEach(each => each.open = true)")
        found[name] = _faults(page)
    page.close()
    assert {name: faults for name, faults in found.items() if faults} == {}


def _picture(analyst: Analyst, page: str, size: tuple[int, int], scheme: str) -> None:
    folder, name = os.environ.get("CLASSIC_CARS_SCREENSHOTS"), PICTURES.get((page, size, scheme))
    if folder and name:
        analyst.page.set_viewport_size({"width": size[0], "height": 1150 if size == WIDE else size[1]})
        analyst.page.wait_for_timeout(1000)
        analyst.page.screenshot(path=str(Path(folder) / f"{name}.png"))


#: Those that the documents show.
PICTURES = {
    ("", WIDE, "light"): "dashboard",
    ("quality", WIDE, "light"): "dashboard-quality",
}


@pytest.mark.exhaustive
def test_everything_can_be_done_with_the_keyboard(analyst: Analyst):
    analyst.open()
    reached = set()
    for _ in range(60):
        analyst.page.keyboard.press("Tab")
        reached.add(
            analyst.page.evaluate(
                "() => { const e = document.activeElement;"
                " return e.getAttribute('aria-label') || e.innerText || e.tagName }"
            ).split("\n")[0]
        )
    for wanted in ("Products", "Net sales", "CSV", "XLSX"):
        assert any(wanted in each for each in reached), (wanted, reached)
    assert any("Period" in each for each in reached)


# Without anything to show --------------------------------------------------------------------------------


def page_of(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The text of the first page of a home, without a browser."""
    from streamlit.testing.v1 import AppTest

    from classic_cars.dashboard import serve

    monkeypatch.setenv("CLASSIC_CARS_HOME", str(home))
    shown = AppTest.from_file(str(serve.APP), default_timeout=60).run()
    assert not shown.exception
    return " ".join(each.proto.body for each in shown.get("html"))


def test_an_empty_warehouse_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shown = page_of(tmp_path, monkeypatch)
    assert "Nothing to show yet" in shown
    assert "<code>classic-cars run</code>" in shown
    assert not list(tmp_path.iterdir()), "nothing is made by looking"


def test_a_password_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from streamlit.testing.v1 import AppTest

    from classic_cars.dashboard import serve

    monkeypatch.setenv("CLASSIC_CARS_HOME", str(tmp_path))
    monkeypatch.setenv("CLASSIC_CARS_PASSWORD", "correct horse battery")
    page = AppTest.from_file(str(serve.APP), default_timeout=60).run()
    for typed in ("wrong horse battery", "correct horse battery"):
        assert "Nothing to show yet" not in str(page.get("html"))
        page = page.text_input[0].input(typed).run()
    for _ in range(2):  # a filter was changed
        assert "Nothing to show yet" in " ".join(each.proto.body for each in page.get("html"))
        assert not page.text_input
        page = page.run()


def test_a_store_that_is_gone_says_what_to_do(shop_home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = tmp_path / "home"
    shutil.copytree(shop_home.home / "store", home / "store")
    for copy in (home / "store").rglob("*.parquet"):
        copy.unlink()
    shown = page_of(home, monkeypatch)
    assert "The data cannot be read" in shown
    assert "classic-cars doctor" in shown
