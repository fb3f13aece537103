"""Stock counts of partners, the second landed table: declared in one place, and treated like the first."""

from __future__ import annotations

import ibis
import pytest

from classic_cars.assets import source
from classic_cars.contracts.landed import RATINGS, STOCK_COUNTS, LandedRow, LandedTable
from classic_cars.contracts.vocabulary import Bool
from classic_cars.errors import ContractError
from classic_cars.settings import Settings
from classic_cars_tests.landed import COUNTED, RATED, drop, jsonl, ledger, rating
from classic_cars_tests.platform import ask, run, swapped

SOURCE, STAGING = COUNTED
HEADER = "countDate,warehouseCode,productCode,quantityCounted,countedAt"


def csv(*lines: str) -> str:
    return "\n".join([HEADER, *lines, ""])


def current(settings: Settings) -> list[tuple]:
    found = ask(settings, "SELECT productCode, warehouseCode, countDate, quantityCounted FROM staging.stock_counts")
    return sorted((product, place, str(day), units) for product, place, day, units in found)


def files(settings: Settings) -> list[tuple]:
    return ask(settings, "SELECT fileName, state, rows FROM source.stock_counts_files ORDER BY fileName")


@pytest.fixture
def product(published: Settings) -> str:
    ((product,),) = ask(published, "SELECT min(productCode) FROM staging.products")
    return product


def test_a_recount_counts_and_bad_rows_are_quarantined(published: Settings, product: str):
    drop(
        published,
        "stock_counts/monday.csv",
        csv(
            f"2003-08-01,LYO,{product},12,2003-08-01T17:00:00Z",
            f"2003-08-01,LYO,{product},11,2003-08-01T18:00:00Z",
            f"2003-08-01,OSL,{product},0,2003-08-01T17:00:00Z",
            f"2003-08-01,OSL,{product},-3,2003-08-01T17:00:00Z",
            "2003-08-01,OSL,S99_9999,4,2003-08-01T17:00:00Z",
            f"01.08.2003,OSL,{product},4,2003-08-01T17:00:00Z",
            f"2003-08-09,OSL,{product},4,2003-08-01T17:00:00Z",
            "2003-08-01,OSL",
            f"2062-08-01,OSL,{product},4,2062-08-01T17:00:00Z",
            f"2003-08-01,PAR,{product},12.000,2003-08-01T17:00:00Z",
            f"2003-08-01,NTE,{product},5.00,2003-08-01T17:00:00Z",
        ),
    )
    drop(published, "stock_counts/rome.jsonl", jsonl({"countDate": "2003-08-02", "warehouseCode": " ROM "} | {
        "productCode": product, "quantityCounted": 7, "countedAt": "2003-08-02T09:00:00+02:00"}))  # fmt: skip
    ran = run(published, select=COUNTED)
    assert ran.success, ran.errors
    assert ran.failed == set()
    assert current(published) == [
        (product, "LYO", "2003-08-01", 11),
        (product, "NTE", "2003-08-01", 5),
        (product, "OSL", "2003-08-01", 0),
        (product, "ROM", "2003-08-02", 7),
    ]
    reasons = dict(ask(published, "SELECT lineNumber, _reason FROM quarantine.stock_counts"))
    assert sorted(reasons) == [5, 6, 7, 8, 9, 10, 11]
    assert reasons[5] == "quantityCounted is not between 0 and 10,000,000"
    assert reasons[6] == "productCode is not in staging/products"
    assert reasons[7] == "countDate does not fit its type, the raw value is in _rescued_data"
    assert reasons[8] == "does not satisfy: countedAt is not before countDate"
    assert reasons[10] == "does not satisfy: countedAt is not more than a day after landedAt"
    assert reasons[11] == "quantityCounted does not fit its type, the raw value is in _rescued_data"
    assert files(published) == [("stock_counts/monday.csv", "loaded", 11), ("stock_counts/rome.jsonl", "loaded", 1)]


def test_each_table_takes_its_own_files_and_ratings_those_of_nobody(published: Settings, product: str):
    drop(published, "stock_counts/2003/a.csv", csv(f"2003-08-01,LYO,{product},1,2003-08-01T17:00:00Z"))
    for name in ("a.jsonl", "2003/08/b.jsonl", "ratings/c.jsonl"):
        drop(published, name, jsonl(rating(product=product, stars=len(name) % 5 + 1)))
    drop(published, "stock_counts/growing.csv", "", seconds_ago=-100)
    ran = run(published, select=[*COUNTED, *RATED])
    assert ran.success, ran.errors
    assert set(ledger(published)) == {"a.jsonl", "2003/08/b.jsonl", "ratings/c.jsonl"}
    assert files(published) == [("stock_counts/2003/a.csv", "loaded", 1)]
    growing = {table: ran.checks[table, "files"].metadata["still being written"].value for table in (SOURCE, RATED[0])}
    assert growing == {SOURCE: 1, RATED[0]: 0}


def test_a_count_that_is_not_in_its_file_is_caught(published: Settings, product: str):
    def generous(line: ibis.Table) -> ibis.Table:
        rows = source.stock_counts.function(line)
        return rows.mutate(quantityCounted=(rows.quantityCounted + 1).cast("int32"))

    drop(published, "stock_counts/a.csv", csv(f"2003-08-01,LYO,{product},1,2003-08-01T17:00:00Z"))
    ran = run(published, tables=swapped(SOURCE, generous), select=[SOURCE])
    assert ran.failed == {(SOURCE, "reconciliation")}


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("a.csv", RATINGS),
        ("2003/a.csv", RATINGS),
        ("ratings/a.csv", RATINGS),
        ("stock_counts/a.csv", STOCK_COUNTS),
        ("stock_counts", STOCK_COUNTS),
        ("stock_counts.csv", RATINGS),
        ("ratings/stock_counts/a.csv", RATINGS),
    ],
)
def test_a_file_belongs_to_one_table(name: str, table: LandedTable):
    tables = [RATINGS, STOCK_COUNTS]
    assert [each for each in tables if each.claims(name, tables)] == [table]


def test_a_column_that_no_text_says_exactly_is_refused():
    class Wrong(LandedRow):
        """Wrong."""

        isOpen: Bool

        class Config:
            name = "source/wrong"

    with pytest.raises(ContractError, match=r"source/wrong: isOpen: !?boolean cannot be read from a file without loss"):
        LandedTable(Wrong)
