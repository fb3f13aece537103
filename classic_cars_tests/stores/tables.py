"""Small contracts and rows for tests of the stores alone."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import ibis
import pandera.ibis as pa
import pyarrow

from classic_cars.contracts.base import Contract
from classic_cars.contracts.vocabulary import Binary, Bool, Date, Int, Long, Text, facts
from classic_cars.months import Months
from classic_cars.stores.base import Provenance, Staged, Store, Transaction

JANUARY, FEBRUARY, MARCH = (Months.parse(f"2004-0{month}") for month in (1, 2, 3))
FIRST_QUARTER = Months.parse("2004-01..2004-03")
BY_TEST = Provenance("run-1", "warehouse/sales", "code-1")

COLUMNS: dict[str, tuple[Any, bool, str]] = {
    "sale": (Int(), False, "Number of the sale"),
    "day": (Date(), False, "Day of the sale"),
    "amount": (ibis.dtype("decimal(10, 2)"), True, "What was paid"),
    "note": (Text(), True, "What the seller wrote"),
}
EVERY_TYPE: dict[str, tuple[Any, bool, str]] = {
    "key": (Int(), False, "Key"),
    "large": (Long(), True, "A large number"),
    "text": (Text(), True, "A text"),
    "money": (ibis.dtype("decimal(18, 2)"), True, "An amount"),
    "exact": (ibis.dtype("decimal(38, 10)"), True, "An exact number"),
    "day": (Date(), True, "A day"),
    "flag": (Bool(), True, "Yes or no"),
    "raw": (Binary(), True, "Bytes"),
    "ratio": (ibis.dtype("float64"), True, "A ratio"),
}


def contract(
    columns: dict[str, tuple[Any, bool, str]] | None = None,
    *,
    address: str = "warehouse/sales",
    key: tuple[str, ...] = ("sale",),
    partitioned_by: str | None = "day",
    description: str = "One row per sale",
) -> Contract:
    """A contract of columns given as (type, may be NULL, description)."""
    return Contract.of(
        pa.DataFrameSchema(
            {
                name: pa.Column(kind, nullable=nullable, description=text)
                for name, (kind, nullable, text) in (columns or COLUMNS).items()
            },
            name=address,
            description=description,
            unique=list(key),
            strict=True,
            metadata=facts(partitioned_by=partitioned_by),
        )
    )


SALES = contract()
PLACES = contract(
    {"place": (Text(), False, "Name"), "visitors": (Int(), True, "Visitors")},
    address="staging/places",
    key=("place",),
    partitioned_by=None,
)
EVERYTHING = contract(EVERY_TYPE, address="source/everything", key=("key",), partitioned_by=None)


def sale(number: int, day: str, amount: str | None = "1.00", note: str | None = None) -> dict[str, Any]:
    return {
        "sale": number,
        "day": date.fromisoformat(day),
        "amount": None if amount is None else Decimal(amount),
        "note": note,
    }


def arrow(of: Contract, rows: list[dict[str, Any]]) -> pyarrow.Table:
    return pyarrow.Table.from_pylist(rows, schema=of.types.to_pyarrow())


def stage(
    store: Store, of: Contract, rows: list[dict[str, Any]], months: Months | None = None, *, append: bool = False
) -> Staged:
    """Rows staged in a transaction of their own, which is left open."""
    return staged(store.begin(BY_TEST), of, rows, months, append=append)


def staged(
    tx: Transaction, of: Contract, rows: list[dict[str, Any]], months: Months | None = None, *, append: bool = False
) -> Staged:
    return tx.stage(of, tx.receive(arrow(of, rows)), months, append=append)


def publish(
    store: Store, of: Contract, rows: list[dict[str, Any]], months: Months | None = None, *, append: bool = False
) -> None:
    """One step of a run: stage, publish, let go."""
    with store.begin(BY_TEST) as tx:
        staged(tx, of, rows, months, append=append).publish()


def held(store: Store | Transaction, of: Contract, months: Months | None = None) -> list[dict[str, Any]]:
    """The rows that a store shows, by their first column; as a new step would see them."""
    rows = store.read(of, months)
    return rows.order_by(of.types.names[0]).to_pyarrow().to_pylist()


def seen(reader: Store, of: Contract, months: Months | None = None) -> list[dict[str, Any]]:
    """The same, for a reader of its own that lets go at once."""
    try:
        return held(reader, of, months)
    finally:
        reader.release()
