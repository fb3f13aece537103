"""Numbers and names as people read them."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from classic_cars.wording import rounded

NOTHING = "–"
_SIZES = ((Decimal(10**9), "B"), (Decimal(10**6), "M"), (Decimal(10**3), "K"))
#: Titles that a name does not give by itself.
TITLES = {
    "netSales": "Net sales",
    "bookedAmount": "Booked amount",
    "onTimeShipmentShare": "Shipped on time",
    "averageOrderValue": "Average order",
    "salesRep": "Representative",
    "productLine": "Product line",
    "cohortCustomers": "Customers in cohort",
    "share": "Share of total",
    "shareOfMembers": "Share of customers",
    "customer": "No.",
    "customerName": "Customer",
    "product": "Code",
    "productName": "Product",
}
_ENDINGS = {"Before": "before", "Change": "change", "Growth": "change, %"}


def title(name: str) -> str:
    """Of a column, such as ``Net sales`` or ``Net sales, change``."""
    if name in TITLES:
        return TITLES[name]
    for ending, said in _ENDINGS.items():
        if name.endswith(ending) and name != ending:
            return f"{title(name.removesuffix(ending))}, {said}"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()


def short(value: Any, form: str) -> str:
    """For a headline: ``9.97M``, ``36.6%``. Amounts below a thousand, and shares, are written whole."""
    if value is None:
        return NOTHING
    if "%" in form or abs(value) < 10_000:
        return exact(value, form.replace(".2f", ".0f") if "," in form and abs(value) >= 1_000 else form)
    for size, letter in _SIZES:
        if abs(value) >= size:
            shown = Decimal(str(value)) / size
            digits = 2 if letter != "K" and abs(shown) < 100 else 0
            return f"{rounded(shown, f'.{digits}f')}{letter}".replace("-", "−")
    return exact(value, form)


def exact(value: Any, form: str = "") -> str:
    """All of it: ``9,969,015.53``. Of a text, itself."""
    if value is None:
        return NOTHING
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    if isinstance(value, date):
        return value.isoformat()
    if not form:
        return str(value)
    return rounded(int(value) if form.endswith("d") else value, form).replace("-", "−")
