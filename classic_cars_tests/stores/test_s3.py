"""A lake on a real S3 server: credentials that stay secret, and clear words when S3 says no."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path

import pytest

from classic_cars.errors import ClassicCarsError, StoreAccessDenied, StoreUnreachable
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars_shop.object_store import SECRET, ObjectStore
from classic_cars_shop.servers import free_port
from classic_cars_tests.platform import ask, run
from classic_cars_tests.stores.tables import PLACES, publish, stage

OSLO = [{"place": "Oslo", "visitors": 1}]
PATIENCE = 10


@pytest.fixture
def settings(s3_lake: Settings) -> Settings:
    return s3_lake


def refused(settings: Settings, kind: type[ClassicCarsError]) -> str:
    """What a run is told at its start; within seconds."""
    store = open_store(settings)
    started = time.monotonic()
    with pytest.raises(kind) as error:
        store.begin_run("a test")
    assert time.monotonic() - started < PATIENCE
    with pytest.raises(ClassicCarsError) as again:
        stage(store, PLACES, OSLO)
    assert time.monotonic() - started < 2 * PATIENCE
    store.end_run()
    for message in (str(error.value), str(again.value)):
        assert SECRET not in message
    return str(error.value)


#: What the answer by country is made of; everything is published to a lake in test_assets_on_iceberg.
MADE = [
    *(f"{layer}/{name}" for layer in ("source", "staging") for name in ("customers", "orders", "orderdetails")),
    *(f"{layer}/{name}" for layer in ("source", "staging") for name in ("employees", "offices", "payments")),
    *(f"{layer}/{name}" for layer in ("source", "staging") for name in ("productlines", "products")),
    *(f"warehouse/{name}" for name in ("dim_customers", "dim_dates", "dim_employees", "dim_locations")),
    *("warehouse/dim_products", "warehouse/fact_orders"),
    *(f"analytics/{name}" for name in ("monthly_sales_by_customer", "monthly_sales_by_product", "sales_by_country")),
]


def test_the_platform_runs_on_s3_from_the_order_system_to_an_answer(settings: Settings, published: Settings):
    on_s3 = Settings(
        home=settings.home, store="iceberg", warehouse=settings.warehouse, source_url=published.order_system_url
    )
    ran = run(on_s3, select=MADE)
    assert ran.success, ran.errors
    total = "SELECT sum(bookedAmount), sum(netSales), count(*) FROM analytics.sales_by_country"
    assert ask(on_s3, total) == ask(published, total)
    assert ask(on_s3, total)[0][0] > Decimal(0)


def test_no_secret_is_written_anywhere(settings: Settings, object_store: ObjectStore, caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG")
    store = open_store(settings)
    publish(store, PLACES, OSLO)
    shown = store.query("SELECT * FROM duckdb_secrets()").read_all().to_pylist()
    assert SECRET not in str(shown)
    assert SECRET not in repr(store) + repr(vars(store)) + repr(store.lake)
    store.end_run()
    bucket = settings.warehouse.removeprefix("s3://").partition("/")[0]
    for key in object_store.keys(bucket):
        assert SECRET.encode() not in object_store.client.get_object(Bucket=bucket, Key=key)["Body"].read()
    for file in settings.home.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()
    own = [each.getMessage() for each in caplog.records if each.name.startswith(("classic_cars", "pyiceberg"))]
    assert SECRET not in "\n".join(own)


def test_a_wrong_secret_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert "S3 refuses the credentials (SignatureDoesNotMatch)" in refused(settings, StoreAccessDenied)


def test_an_unknown_key_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    assert "S3 refuses the credentials (InvalidAccessKeyId)" in refused(settings, StoreAccessDenied)


def test_missing_credentials_are_said(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert "no complete AWS credentials" in refused(settings, StoreAccessDenied)


def test_a_missing_bucket_is_said(settings: Settings):
    elsewhere = Settings(home=settings.home, store="iceberg", warehouse="s3://nobody-made-this/lake")
    with pytest.raises(StoreAccessDenied, match="there is no such bucket"):
        open_store(elsewhere).begin_run("a test")


def test_a_server_that_is_not_there_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    assert "S3 request failed" in refused(settings, StoreUnreachable)
