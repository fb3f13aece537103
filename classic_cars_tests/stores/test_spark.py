"""Spark as the engine of a lake: a real Connect server, and every table equal to DuckDB's, row for row."""

from __future__ import annotations

import logging
import re
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

import dagster as dg
import duckdb
import ibis
import pytest

from classic_cars import doctor, interrupts
from classic_cars.assets import ALL_TABLES
from classic_cars.checks.hashing import hashed
from classic_cars.contracts.rescued import as_json
from classic_cars.contracts.vocabulary import Int, Long, Text
from classic_cars.errors import EngineUnreachable, SettingsError, StoreAccessDenied, StoreError
from classic_cars.settings import Settings, load_settings
from classic_cars.stores import open_store, published
from classic_cars.stores.base import Store
from classic_cars.stores.iceberg.engines.spark_session import Server, clear_errors
from classic_cars.stores.transfer import with_co_published
from classic_cars.tables.failures import RETRY, reported
from classic_cars_shop.identical import differing_tables
from classic_cars_shop.spark import QUICK, Spark, connect_server
from classic_cars_tests.landed import drop, jsonl, rating
from classic_cars_tests.platform import change, fingerprint, run
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
from classic_cars_tests.stores.test_iceberg import table

QUARTER = [sale(1, "2004-01-31"), sale(2, "2004-02-01", "2.50"), sale(3, "2004-03-15", None, "free")]
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


@pytest.fixture(scope="module", params=[pytest.param("local[1]", marks=pytest.mark.exhaustive)])
def spark(request: pytest.FixtureRequest) -> Iterator[Spark]:
    """One core, and plans that are made once: those of the cluster's tests are made again as their rows come.

    At night: its Java takes half a minute of a processor to start.
    """
    with or_skip(connect_server(request.param, settings={**QUICK, "spark.sql.adaptive.enabled": "false"})) as running:
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
    """A home with a shop and what partners dropped, published by the engine that the settings name.

    Every materialization says which one it was, for how long, and has a link to its page where there is one.
    """
    shutil.copytree(given, home)
    made = Settings(home=home, store="iceberg", quarantine_floor=10, **settings)
    ran = run(made)
    assert ran.success, ran.errors or ran.failed
    engines = {
        (event.asset_key.path[0], *(said[name].value if name in said else None for name in ("engine", "engine's page")))
        for event in ran.result.all_events
        if event.is_step_materialization and (said := event.materialization.metadata)["duration"].value >= 0
    }
    local = (f"DuckDB {duckdb.__version__}", None)
    expected = local if made.engine == "duckdb" else (f"Spark {version('pyspark')}", made.spark_page)
    layers = ("staging", "quarantine", "warehouse", "control", "analytics")
    assert engines == {("source", *local), *((layer, *expected) for layer in layers)}
    return made


@pytest.mark.exhaustive
def test_tables_that_spark_makes_again_are_as_duckdb_made_them(spark: Spark, shop_file: Path, tmp_path: Path):
    shutil.copy(shop_file, tmp_path / "shop.sqlite")
    settings = Settings(home=tmp_path, store="iceberg")
    assert run(settings).success
    before = fingerprint(settings)
    some = ["warehouse/dim_customers", "warehouse/fact_orders", "analytics/sales_by_country"]
    ran = run(Settings(home=tmp_path, store="iceberg", engine="spark", spark_remote=spark.address), select=some)
    assert ran.success, ran.errors or ran.failed
    assert ran.published == {*some}
    assert fingerprint(settings) == before


@pytest.mark.exhaustive
def test_every_table_equals_duckdbs(spark: Spark, shop_file: Path, tmp_path: Path):
    given = tmp_path / "given"
    given.mkdir()
    change(f"sqlite:///{shutil.copy(shop_file, given / 'shop.sqlite')}", *EDGES)
    drop(Settings(home=given), "a.jsonl", jsonl(rating("nobody"), rating(999_999), "{"))
    here = on(tmp_path / "duckdb", given)
    there = on(tmp_path / "spark", given, engine="spark", spark_remote=spark.address, spark_page="http://spark:4040")
    with published(here) as one, published(there) as other:
        assert one.row_counts() == other.row_counts()
        assert one.row_counts()["quarantine/orderdetails"] == 2
        known = {each.address for each in with_co_published(each.contract for each in ALL_TABLES)}
    found = differing_tables(here, there)
    assert found.keys() == known
    assert not any(found.values()), found


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


def test_an_older_schema_is_read_by_field_id_and_widened(store: Store, settings: Settings):
    before = contract({"sale": (Int(), False, "Number"), "note": (Text(), True, "Note")}, partitioned_by=None)
    after_columns = {"sale": (Long(), False, "Number"), "new": (Text(), True, "New")}
    after = contract({**after_columns, "note": (Text(), True, "Note")}, partitioned_by=None)
    publish(store, before, [{"sale": 1, "note": "old"}])
    publish(store, after, [{"sale": 2**40, "new": "x", "note": "y"}], append=True)
    with store.begin(BY_TEST) as tx:
        assert held(tx, after) == [
            {"sale": 1, "new": None, "note": "old"},
            {"sale": 2**40, "new": "x", "note": "y"},
        ]
    # Renamed on the lake, and then another column gets the name: files are read by id, never by name.
    with table(settings).update_schema() as update:
        update.rename_column("note", "remark")
    renamed = contract(
        {**after_columns, "remark": (Text(), True, "Note"), "note": (Text(), True, "Another note")}, partitioned_by=None
    )
    publish(store, renamed, [{"sale": 3, "new": None, "remark": "r", "note": "n"}], append=True)
    expected = [
        {"sale": 1, "new": None, "remark": "old", "note": None},
        {"sale": 3, "new": None, "remark": "r", "note": "n"},
        {"sale": 2**40, "new": "x", "remark": "y", "note": None},
    ]
    with store.begin(BY_TEST) as tx:
        assert held(tx, renamed) == expected
    assert held(store, renamed) == expected  # read by DuckDB


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


@pytest.mark.parametrize(
    "rest", ["h:1;token={}", "h;token={}", "h:1/?token={}", "h#{}", "{}@h:1/;token={}", "h:1/;token={}"]
)
def test_no_address_shows_its_token(rest: str):
    assert Server(f"sc://{rest.format(TOKEN, TOKEN)}").redacted in ("sc://h", "sc://h:1")


@contextmanager
def silent(spark: Spark) -> Iterator[None]:
    """The server takes what it is sent, and says nothing."""
    spark.server.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        spark.server.send_signal(signal.SIGCONT)


def test_a_silent_server_is_lost_and_no_farewell_waits_for_it(
    store: Store, spark: Spark, monkeypatch: pytest.MonkeyPatch
):
    from classic_cars.stores.iceberg.engines import spark as engine
    from classic_cars.stores.iceberg.engines import spark_session

    monkeypatch.setattr(spark_session, "RETRIES", 0)
    monkeypatch.setattr(engine, "GOODBYE_SECONDS", 0.5)
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    with silent(spark):
        began = time.monotonic()
        store._computes.close()
        assert time.monotonic() - began < 5
    asked, answered = "grpc.keepalive_time_ms", "grpc.keepalive_timeout_ms"
    # Spark's server hangs up on whoever asks more often than every five minutes.
    assert 300_000 < spark_session.KEEPALIVE[asked] < 600_000
    assert spark_session.KEEPALIVE[answered] <= 60_000
    for name in (asked, answered, "grpc.http2.ping_timeout_ms"):
        monkeypatch.setitem(spark_session.KEEPALIVE, name, 1_000)
    with store.begin(BY_TEST) as tx:
        rows = tx.receive(arrow(SALES, QUARTER))
        began = time.monotonic()
        with silent(spark), pytest.raises(EngineUnreachable, match="does not answer"):
            tx.stage(SALES, rows, FIRST_QUARTER)
        assert time.monotonic() - began < 30  # gRPC by itself takes 60 s, or never sees it
    assert held(store, SALES) == QUARTER


def test_doctor_asks_the_server_for_its_version(spark: Spark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def found(remote: str) -> tuple[bool, str]:
        monkeypatch.setenv("CLASSIC_CARS_SPARK_REMOTE", remote)
        return next((each.well, each.text) for each in doctor.examine() if each.subject == "engine")

    for name, value in {"HOME": str(tmp_path), "STORE": "iceberg", "ENGINE": "spark"}.items():
        monkeypatch.setenv(f"CLASSIC_CARS_{name}", value)
    assert found(spark.address) == (True, f"{spark.address}: Spark {version('pyspark')}")
    monkeypatch.setattr("classic_cars.stores.iceberg.engines.spark_session.RETRIES", 0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        well, said = found(f"sc://127.0.0.1:{taken.getsockname()[1]}/;token={TOKEN}")
    assert not well
    assert "the Spark server does not answer" in said
    assert TOKEN not in said
    well, said = found("glue://?role=arn:aws:iam::123456789012:role/spark")
    assert (well, said.startswith("glue://: a session is started, and paid for")) == (True, True)


def test_each_retry_is_said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    log = logging.getLogger("test retries")
    monkeypatch.setattr("classic_cars.tables.failures.progress", log)
    lost = EngineUnreachable("sc://spark:15002: the Spark server does not answer")
    with caplog.at_level(logging.WARNING, log.name):
        for attempts in range(RETRY.max_retries + 1):
            assert isinstance(reported(SALES.address, lost, attempts), dg.RetryRequested)
    said = [re.sub(r"in \d+ s", "in N s", each) for each in caplog.messages]
    assert said == [f"{SALES.address}: {lost}; tried again in N s"] * RETRY.max_retries  # the last one ends the step


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        ("UNAUTHENTICATED", StoreAccessDenied, r"refuses us \(UNAUTHENTICATED\); check the token"),
        ("PERMISSION_DENIED", StoreAccessDenied, r"refuses us \(PERMISSION_DENIED\)"),
        ("DEADLINE_EXCEEDED", EngineUnreachable, r"does not answer.*\(DEADLINE_EXCEEDED\)"),
        ("RESOURCE_EXHAUSTED", StoreError, r"Spark could not do it \(RESOURCE_EXHAUSTED\)"),
    ],
)
def test_what_a_server_or_a_proxy_before_it_answers_is_named(status: str, kind: type[StoreError], said: str):
    errors = pytest.importorskip("pyspark.errors")
    rendezvous = f"<_MultiThreadedRendezvous:\n\tstatus = StatusCode.{status}\n\tdetails = 'Jane Doe'>"
    with pytest.raises(kind, match=said) as caught, clear_errors(Server("sc://spark:15002")):
        raise errors.PySparkException(rendezvous)
    assert type(caught.value) is kind
    assert "Jane" not in str(caught.value)


@pytest.mark.parametrize(
    ("expected", "problem"),
    [
        ("3.5", r"Spark's client is of version 4\.0\.\d+, expected 3\.5; pip install 'classic-cars\[spark\]'"),
        ("4.0.99", r"sc://127.0.0.1:\d+: found Spark 4\.0\.\d+, expected 4\.0\.99; use a server of that version"),
    ],
    ids=["client", "server"],
)
def test_another_version_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch, expected: str, problem: str):
    from classic_cars.stores.iceberg.engines import spark_session

    monkeypatch.setattr(spark_session, "VERSION", expected)
    if expected.startswith("4"):
        monkeypatch.setattr("pyspark.__version__", f"{expected}.0")
    with pytest.raises(StoreError, match=problem):
        publish(store, SALES, QUARTER, FIRST_QUARTER)


def test_files_of_spark_without_the_schemas_field_ids_are_not_committed(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    monkeypatch.setattr("classic_cars.stores.iceberg.engines.spark.FIELD_ID", "id")
    with pytest.raises(StoreError, match=r"warehouse/sales.*field ids.*note"):
        publish(store, SALES, [sale(9, "2004-02-29", note="lost")], FEBRUARY)
    assert held(store, SALES) == QUARTER
    assert len(list(settings.home.rglob("*.parquet"))) == len(QUARTER)
    assert not [*settings.home.rglob("*.crc")]


@pytest.mark.parametrize(
    ("condition", "said", "again"),
    [
        ("INVALID_HANDLE.SESSION_CHANGED", "", True),  # another server at the same address
        ("INVALID_HANDLE.OPERATION_NOT_FOUND", "", True),
        (None, "StatusCode.UNAVAILABLE: Connection reset", True),
        ("CAST_INVALID_INPUT", "UNAVAILABLE", False),  # a value may say so, too
        (None, "Job aborted due to stage failure", False),
    ],
)
def test_what_another_try_can_help(condition: str | None, said: str, again: bool):
    errors = pytest.importorskip("pyspark.errors")
    error = errors.PySparkException(said)
    error.getCondition = lambda: condition
    with pytest.raises(StoreError) as caught, clear_errors(Server("sc://spark:15002/;token=x")):
        raise error
    assert str(caught.value).endswith("The published tables are unchanged.")
    assert isinstance(reported("warehouse/fact_orders", caught.value), dg.RetryRequested) == again


def test_after_ctrl_c_nothing_is_tried_again(store: Store):
    """A server that is gone would keep us waiting: for its answer, and again when its session is closed."""
    with store.begin(BY_TEST) as tx:
        tx.receive(arrow(SALES, QUARTER))
        client = store._computes.session.client
        assert client.get_retry_policies()
        with pytest.raises(KeyboardInterrupt), interrupts.listening():
            signal.raise_signal(signal.SIGINT)
        assert not client.get_retry_policies()
    with interrupts.listening():
        assert not interrupts.requested()  # nor is it by the tests that follow


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
        # A token where it would be shown, or left out without a word; and what is no address.
        *(
            ({"SPARK_REMOTE": f"sc://{rest}"}, r"expected sc://host:port, and where .* sc://host:port/;token=")
            for rest in (
                *(f"127.0.0.1:15002{wrong}" for wrong in (f";token={TOKEN}", f"/?token={TOKEN}", f"/#token={TOKEN}")),
                f"127.0.0.1:15002/;token={TOKEN}/more",
                *(f"127.0.0.1;token={TOKEN}", f"{TOKEN}@127.0.0.1:15002", f"127.0.0.1:15002/{TOKEN}"),
                *("[::1", "127.0.0.1:99999", "127.0.0.1:port"),
            )
        ),
    ],
)
def test_settings_that_do_not_fit_together(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], problem: str):
    good = {"ENGINE": "spark", "STORE": "iceberg", "SPARK_REMOTE": "sc://127.0.0.1:15002"}
    for name, value in {**good, **variables}.items():
        monkeypatch.setenv(f"CLASSIC_CARS_{name}", value)
    with pytest.raises(SettingsError, match=problem) as caught:
        load_settings()
    assert TOKEN not in str(caught.value)
