"""What tests share: a run of the platform, questions to its store, and the answers worked out another way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from classic_cars.assets import ALL_TABLES
from classic_cars.contracts.order_system import metadata
from classic_cars.definitions import FULL_REFRESH, build_defs
from classic_cars.errors import SourceError
from classic_cars.months import UNDATED, Months, partition_key
from classic_cars.runs.selecting import job_of, months_that_exist
from classic_cars.settings import Settings
from classic_cars.sources.order_system import open_order_system
from classic_cars.sources.urls import SourceURL
from classic_cars.stores import published
from classic_cars.tables.partitions import add_months
from classic_cars.tables.run_tags import RANGE_END, RANGE_START
from classic_cars.tables.table import Table

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
ALL_MONTHS = ("2003-01", "2003-08")
#: No shop of the tests has an order before it.
FIRST = date(2003, 1, 1)
#: What orders and their lines are made into: for tests that need no more of a published shop to be run again.
SALES = (
    *(f"{layer}/{name}" for layer in ("source", "staging") for name in ("orderdetails", "orders")),
    "warehouse/dim_dates",
    "warehouse/fact_orders",
    *(f"analytics/monthly_sales_by_{name}" for name in ("customer", "product")),
    *(f"analytics/sales_by_{name}" for name in ("country", "product_line", "month")),
    *(f"analytics/{name}" for name in ("customer_cohorts", "customer_balances", "stock_cover")),
)


@dataclass(frozen=True)
class Ran:
    """A run that ended: whether it succeeded, and what its checks and steps said."""

    result: dg.ExecuteInProcessResult

    @property
    def success(self) -> bool:
        return self.result.success

    @property
    def checks(self) -> dict[tuple[str, str], Any]:
        """Every check's evaluation, by table and name."""
        found = {}
        for event in self.result.all_events:
            if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                data = event.asset_check_evaluation_data
                found[data.asset_key.to_user_string(), data.check_name] = data
        return found

    @property
    def failed(self) -> set[tuple[str, str]]:
        """Blocking checks that did not pass."""
        return {
            key for key, each in self.checks.items() if not each.passed and each.severity == dg.AssetCheckSeverity.ERROR
        }

    @property
    def warned(self) -> set[tuple[str, str]]:
        return {
            key for key, each in self.checks.items() if not each.passed and each.severity == dg.AssetCheckSeverity.WARN
        }

    @property
    def published(self) -> set[str]:
        return {
            event.asset_key.to_user_string()
            for event in self.result.all_events
            if event.is_step_materialization and event.asset_key is not None
        }

    @property
    def errors(self) -> str:
        """What the failed steps said."""
        return "\n".join(
            event.step_failure_data.error_display_string for event in self.result.all_events if event.is_step_failure
        )


def rows_shown(evaluation: dg.AssetCheckEvaluation, name: str) -> list[dict[str, Any]]:
    """A table among what a check's evaluation shows."""
    shown = evaluation.metadata[name]
    assert isinstance(shown, dg.TableMetadataValue)
    return [dict(record.data) for record in shown.records]


def run(
    settings: Settings,
    *,
    months: tuple[str, str] = ALL_MONTHS,
    tables: Iterable[Table] = ALL_TABLES,
    select: Sequence[str] | None = None,
    instance: dg.DagsterInstance | None = None,
    tags: Mapping[str, str] | None = None,
) -> Ran:
    """Run every table, or those selected, for the months; in memory unless an instance is given."""
    if instance is None:
        with dg.DagsterInstance.ephemeral() as ephemeral:
            return run(settings, months=months, tables=tables, select=select, instance=ephemeral, tags=tags)
    defs = build_defs(settings, tables=tables)
    keys = [dg.AssetKey(address.split("/")) for address in select or ()]
    job = job_of(defs, keys) if keys else defs.resolve_job_def(FULL_REFRESH)
    # As in the platform, a range holds no month that does not exist between undated rows and the first order.
    there = [month for month in Months.parse("..".join(months)) if month == UNDATED or month >= FIRST]
    if months == ALL_MONTHS and has_undated_rows(settings):
        there.insert(0, UNDATED)
    there_keys = [*map(partition_key, there)]
    add_months(instance, there_keys)
    result = job.execute_in_process(
        instance=instance,
        tags={RANGE_START: there_keys[0], RANGE_END: there_keys[-1], **(tags or {})},
        raise_on_error=False,
        run_config=QUIET,
    )
    return Ran(result)


def has_undated_rows(settings: Settings) -> bool:
    """Whether the order system has rows without a usable date, or the store still has; not when it is away."""
    try:
        with published(settings) as store:
            return UNDATED in months_that_exist(open_order_system(settings.order_system_url), store, reads=True)
    except SourceError:
        return False


def ask(settings: Settings, sql: str) -> list[tuple]:
    """Rows of the published tables."""
    with published(settings) as store:
        return _rows(store.query(sql))


def fingerprint(settings: Settings) -> dict[str, str]:
    """A hash of all rows of every published table, whatever their order."""
    with published(settings) as store:
        hashed = "SELECT count(*), bit_xor(md5_number(t::VARCHAR))::VARCHAR FROM {} t"
        return {
            address: str(_rows(store.query(hashed.format(address.replace("/", ".")))))
            for address in sorted(store.row_counts())
        }


def _rows(reader: pa.RecordBatchReader) -> list[tuple]:
    return [tuple(row.values()) for row in reader.read_all().to_pylist()]


def change(url: str, *statements: str) -> None:
    """Change the order system behind the platform's back."""
    engine = sa.create_engine(SourceURL.parse(url).for_sqlalchemy())
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def swapped(address: str, function: Any) -> list[Table]:
    """All tables, one of them made by another function."""
    return [
        Table(each.contract, function, each.arrives_from) if each.address == address else each for each in ALL_TABLES
    ]


# The same answers, worked out in pandas from the order system itself -------------------------------------


def order_system_frames(url: str) -> dict[str, pd.DataFrame]:
    """The order system's tables as pandas frames of texts and exact numbers, read without the platform."""
    engine = sa.create_engine(SourceURL.parse(url).for_sqlalchemy())
    with engine.connect() as connection:
        frames = {
            table.name: pd.DataFrame(
                [dict(row) for row in connection.execute(sa.select(table)).mappings()], columns=table.columns.keys()
            )
            for table in metadata.sorted_tables
        }
    engine.dispose()
    for name, column in (("orderdetails", "priceEach"), ("payments", "amount"), ("products", "buyPrice")):
        frames[name][column] = frames[name][column].map(lambda value: Decimal(str(value)).quantize(Decimal("0.01")))
    return frames


def expected_sales(frames: dict[str, pd.DataFrame], by: str) -> dict[str, dict[str, Any]]:
    """The five metrics per ``productLine`` or ``country``, by plain Python arithmetic over the joined rows."""
    lines = (
        frames["orderdetails"]
        .merge(frames["orders"], on="orderNumber", validate="m:1")
        .merge(frames["customers"], on="customerNumber", validate="m:1")
        .merge(frames["products"], on="productCode", validate="m:1")
    )
    lines["country"] = lines["country"].str.strip()
    answers: dict[str, dict[str, Any]] = {}
    for name, group in lines.groupby(by):
        kept = group[group["status"] != "Cancelled"]
        answers[name] = {
            "orders": group["orderNumber"].nunique(),
            "units": int(group["quantityOrdered"].sum()),
            "bookedAmount": _sum(group["quantityOrdered"], group["priceEach"]),
            "netSales": _sum(kept["quantityOrdered"], kept["priceEach"]),
            "grossProfit": _sum(kept["quantityOrdered"], kept["priceEach"])
            - _sum(kept["quantityOrdered"], kept["buyPrice"]),
        }
    return answers


def _sum(quantities: pd.Series, prices: pd.Series) -> Decimal:
    return sum((quantity * price for quantity, price in zip(quantities, prices, strict=True)), Decimal(0))


def published_sales(settings: Settings, table: str, by: str) -> dict[str, dict[str, Any]]:
    """The same, as the platform published it."""
    names = ["orders", "units", "bookedAmount", "netSales", "grossProfit"]
    rows = ask(settings, f'SELECT "{by}", {", ".join(names)} FROM analytics.{table}')
    return {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows}
