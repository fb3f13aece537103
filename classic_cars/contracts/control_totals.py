"""Control totals that are kept: what source says of each month, worked out once and compared with ever after.

An answer over all months is reconciled with these instead of every order line: a row for each month and customer, or
month and product. They are made from ``source`` by other means than the partial aggregates that they are published
with, and anew whenever these are; see :mod:`classic_cars.contracts.proofs`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import ibis
import ibis.expr.datatypes as dt
import pandera.ibis as pa

from classic_cars.contracts import proofs
from classic_cars.contracts.base import Contract
from classic_cars.contracts.vocabulary import ControlTotals, facts

COUNT, AMOUNT = dt.Int64(), dt.Decimal(18, 2)

_MONTH = {"orderMonth": (dt.Date(), "First day of the month: the row's partition")}
_MEASURES: dict[str, tuple[dt.DataType, str]] = {
    "lines": (COUNT, "Order lines that count"),
    "units": (COUNT, "Their units"),
    "bookedAmount": (AMOUNT, "Quantity times price, in USD"),
    "netSales": (AMOUNT, "The same without cancelled orders, in USD; missing: all are cancelled"),
}


def _control(
    name: str,
    over: str,
    description: str,
    columns: Mapping[str, tuple[dt.DataType, str]],
    of: Callable[..., ibis.Table],
) -> ControlTotals:
    described = {**_MONTH, **columns}
    contract = Contract.of(
        pa.DataFrameSchema(
            {column: pa.Column(kind, nullable=True, description=said) for column, (kind, said) in described.items()},
            name=f"control/{name}",
            description=f"{description} Made from source and quarantine alone; answers are reconciled with it.",
            unique=["orderMonth", over],
            strict=True,
            metadata=facts(partitioned_by="orderMonth"),
        )
    )
    return ControlTotals(contract, of)


SALES_BY_CUSTOMER = _control(
    "sales_by_customer",
    "customerNumber",
    "Control totals by month and customer; one row per month and customer with order lines that count.",
    {
        "customerNumber": (dt.Int32(), "Customer; -1 when the order names none, missing when there is no order"),
        **_MEASURES,
        "orders": (COUNT, "Orders with such lines"),
        "soldOrders": (COUNT, "Those of them that were not cancelled"),
        "grossProfit": (AMOUNT, "Net sales less what the units cost when this was made, in USD"),
    },
    proofs.sales_by_customer,
)

SALES_BY_PRODUCT = _control(
    "sales_by_product",
    "productCode",
    "Control totals by month and product; one row per month and product with order lines that count.",
    {
        "productCode": (dt.String(), "Product"),
        **_MEASURES,
        "unitsSold": (COUNT, "Units of orders that were not cancelled: times what one costs, their cost"),
    },
    proofs.sales_by_product,
)
