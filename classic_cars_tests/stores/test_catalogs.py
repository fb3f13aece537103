"""The same lake through every kind of catalog: PostgreSQL for a team, a REST server, and AWS Glue's API."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from classic_cars.contracts.vocabulary import Text
from classic_cars.errors import StoreError
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.base import Staged, Store
from classic_cars.stores.iceberg.lake import Lake
from classic_cars_shop.object_store import ObjectStore
from classic_cars_tests.stores.conftest import Open
from classic_cars_tests.stores.tables import (
    COLUMNS,
    FEBRUARY,
    FIRST_QUARTER,
    JANUARY,
    MARCH,
    SALES,
    contract,
    held,
    publish,
    sale,
    seen,
    stage,
)

QUARTER = [sale(1, "2004-01-31"), sale(2, "2004-02-01", "2.50"), sale(3, "2004-03-15", None, "free")]


@pytest.fixture(scope="session")
def glue_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["postgresql", "rest", "glue"])
def settings(
    request: pytest.FixtureRequest, s3_lake: Settings, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    if request.param == "postgresql":
        uri = request.getfixturevalue("postgresql_url")
        return Settings(home=s3_lake.home, store="iceberg", warehouse=s3_lake.warehouse, catalog_uri=uri)
    if request.param == "rest":
        warehouse = f"s3://{object_store.new_table_bucket()}"
        uri = object_store.catalog_uri
        return Settings(home=s3_lake.home, store="iceberg", warehouse=warehouse, catalog="rest", catalog_uri=uri)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", object_store.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", request.getfixturevalue("glue_server"))
    _empty_glue()
    return Settings(home=s3_lake.home, store="iceberg", warehouse=s3_lake.warehouse, catalog="glue")


def _empty_glue() -> None:
    import boto3

    glue = boto3.client("glue")
    for database in glue.get_databases()["DatabaseList"]:
        for each in glue.get_tables(DatabaseName=database["Name"])["TableList"]:
            glue.delete_table(DatabaseName=database["Name"], Name=each["Name"])
        glue.delete_database(Name=database["Name"])


def test_tables_are_published_replaced_and_evolved(store: Store, open_another: Open):
    assert store.row_counts() == {}
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    wider = contract({**COLUMNS, "seller": (Text(), True, "Who sold it")})
    publish(store, SALES, [], FEBRUARY)
    publish(store, wider, [{**sale(4, "2004-02-03"), "seller": "Ann"}], append=True)
    reader = open_another(read_only=True)
    assert [(row["sale"], row["seller"]) for row in seen(reader, wider)] == [(1, None), (3, None), (4, "Ann")]
    assert reader.row_counts() == {"warehouse/sales": 3}
    assert reader.query("SELECT sum(sale) AS s FROM warehouse.sales").read_all().to_pylist() == [{"s": 8}]
    renamed = contract({"remark" if name == "note" else name: each for name, each in COLUMNS.items()})
    publish(store, renamed, [{"remark" if name == "note" else name: value for name, value in QUARTER[2].items()}])
    assert [row["remark"] for row in seen(reader, renamed)] == ["free"]


@pytest.mark.parametrize("settings", ["postgresql", "glue"], indirect=True)  # a REST server places them itself
def test_tables_of_another_warehouse_are_refused(store: Store, settings: Settings):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    other = open_store(settings.model_copy(update={"warehouse": f"{settings.warehouse}2"}))
    with pytest.raises(
        StoreError, match=rf"warehouse/sales: .* at {settings.warehouse}/.*warehouse {settings.warehouse}2"
    ):
        publish(other, SALES, [], FEBRUARY)
    other.end_run()
    store.release()
    assert held(store, SALES) == QUARTER


@pytest.mark.parametrize("settings", ["postgresql", "rest"], indirect=True)  # moto's Glue ignores version ids
def test_writers_of_different_months_all_succeed(store: Store, open_another: Open):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    months = {10: JANUARY, 20: FEBRUARY, 30: MARCH}
    work = [
        stage(open_another(), SALES, [sale(number, f"{month.first:%Y-%m}-15")], month)
        for number, month in months.items()
    ]
    failures: list[BaseException] = []

    def commit(mine: Staged) -> None:
        try:
            mine.publish()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=commit, args=(each,)) for each in work]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failures == []
    assert [row["sale"] for row in held(store, SALES)] == [10, 20, 30]


def test_a_catalog_that_does_not_answer_is_named_without_its_password(tmp_path: Path):
    settings = Settings(
        home=tmp_path, store="iceberg", catalog_uri="postgresql://someone:hunter2@127.0.0.1:9/lake?connect_timeout=3"
    )
    with pytest.raises(StoreError, match=r"sql catalog at postgresql://127.0.0.1:9/lake") as refused:
        open_store(settings).row_counts()
    assert "hunter2" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_a_new_catalog_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    for attempt in range(4):
        lake = Lake(f"file://{tmp_path}/warehouse", uri=f"sqlite:///{tmp_path}/catalog{attempt}.db")
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda _: lake.open(None) is not None, range(8)))  # noqa: B023
