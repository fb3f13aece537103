"""Files that partners drop, through the whole platform: each content once, nothing lost, nobody kept out."""

from __future__ import annotations

import gzip
import random
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import duckdb
import ibis
import pytest

from classic_cars.assets import analytics, partners, source, warehouse
from classic_cars.instance import open_instance
from classic_cars.runs.observing import observe_landing
from classic_cars.settings import Settings
from classic_cars.stores.iceberg import commit
from classic_cars.tables import landed
from classic_cars_tests.landed import DAY, RATED, drop, jsonl, ledger, rating, stars
from classic_cars_tests.platform import ask, fingerprint, order_system_frames, rows_shown, run, swapped
from classic_cars_tests.shared import once

SOURCE, STAGING, FACT, ANSWER = RATED
#: Where it is decided what was loaded before, and which row counts.
TAKEN_IN = [SOURCE, STAGING]
#: What ratings refer to.


def codes_of(settings: Settings) -> tuple[list[int], list[str]]:
    """Customers and products of the shop."""
    frames = order_system_frames(settings.order_system_url)
    return sorted(frames["customers"]["customerNumber"]), sorted(frames["products"]["productCode"])


@pytest.fixture
def codes(published: Settings) -> tuple[list[int], list[str]]:
    return codes_of(published)


def loaded(settings: Settings, select: Sequence[str] = RATED) -> None:
    ran = run(settings, select=select)
    assert ran.success, ran.errors
    assert ran.failed == set()


def one(settings: Settings, sql: str) -> object:
    ((value,),) = ask(settings, sql)
    return value


def balance(settings: Settings) -> tuple[object, ...]:
    """Rows that landed, current ones and those set aside."""
    return tuple(one(settings, f"SELECT count(*) FROM {name}.ratings") for name in ("source", "staging", "quarantine"))


# Nothing, and everything ---------------------------------------------------------------------------------


def test_without_files_every_product_is_there_and_unrated(published: Settings):
    rated, unrated = ask(
        published, "SELECT count(averageRating), count(*) FILTER (ratings = 0) FROM analytics.product_ratings"
    )[0]
    assert (rated, unrated) == (0, one(published, "SELECT count(*) FROM staging.products"))
    assert ledger(published) == {}
    loaded(published)


def test_the_answer_is_the_one_worked_out_by_hand(published: Settings, codes):
    customers, products = codes
    rng = random.Random(4)
    latest: dict[tuple[int, str], tuple[str, int]] = {}
    for number in range(12):
        rows = []
        for _ in range(60):
            row = rating(rng.choice(customers), rng.choice(products[:9]), rng.randint(1, 5), _moment(rng))
            rows.append(row)
            key, value = (row["customerNumber"], row["productCode"]), (row["ratedAt"], row["productRating"])
            latest[key] = max(latest.get(key, value), value, key=lambda each: each[0])
        drop(published, f"{number}.jsonl", jsonl(*rows))
    loaded(published)
    by_product: dict[str, list[int]] = defaultdict(list)
    for (_, product), (_, given) in latest.items():
        by_product[product].append(given)
    expected = {
        product: (len(given), (Decimal(sum(given)) / len(given)).quantize(Decimal("0.01"), ROUND_HALF_UP))
        for product, given in by_product.items()
    }
    found = ask(
        published, "SELECT productCode, ratings, averageRating FROM analytics.product_ratings WHERE ratings > 0"
    )
    assert {product: (number, average) for product, number, average in found} == expected
    assert stars(published) == {key: given for key, (_, given) in latest.items()}
    assert balance(published) == (720, len(latest), 0)


def _moment(rng: random.Random) -> str:
    return (
        f"2003-{rng.randint(1, 8):02d}-{rng.randint(1, 28):02d}T{rng.randint(0, 23):02d}:{rng.getrandbits(20):07d}"[:16]
        + f":{rng.randint(0, 59):02d}.{rng.getrandbits(19):06d}Z"
    )


def test_bad_rows_are_quarantined_with_their_reason_and_block_nobody(published: Settings, codes):
    (customer, other, *_), (product, *_) = codes
    drop(
        published,
        "a.jsonl",
        jsonl(
            rating(customer, product, 4),
            rating(customer, product, 7),
            rating(customer, product, 5, "9999-12-31"),
            rating(customer, product, 5, "yesterday"),
            rating(None, product),
            rating(customer, "S99_9999"),
            rating(999_999, product),
            '{"customerNumber": 103, "productCo',
            rating(customer, product, 5, "2098-08-01", ingestedAt=DAY),
        ),
    )
    drop(
        published, "b.csv", f"productRating,productCode,customerNumber,ratedAt,ingestedAt\n3,{product},{other},{DAY}\n"
    )
    loaded(published)
    assert stars(published) == {(customer, product): 4}
    assert balance(published) == (10, 1, 9)
    reasons = dict(ask(published, "SELECT fileName || lineNumber, _reason FROM quarantine.ratings"))
    assert reasons["a.jsonl2"] == "productRating is not between 1 and 5"
    assert reasons["a.jsonl3"].startswith("ratedAt is not between 1900-02-01 and 2099-12-31")
    assert reasons["a.jsonl4"] == "; ".join(
        f"{name} does not fit its type, the raw value is in _rescued_data" for name in ("ratedAt", "ingestedAt")
    )
    assert reasons["a.jsonl5"] == "customerNumber is missing"
    assert reasons["a.jsonl6"] == "productCode is not in staging/products"
    assert reasons["a.jsonl7"] == "customerNumber is not in staging/customers"
    assert reasons["a.jsonl9"].startswith("does not satisfy: ratedAt is not more than a day after ingestedAt")
    rescued = dict(ask(published, "SELECT fileName || lineNumber, _rescued_data ->> '_line' FROM quarantine.ratings"))
    assert rescued["a.jsonl8"] == '{"customerNumber": 103, "productCo'
    assert rescued["b.csv2"] == f"3,{product},{other},{DAY}"


def test_bad_files_are_written_down_with_their_reason_and_keep_nobody_out(published: Settings, codes):
    (customer, *_), (product, *_) = codes
    drop(published, "1.csv", b"\x89PNG\r\n\x1a\n")
    drop(published, "2.jsonl", "<html><body>Not found</body></html>")
    drop(published, "3.csv.gz", gzip.compress(b"customerNumber,productCode\n" * 999)[:-9])
    drop(published, "4.csv", "customerNumber,productCode\n1,2\n")
    drop(published, "5.jsonl", jsonl(rating()).encode("utf-16"))
    drop(published, "6.jsonl", "")
    drop(published, "7.jsonl", jsonl(rating(customer, product, shop="Lyon", **{"Jane Doe": 1, "j@d.org": 2})))
    drop(published, "8.jsonl", jsonl(rating(customer, product, 1)), seconds_ago=1)
    ran = run(published, select=RATED)
    assert ran.success, ran.errors
    found = ledger(published)
    assert [found[name][0] for name in sorted(found)] == [*["quarantined"] * 5, "empty", "loaded"]
    assert stars(published) == {(customer, product): 5}
    assert ran.warned == {(SOURCE, "files")}
    shown = ran.checks[SOURCE, "files"]
    assert {row["what"] for row in rows_shown(shown, "could not be ingested")} == {
        "1.csv",
        "2.jsonl",
        "3.csv.gz",
        "4.csv",
        "5.jsonl",
    }
    assert rows_shown(shown, "with columns that are ignored") == [
        {"what": "7.jsonl", "found": "3 columns, such as shop"}
    ]
    assert shown.metadata["still being written"].value == 1


def test_who_runs_right_after_files_landed_is_told_that_they_come_later(published: Settings, codes, caplog):
    (customer, *_), (product, *_) = codes
    drop(published, "ratings/new.jsonl", jsonl(rating(customer, product, 4)), seconds_ago=0)
    with open_instance(published) as instance, caplog.at_level("INFO", "classic_cars.progress"):
        assert observe_landing(instance, published, {"ratings": lambda name: name.startswith("ratings/")}) == {}
    assert "landing/ratings: 1 file still being written" in caplog.text


def test_ratings_of_a_product_that_nobody_knows_are_quarantined_all_of_them(published: Settings, codes):
    (customer, *_), (product, *_) = codes
    unknown = "S99_9999"
    drop(published, "1.jsonl", jsonl(rating(customer, unknown, 2, "2003-07-01T10:00:00Z")))
    drop(published, "2.jsonl", jsonl(rating(customer, unknown, 5), rating(customer, product, 4)))
    ran = run(published, select=RATED)
    assert ran.success, ran.errors
    assert ask(published, f"SELECT count(*) FROM quarantine.ratings WHERE productCode = '{unknown}'") == [(2,)]
    assert stars(published) == {(customer, product): 4}


# Exactly once --------------------------------------------------------------------------------------------


def test_each_content_is_loaded_once_however_often_it_comes(published: Settings, codes):
    (customer, *_), (product, other, *_) = codes
    first = jsonl(rating(customer, product, 2))
    drop(published, "a.jsonl", first, 300)
    loaded(published)
    before = fingerprint(published)
    loaded(published)
    assert fingerprint(published) == before
    drop(published, "again/b.jsonl", first, 200)
    drop(published, "again/c.jsonl.gz", gzip.compress(first.encode()), 200)
    loaded(published, TAKEN_IN)
    assert balance(published) == (1, 1, 0)
    assert ledger(published)["again/c.jsonl.gz"] == ["repeated", 0, "same content as a.jsonl"]
    drop(published, "a.jsonl", jsonl(rating(customer, product, 4), rating(customer, other, 1)), 100)
    loaded(published)
    assert stars(published) == {(customer, product): 4, (customer, other): 1}
    assert balance(published) == (3, 2, 0)
    assert one(published, "SELECT count(*) FROM source.ratings_files WHERE fileName = 'a.jsonl'") == 2


def test_files_that_share_a_moment_are_all_taken_in(published: Settings, codes):
    customers, (product, *_) = codes
    for batch in (customers[:20], customers[20:40]):
        for each in batch:
            drop(published, f"{each}.jsonl", jsonl(rating(each, product)), seconds_ago=4000.0 - time.time() % 1)
        loaded(published, TAKEN_IN)
    current = ask(published, "SELECT customerNumber, productCode FROM staging.ratings")
    assert set(current) == {(each, product) for each in customers[:40]}


def test_known_files_are_not_opened_again(published: Settings, codes, monkeypatch: pytest.MonkeyPatch):
    (customer, *_), (product, *_) = codes
    drop(published, "good.jsonl", jsonl(rating(customer, product)))
    drop(published, "bad.csv", "nonsense")
    loaded(published, [SOURCE])
    asked: list[str] = []
    copies = landed.intake

    def listening(landing, *args):
        opened = landing.open
        monkeypatch.setattr(landing, "open", lambda file: (asked.append(file.name), opened(file))[1])
        return copies(landing, *args)

    monkeypatch.setattr(landed, "intake", listening)
    drop(published, "new.jsonl", jsonl(rating(customer, product, 1)))
    loaded(published, [SOURCE])
    assert asked == ["new.jsonl"]


def test_a_file_that_could_not_be_read_is_read_when_it_can_be(published: Settings, codes, monkeypatch):
    (customer, *_), (product, *_) = codes
    path = drop(published, "a.jsonl", jsonl(rating(customer, product)))
    opening = Path.open

    def refusing(self: Path, *args, **kwargs):
        if self == path:
            raise PermissionError(13, "Permission denied")
        return opening(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refusing)
        ran = run(published, select=TAKEN_IN)
    assert ran.success, ran.errors
    assert ledger(published) == {"a.jsonl": ["quarantined", 0, "cannot be read: Permission denied"]}
    loaded(published, TAKEN_IN)
    assert ledger(published) == {"a.jsonl": ["loaded", 1, None]}
    assert balance(published) == (1, 1, 0)


def test_rows_whose_entry_was_lost_are_not_loaded_twice(published: Settings, codes):
    (customer, *_), (product, *_) = codes
    drop(published, "a.jsonl", jsonl(rating(customer, product)))
    loaded(published, TAKEN_IN)
    with duckdb.connect(str(published.store_path)) as connection:
        connection.execute("DELETE FROM source.ratings_files")
    loaded(published, TAKEN_IN)
    assert balance(published) == (1, 1, 0)
    assert ledger(published) == {"a.jsonl": ["loaded", 1, None]}


def test_entries_of_earlier_versions_count_as_loaded(published: Settings, codes):
    (customer, *_), (product, *_) = codes
    drop(published, "a.jsonl", jsonl(rating(customer, product)))
    loaded(published, TAKEN_IN)
    with duckdb.connect(str(published.store_path)) as connection:
        connection.execute("UPDATE source.ratings_files SET state = 'taken'")
    drop(published, "b.jsonl", jsonl(rating(customer, product)))
    loaded(published, TAKEN_IN)
    assert balance(published) == (1, 1, 0)
    assert ledger(published) == {"a.jsonl": ["taken", 1, None], "b.jsonl": ["repeated", 0, "same content as a.jsonl"]}


def test_rows_that_were_lost_are_loaded_again(published: Settings, codes):
    (customer, *_), (product, *_) = codes
    drop(published, "a.jsonl", jsonl(rating(customer, product)))
    loaded(published, TAKEN_IN)
    with duckdb.connect(str(published.store_path)) as connection:
        connection.execute("DELETE FROM source.ratings")
    loaded(published, TAKEN_IN)
    assert balance(published) == (1, 1, 0)


@pytest.mark.parametrize(
    ("meanwhile", "expected"),
    [
        ("copied", [("a.jsonl", "loaded", 2), ("b.jsonl", "repeated", 0), ("c.jsonl", "loaded", 1)]),
        ("corrected", [("a.jsonl", "loaded", 1), ("a.jsonl", "loaded", 2), ("c.jsonl", "loaded", 1)]),
        ("moved away", [("a.jsonl", "loaded", 2), ("c.jsonl", "loaded", 1)]),
    ],
)
def test_a_run_that_dies_between_rows_and_ledger_is_put_right_by_the_next(
    tmp_path: Path, monkeypatch, meanwhile: str, expected: list[tuple]
):
    settings = Settings(home=tmp_path, store="iceberg")
    file = drop(settings, "a.jsonl", jsonl(rating(), rating()))
    committing = commit.commit

    def dying(catalog, version, *args):
        if version.contract.name == "ratings_files":
            raise KeyboardInterrupt
        return committing(catalog, version, *args)

    with monkeypatch.context() as patch:
        patch.setattr(commit, "commit", dying)
        assert not run(settings, select=[SOURCE]).success
    assert one(settings, "SELECT count(*) FROM source.ratings") == 2
    match meanwhile:
        case "copied":
            drop(settings, "b.jsonl", jsonl(rating(), rating()))
        case "corrected":
            drop(settings, "a.jsonl", jsonl(rating(105)))
        case "moved away":
            file.unlink()
    drop(settings, "c.jsonl", jsonl(rating(104)))
    ran = run(settings, select=[SOURCE])
    assert ran.success, ran.errors
    assert ask(settings, "SELECT fileName, state, rows FROM source.ratings_files ORDER BY ALL") == expected
    assert one(settings, "SELECT count(*) FROM source.ratings") == sum(rows for *_, rows in expected)
    assert run(settings, select=[SOURCE]).success


# Every check fails once ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def rated_home(published_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with a few current and superseded ratings, published; and a new file."""

    def make(home: Path) -> None:
        shutil.copytree(published_home, home, dirs_exist_ok=True)
        settings = Settings(home=home)
        customers, products = codes_of(settings)
        rows = [rating(each, products[each % 7], 1 + each % 5) for each in customers[:20]]
        drop(settings, "a.jsonl", jsonl(*rows, rating(customers[0], products[customers[0] % 7], 3, "2003-08-02")))
        loaded(settings)
        drop(settings, "b.jsonl", jsonl(rating(customers[30], products[0])))

    return once(tmp_path_factory, "rated", make)


@pytest.fixture
def rated(rated_home: Path, tmp_path: Path) -> Settings:
    """Settings of a home of its own like it."""
    return Settings(home=shutil.copytree(rated_home, tmp_path / "rated"))


def failed(settings: Settings, address: str, function: Callable) -> set[str]:
    """The checks that fail when the table is made by this function; nothing is published then."""
    before = fingerprint(settings)
    ran = run(settings, tables=swapped(address, function), select=[address])
    assert fingerprint(settings) == before
    assert {table for table, _ in ran.failed} == {address}, ran.errors
    return {check for _, check in ran.failed}


def test_a_line_that_is_read_twice_is_caught(rated: Settings):
    def doubled(line: ibis.Table) -> ibis.Table:
        rows = source.ratings.function(line)
        return ibis.union(rows, rows)

    assert failed(rated, SOURCE, doubled) == {"keys", "reconciliation"}


def test_a_line_that_is_lost_is_caught(rated: Settings):
    def shorter(line: ibis.Table) -> ibis.Table:
        return source.ratings.function(line).filter(ibis.literal(False))

    assert failed(rated, SOURCE, shorter) == {"reconciliation"}


def test_a_line_without_a_place_is_caught(rated: Settings):
    def nowhere(line: ibis.Table) -> ibis.Table:
        rows = source.ratings.function(line)
        return rows.mutate(lineNumber=rows.lineNumber - rows.lineNumber)

    assert failed(rated, SOURCE, nowhere) == {"values", "reconciliation"}


def test_a_rating_that_is_lost_before_the_latest_is_chosen_is_caught(rated: Settings):
    def shorter(ratings: ibis.Table) -> ibis.Table:
        rows = partners.ratings.function(ratings)
        return rows.filter(rows.lineNumber != 2)

    assert failed(rated, STAGING, shorter) == {"columns", "reconciliation"}


def test_a_latest_rating_that_is_none_is_caught(rated: Settings, monkeypatch: pytest.MonkeyPatch):
    from classic_cars.tables import quarantine

    def earliest(contract, latest, before):
        place = ibis.row_number().over(group_by=list(contract.key), order_by=list(latest.order))
        ranked = before.accepted.mutate(_place=place)
        return quarantine.Screened(
            accepted=ranked.filter(ranked["_place"] == 0).drop("_place"), rejected=before.rejected
        )

    monkeypatch.setattr(quarantine, "by_time", earliest)
    assert failed(rated, STAGING, partners.ratings.function) == {"columns", "reconciliation"}


def test_a_fact_that_counts_a_rating_twice_is_caught(rated: Settings):
    def doubled(ratings: ibis.Table, customers: ibis.Table) -> ibis.Table:
        rows = warehouse.fact_ratings.function(ratings, customers)
        return ibis.union(rows, rows)

    assert failed(rated, FACT, doubled) == {"keys", "columns"}


def test_a_fact_with_a_place_that_is_none_is_caught(rated: Settings):
    def lost(ratings: ibis.Table, customers: ibis.Table) -> ibis.Table:
        rows = warehouse.fact_ratings.function(ratings, customers)
        return rows.mutate(locationKey=rows.locationKey.substr(0, 31) + "g")

    assert failed(rated, FACT, lost) == {"references", "columns"}


def test_a_fact_with_six_stars_is_caught(rated: Settings):
    def generous(ratings: ibis.Table, customers: ibis.Table) -> ibis.Table:
        rows = warehouse.fact_ratings.function(ratings, customers)
        return rows.mutate(productRating=(rows.productRating + 6).cast("int32"))

    assert failed(rated, FACT, generous) == {"values", "columns"}


def test_no_rating_that_counts_as_one_is_caught(rated: Settings):
    def unkind(fact_ratings: ibis.Table, dim_products: ibis.Table) -> ibis.Table:
        rows = analytics.product_ratings.function(fact_ratings, dim_products)
        return rows.mutate(averageRating=rows.averageRating.fill_null(1).cast("decimal(3, 2)"))

    assert failed(rated, ANSWER, unkind) == {"values", "reconciliation"}


def test_a_product_that_is_gone_because_nobody_rated_it_is_caught(rated: Settings):
    def shorter(fact_ratings: ibis.Table, dim_products: ibis.Table) -> ibis.Table:
        rows = analytics.product_ratings.function(fact_ratings, dim_products)
        return rows.filter(rows.ratings > 0)

    found = failed(rated, ANSWER, shorter)
    assert found == {"columns", "reconciliation"}


@pytest.mark.exhaustive
def test_when_nearly_all_that_landed_is_bad_the_ratings_of_before_stay(published: Settings, codes):
    (customer, *_), (product, *_) = codes
    drop(published, "a.jsonl", jsonl(rating(customer, product, 4)))
    loaded(published)
    drop(published, "b.jsonl", jsonl(*(rating(customer, product, 7) for _ in range(40))))
    ran = run(published, select=[SOURCE, STAGING])
    assert ran.failed == {(STAGING, "quarantine")}
    assert stars(published) == {(customer, product): 4}
    # Ratings that later ones took the place of were good: only bad rows would otherwise add up, for ever.
    drop(published, "c.jsonl", jsonl(*(rating(customer, product, 5) for _ in range(5))))
    ran = run(published, select=[SOURCE, STAGING])
    assert ran.success, ran.errors
    assert ran.checks[STAGING, "quarantine"].metadata["share quarantined"].value == round(40 / 46, 6)
    assert ask(published, "SELECT productRating FROM staging.ratings") == [(5,)]
