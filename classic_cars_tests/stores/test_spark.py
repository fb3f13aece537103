"""Spark as the engine of a lake: a real Connect server, and every table equal to DuckDB's, row for row."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import ibis
import pytest

from classic_cars.assets import ALL_TABLES
from classic_cars.checks.hashing import hashed
from classic_cars.contracts.base import Contract
from classic_cars.contracts.rescued import as_json
from classic_cars.contracts.vocabulary import Int, Long, Text
from classic_cars.errors import EngineUnreachable, SettingsError, StoreError
from classic_cars.settings import Settings, load_settings
from classic_cars.stores import open_store, published
from classic_cars.stores.base import Store
from classic_cars.stores.transfer import with_co_published
from classic_cars_shop.spark import Spark, connect_server
from classic_cars_tests.landed import drop, jsonl, rating
from classic_cars_tests.platform import change, run
from classic_cars_tests.programs import or_skip
from classic_cars_tests.stores.tables import (
    BY_TEST,
    COLUMNS,
    EVERYTHING,
    FEBRUARY,
    FIRST_QUARTER,
    SALES,
    arrow,
    contract,
    held,
    publish,
    sale,
)

QUARTER = [sale(1, "2004-01-31"), sale(2, "2004-02-01", "2.50"), sale(3, "2004-03-15", None, "free")]
#: Differs between two runs over the same rows.
OF_A_RUN = ("_run_id", "loggedAt")
TOKEN = "s3cret-token"
#: Values on which engines disagree, in rows of the order system that are otherwise good.
EDGES = (
    "UPDATE customers SET customerName = 'Radcliff', contactLastName = 'Kiev', city = 'v' "
    "WHERE customerNumber = (SELECT min(customerNumber) FROM customers)",
    "UPDATE customers SET customerName = char(9) || ' Straße \N{PILE OF POO} ' || char(11) || char(12), "
    "addressLine2 = char(9), creditLimit = 99999999.99, salesRepEmployeeNumber = NULL "
    "WHERE customerNumber = (SELECT max(customerNumber) FROM customers)",
    "UPDATE orders SET requiredDate = '9999-12-31', comments = 'a\"b\\c' || char(10) || 'off' || char(1) "
    "WHERE orderNumber = (SELECT min(orderNumber) FROM orders)",
    "UPDATE orders SET requiredDate = '0001-01-01', status = 'shipped' "
    "WHERE orderNumber = (SELECT max(orderNumber) FROM orders)",
    "UPDATE orderdetails SET priceEach = 99999999.99 WHERE rowid = (SELECT min(rowid) FROM orderdetails)",
    # For the quarantine.
    "UPDATE orderdetails SET quantityOrdered = -3 WHERE rowid = (SELECT max(rowid) FROM orderdetails)",
    "UPDATE orderdetails SET priceEach = 'cheap' WHERE rowid = (SELECT max(rowid) - 1 FROM orderdetails)",
    "UPDATE payments SET amount = -1 WHERE rowid = (SELECT max(rowid) FROM payments)",
)


@pytest.fixture(scope="module")
def spark() -> Iterator[Spark]:
    with or_skip(connect_server()) as running:
        yield running


@pytest.fixture
def settings(spark: Spark, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", store="iceberg", engine="spark", spark_remote=spark.address)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = open_store(settings)
    yield opened
    opened.end_run()


# Every table -----------------------------------------------------------------------------------------------


def on(home: Path, given: Path, **settings: str) -> Settings:
    """A home with a shop and what partners dropped, published by the engine that the settings name."""
    shutil.copytree(given, home)
    made = Settings(home=home, store="iceberg", quarantine_floor=10, **settings)
    ran = run(made)
    assert ran.success, ran.errors or ran.failed
    engines = {
        event.asset_key.path[0]: event.materialization.metadata["engine"].value.partition(" ")[0]
        for event in ran.result.all_events
        if event.is_step_materialization and "engine" in event.materialization.metadata
    }
    expected = "Spark" if made.engine == "spark" else "DuckDB"
    assert engines == {"source": "DuckDB", "staging": expected, "warehouse": expected, "analytics": expected}
    return made


def test_every_table_equals_duckdbs(spark: Spark, shop_file: Path, tmp_path: Path):
    given = tmp_path / "given"
    given.mkdir()
    change(f"sqlite:///{shutil.copy(shop_file, given / 'shop.sqlite')}", *EDGES)
    drop(Settings(home=given), "a.jsonl", jsonl(rating("nobody"), rating(999_999), "{"))
    here = on(tmp_path / "duckdb", given)
    there = on(tmp_path / "spark", given, engine="spark", spark_remote=spark.address)
    known = with_co_published(each.contract for each in ALL_TABLES)
    with published(here) as one, published(there) as other:
        assert one.row_counts() == other.row_counts()
        assert one.row_counts()["quarantine/orderdetails"] == 2
        for each in known:
            assert not differences(each, one, other), each.address


def differences(of: Contract, one: Store, other: Store) -> list[tuple]:
    """Rows of either side that the other has not, or not as often; compared by DuckDB."""
    columns = [name for name in of.types.names if name not in OF_A_RUN]
    connection = duckdb.connect()
    for name, store in (("one", one), ("other", other)):
        connection.register(name, store.read(of).select(*columns).to_pyarrow())
    both = "(FROM one EXCEPT ALL FROM other) UNION ALL (FROM other EXCEPT ALL FROM one)"
    return connection.execute(f"{both} LIMIT 5").fetchall()


# What the store needs of an engine -------------------------------------------------------------------------


def test_every_type_keeps_its_values_and_others_read_them(store: Store, settings: Settings):
    rows = [
        {
            "key": 1,
            "large": -(2**63),
            "text": 'O\'Hara "é" \n \v\f 車',
            "money": Decimal("9999999999999999.99"),
            "exact": Decimal("-9999999999999999999999999999.9999999999"),
            "day": date(1, 1, 1),
            "flag": False,
            "raw": b"\x00\xff'",
            "ratio": 0.1,
        },
        dict.fromkeys(EVERYTHING.types.names, None) | {"key": 2, "day": date(9999, 12, 31)},
    ]
    publish(store, EVERYTHING, rows)
    with store.begin(BY_TEST) as tx:
        found = tx.read(EVERYTHING)
        assert dict(found.schema().items()) == {n: k.copy(nullable=True) for n, k in EVERYTHING.types.items()}
        assert held(tx, EVERYTHING) == rows
    assert held(store, EVERYTHING) == rows  # read by DuckDB


def test_a_month_is_replaced_and_every_other_row_stays(store: Store):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    with store.begin(BY_TEST) as tx:
        before = tx.read(SALES)
        new = tx.stage(SALES, tx.receive(arrow(SALES, [sale(7, "2004-02-10")])), FEBRUARY)
        assert new.others is not None
        assert sorted(new.others.sale.to_pyarrow().to_pylist()) == [1, 3]
        new.publish()
        assert sorted(before.sale.to_pyarrow().to_pylist()) == [1, 2, 3]
    assert [row["sale"] for row in held(store, SALES)] == [1, 3, 7]
    assert store.months(SALES) == [date(2004, month, 1) for month in (1, 2, 3)]


def test_rows_without_a_date_and_empty_tables(store: Store):
    undated = contract(COLUMNS | {"day": (COLUMNS["day"][0], True, "Day of the sale")})
    publish(store, undated, [{**QUARTER[0], "day": None}, QUARTER[1]])
    assert [row["day"] for row in held(store, undated)] == [None, date(2004, 2, 1)]
    publish(store, undated, [])
    with store.begin(BY_TEST) as tx:
        assert held(tx, undated) == []


def test_an_older_schema_is_read_by_field_id_and_widened(store: Store):
    before = contract({"sale": (Int(), False, "Number"), "note": (Text(), True, "Note")}, partitioned_by=None)
    after = contract(
        {"sale": (Long(), False, "Number"), "new": (Text(), True, "New"), "note": (Text(), True, "Note")},
        partitioned_by=None,
    )
    publish(store, before, [{"sale": 1, "note": "old"}])
    publish(store, after, [{"sale": 2**40, "new": "x", "note": "y"}], append=True)
    with store.begin(BY_TEST) as tx:
        assert held(tx, after) == [
            {"sale": 1, "new": None, "note": "old"},
            {"sale": 2**40, "new": "x", "note": "y"},
        ]


def test_the_hash_of_a_row_knows_where_its_nulls_are(store: Store):
    rows = [sale(number, "2004-01-01", None, note) for number, note in ((1, None), (2, ""), (3, "a"))]
    publish(store, SALES, rows)
    with store.begin(BY_TEST) as tx:
        found = tx.read(SALES)
        a, null = ibis.literal("a"), ibis.null("string")
        hashes = [hashed(a, null), hashed(null, a), hashed(found.note, a), hashed(found.note, null)]
        table = found.select(**{f"h{number}": each for number, each in enumerate(hashes)}).to_pyarrow()
        values = [each for name in table.column_names for each in table[name].to_pylist()]
        assert len(set(values)) == 2 + 6 - 2  # of NULL with "a", "a" with NULL: the same as of the columns
        assert found.aggregate(total=hashed(found.note).sum()).to_pyarrow()["total"].to_pylist()[0] is not None


def test_functions_that_engines_write_differently(store: Store):
    publish(
        store, SALES, [sale(1, "2004-02-29", note=' \t"ov\x01\\\n\v\f'), sale(2, "0001-01-01"), sale(3, "9999-12-31")]
    )
    found = {}
    for local in (True, False):
        with store.begin(BY_TEST, local=local) as tx:
            rows = tx.read(SALES)
            made = rows.select(
                "sale",
                month=rows.day.truncate("M"),
                year=rows.day.truncate("Y"),
                trimmed=rows.note.strip(),
                json=as_json("note", rows.note),
                known=rows.note.isin(rows.filter(rows.note.isnull()).note).fill_null(False),
                sharp=(ibis.literal("STRASSE ß") + rows.note).lower(),
            )
            found[local] = made.order_by("sale").to_pyarrow()
    assert found[True].equals(found[False].cast(found[True].schema))
    assert found[False]["month"].to_pylist() == [date(2004, 2, 1), date(1, 1, 1), date(9999, 12, 1)]
    assert found[False]["trimmed"].to_pylist()[0] == '"ov\x01\\'


# When it fails -----------------------------------------------------------------------------------------------


def test_a_lost_session_is_a_clear_error_and_the_next_try_has_its_own(store: Store, settings: Settings):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    ended = pytest.raises(EngineUnreachable, match=r"sc://127.0.0.1:\d+: .*has ended the session")
    with ended, store.begin(BY_TEST) as tx:
        rows = tx.read(SALES)
        store._computes.session.client.release_session()
        tx.stage(SALES, rows.filter(rows.sale > 1), FIRST_QUARTER).publish()
    assert EngineUnreachable.retryable
    assert held(store, SALES) == QUARTER
    with store.begin(BY_TEST) as tx:
        rows = tx.read(SALES)
        tx.stage(SALES, rows.filter(rows.sale > 1), FIRST_QUARTER).publish()
    assert held(store, SALES) == QUARTER[1:]


def test_a_server_that_is_not_there_is_named_without_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    session = pytest.importorskip("classic_cars.stores.iceberg.engines.spark_session")
    pytest.importorskip("pyspark")
    monkeypatch.setattr(session, "RETRIES", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"sc://127.0.0.1:{taken.getsockname()[1]}/;use_ssl=false;token={TOKEN}"
        remote = Settings(home=tmp_path, store="iceberg", engine="spark", spark_remote=address)
        with pytest.raises(EngineUnreachable, match=r"^sc://127.0.0.1:\d+: the Spark server does not answer") as caught:
            open_store(remote).begin(BY_TEST).receive(arrow(SALES, QUARTER))
    assert TOKEN not in str(caught.value)
    assert TOKEN not in repr(remote)


def test_a_server_of_another_version_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch):
    from classic_cars.stores.iceberg.engines import spark_session

    monkeypatch.setattr(spark_session, "VERSION", "3.5")
    with pytest.raises(StoreError, match=r"found Spark 4\.0\.\d+, expected 3\.5; use a server of that version"):
        publish(store, SALES, QUARTER, FIRST_QUARTER)


def test_what_spark_says_of_a_value_is_not_passed_on(store: Store):
    publish(store, SALES, [sale(1, "2004-01-31", note="Jane Doe")], FIRST_QUARTER)
    with store.begin(BY_TEST) as tx:
        rows = tx.read(SALES)
        bent = rows.mutate(sale=rows.note.cast("int32"))
        with pytest.raises(StoreError, match=r"CAST_INVALID_INPUT") as caught:
            tx.stage(SALES, bent, FIRST_QUARTER)
    assert "Jane" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"STORE": "duckdb"}, r"CLASSIC_CARS_ENGINE=spark: .*set CLASSIC_CARS_STORE=iceberg"),
        ({"SPARK_REMOTE": ""}, r"needs the server's address in CLASSIC_CARS_SPARK_REMOTE"),
        ({"SPARK_REMOTE": f"http://x/;token={TOKEN}"}, r"CLASSIC_CARS_SPARK_REMOTE: expected an address .* sc://"),
        ({"ENGINE": "flink"}, r"CLASSIC_CARS_ENGINE"),
    ],
)
def test_settings_that_do_not_fit_together(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], problem: str):
    good = {"ENGINE": "spark", "STORE": "iceberg", "SPARK_REMOTE": "sc://127.0.0.1:15002"}
    for name, value in {**good, **variables}.items():
        monkeypatch.setenv(f"CLASSIC_CARS_{name}", value)
    with pytest.raises(SettingsError, match=problem) as caught:
        load_settings()
    assert TOKEN not in str(caught.value)
