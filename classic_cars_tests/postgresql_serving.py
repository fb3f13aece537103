"""A shop served from PostgreSQL, and what is found there, for tests: read apart from the code under test."""

from __future__ import annotations

from typing import Any

import dagster as dg
import psycopg
import pytest

from classic_cars.assets import ALL_TABLES
from classic_cars.contracts.base import RELEASED, Contract
from classic_cars.serving.postgresql.asset import CHECK
from classic_cars.serving.postgresql.connection import Server
from classic_cars.serving.postgresql.refresh import Refreshed, refresh
from classic_cars.serving.releases import current, opened
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.sql import quoted, table_name

CONTRACTS = [each.contract for each in ALL_TABLES if each.contract.layer in RELEASED]
FACT = next(each for each in CONTRACTS if each.name == "fact_orders")
DEARER = "UPDATE orderdetails SET priceEach = priceEach + 1"
DEARER_IN_MAY = f"{DEARER} WHERE orderNumber IN (SELECT orderNumber FROM orders WHERE orderDate LIKE '2003-05%')"
#: Of one release, three ways to its booked amount, in one statement.
TOTALS = """
SELECT (SELECT number FROM platform.release), (SELECT sum("orderAmount") FROM warehouse.fact_orders),
    (SELECT sum("bookedAmount") FROM analytics.sales_by_country),
    (SELECT sum("bookedAmount") FROM analytics.sales_by_month)
"""


@pytest.fixture
def serving(published: Settings, postgresql_url: str) -> Settings:
    """A published shop, and an empty PostgreSQL to serve it from."""
    return published.model_copy(update={"serving_url": Settings(serving_url=postgresql_url).serving_url})


@pytest.fixture
def served(serving: Settings) -> Settings:
    """The same, with the release in it."""
    assert refreshed(serving) is not None
    return serving


def refreshed(settings: Settings, tables: list[Contract] = CONTRACTS) -> Refreshed:
    done = refresh(Server.of(settings), open_store(settings, read_only=True), tables)
    assert done is not None
    return done


def connect(settings: Settings, **more: Any) -> psycopg.Connection:
    """A connection apart from the code under test."""
    return psycopg.connect(settings.serving_url.get_secret_value(), autocommit=True, **more)


def asked(settings: Settings, question: str) -> list[tuple]:
    with connect(settings) as connection:
        return connection.execute(question).fetchall()


def done(settings: Settings, *statements: str) -> None:
    with connect(settings) as connection:
        for each in statements:
            connection.execute(each)


def in_postgresql(settings: Settings, contract: Contract) -> list[str]:
    names = ", ".join(map(quoted, contract.types.names))
    return sorted(map(repr, asked(settings, f"SELECT {names} FROM {table_name(contract)}")))


def in_release(settings: Settings, contract: Contract) -> list[str]:
    names = ", ".join(map(quoted, contract.types.names))
    with opened(settings) as found:
        assert found is not None
        batches = list(found[1].query(f"SELECT {names} FROM {table_name(contract)}"))
    return sorted(repr(tuple(row.values())) for batch in batches for row in batch.to_pylist())


def must_be_equal(settings: Settings) -> None:
    """Every value of every table."""
    for contract in CONTRACTS:
        assert in_postgresql(settings, contract) == in_release(settings, contract), contract.address
    release = current(open_store(settings, read_only=True).shelf)
    assert release is not None
    assert asked(settings, "SELECT number, run, made FROM platform.release") == [
        (release.number, release.run_id, release.made)
    ]


def verdict(instance: dg.DagsterInstance) -> dg.AssetCheckEvaluation:
    record = instance.event_log_storage.get_latest_asset_check_execution_by_key([CHECK])[CHECK]
    assert isinstance(record.evaluation, dg.AssetCheckEvaluation)
    return record.evaluation
